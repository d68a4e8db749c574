//! Streams: XADD, XREAD, XRANGE and similar commands. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`);
//! texts ours.

use crate::command::parse::stream;
use crate::command::spec::Flag::{Blocking, DenyOom, Fast, MovableKeys, Readonly, Write};
use crate::command::spec::KeyFlag::{Access, Delete, Incomplete, Ro, Rw, Update};
use crate::command::spec::{Argument, Category, Flags, Group, KeySpec, Row};

const STREAM: Row = Row::family(Group::Stream);

pub const ROWS: &[Row] = &[
    Row {
        name: "xadd",
        since: "5.0.0",
        arity: -5,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])
            .note("UPDATE rather than INSERT, because trimming may remove entries")],
        arguments: &[
            Argument::key("key", 0),
            Argument::word("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("keepref", "KEEPREF"),
                    Argument::word("delref", "DELREF"),
                    Argument::word("acked", "ACKED"),
                ],
            )
            .optional(),
            Argument::one_of(
                "idmp",
                &[
                    Argument::string("pid").token("IDMPAUTO"),
                    Argument::block("idmp", &[Argument::string("pid"), Argument::string("iid")])
                        .token("IDMP"),
                ],
            )
            .since("8.6.0")
            .optional(),
            Argument::block(
                "trim",
                &[
                    Argument::one_of(
                        "strategy",
                        &[
                            Argument::word("maxlen", "MAXLEN"),
                            Argument::word("minid", "MINID").since("6.2.0"),
                        ],
                    ),
                    Argument::one_of(
                        "operator",
                        &[Argument::word("equal", "="), Argument::word("approximately", "~")],
                    )
                    .optional(),
                    Argument::string("threshold"),
                    Argument::integer("count").token("LIMIT").since("6.2.0").optional(),
                ],
            )
            .optional(),
            Argument::one_of("id-selector", &[Argument::word("auto-id", "*"), Argument::string("id")]),
            Argument::block("data", &[Argument::string("field"), Argument::string("value")]).multiple(),
        ],
        summary: "Appends an entry to a stream; creates the stream if necessary.",
        complexity: "O(1) when adding; O(N) in the trimmed entries when trimming",
        tips: &["nondeterministic_output"],
        parse: stream::add,
        ..STREAM
    },
    Row {
        name: "xlen",
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Counts the entries of a stream.",
        complexity: "O(1)",
        parse: stream::length,
        ..STREAM
    },
    Row {
        name: "xrange",
        since: "5.0.0",
        arity: -4,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("start"),
            Argument::string("end"),
            Argument::integer("count").token("COUNT").optional(),
        ],
        summary: "Returns the entries between two ids, oldest first.",
        complexity: "O(N) in the returned entries",
        parse: stream::range,
        ..STREAM
    },
    Row {
        name: "xrevrange",
        since: "5.0.0",
        arity: -4,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("end"),
            Argument::string("start"),
            Argument::integer("count").token("COUNT").optional(),
        ],
        summary: "Returns the entries between two ids, newest first.",
        complexity: "O(N) in the returned entries",
        parse: stream::reverse_range,
        ..STREAM
    },
    Row {
        name: "xread",
        since: "5.0.0",
        arity: -4,
        flags: Flags::of(&[Readonly, Blocking, MovableKeys]),
        acl: &[Category::Stream],
        keys: &[KeySpec::half_after("STREAMS", 1, &[Ro, Access, Incomplete])],
        arguments: &[
            Argument::integer("count").token("COUNT").optional(),
            Argument::integer("maxcount").token("MAXCOUNT").since("8.10.0").optional(),
            Argument::integer("maxsize").token("MAXSIZE").since("8.10.0").optional(),
            Argument::integer("milliseconds").token("BLOCK").optional(),
            Argument::block(
                "streams",
                &[Argument::key("key", 0).multiple(), Argument::string("id").multiple()],
            )
            .token("STREAMS"),
        ],
        summary: "Returns entries above given ids from several streams, optionally blocking.",
        complexity: "O(N) in the returned entries",
        parse: stream::read,
        ..STREAM
    },
    Row {
        name: "xdel",
        since: "5.0.0",
        arity: -3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Delete])],
        arguments: &[Argument::key("key", 0), Argument::string("id").multiple()],
        summary: "Removes entries from a stream by their ids.",
        complexity: "O(1) for each id",
        parse: stream::delete,
        ..STREAM
    },
    Row {
        name: "xdelex",
        since: "8.2.0",
        arity: -5,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Delete])],
        arguments: &[
            Argument::key("key", 0),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("keepref", "KEEPREF"),
                    Argument::word("delref", "DELREF"),
                    Argument::word("acked", "ACKED"),
                ],
            )
            .optional(),
            Argument::block("ids", &[Argument::integer("numids"), Argument::string("id").multiple()])
                .token("IDS"),
        ],
        summary: "Removes entries from a stream by their ids, with a policy for references from groups.",
        complexity: "O(1) for each id and group",
        parse: stream::delete_each,
        ..STREAM
    },
    Row {
        name: "xtrim",
        since: "5.0.0",
        arity: -4,
        flags: Flags::of(&[Write]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Delete])],
        arguments: &[
            Argument::key("key", 0),
            Argument::block(
                "trim",
                &[
                    Argument::one_of(
                        "strategy",
                        &[
                            Argument::word("maxlen", "MAXLEN"),
                            Argument::word("minid", "MINID").since("6.2.0"),
                        ],
                    ),
                    Argument::one_of(
                        "operator",
                        &[Argument::word("equal", "="), Argument::word("approximately", "~")],
                    )
                    .optional(),
                    Argument::string("threshold"),
                    Argument::integer("count").token("LIMIT").since("6.2.0").optional(),
                    Argument::one_of(
                        "condition",
                        &[
                            Argument::word("keepref", "KEEPREF"),
                            Argument::word("delref", "DELREF"),
                            Argument::word("acked", "ACKED"),
                        ],
                    )
                    .optional(),
                ],
            ),
        ],
        summary: "Removes the oldest entries of a stream down to a length or an id.",
        complexity: "O(N) in the trimmed entries",
        tips: &["nondeterministic_output"],
        parse: stream::trim,
        ..STREAM
    },
    Row {
        name: "xsetid",
        since: "5.0.0",
        arity: -3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("last-id"),
            Argument::integer("entries-added").token("ENTRIESADDED").since("7.0.0").optional(),
            Argument::string("max-deleted-id").token("MAXDELETEDID").since("7.0.0").optional(),
        ],
        summary: "Sets the last id of a stream, and its counters.",
        complexity: "O(1)",
        parse: stream::set_id,
        ..STREAM
    },
    Row {
        name: "xcfgset",
        since: "8.6.0",
        arity: -2,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::integer("idmp-duration").token("IDMP-DURATION").optional(),
            Argument::integer("idmp-maxsize").token("IDMP-MAXSIZE").optional(),
        ],
        summary: "Sets the number and the lifetime of a stream's idempotent ids.",
        complexity: "O(1); O(N) in the remembered ids when a value changes",
        parse: stream::configure,
        ..STREAM
    },
    Row {
        name: "xidmprecord",
        since: "8.6.2",
        arity: 5,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("pid"),
            Argument::string("iid"),
            Argument::string("stream-id"),
        ],
        summary: "Records an idempotent id for an existing entry.",
        complexity: "O(1)",
        parse: stream::record_id,
        ..STREAM
    },
];
