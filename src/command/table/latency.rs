//! Slow commands and the live feed: SLOWLOG, LATENCY, MONITOR. Facts as of Redis 8 (`COMMAND INFO`,
//! `COMMAND DOCS`); texts ours.

use crate::command::parse::latency;
use crate::command::spec::Flag::{Admin, Loading, NoScript, Stale};
use crate::command::spec::{Argument, Flags, Group, Row};

const SERVER: Row = Row::family(Group::Server);

pub const ROWS: &[Row] = &[
    Row {
        name: "slowlog",
        since: "2.2.12",
        arity: -2,
        summary: "Inspects the slow log.",
        complexity: "Depends on the sub-command",
        ..SERVER
    },
    Row {
        name: "get",
        container: Some("slowlog"),
        since: "2.2.12",
        arity: -2,
        flags: Flags::of(&[Admin, Loading, Stale]),
        arguments: &[Argument::integer("count").optional()],
        summary: "Returns the newest entries of the slow log.",
        complexity: "O(N) in the returned commands",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        parse: latency::slow_log_get,
        ..SERVER
    },
    Row {
        name: "len",
        container: Some("slowlog"),
        since: "2.2.12",
        arity: 2,
        flags: Flags::of(&[Admin, Loading, Stale]),
        summary: "Counts the commands in the slow log.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        parse: latency::slow_log_len,
        ..SERVER
    },
    Row {
        name: "reset",
        container: Some("slowlog"),
        since: "2.2.12",
        arity: 2,
        flags: Flags::of(&[Admin, Loading, Stale]),
        summary: "Empties the slow log.",
        complexity: "O(N) in the commands in the slow log",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        parse: latency::slow_log_reset,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("slowlog"),
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of SLOWLOG.",
        complexity: "O(1)",
        parse: latency::slow_log_help,
        ..SERVER
    },
    Row {
        name: "latency",
        since: "2.8.13",
        arity: -2,
        summary: "Inspects latencies.",
        complexity: "Depends on the sub-command",
        ..SERVER
    },
    Row {
        name: "latest",
        container: Some("latency"),
        since: "2.8.13",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Returns the latest sample of each event.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        parse: latency::latest,
        ..SERVER
    },
    Row {
        name: "history",
        container: Some("latency"),
        since: "2.8.13",
        arity: 3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("event")],
        summary: "Returns the samples of an event.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        parse: latency::history,
        ..SERVER
    },
    Row {
        name: "reset",
        container: Some("latency"),
        since: "2.8.13",
        arity: -2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("event").optional().multiple()],
        summary: "Clears the samples of events.",
        complexity: "O(1)",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
        parse: latency::reset,
        ..SERVER
    },
    Row {
        name: "graph",
        container: Some("latency"),
        since: "2.8.13",
        arity: 3,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("event")],
        summary: "Draws the samples of an event.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        parse: latency::graph,
        ..SERVER
    },
    Row {
        name: "doctor",
        container: Some("latency"),
        since: "2.8.13",
        arity: 2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Reports latencies with advice.",
        complexity: "O(1)",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        parse: latency::doctor,
        ..SERVER
    },
    Row {
        name: "histogram",
        container: Some("latency"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        arguments: &[Argument::string("command").optional().multiple()],
        summary: "Returns the latency distribution of commands.",
        complexity: "O(N) in the commands",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        parse: latency::histogram,
        ..SERVER
    },
    Row {
        name: "help",
        container: Some("latency"),
        since: "2.8.13",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of LATENCY.",
        complexity: "O(1)",
        parse: latency::latency_help,
        ..SERVER
    },
    Row {
        name: "monitor",
        since: "1.0.0",
        arity: 1,
        flags: Flags::of(&[Admin, NoScript, Loading, Stale]),
        summary: "Streams every command that the server executes.",
        complexity: "O(1)",
        parse: latency::monitor,
        ..SERVER
    },
];
