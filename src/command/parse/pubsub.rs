//! SUBSCRIBE, PUBLISH, PUBSUB and their like.

use crate::command::parse::cursor::{at, list, subcommand_syntax};
use crate::command::parse::help;
use crate::command::value::server::ServerCommand;
use crate::command::value::{Command, PubSubCommand};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

fn pubsub(command: PubSubCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::PubSub(command))
}

/// SUBSCRIBE
pub fn subscribe(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::Subscribe { channels: list(args, 1) })
}

/// UNSUBSCRIBE; without channels: all.
pub fn unsubscribe(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::Unsubscribe { channels: list(args, 1) })
}

/// PSUBSCRIBE
pub fn pattern_subscribe(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::PatternSubscribe { patterns: list(args, 1) })
}

/// PUNSUBSCRIBE; without patterns: all.
pub fn pattern_unsubscribe(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::PatternUnsubscribe { patterns: list(args, 1) })
}

/// SSUBSCRIBE
pub fn shard_subscribe(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::ShardSubscribe { channels: list(args, 1) })
}

/// SUNSUBSCRIBE; without channels: all.
pub fn shard_unsubscribe(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::ShardUnsubscribe { channels: list(args, 1) })
}

/// PUBLISH
pub fn publish(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::Publish { channel: at(args, 1), message: at(args, 2) })
}

/// SPUBLISH
pub fn shard_publish(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::ShardPublish { channel: at(args, 1), message: at(args, 2) })
}

/// PUBSUB CHANNELS
pub fn channels(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::Channels { pattern: optional_pattern(args)? })
}

/// PUBSUB NUMSUB
pub fn num_sub(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::NumSub { channels: list(args, 2) })
}

/// PUBSUB NUMPAT
pub fn num_pat(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::NumPat)
}

/// PUBSUB SHARDCHANNELS
pub fn shard_channels(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::ShardChannels { pattern: optional_pattern(args)? })
}

/// PUBSUB SHARDNUMSUB
pub fn shard_num_sub(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    pubsub(PubSubCommand::ShardNumSub { channels: list(args, 2) })
}

/// PUBSUB HELP
pub fn help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(ServerCommand::Fixed(help::reply("PUBSUB", help::PUBSUB))))
}

fn optional_pattern(args: Args<'_>) -> Result<Option<&[u8]>, ReplyError> {
    if args.len() > 3 { Err(subcommand_syntax(args)) } else { Ok(args.get(2)) }
}
