//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use crate::command::parse::cursor::list;
use crate::command::value::{Command, TransactionCommand};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

fn transaction(command: TransactionCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Transaction(command))
}

/// MULTI
pub fn multi(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    transaction(TransactionCommand::Multi)
}

/// EXEC
pub fn exec(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    transaction(TransactionCommand::Exec)
}

/// DISCARD
pub fn discard(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    transaction(TransactionCommand::Discard)
}

/// WATCH
pub fn watch(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    transaction(TransactionCommand::Watch { keys: list(args, 1) })
}

/// UNWATCH
pub fn unwatch(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    transaction(TransactionCommand::Unwatch)
}
