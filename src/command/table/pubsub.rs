//! Publish and subscribe. Facts as of Redis 8 (`COMMAND INFO`, `COMMAND DOCS`); texts ours.

use crate::command::parse::pubsub;
use crate::command::spec::Flag::{
    DenyOom, Fast, Loading, MayReplicate, NoScript, PubSub, Stale, WhileSubscribed,
};
use crate::command::spec::KeyFlag::NotKey;
use crate::command::spec::{Argument, Flags, Group, KeySpec, Row};

const PUBSUB: Row = Row::family(Group::PubSub);

pub const ROWS: &[Row] = &[
    Row {
        name: "subscribe",
        since: "2.0.0",
        arity: -2,
        flags: Flags::of(&[DenyOom, PubSub, NoScript, Loading, Stale, WhileSubscribed]),
        arguments: &[Argument::string("channel").multiple()],
        summary: "Subscribes to channels.",
        complexity: "O(1) for each channel",
        parse: pubsub::subscribe,
        ..PUBSUB
    },
    Row {
        name: "unsubscribe",
        since: "2.0.0",
        arity: -1,
        flags: Flags::of(&[PubSub, NoScript, Loading, Stale, WhileSubscribed]),
        arguments: &[Argument::string("channel").optional().multiple()],
        summary: "Unsubscribes from channels, or from all of them.",
        complexity: "O(1) for each channel",
        parse: pubsub::unsubscribe,
        ..PUBSUB
    },
    Row {
        name: "psubscribe",
        since: "2.0.0",
        arity: -2,
        flags: Flags::of(&[DenyOom, PubSub, NoScript, Loading, Stale, WhileSubscribed]),
        arguments: &[Argument::pattern("pattern").multiple()],
        summary: "Subscribes to channels that match patterns.",
        complexity: "O(1) for each pattern",
        parse: pubsub::pattern_subscribe,
        ..PUBSUB
    },
    Row {
        name: "punsubscribe",
        since: "2.0.0",
        arity: -1,
        flags: Flags::of(&[PubSub, NoScript, Loading, Stale, WhileSubscribed]),
        arguments: &[Argument::pattern("pattern").optional().multiple()],
        summary: "Unsubscribes from patterns, or from all of them.",
        complexity: "O(1) for each pattern",
        parse: pubsub::pattern_unsubscribe,
        ..PUBSUB
    },
    Row {
        name: "ssubscribe",
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[DenyOom, PubSub, NoScript, Loading, Stale, WhileSubscribed]),
        keys: &[KeySpec::all_from(1, 1, &[NotKey])],
        arguments: &[Argument::string("shardchannel").multiple()],
        summary: "Subscribes to shard channels.",
        complexity: "O(1) for each channel",
        parse: pubsub::shard_subscribe,
        ..PUBSUB
    },
    Row {
        name: "sunsubscribe",
        since: "7.0.0",
        arity: -1,
        flags: Flags::of(&[PubSub, NoScript, Loading, Stale, WhileSubscribed]),
        keys: &[KeySpec::all_from(1, 1, &[NotKey])],
        arguments: &[Argument::string("shardchannel").optional().multiple()],
        summary: "Unsubscribes from shard channels, or from all of them.",
        complexity: "O(1) for each channel",
        parse: pubsub::shard_unsubscribe,
        ..PUBSUB
    },
    Row {
        name: "publish",
        since: "2.0.0",
        arity: 3,
        flags: Flags::of(&[PubSub, Loading, Stale, Fast, MayReplicate]),
        arguments: &[Argument::string("channel"), Argument::string("message")],
        summary: "Sends a message to a channel.",
        complexity: "O(N+M): subscribers of the channel, patterns of all",
        parse: pubsub::publish,
        ..PUBSUB
    },
    Row {
        name: "spublish",
        since: "7.0.0",
        arity: 3,
        flags: Flags::of(&[PubSub, Loading, Stale, Fast, MayReplicate]),
        keys: &[KeySpec::at(1, &[NotKey])],
        arguments: &[Argument::string("shardchannel"), Argument::string("message")],
        summary: "Sends a message to a shard channel.",
        complexity: "O(N) in the subscribers of the channel",
        parse: pubsub::shard_publish,
        ..PUBSUB
    },
    Row {
        name: "pubsub",
        since: "2.8.0",
        arity: -2,
        summary: "Inspects subscriptions.",
        complexity: "Depends on the sub-command",
        ..PUBSUB
    },
    Row {
        name: "channels",
        container: Some("pubsub"),
        since: "2.8.0",
        arity: -2,
        flags: Flags::of(&[PubSub, Loading, Stale]),
        arguments: &[Argument::pattern("pattern").optional()],
        summary: "Lists the channels with subscribers.",
        complexity: "O(N) in the channels",
        parse: pubsub::channels,
        ..PUBSUB
    },
    Row {
        name: "numsub",
        container: Some("pubsub"),
        since: "2.8.0",
        arity: -2,
        flags: Flags::of(&[PubSub, Loading, Stale]),
        arguments: &[Argument::string("channel").optional().multiple()],
        summary: "Counts the subscribers of channels.",
        complexity: "O(1) for each channel",
        parse: pubsub::num_sub,
        ..PUBSUB
    },
    Row {
        name: "numpat",
        container: Some("pubsub"),
        since: "2.8.0",
        arity: 2,
        flags: Flags::of(&[PubSub, Loading, Stale]),
        summary: "Counts the patterns with subscribers.",
        complexity: "O(1)",
        parse: pubsub::num_pat,
        ..PUBSUB
    },
    Row {
        name: "shardchannels",
        container: Some("pubsub"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[PubSub, Loading, Stale]),
        arguments: &[Argument::pattern("pattern").optional()],
        summary: "Lists the shard channels with subscribers.",
        complexity: "O(N) in the channels",
        parse: pubsub::shard_channels,
        ..PUBSUB
    },
    Row {
        name: "shardnumsub",
        container: Some("pubsub"),
        since: "7.0.0",
        arity: -2,
        flags: Flags::of(&[PubSub, Loading, Stale]),
        arguments: &[Argument::string("shardchannel").optional().multiple()],
        summary: "Counts the subscribers of shard channels.",
        complexity: "O(1) for each channel",
        parse: pubsub::shard_num_sub,
        ..PUBSUB
    },
    Row {
        name: "help",
        container: Some("pubsub"),
        since: "6.2.0",
        arity: 2,
        flags: Flags::of(&[Loading, Stale]),
        summary: "Lists the sub-commands of PUBSUB.",
        complexity: "O(1)",
        parse: pubsub::help,
        ..PUBSUB
    },
];
