//! ACL and its sub-commands (Redis `aclCommand`).

use crate::command::parse::cursor::{at, is, list, subcommand_syntax};
use crate::command::parse::help;
use crate::command::parse::number::{at_least_zero, integer};
use crate::command::value::Command;
use crate::command::value::acl::AclCommand;
use crate::command::value::server::ServerCommand;
use crate::model::args::Args;
use crate::model::reply::ReplyError;

/// Bits of a GENPASS password by default.
const PASSWORD_BITS: usize = 256;
const PASSWORD_BITS_MAX: i64 = 4096;

const PASSWORD_BITS_WRONG: ReplyError = ReplyError::new(
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
);

/// Entries of LOG by default.
const LOG_ENTRIES: usize = 10;

fn acl(command: AclCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(ServerCommand::Acl(command)))
}

/// ACL WHOAMI
pub fn who_am_i(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::WhoAmI)
}

/// ACL USERS
pub fn users(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::Users)
}

/// ACL LIST
pub fn list_users(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::List)
}

/// ACL GETUSER
pub fn get_user(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::GetUser { name: at(args, 2) })
}

/// ACL SETUSER
pub fn set_user(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::SetUser { name: at(args, 2), rules: list(args, 3) })
}

/// ACL DELUSER
pub fn delete_users(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::DeleteUsers { names: list(args, 2) })
}

/// ACL CAT
pub fn categories(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match (args.get(2), args.len()) {
        (None, _) => acl(AclCommand::Categories),
        (Some(category), 3) => acl(AclCommand::CommandsOf { category }),
        _ => Err(subcommand_syntax(args)),
    }
}

/// ACL GENPASS
pub fn generate_password(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let bits = match (args.get(2), args.len()) {
        (None, _) => PASSWORD_BITS,
        (Some(bits), 3) => match integer(bits)? {
            bits @ 1..=PASSWORD_BITS_MAX => bits as usize,
            _ => return Err(PASSWORD_BITS_WRONG),
        },
        _ => return Err(subcommand_syntax(args)),
    };
    acl(AclCommand::GeneratePassword { bits })
}

/// ACL LOG
pub fn log(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match (args.get(2), args.len()) {
        (None, _) => acl(AclCommand::Log { count: LOG_ENTRIES }),
        (Some(word), 3) if is(word, "RESET") => acl(AclCommand::ResetLog),
        (Some(count), 3) => {
            let count = usize::try_from(at_least_zero(integer(count)?)).unwrap_or(usize::MAX);
            acl(AclCommand::Log { count })
        }
        _ => Err(subcommand_syntax(args)),
    }
}

/// ACL DRYRUN
pub fn dry_run(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::DryRun { user: at(args, 2), request: list(args, 3) })
}

/// ACL LOAD
pub fn load(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::Load)
}

/// ACL SAVE
pub fn save(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::Save)
}

/// ACL HELP
pub fn help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    acl(AclCommand::Help(help::reply("ACL", help::ACL)))
}
