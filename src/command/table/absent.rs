//! Features that this server lacks, with fixed replies: modules, scripts, functions, a cluster. Facts as of
//! Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::server;
use crate::command::spec::Flag::{Admin, AllowBusy, Fast, Loading, NoScript, Stale, Write};
use crate::command::spec::{Argument, Category, Flags, Group, Row};

const CLUSTER: Row = Row::family(Group::Cluster);
const SCRIPTING: Row = Row::family(Group::Scripting);
const SERVER: Row = Row::family(Group::Server);

pub const ROWS: &[Row] = &[
    Row {
        name: "module",
        since: "4.0.0",
        arity: -2,
        summary: "Inspects modules: there are none.",
        complexity: "Depends on the sub-command",
        ..SERVER
    },
    Row {
        name: "list",
        container: Some("module"),
        since: "4.0.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript]),
        summary: "Lists the modules: none.",
        complexity: "O(1)",
        tips: &["nondeterministic_output_order"],
        parse: server::module_list,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("module"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of MODULE.",
        complexity: "O(1)",
        parse: server::module_help,
        ..SERVER
    },
    Row {
        name: "script",
        since: "2.6.0",
        arity: -2,
        summary: "Inspects scripts: there are none.",
        complexity: "Depends on the sub-command",
        ..SCRIPTING
    },
    Row {
        name: "flush",
        container: Some("script"),
        since: "2.6.0",
        arity: -2,
        flags: Flags::of(&[NoScript]),
        acl: &[Category::Scripting],
        arguments: &[Argument::one_of(
            "flush-type",
            &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")],
        )
        .since("6.2.0")
        .optional()],
        summary: "Removes all scripts: there are none.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: server::script_flush,
        ..SCRIPTING
    },
    Row {
        name: "exists",
        container: Some("script"),
        since: "2.6.0",
        arity: -3,
        flags: Flags::of(&[NoScript]),
        acl: &[Category::Scripting],
        arguments: &[Argument::string("sha1").multiple()],
        summary: "Checks which scripts exist: none.",
        complexity: "O(1) for each script",
        tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
        parse: server::script_exists,
        ..SCRIPTING
    },
    Row {
        name: "help",
        container: Some("script"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Scripting],
        summary: "Lists the sub-commands of SCRIPT.",
        complexity: "O(1)",
        parse: server::script_help,
        ..SCRIPTING
    },
    Row {
        name: "function",
        since: "7.0.0",
        arity: -2,
        summary: "Inspects functions: there are none.",
        complexity: "Depends on the sub-command",
        ..SCRIPTING
    },
    Row {
        name: "flush",
        container: Some("function"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[Write, NoScript]),
        acl: &[Category::Scripting],
        arguments: &[Argument::one_of(
            "flush-type",
            &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")],
        )
        .optional()],
        summary: "Removes all functions: there are none.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        parse: server::function_flush,
        ..SCRIPTING
    },
    Row {
        name: "list",
        container: Some("function"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[NoScript]),
        acl: &[Category::Scripting],
        arguments: &[
            Argument::string("library-name-pattern").token("LIBRARYNAME").optional(),
            Argument::word("withcode", "WITHCODE").optional(),
        ],
        summary: "Lists the functions: none.",
        complexity: "O(1)",
        tips: &["nondeterministic_output_order"],
        parse: server::function_list,
        ..SCRIPTING
    },
    Row {
        name: "stats",
        container: Some("function"),
        since: "7.0.0",
        arity: 2,
        flags: Flags::of(&[NoScript, AllowBusy]),
        acl: &[Category::Scripting],
        summary: "Describes the running function: there is none.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        parse: server::function_stats,
        ..SCRIPTING
    },
    Row {
        name: "help",
        container: Some("function"),
        since: "7.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Scripting],
        summary: "Lists the sub-commands of FUNCTION.",
        complexity: "O(1)",
        parse: server::function_help,
        ..SCRIPTING
    },
    Row {
        name: "cluster",
        since: "3.0.0",
        arity: -2,
        summary: "Inspects and manages the cluster.",
        complexity: "O(1)",
        parse: server::no_cluster,
        ..CLUSTER
    },
    Row {
        name: "readonly",
        since: "3.0.0",
        arity: 1,
        flags: Flags::of(&[Loading, Stale, Fast]),
        acl: &[Category::Connection],
        summary: "Allows reads from a replica.",
        complexity: "O(1)",
        parse: server::no_cluster,
        ..CLUSTER
    },
    Row {
        name: "readwrite",
        since: "3.0.0",
        arity: 1,
        flags: Flags::of(&[Loading, Stale, Fast]),
        acl: &[Category::Connection],
        summary: "Ends READONLY.",
        complexity: "O(1)",
        parse: server::no_cluster,
        ..CLUSTER
    },
    Row {
        name: "asking",
        since: "3.0.0",
        arity: 1,
        flags: Flags::of(&[Fast]),
        acl: &[Category::Connection],
        summary: "Allows the next command for a slot that is being moved here.",
        complexity: "O(1)",
        parse: server::no_cluster,
        ..CLUSTER
    },
];
