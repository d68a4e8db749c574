//! Strings. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::string;
use crate::command::spec::Flag::{DenyOom, Fast, Readonly, Write};
use crate::command::spec::KeyFlag::{Access, Delete, Insert, Ow, Ro, Rw, Update, VariableFlags};
use crate::command::spec::{Argument, Category, Flags, Group, KeySpec, Row};

const STRING: Row = Row::family(Group::String);

pub const ROWS: &[Row] = &[
    Row {
        name: "get",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Ro, Access])],
        arguments: &[Argument::key("key", 0)],
        summary: "Returns the value of a key.",
        complexity: "O(1)",
        parse: string::get,
        ..STRING
    },
    Row {
        name: "set",
        since: "1.0.0",
        arity: -3,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update, VariableFlags])],
        arguments: &[
            Argument::key("key", 0),
            Argument::string("value"),
            Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")])
                .since("2.6.12")
                .optional(),
            Argument::word("get", "GET").since("6.2.0").optional(),
            Argument::one_of(
                "expiration",
                &[
                    Argument::integer("seconds").token("EX").since("2.6.12"),
                    Argument::integer("milliseconds").token("PX").since("2.6.12"),
                    Argument::unix_time("unix-time-seconds").token("EXAT").since("6.2.0"),
                    Argument::unix_time("unix-time-milliseconds").token("PXAT").since("6.2.0"),
                    Argument::word("keepttl", "KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ],
        summary: "Sets the value of a key, with optional conditions and expiry.",
        complexity: "O(1)",
        parse: string::set,
        ..STRING
    },
    Row {
        name: "setnx",
        since: "1.0.0",
        arity: 3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Ow, Insert])],
        arguments: &[Argument::key("key", 0), Argument::string("value")],
        summary: "Sets the value of a key, unless the key exists.",
        complexity: "O(1)",
        deprecated: Some(("2.6.12", "`SET` with `NX`")),
        parse: string::set_if_absent,
        ..STRING
    },
    Row {
        name: "setex",
        since: "2.0.0",
        arity: 4,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Ow, Update])],
        arguments: &[Argument::key("key", 0), Argument::integer("seconds"), Argument::string("value")],
        summary: "Sets the value of a key and its expiry in seconds.",
        complexity: "O(1)",
        deprecated: Some(("2.6.12", "`SET` with `EX`")),
        parse: string::setex,
        ..STRING
    },
    Row {
        name: "psetex",
        since: "2.6.0",
        arity: 4,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Ow, Update])],
        arguments: &[Argument::key("key", 0), Argument::integer("milliseconds"), Argument::string("value")],
        summary: "Sets the value of a key and its expiry in milliseconds.",
        complexity: "O(1)",
        deprecated: Some(("2.6.12", "`SET` with `PX`")),
        parse: string::psetex,
        ..STRING
    },
    Row {
        name: "getset",
        since: "1.0.0",
        arity: 3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[Argument::key("key", 0), Argument::string("value")],
        summary: "Sets the value of a key and returns the previous one.",
        complexity: "O(1)",
        deprecated: Some(("6.2.0", "`SET` with `GET`")),
        parse: string::get_set,
        ..STRING
    },
    Row {
        name: "getdel",
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Delete])],
        arguments: &[Argument::key("key", 0)],
        summary: "Returns the value of a key and removes the key.",
        complexity: "O(1)",
        parse: string::get_delete,
        ..STRING
    },
    Row {
        name: "getex",
        since: "6.2.0",
        arity: -2,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::one_of(
                "expiration",
                &[
                    Argument::integer("seconds").token("EX"),
                    Argument::integer("milliseconds").token("PX"),
                    Argument::unix_time("unix-time-seconds").token("EXAT"),
                    Argument::unix_time("unix-time-milliseconds").token("PXAT"),
                    Argument::word("persist", "PERSIST"),
                ],
            )
            .optional(),
        ],
        summary: "Returns the value of a key and changes its expiry.",
        complexity: "O(1)",
        parse: string::get_expire,
        ..STRING
    },
    Row {
        name: "mget",
        since: "1.0.0",
        arity: -2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::all_from(1, 1, &[Ro, Access])],
        arguments: &[Argument::key("key", 0).multiple()],
        summary: "Returns the values of several keys.",
        complexity: "O(1) for each key",
        tips: &["request_policy:multi_shard"],
        parse: string::get_many,
        ..STRING
    },
    Row {
        name: "mset",
        since: "1.0.1",
        arity: -3,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::String],
        keys: &[KeySpec::all_from(1, 2, &[Ow, Update])],
        arguments: &[
            Argument::block("data", &[Argument::key("key", 0), Argument::string("value")]).multiple()
        ],
        summary: "Sets several keys at once.",
        complexity: "O(1) for each key",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        parse: string::set_many,
        ..STRING
    },
    Row {
        name: "msetnx",
        since: "1.0.1",
        arity: -3,
        flags: Flags::of(&[Write, DenyOom]),
        acl: &[Category::String],
        keys: &[KeySpec::all_from(1, 2, &[Ow, Insert])],
        arguments: &[
            Argument::block("data", &[Argument::key("key", 0), Argument::string("value")]).multiple()
        ],
        summary: "Sets several keys at once, or none if one of them exists.",
        complexity: "O(1) for each key",
        parse: string::set_many_if_absent,
        ..STRING
    },
    Row {
        name: "append",
        since: "2.0.0",
        arity: 3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Insert])],
        arguments: &[Argument::key("key", 0), Argument::string("value")],
        summary: "Appends bytes to a value.",
        complexity: "O(1) for each added byte",
        parse: string::append,
        ..STRING
    },
    Row {
        name: "strlen",
        since: "2.2.0",
        arity: 2,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Ro])],
        arguments: &[Argument::key("key", 0)],
        summary: "Returns the length of a value.",
        complexity: "O(1)",
        parse: string::length,
        ..STRING
    },
    Row {
        name: "incr",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[Argument::key("key", 0)],
        summary: "Adds one to an integer value.",
        complexity: "O(1)",
        parse: string::increment,
        ..STRING
    },
    Row {
        name: "decr",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[Argument::key("key", 0)],
        summary: "Subtracts one from an integer value.",
        complexity: "O(1)",
        parse: string::decrement,
        ..STRING
    },
    Row {
        name: "incrby",
        since: "1.0.0",
        arity: 3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[Argument::key("key", 0), Argument::integer("increment")],
        summary: "Adds to an integer value.",
        complexity: "O(1)",
        parse: string::increment_by,
        ..STRING
    },
    Row {
        name: "decrby",
        since: "1.0.0",
        arity: 3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[Argument::key("key", 0), Argument::integer("decrement")],
        summary: "Subtracts from an integer value.",
        complexity: "O(1)",
        parse: string::decrement_by,
        ..STRING
    },
    Row {
        name: "incrbyfloat",
        since: "2.6.0",
        arity: 3,
        flags: Flags::of(&[Write, DenyOom, Fast]),
        acl: &[Category::String],
        keys: &[KeySpec::at(1, &[Rw, Access, Update])],
        arguments: &[Argument::key("key", 0), Argument::double("increment")],
        summary: "Adds to a floating point value.",
        complexity: "O(1)",
        parse: string::increment_float,
        ..STRING
    },
];
