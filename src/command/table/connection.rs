//! The connection, and CLIENT. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::{client, connection};
use crate::command::spec::Flag::{
    Admin, AllowBusy, Fast, ImmediateInMulti, Loading, NoAuth, NoScript, Stale, WhileSubscribed,
};
use crate::command::spec::{Argument, Category, Flags, Group, Row};

const CONNECTION: Row = Row::family(Group::Connection);

pub const ROWS: &[Row] = &[
    Row {
        name: "hello",
        since: "6.0.0",
        arity: -1,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy]),
        acl: &[Category::Connection],
        arguments: &[Argument::block(
            "arguments",
            &[
                Argument::integer("protover"),
                Argument::block("auth", &[Argument::string("username"), Argument::string("password")])
                    .token("AUTH")
                    .optional(),
                Argument::string("clientname").token("SETNAME").optional(),
            ],
        )
        .optional()],
        summary: "Selects the protocol version; optionally authenticates and names the connection.",
        complexity: "O(1)",
        parse: connection::hello,
        ..CONNECTION
    },
    Row {
        name: "auth",
        since: "1.0.0",
        arity: -2,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("username").since("6.0.0").optional(), Argument::string("password")],
        summary: "Authenticates the connection.",
        complexity: "O(1)",
        parse: connection::auth,
        ..CONNECTION
    },
    Row {
        name: "ping",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[Fast, WhileSubscribed]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("message").optional()],
        summary: "Replies, to show that the server is alive.",
        complexity: "O(1)",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        parse: connection::ping,
        ..CONNECTION
    },
    Row {
        name: "echo",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale, Fast]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("message")],
        summary: "Returns its argument.",
        complexity: "O(1)",
        parse: connection::echo,
        ..CONNECTION
    },
    Row {
        name: "select",
        since: "1.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale, Fast]),
        acl: &[Category::Connection],
        arguments: &[Argument::integer("index")],
        summary: "Changes the database of the connection.",
        complexity: "O(1)",
        parse: connection::select,
        ..CONNECTION
    },
    Row {
        name: "quit",
        since: "1.0.0",
        arity: -1,
        flags: Flags::of(&[
            NoScript,
            Loading,
            Stale,
            Fast,
            NoAuth,
            AllowBusy,
            ImmediateInMulti,
            WhileSubscribed,
        ]),
        acl: &[Category::Connection],
        summary: "Closes the connection.",
        complexity: "O(1)",
        deprecated: Some(("7.2.0", "just closing the connection")),
        parse: connection::quit,
        ..CONNECTION
    },
    Row {
        name: "reset",
        since: "6.2.0",
        arity: 1,
        flags: Flags::of(&[
            NoScript,
            Loading,
            Stale,
            Fast,
            NoAuth,
            AllowBusy,
            ImmediateInMulti,
            WhileSubscribed,
        ]),
        acl: &[Category::Connection],
        summary: "Resets the connection to its initial state.",
        complexity: "O(1)",
        parse: connection::reset,
        ..CONNECTION
    },
    Row {
        name: "client",
        since: "2.4.0",
        arity: -2,
        summary: "Inspects and manages connections.",
        complexity: "Depends on the sub-command",
        ..CONNECTION
    },
    Row {
        name: "id",
        container: Some("client"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Returns the id of the connection.",
        complexity: "O(1)",
        parse: client::id,
        ..CONNECTION
    },
    Row {
        name: "info",
        container: Some("client"),
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Describes the connection.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        parse: client::info,
        ..CONNECTION
    },
    Row {
        name: "list",
        container: Some("client"),
        since: "2.4.0",
        arity: -2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[
            Argument::one_of(
                "client-type",
                &[
                    Argument::word("normal", "NORMAL"),
                    Argument::word("master", "MASTER"),
                    Argument::word("replica", "REPLICA"),
                    Argument::word("pubsub", "PUBSUB"),
                ],
            )
            .token("TYPE")
            .since("5.0.0")
            .optional(),
            Argument::integer("client-id").token("ID").since("6.2.0").optional().multiple(),
        ],
        summary: "Describes all connections, or some.",
        complexity: "O(N) in the connections",
        tips: &["nondeterministic_output"],
        parse: client::list,
        ..CONNECTION
    },
    Row {
        name: "getname",
        container: Some("client"),
        since: "2.6.9",
        arity: 2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Returns the name of the connection.",
        complexity: "O(1)",
        parse: client::get_name,
        ..CONNECTION
    },
    Row {
        name: "setname",
        container: Some("client"),
        since: "2.6.9",
        arity: 3,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::string("connection-name")],
        summary: "Names the connection.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: client::set_name,
        ..CONNECTION
    },
    Row {
        name: "setinfo",
        container: Some("client"),
        since: "7.2.0",
        arity: 4,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of(
            "attr",
            &[Argument::string("libname").token("LIB-NAME"), Argument::string("libver").token("LIB-VER")],
        )],
        summary: "Sets the name or version of the client's library.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: client::set_info,
        ..CONNECTION
    },
    Row {
        name: "kill",
        container: Some("client"),
        since: "2.4.0",
        arity: -3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of(
            "filter",
            &[
                Argument::string("old-format"),
                Argument::one_of(
                    "new-format",
                    &[
                        Argument::integer("client-id").token("ID").since("2.8.12").optional(),
                        Argument::one_of(
                            "client-type",
                            &[
                                Argument::word("normal", "NORMAL"),
                                Argument::word("master", "MASTER").since("3.2.0"),
                                Argument::word("slave", "SLAVE"),
                                Argument::word("replica", "REPLICA").since("5.0.0"),
                                Argument::word("pubsub", "PUBSUB"),
                            ],
                        )
                        .token("TYPE")
                        .since("2.8.12")
                        .optional(),
                        Argument::string("username").token("USER").optional(),
                        Argument::string("addr").token("ADDR").optional(),
                        Argument::string("laddr").token("LADDR").since("6.2.0").optional(),
                        Argument::one_of(
                            "skipme",
                            &[Argument::word("yes", "YES"), Argument::word("no", "NO")],
                        )
                        .token("SKIPME")
                        .optional(),
                        Argument::integer("maxage").token("MAXAGE").since("7.4.0").optional(),
                    ],
                )
                .multiple(),
            ],
        )],
        summary: "Closes connections.",
        complexity: "O(N) in the connections",
        parse: client::kill,
        ..CONNECTION
    },
    Row {
        name: "reply",
        container: Some("client"),
        since: "3.2.0",
        arity: 3,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of(
            "action",
            &[Argument::word("on", "ON"), Argument::word("off", "OFF"), Argument::word("skip", "SKIP")],
        )],
        summary: "Turns replies off and on.",
        complexity: "O(1)",
        parse: client::reply,
        ..CONNECTION
    },
    Row {
        name: "unblock",
        container: Some("client"),
        since: "5.0.0",
        arity: -3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[
            Argument::integer("client-id"),
            Argument::one_of(
                "unblock-type",
                &[Argument::word("timeout", "TIMEOUT"), Argument::word("error", "ERROR")],
            )
            .optional(),
        ],
        summary: "Unblocks another connection.",
        complexity: "O(1)",
        parse: client::unblock,
        ..CONNECTION
    },
    Row {
        name: "no-evict",
        container: Some("client"),
        since: "7.0.0",
        arity: 3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of(
            "enabled",
            &[Argument::word("on", "ON"), Argument::word("off", "OFF")],
        )],
        summary: "Exempts the connection from eviction.",
        complexity: "O(1)",
        parse: client::no_evict,
        ..CONNECTION
    },
    Row {
        name: "no-touch",
        container: Some("client"),
        since: "7.2.0",
        arity: 3,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of(
            "enabled",
            &[Argument::word("on", "ON"), Argument::word("off", "OFF")],
        )],
        summary: "Stops the connection's reads from counting as use of keys.",
        complexity: "O(1)",
        parse: client::no_touch,
        ..CONNECTION
    },
    Row {
        name: "pause",
        container: Some("client"),
        since: "3.0.0",
        arity: -3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[
            Argument::integer("timeout"),
            Argument::one_of("mode", &[Argument::word("write", "WRITE"), Argument::word("all", "ALL")])
                .since("6.2.0")
                .optional(),
        ],
        summary: "Suspends the commands of all clients for a time.",
        complexity: "O(1)",
        parse: client::pause,
        ..CONNECTION
    },
    Row {
        name: "unpause",
        container: Some("client"),
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Ends a pause.",
        complexity: "O(N) in the paused connections",
        parse: client::unpause,
        ..CONNECTION
    },
    Row {
        name: "getredir",
        container: Some("client"),
        since: "6.0.0",
        arity: 2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Returns the connection that receives the tracking messages.",
        complexity: "O(1)",
        parse: client::get_redirection,
        ..CONNECTION
    },
    Row {
        name: "caching",
        container: Some("client"),
        since: "6.0.0",
        arity: 3,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[Argument::one_of("mode", &[Argument::word("yes", "YES"), Argument::word("no", "NO")])],
        summary: "Includes the keys of the next command in tracking, or excludes them.",
        complexity: "O(1)",
        parse: client::caching,
        ..CONNECTION
    },
    Row {
        name: "tracking",
        container: Some("client"),
        since: "6.0.0",
        arity: -3,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        arguments: &[
            Argument::one_of("status", &[Argument::word("on", "ON"), Argument::word("off", "OFF")]),
            Argument::integer("client-id").token("REDIRECT").optional(),
            Argument::string("prefix").token("PREFIX").optional().multiple_with_token(),
            Argument::word("bcast", "BCAST").optional(),
            Argument::word("optin", "OPTIN").optional(),
            Argument::word("optout", "OPTOUT").optional(),
            Argument::word("noloop", "NOLOOP").optional(),
        ],
        summary: "Notifies the connection when keys change that it has read.",
        complexity: "O(1), and O(N) in the prefixes of BCAST at each change",
        parse: client::tracking,
        ..CONNECTION
    },
    Row {
        name: "trackinginfo",
        container: Some("client"),
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[NoScript, Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Describes the connection's tracking.",
        complexity: "O(1)",
        parse: client::tracking_info,
        ..CONNECTION
    },
    Row {
        name: "help",
        container: Some("client"),
        since: "5.0.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        acl: &[Category::Connection],
        summary: "Lists the sub-commands of CLIENT.",
        complexity: "O(1)",
        parse: client::help,
        ..CONNECTION
    },
];
