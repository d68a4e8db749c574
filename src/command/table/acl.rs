//! Users and their permissions. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::acl;
use crate::command::spec::Flag::{Admin, Loading, NoScript, Stale};
use crate::command::spec::{Argument, Flags, Group, Row};

const SERVER: Row = Row::family(Group::Server);

pub const ROWS: &[Row] = &[
    Row {
        name: "acl",
        since: "6.0.0",
        arity: -2,
        summary: "Manages users and their permissions.",
        complexity: "Depends on the sub-command",
        ..SERVER
    },
    Row {
        name: "cat",
        container: Some("acl"),
        since: "6.0.0",
        arity: -2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        arguments: &[Argument::string("category").optional()],
        summary: "Lists the categories of commands, or the commands of one.",
        complexity: "O(1), or O(N) in the commands",
        parse: acl::categories,
        ..SERVER
    },
    Row {
        name: "deluser",
        container: Some("acl"),
        since: "6.0.0",
        arity: -3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("username").multiple()],
        summary: "Deletes users and closes their connections.",
        complexity: "O(1) for each user, and O(N) in the connections",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: acl::delete_users,
        ..SERVER
    },
    Row {
        name: "dryrun",
        container: Some("acl"),
        since: "7.0.0",
        arity: -4,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[
            Argument::string("username"),
            Argument::string("command"),
            Argument::string("arg").optional().multiple(),
        ],
        summary: "Checks whether a user may send a request, without executing it.",
        complexity: "O(1)",
        parse: acl::dry_run,
        ..SERVER
    },
    Row {
        name: "genpass",
        container: Some("acl"),
        since: "6.0.0",
        arity: -2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        arguments: &[Argument::integer("bits").optional()],
        summary: "Generates a random password.",
        complexity: "O(1)",
        parse: acl::generate_password,
        ..SERVER
    },
    Row {
        name: "getuser",
        container: Some("acl"),
        since: "6.0.0",
        arity: 3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("username")],
        summary: "Describes a user field by field.",
        complexity: "O(N) in the rules of the user",
        parse: acl::get_user,
        ..SERVER
    },
    Row {
        name: "list",
        container: Some("acl"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Describes all users in the format of the users file.",
        complexity: "O(N) in the users",
        parse: acl::list_users,
        ..SERVER
    },
    Row {
        name: "load",
        container: Some("acl"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Reads the users from the users file.",
        complexity: "O(N) in the users",
        parse: acl::load,
        ..SERVER
    },
    Row {
        name: "log",
        container: Some("acl"),
        since: "6.0.0",
        arity: -2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::one_of(
            "operation",
            &[Argument::integer("count"), Argument::word("reset", "RESET")],
        )
        .optional()],
        summary: "Lists recent denials, or clears them.",
        complexity: "O(N) in the entries shown",
        parse: acl::log,
        ..SERVER
    },
    Row {
        name: "save",
        container: Some("acl"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Writes the users to the users file.",
        complexity: "O(N) in the users",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: acl::save,
        ..SERVER
    },
    Row {
        name: "setuser",
        container: Some("acl"),
        since: "6.0.0",
        arity: -3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("username"), Argument::string("rule").optional().multiple()],
        summary: "Creates a user, or changes its rules.",
        complexity: "O(N) in the rules, and O(N) in the connections",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: acl::set_user,
        ..SERVER
    },
    Row {
        name: "users",
        container: Some("acl"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Lists the names of the users.",
        complexity: "O(N) in the users",
        parse: acl::users,
        ..SERVER
    },
    Row {
        name: "whoami",
        container: Some("acl"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        summary: "Returns the name of the user of this connection.",
        complexity: "O(1)",
        parse: acl::who_am_i,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("acl"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of ACL.",
        complexity: "O(1)",
        parse: acl::help,
        ..SERVER
    },
];
