//! Transactions. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::transaction;
use crate::command::spec::Flag::{AllowBusy, Fast, ImmediateInMulti, Loading, NoScript, SkipSlowlog, Stale};
use crate::command::spec::KeyFlag::Ro;
use crate::command::spec::{Argument, Category, Flags, Group, KeySpec, Row};

const TRANSACTIONS: Row = Row::family(Group::Transactions);

pub const ROWS: &[Row] = &[
    Row {
        name: "multi",
        since: "1.2.0",
        arity: 1,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast, AllowBusy, ImmediateInMulti]),
        acl: &[Category::Transaction],
        summary: "Starts a transaction: the following commands are queued.",
        complexity: "O(1)",
        parse: transaction::multi,
        ..TRANSACTIONS
    },
    Row {
        name: "exec",
        since: "1.2.0",
        arity: 1,
        flags: Flags::of(&[NoScript, Loading, Stale, SkipSlowlog, ImmediateInMulti]),
        acl: &[Category::Transaction],
        summary: "Executes the queued commands atomically.",
        complexity: "As the queued commands",
        parse: transaction::exec,
        ..TRANSACTIONS
    },
    Row {
        name: "discard",
        since: "2.0.0",
        arity: 1,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast, AllowBusy, ImmediateInMulti]),
        acl: &[Category::Transaction],
        summary: "Discards the queued commands and ends the transaction.",
        complexity: "O(1)",
        parse: transaction::discard,
        ..TRANSACTIONS
    },
    Row {
        name: "watch",
        since: "2.2.0",
        arity: -2,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast, AllowBusy, ImmediateInMulti]),
        acl: &[Category::Transaction],
        keys: &[KeySpec::all_from(1, 1, &[Ro])],
        arguments: &[Argument::key("key", 0).multiple()],
        summary: "Makes the next transaction fail if one of the keys changes before it.",
        complexity: "O(1) for each key",
        parse: transaction::watch,
        ..TRANSACTIONS
    },
    Row {
        name: "unwatch",
        since: "2.2.0",
        arity: 1,
        flags: Flags::of(&[NoScript, Loading, Stale, Fast, AllowBusy]),
        acl: &[Category::Transaction],
        summary: "Forgets the watched keys.",
        complexity: "O(1)",
        parse: transaction::unwatch,
        ..TRANSACTIONS
    },
];
