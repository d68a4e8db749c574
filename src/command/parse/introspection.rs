//! COMMAND and its sub-commands.

use crate::command::parse::cursor::{Cursor, list as list_from};
use crate::command::value::Command;
use crate::command::value::server::{CommandFilter, CommandQuery, ServerCommand};
use crate::model::args::{ArgList, Args};
use crate::model::reply::ReplyError;

fn command(query: CommandQuery<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(ServerCommand::Command(query)))
}

/// COMMAND
pub fn all(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::All)
}

/// COMMAND COUNT
pub fn count(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::Count)
}

/// COMMAND INFO; without names: all commands.
pub fn info(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::Info { names: list_from(args, 2) })
}

/// COMMAND DOCS; without names: all commands.
pub fn docs(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::Docs { names: list_from(args, 2) })
}

/// COMMAND LIST
pub fn list(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 2);
    let mut filter = CommandFilter::None;
    while cursor.left() > 0 {
        if filter != CommandFilter::None || !cursor.take_word("FILTERBY") {
            return Err(ReplyError::SYNTAX);
        }
        filter = if let Some(module) = cursor.take_option("MODULE") {
            CommandFilter::Module(module)
        } else if let Some(category) = cursor.take_option("ACLCAT") {
            CommandFilter::AclCategory(category)
        } else if let Some(pattern) = cursor.take_option("PATTERN") {
            CommandFilter::Pattern(pattern)
        } else {
            return Err(ReplyError::SYNTAX);
        };
    }
    command(CommandQuery::List { filter })
}

/// COMMAND GETKEYS
pub fn get_keys(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::GetKeys { request: ArgList::Args(args.from(2)) })
}

/// COMMAND GETKEYSANDFLAGS
pub fn get_keys_and_flags(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::GetKeysAndFlags { request: ArgList::Args(args.from(2)) })
}

/// COMMAND HELP
pub fn help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    command(CommandQuery::Help)
}
