//! HELLO, AUTH, PING, ECHO, SELECT, QUIT, RESET.

use crate::command::parse::cursor::{Cursor, at, quoting};
use crate::command::parse::number::{integer_between, parse_i64};
use crate::command::value::Command;
use crate::command::value::connection::{ConnectionCommand, Hello};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

const VERSION_NOT_AN_INTEGER: ReplyError =
    ReplyError::new("ERR Protocol version is not an integer or out of range");
const VERSION_UNKNOWN: ReplyError = ReplyError::new("NOPROTO unsupported protocol version");
const INVALID_NAME: ReplyError =
    ReplyError::new("ERR Client names cannot contain spaces, newlines or special characters.");

fn connection(command: ConnectionCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Connection(command))
}

/// HELLO (Redis `helloCommand`). Redis checks the credentials before the name; this parser refuses an invalid
/// name first, and the server checks the credentials later.
pub fn hello(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut hello = Hello { version: None, auth: None, set_name: None };
    if let Some(version) = args.get(1) {
        hello.version = match parse_i64(version).ok_or(VERSION_NOT_AN_INTEGER)? {
            2 => Some(2),
            3 => Some(3),
            _ => return Err(VERSION_UNKNOWN),
        };
    }
    let mut cursor = Cursor::new(args, 2);
    while let Some(option) = cursor.peek() {
        if cursor.left() >= 3 && cursor.take_word("AUTH") {
            hello.auth = cursor.take().zip(cursor.take());
        } else if let Some(name) = cursor.take_option("SETNAME") {
            hello.set_name = Some(client_name(name)?);
        } else {
            return Err(quoting("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    connection(ConnectionCommand::Hello(hello))
}

/// A name of printable characters without blanks; an empty name removes the name.
pub fn client_name(name: &[u8]) -> Result<&[u8], ReplyError> {
    if is_printable(name) { Ok(name) } else { Err(INVALID_NAME) }
}

/// Redis `validateClientAttr`.
pub fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// AUTH
pub fn auth(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match args.len() {
        2 => connection(ConnectionCommand::Auth { user: None, password: at(args, 1) }),
        3 => connection(ConnectionCommand::Auth { user: Some(at(args, 1)), password: at(args, 2) }),
        _ => Err(ReplyError::SYNTAX),
    }
}

/// PING
pub fn ping(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    if args.len() > 2 {
        return Err(ReplyError::wrong_arity("ping"));
    }
    connection(ConnectionCommand::Ping { message: args.get(1) })
}

/// ECHO
pub fn echo(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    connection(ConnectionCommand::Echo { message: at(args, 1) })
}

/// SELECT. The server knows the number of databases.
pub fn select(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let database = integer_between(at(args, 1), i64::from(i32::MIN), i64::from(i32::MAX))?;
    connection(ConnectionCommand::Select { database })
}

/// QUIT
pub fn quit(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    connection(ConnectionCommand::Quit)
}

/// RESET
pub fn reset(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    connection(ConnectionCommand::Reset)
}
