//! Keys whatever they hold. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::key;
use crate::command::spec::Flag::{DenyOom, Fast, Loading, Readonly, Stale, Write};
use crate::command::spec::KeyFlag::{Access, Delete, Insert, Ow, Rm, Ro, Rw, Update};
use crate::command::spec::{Argument, Category, Flags, Group, KeySpec, Row};

const GENERIC: Row = Row::family(Group::Generic);

pub const ROWS: &[Row] = &[
    Row {
        name: "del",
        since: "1.0.0",
        arity: -2,
        flags: Flags::of(&[Write]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::all_from(1, 1, &[Rm, Delete])],
        arguments: &[Argument::key("key", 0).multiple()],
        summary: "Removes keys.",
        complexity: "O(1) for each key",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        parse: key::delete,
        ..GENERIC
    },
    Row {
        name: "unlink",
        since: "4.0.0",
        arity: -2,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::all_from(1, 1, &[Rm, Delete])],
        arguments: &[Argument::key("key", 0).multiple()],
        summary: "Removes keys; their memory is given back later.",
        complexity: "O(1) for each key",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        parse: key::delete,
        ..GENERIC
    },
    Row {
        name: "exists",
        since: "1.0.0",
        arity: -2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::all_from(1, 1, &[Ro])],
        arguments: &[Argument::key("key", 0).multiple()],
        summary: "Counts how many of the given keys exist.",
        complexity: "O(1) for each key",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        parse: key::exists,
        ..GENERIC
    },
    Row {
        name: "type",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Names the type of the value of a key.",
        complexity: "O(1)",
        parse: key::type_of,
        ..GENERIC
    },
    Row {
        name: "touch",
        since: "3.2.1",
        arity: -2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::all_from(1, 1, &[Ro])],
        arguments: &[Argument::key("key", 0).multiple()],
        summary: "Counts existing keys and marks them as used now.",
        complexity: "O(1) for each key",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        parse: key::touch,
        ..GENERIC
    },
    Row {
        name: "expire",
        since: "1.0.0",
        arity: -3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::integer("seconds"),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .since("7.0.0")
            .optional(),
        ],
        summary: "Lets a key expire after some seconds.",
        complexity: "O(1)",
        parse: key::expire,
        ..GENERIC
    },
    Row {
        name: "pexpire",
        since: "2.6.0",
        arity: -3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::integer("milliseconds"),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .since("7.0.0")
            .optional(),
        ],
        summary: "Lets a key expire after some milliseconds.",
        complexity: "O(1)",
        parse: key::pexpire,
        ..GENERIC
    },
    Row {
        name: "expireat",
        since: "1.2.0",
        arity: -3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::unix_time("unix-time-seconds"),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .since("7.0.0")
            .optional(),
        ],
        summary: "Lets a key expire at a Unix time in seconds.",
        complexity: "O(1)",
        parse: key::expire_at,
        ..GENERIC
    },
    Row {
        name: "pexpireat",
        since: "2.6.0",
        arity: -3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::unix_time("unix-time-milliseconds"),
            Argument::one_of(
                "condition",
                &[
                    Argument::word("nx", "NX"),
                    Argument::word("xx", "XX"),
                    Argument::word("gt", "GT"),
                    Argument::word("lt", "LT"),
                ],
            )
            .since("7.0.0")
            .optional(),
        ],
        summary: "Lets a key expire at a Unix time in milliseconds.",
        complexity: "O(1)",
        parse: key::pexpire_at,
        ..GENERIC
    },
    Row {
        name: "ttl",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells the seconds until a key expires.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: key::ttl,
        ..GENERIC
    },
    Row {
        name: "pttl",
        since: "2.6.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells the milliseconds until a key expires.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: key::pttl,
        ..GENERIC
    },
    Row {
        name: "expiretime",
        since: "7.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells the Unix time in seconds at which a key expires.",
        complexity: "O(1)",
        parse: key::expire_time,
        ..GENERIC
    },
    Row {
        name: "pexpiretime",
        since: "7.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells the Unix time in milliseconds at which a key expires.",
        complexity: "O(1)",
        parse: key::pexpire_time,
        ..GENERIC
    },
    Row {
        name: "persist",
        since: "2.2.0",
        arity: 2,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Update])],
        arguments: &[Argument::key("key", 0)],
        summary: "Lets a key never expire.",
        complexity: "O(1)",
        parse: key::persist,
        ..GENERIC
    },
    Row {
        name: "rename",
        since: "1.0.0",
        arity: 3,
        flags: Flags::of(&[Write]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Access, Delete]), KeySpec::at(2, &[Ow, Update])],
        arguments: &[Argument::key("key", 0), Argument::key("newkey", 1)],
        summary: "Gives a key another name, over whatever had it.",
        complexity: "O(1)",
        parse: key::rename,
        ..GENERIC
    },
    Row {
        name: "renamenx",
        since: "1.0.0",
        arity: 3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Rw, Access, Delete]), KeySpec::at(2, &[Ow, Insert])],
        arguments: &[Argument::key("key", 0), Argument::key("newkey", 1)],
        summary: "Gives a key another name unless that is taken.",
        complexity: "O(1)",
        parse: key::rename_if_absent,
        ..GENERIC
    },
    Row {
        name: "copy",
        since: "6.2.0",
        arity: -3,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(1, &[Ro, Access]), KeySpec::at(2, &[Ow, Update])],
        arguments: &[
            Argument::key("source", 0),
            Argument::key("destination", 1),
            Argument::integer("destination-db").token("DB").optional(),
            Argument::word("replace", "REPLACE").optional(),
        ],
        summary: "Copies the value of a key to another key.",
        complexity: "O(N) in the size of the value",
        parse: key::copy,
        ..GENERIC
    },
    Row {
        name: "randomkey",
        since: "1.0.0",
        arity: 1,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace],
        summary: "Returns some key of the database.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        parse: key::random,
        ..GENERIC
    },
    Row {
        name: "keys",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace, Category::Dangerous],
        arguments: &[Argument::pattern("pattern")],
        summary: "Returns all keys that match a pattern.",
        complexity: "O(N) in the keys of the database",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        parse: key::matching,
        ..GENERIC
    },
    Row {
        name: "scan",
        since: "2.8.0",
        arity: -2,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace],
        arguments: &[
            Argument::integer("cursor"),
            Argument::pattern("pattern").token("MATCH").optional(),
            Argument::integer("count").token("COUNT").optional(),
            Argument::string("type").token("TYPE").since("6.0.0").optional(),
        ],
        summary: "Walks through the keys of the database in steps.",
        complexity: "O(1) for each call; O(N) for a whole iteration",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        parse: key::scan,
        ..GENERIC
    },
    Row {
        name: "object",
        since: "2.2.3",
        arity: -2,
        summary: "Looks at how a value is kept.",
        complexity: "Depends on the sub-command",
        ..GENERIC
    },
    Row {
        name: "encoding",
        container: Some("object"),
        since: "2.2.3",
        arity: 3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(2, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Names the encoding of a value.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: key::object_encoding,
        ..GENERIC
    },
    Row {
        name: "refcount",
        container: Some("object"),
        since: "2.2.3",
        arity: 3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(2, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells how many references a value has.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: key::object_refcount,
        ..GENERIC
    },
    Row {
        name: "idletime",
        container: Some("object"),
        since: "2.2.3",
        arity: 3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(2, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells the seconds since a key was used.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: key::object_idletime,
        ..GENERIC
    },
    Row {
        name: "freq",
        container: Some("object"),
        since: "4.0.0",
        arity: 3,
        flags: Flags::of(&[Readonly]),
        acl: &[Category::Keyspace],
        keys: &[KeySpec::at(2, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Tells how often a key is used, where that is counted.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: key::object_freq,
        ..GENERIC
    },
    Row {
        name: "help",
        container: Some("object"),
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Keyspace],
        summary: "Lists the sub-commands of OBJECT.",
        complexity: "O(1)",
        parse: key::object_help,
        ..GENERIC
    },
];
