//! The server as a whole. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::{debug, introspection, key, server};
use crate::command::spec::Flag::{
    Admin, AllowBusy, Asking, Blocking, DenyOom, Fast, Loading, NoAsyncLoading, NoMulti, NoScript, Protected,
    Readonly, Stale, Write,
};
use crate::command::spec::KeyFlag::{Ow, Ro, Update};
use crate::command::spec::{Argument, Category, Flags, Group, KeySpec, Row};

const GENERIC: Row = Row::family(Group::Generic);
const SERVER: Row = Row::family(Group::Server);

pub const ROWS: &[Row] = &[
    Row {
        name: "command",
        since: "2.8.13",
        arity: -1,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Describes all commands.",
        complexity: "O(N) in the commands",
        tips: &["nondeterministic_output_order"],
        parse: introspection::all,
        ..SERVER
    },
    Row {
        name: "count",
        container: Some("command"),
        since: "2.8.13",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Counts the commands.",
        complexity: "O(1)",
        parse: introspection::count,
        ..SERVER
    },
    Row {
        name: "info",
        container: Some("command"),
        since: "2.8.13",
        arity: -2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("command-name").optional().multiple()],
        summary: "Describes commands.",
        complexity: "O(1) for each command",
        tips: &["nondeterministic_output_order"],
        parse: introspection::info,
        ..SERVER
    },
    Row {
        name: "docs",
        container: Some("command"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("command-name").optional().multiple()],
        summary: "Documents commands.",
        complexity: "O(1) for each command",
        tips: &["nondeterministic_output_order"],
        parse: introspection::docs,
        ..SERVER
    },
    Row {
        name: "list",
        container: Some("command"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of(
            "filterby",
            &[
                Argument::string("module-name").token("MODULE"),
                Argument::string("category").token("ACLCAT"),
                Argument::pattern("pattern").token("PATTERN"),
            ],
        )
        .token("FILTERBY")
        .optional()],
        summary: "Lists the names of commands.",
        complexity: "O(N) in the commands",
        tips: &["nondeterministic_output_order"],
        parse: introspection::list,
        ..SERVER
    },
    Row {
        name: "getkeys",
        container: Some("command"),
        since: "2.8.13",
        arity: -3,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("command"), Argument::string("arg").optional().multiple()],
        summary: "Finds the keys in a command.",
        complexity: "O(N) in the arguments",
        parse: introspection::get_keys,
        ..SERVER
    },
    Row {
        name: "getkeysandflags",
        container: Some("command"),
        since: "7.0.0",
        arity: -3,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("command"), Argument::string("arg").optional().multiple()],
        summary: "Finds the keys in a command, and its access to them.",
        complexity: "O(N) in the arguments",
        parse: introspection::get_keys_and_flags,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("command"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Lists the sub-commands of COMMAND.",
        complexity: "O(1)",
        parse: introspection::help,
        ..SERVER
    },
    Row {
        name: "config",
        since: "2.0.0",
        arity: -2,
        summary: "Reads and changes settings.",
        complexity: "Depends on the sub-command",
        ..SERVER
    },
    Row {
        name: "get",
        container: Some("config"),
        since: "2.0.0",
        arity: -3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("parameter").multiple()],
        summary: "Returns settings.",
        complexity: "O(N) in the settings",
        parse: server::config_get,
        ..SERVER
    },
    Row {
        name: "set",
        container: Some("config"),
        since: "2.0.0",
        arity: -4,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[
            Argument::block("data", &[Argument::string("parameter"), Argument::string("value")]).multiple()
        ],
        summary: "Changes settings.",
        complexity: "O(N) in the given settings",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: server::config_set,
        ..SERVER
    },
    Row {
        name: "resetstat",
        container: Some("config"),
        since: "2.0.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Resets the counters of INFO.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: server::config_reset_statistics,
        ..SERVER
    },
    Row {
        name: "rewrite",
        container: Some("config"),
        since: "2.8.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Writes the settings to the configuration file.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: server::config_rewrite,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("config"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of CONFIG.",
        complexity: "O(1)",
        parse: server::config_help,
        ..SERVER
    },
    Row {
        name: "info",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Dangerous],
        arguments: &[Argument::string("section").optional().multiple()],
        summary: "Describes the server.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        parse: server::info,
        ..SERVER
    },
    Row {
        name: "time",
        since: "2.6.0",
        arity: 1,
        flags: Flags::of(&[Loading, Stale, Fast]),
        summary: "Returns the time of the server.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: server::time,
        ..SERVER
    },
    Row {
        name: "dbsize",
        since: "1.0.0",
        arity: 1,
        flags: Flags::of(&[Readonly, Fast]),
        acl: &[Category::Keyspace],
        summary: "Counts the keys of the database.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        parse: server::db_size,
        ..SERVER
    },
    Row {
        name: "flushall",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[Write]),
        acl: &[Category::Keyspace, Category::Dangerous],
        arguments: &[Argument::one_of(
            "flush-type",
            &[Argument::word("async", "ASYNC").since("4.0.0"), Argument::word("sync", "SYNC").since("6.2.0")],
        )
        .optional()],
        summary: "Removes all keys of all databases.",
        complexity: "O(N) in all keys",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        parse: server::flush_all,
        ..SERVER
    },
    Row {
        name: "flushdb",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[Write]),
        acl: &[Category::Keyspace, Category::Dangerous],
        arguments: &[Argument::one_of(
            "flush-type",
            &[Argument::word("async", "ASYNC").since("4.0.0"), Argument::word("sync", "SYNC").since("6.2.0")],
        )
        .optional()],
        summary: "Removes all keys of the database.",
        complexity: "O(N) in the keys of the database",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        parse: server::flush_db,
        ..SERVER
    },
    Row {
        name: "swapdb",
        since: "4.0.0",
        arity: 3,
        flags: Flags::of(&[Write, Fast]),
        acl: &[Category::Keyspace, Category::Dangerous],
        arguments: &[Argument::integer("index1"), Argument::integer("index2")],
        summary: "Swaps two databases.",
        complexity: "O(1)",
        parse: server::swap_db,
        ..SERVER
    },
    Row {
        name: "restore-asking",
        since: "3.0.0",
        arity: -4,
        flags: Flags::of(&[Write, DenyOom, Asking]),
        acl: &[Category::Keyspace, Category::Dangerous],
        keys: &[KeySpec::at(1, &[Ow, Update])],
        arguments: &[
            Argument::key("key", 0),
            Argument::integer("ttl"),
            Argument::string("serialized-value"),
            Argument::word("replace", "REPLACE").since("3.0.0").optional(),
            Argument::word("absttl", "ABSTTL").since("5.0.0").optional(),
            Argument::integer("seconds").token("IDLETIME").since("5.0.0").optional(),
            Argument::integer("frequency").token("FREQ").since("5.0.0").optional(),
        ],
        summary: "Same as RESTORE; used by tools that move slots.",
        complexity: "O(N) in the size of the value",
        parse: key::restore,
        ..SERVER
    },
    Row {
        name: "debug",
        since: "1.0.0",
        arity: -2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale, Protected]),
        summary: "Supports tests.",
        complexity: "Depends on the sub-command",
        parse: debug::debug,
        ..SERVER
    },
    Row {
        name: "shutdown",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale, NoMulti, AllowBusy]),
        arguments: &[
            Argument::one_of(
                "save-selector",
                &[Argument::word("nosave", "NOSAVE"), Argument::word("save", "SAVE")],
            )
            .optional(),
            Argument::word("now", "NOW").since("7.0.0").optional(),
            Argument::word("force", "FORCE").since("7.0.0").optional(),
            Argument::word("abort", "ABORT").since("7.0.0").optional(),
        ],
        summary: "Stops the server.",
        complexity: "O(1)",
        parse: server::shutdown,
        ..SERVER
    },
    Row {
        name: "save",
        since: "1.0.0",
        arity: 1,
        flags: Flags::of(&[Admin, NoScript, NoAsyncLoading, NoMulti]),
        summary: "Writes a checkpoint and waits for it.",
        complexity: "O(N) in the changed keys",
        parse: server::save,
        ..SERVER
    },
    Row {
        name: "bgsave",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[Admin, NoScript, NoAsyncLoading]),
        arguments: &[Argument::word("schedule", "SCHEDULE").since("3.2.2").optional()],
        summary: "Starts a checkpoint.",
        complexity: "O(1)",
        parse: server::background_save,
        ..SERVER
    },
    Row {
        name: "bgrewriteaof",
        since: "1.0.0",
        arity: 1,
        flags: Flags::of(&[Admin, NoScript, NoAsyncLoading]),
        summary: "Starts a checkpoint, which shortens the journal.",
        complexity: "O(1)",
        parse: server::background_rewrite,
        ..SERVER
    },
    Row {
        name: "lastsave",
        since: "1.0.0",
        arity: 1,
        flags: Flags::of(&[Loading, Stale, Fast]),
        acl: &[Category::Admin, Category::Dangerous],
        summary: "Returns the Unix time of the last checkpoint.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: server::last_save,
        ..SERVER
    },
    Row {
        name: "role",
        since: "2.8.12",
        arity: 1,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast]),
        acl: &[Category::Admin, Category::Dangerous],
        summary: "Returns the server's role in replication.",
        complexity: "O(1)",
        parse: server::role,
        ..SERVER
    },
    Row {
        name: "wait",
        since: "3.0.0",
        arity: 3,
        flags: Flags::of(&[Blocking]),
        acl: &[Category::Connection],
        arguments: &[Argument::integer("numreplicas"), Argument::integer("timeout")],
        summary: "Waits until replicas have the connection's writes.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        parse: server::wait,
        ..GENERIC
    },
    Row {
        name: "waitaof",
        since: "7.2.0",
        arity: 4,
        flags: Flags::of(&[Blocking]),
        acl: &[Category::Connection],
        arguments: &[
            Argument::integer("numlocal"),
            Argument::integer("numreplicas"),
            Argument::integer("timeout"),
        ],
        summary: "Waits until the connection's writes are on disk, here and on replicas.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        parse: server::wait_aof,
        ..GENERIC
    },
    Row {
        name: "memory",
        since: "4.0.0",
        arity: -2,
        summary: "Inspects memory.",
        complexity: "Depends on the sub-command",
        ..SERVER
    },
    Row {
        name: "usage",
        container: Some("memory"),
        since: "4.0.0",
        arity: -3,
        flags: Flags::of(&[Readonly]),
        keys: &[KeySpec::at(2, &[Ro])],
        arguments: &[Argument::key("key", 0), Argument::integer("count").token("SAMPLES").optional()],
        summary: "Estimates the memory of a key.",
        complexity: "O(1)",
        parse: server::memory_usage,
        ..SERVER
    },
    Row {
        name: "doctor",
        container: Some("memory"),
        since: "4.0.0",
        arity: 2,
        summary: "Reports memory problems.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        parse: server::memory_doctor,
        ..SERVER
    },
    Row {
        name: "stats",
        container: Some("memory"),
        since: "4.0.0",
        arity: 2,
        summary: "Describes the use of memory.",
        complexity: "O(N) in the clients",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        parse: server::memory_stats,
        ..SERVER
    },
    Row {
        name: "purge",
        container: Some("memory"),
        since: "4.0.0",
        arity: 2,
        summary: "Returns unused memory to the system.",
        complexity: "Depends on how much that is",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        parse: server::memory_purge,
        ..SERVER
    },
    Row {
        name: "malloc-stats",
        container: Some("memory"),
        since: "4.0.0",
        arity: 2,
        summary: "Returns the allocator's statistics.",
        complexity: "O(N) in the clients",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        parse: server::memory_malloc_stats,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("memory"),
        since: "4.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of MEMORY.",
        complexity: "O(1)",
        parse: server::memory_help,
        ..SERVER
    },
    Row {
        name: "lolwut",
        since: "5.0.0",
        arity: -1,
        flags: Flags::of(&[Readonly, Fast]),
        arguments: &[Argument::integer("version").token("VERSION").optional()],
        summary: "Shows the name of the server.",
        complexity: "O(1)",
        parse: server::lolwut,
        ..SERVER
    },
];
