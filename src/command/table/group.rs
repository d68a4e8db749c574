//! Consumer groups, and XINFO. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::group;
use crate::command::spec::Flag::{Blocking, DenyOom, Fast, Loading, MovableKeys, Readonly, Stale, Write};
use crate::command::spec::KeyFlag::{Access, Delete, Incomplete, Insert, Ro, Rw, Update};
use crate::command::spec::{Argument, Category, Flags, Group, KeySpec, Row};

const STREAM: Row = Row::family(Group::Stream);

pub const ROWS: &[Row] = &[
    Row {
        name: "xgroup",
        since: "5.0.0",
        arity: -2,
        summary: "Manages consumer groups.",
        complexity: "Depends on the sub-command",
        ..STREAM
    },
    Row {
        name: "create",
        container: Some("xgroup"),
        since: "5.0.0",
        arity: -5,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Rw, Insert])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
            Argument::one_of("id-selector", &[Argument::string("id"), Argument::word("new-id", "$")]),
            Argument::word("mkstream", "MKSTREAM").optional(),
            Argument::integer("entriesread").token("ENTRIESREAD").optional(),
        ],
        summary: "Creates a consumer group.",
        complexity: "O(1)",
        parse: group::create,
        ..STREAM
    },
    Row {
        name: "setid",
        container: Some("xgroup"),
        since: "5.0.0",
        arity: -5,
        flags: Flags::of(&[Write]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
            Argument::one_of("id-selector", &[Argument::string("id"), Argument::word("new-id", "$")]),
            Argument::integer("entriesread").token("ENTRIESREAD").optional(),
        ],
        summary: "Moves the id after which a group gets new entries.",
        complexity: "O(1)",
        parse: group::set_id,
        ..STREAM
    },
    Row {
        name: "destroy",
        container: Some("xgroup"),
        since: "5.0.0",
        arity: 4,
        flags: Flags::of(&[Write]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Rw, Delete])],
        arguments: &[Argument::key("key", 0), Argument::string("group")],
        summary: "Removes a consumer group and its pending entries.",
        complexity: "O(N) in the group's pending entries",
        parse: group::destroy,
        ..STREAM
    },
    Row {
        name: "createconsumer",
        container: Some("xgroup"),
        since: "6.2.0",
        arity: 5,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Rw, Insert])],
        arguments: &[Argument::key("key", 0), Argument::string("group"), Argument::string("consumer")],
        summary: "Creates a consumer in a group.",
        complexity: "O(1)",
        parse: group::create_consumer,
        ..STREAM
    },
    Row {
        name: "delconsumer",
        container: Some("xgroup"),
        since: "5.0.0",
        arity: 5,
        flags: Flags::of(&[Write]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Rw, Delete])],
        arguments: &[Argument::key("key", 0), Argument::string("group"), Argument::string("consumer")],
        summary: "Removes a consumer and its pending entries.",
        complexity: "O(N) in the consumer's pending entries",
        parse: group::delete_consumer,
        ..STREAM
    },
    Row {
        name: "help",
        container: Some("xgroup"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Stream],
        summary: "Lists the sub-commands of XGROUP.",
        complexity: "O(1)",
        parse: group::group_help,
        ..STREAM
    },
    Row {
        name: "xreadgroup",
        since: "5.0.0",
        arity: -7,
        flags: Flags::of(&[Write, Blocking, MovableKeys]),
        acl: &[Category::Stream],
        keys: &[KeySpec::half_after("STREAMS", 4, &[Ro, Access, Incomplete])],
        arguments: &[
            Argument::block("group-block", &[Argument::string("group"), Argument::string("consumer")])
                .token("GROUP"),
            Argument::integer("count").token("COUNT").optional(),
            Argument::integer("maxcount").token("MAXCOUNT").since("8.10.0").optional(),
            Argument::integer("maxsize").token("MAXSIZE").since("8.10.0").optional(),
            Argument::integer("milliseconds").token("BLOCK").optional(),
            Argument::integer("min-idle-time").token("CLAIM").since("8.4.0").optional(),
            Argument::word("noack", "NOACK").optional(),
            Argument::block(
                "streams",
                &[Argument::key("key", 0).multiple(), Argument::string("id").multiple()],
            )
            .token("STREAMS"),
        ],
        summary: "Delivers entries of several streams to a consumer of a group, optionally blocking.",
        complexity: "O(N) in the returned entries",
        parse: group::read,
        ..STREAM
    },
    Row {
        name: "xack",
        since: "5.0.0",
        arity: -4,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[Argument::key("key", 0), Argument::string("group"), Argument::string("id").multiple()],
        summary: "Marks entries as processed by a group.",
        complexity: "O(1) for each id",
        parse: group::acknowledge,
        ..STREAM
    },
    Row {
        name: "xackdel",
        since: "8.2.0",
        arity: -6,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update, Delete])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
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
        summary: "Marks entries as processed by a group, and removes them from the stream.",
        complexity: "O(1) for each id and group",
        parse: group::acknowledge_and_delete,
        ..STREAM
    },
    Row {
        name: "xnack",
        since: "8.8.0",
        arity: -7,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
            Argument::one_of(
                "mode",
                &[
                    Argument::word("silent", "SILENT"),
                    Argument::word("fail", "FAIL"),
                    Argument::word("fatal", "FATAL"),
                ],
            ),
            Argument::block("ids", &[Argument::integer("numids"), Argument::string("id").multiple()])
                .token("IDS"),
            Argument::integer("count").token("RETRYCOUNT").optional(),
            Argument::word("force", "FORCE").optional(),
        ],
        summary: "Returns pending entries to their group, for the next consumer that claims.",
        complexity: "O(log N) for each id",
        parse: group::negative_acknowledge,
        ..STREAM
    },
    Row {
        name: "xpending",
        since: "5.0.0",
        arity: -3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
            Argument::block(
                "filters",
                &[
                    Argument::integer("min-idle-time").token("IDLE").since("6.2.0").optional(),
                    Argument::string("start"),
                    Argument::string("end"),
                    Argument::integer("count"),
                    Argument::string("consumer").optional(),
                ],
            )
            .optional(),
        ],
        summary: "Describes entries that were delivered to a group but not acknowledged.",
        complexity: "O(N) in the returned entries; the summary O(N) in the consumers",
        tips: &["nondeterministic_output"],
        parse: group::pending,
        ..STREAM
    },
    Row {
        name: "xclaim",
        since: "5.0.0",
        arity: -6,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
            Argument::string("consumer"),
            Argument::string("min-idle-time"),
            Argument::string("id").multiple(),
            Argument::integer("ms").token("IDLE").optional(),
            Argument::unix_time("unix-time-milliseconds").token("TIME").optional(),
            Argument::integer("count").token("RETRYCOUNT").optional(),
            Argument::word("force", "FORCE").optional(),
            Argument::word("justid", "JUSTID").optional(),
            Argument::string("lastid").token("LASTID").optional(),
        ],
        summary: "Transfers given pending entries to a consumer.",
        complexity: "O(log N) for each id",
        tips: &["nondeterministic_output"],
        parse: group::claim,
        ..STREAM
    },
    Row {
        name: "xautoclaim",
        since: "6.2.0",
        arity: -6,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(1, &[Rw, Delete])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("group"),
            Argument::string("consumer"),
            Argument::string("min-idle-time"),
            Argument::string("start"),
            Argument::integer("count").token("COUNT").optional(),
            Argument::word("justid", "JUSTID").optional(),
        ],
        summary: "Transfers pending entries that have been idle for long to a consumer.",
        complexity: "O(1) when COUNT is small",
        tips: &["nondeterministic_output"],
        parse: group::auto_claim,
        ..STREAM
    },
    Row {
        name: "xinfo",
        since: "5.0.0",
        arity: -2,
        summary: "Describes streams, groups and consumers.",
        complexity: "Depends on the sub-command",
        ..STREAM
    },
    Row {
        name: "stream",
        container: Some("xinfo"),
        since: "5.0.0",
        arity: -3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Ro, Access])],
        arguments: &[
            Argument::key("key", 0),
            Argument::block(
                "full-block",
                &[Argument::word("full", "FULL"), Argument::integer("count").token("COUNT").optional()],
            )
            .optional(),
        ],
        summary: "Describes a stream.",
        complexity: "O(1); FULL O(N) in the returned entries",
        parse: group::info_stream,
        ..STREAM
    },
    Row {
        name: "groups",
        container: Some("xinfo"),
        since: "5.0.0",
        arity: 3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Ro, Access])],
        arguments: &[Argument::key("key", 0)],
        summary: "Lists the consumer groups of a stream.",
        complexity: "O(1) for each group",
        parse: group::info_groups,
        ..STREAM
    },
    Row {
        name: "consumers",
        container: Some("xinfo"),
        since: "5.0.0",
        arity: 4,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Stream],
        keys: &[KeySpec::at(2, &[Ro, Access])],
        arguments: &[Argument::key("key", 0), Argument::string("group")],
        summary: "Lists the consumers of a group.",
        complexity: "O(1) for each consumer",
        tips: &["nondeterministic_output"],
        parse: group::info_consumers,
        ..STREAM
    },
    Row {
        name: "help",
        container: Some("xinfo"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Stream],
        summary: "Lists the sub-commands of XINFO.",
        complexity: "O(1)",
        parse: group::info_help,
        ..STREAM
    },
];
