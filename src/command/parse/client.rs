//! CLIENT and its sub-commands (Redis `clientCommand`).

use crate::command::parse::connection::{client_name, is_printable};
use crate::command::parse::cursor::{Cursor, at, is, quoting, subcommand_syntax};
use crate::command::parse::help;
use crate::command::parse::number::{integer, parse_i64, timeout_ms};
use crate::command::value::Command;
use crate::command::value::connection::{
    ClientClass, ClientCommand, ClientFilter, ConnectionCommand, LibraryAttribute, ReplyMode, TrackingOptions,
};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

const INVALID_ID: ReplyError = ReplyError::new("ERR Invalid client ID");
const ID_NOT_POSITIVE: ReplyError = ReplyError::new("ERR client-id should be greater than 0");
const MAXAGE_TOO_SMALL: ReplyError = ReplyError::new("ERR maxage should be greater than 0");
const MAXAGE_INVALID: ReplyError = ReplyError::new("ERR maxage is not an integer or out of range");
const UNBLOCK_REASON: ReplyError = ReplyError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
const REDIRECT_TWICE: ReplyError = ReplyError::new("ERR A client can only redirect to a single other client");
const PAUSE_MODE: ReplyError = ReplyError::new("ERR CLIENT PAUSE mode must be WRITE or ALL");

fn client(command: ClientCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Connection(ConnectionCommand::Client(command)))
}

/// CLIENT ID
pub fn id(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::Id)
}

/// CLIENT INFO
pub fn info(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::Info)
}

fn class(name: &[u8]) -> Result<ClientClass, ReplyError> {
    let known = [
        ("normal", ClientClass::Normal),
        ("slave", ClientClass::Replica),
        ("replica", ClientClass::Replica),
        ("pubsub", ClientClass::PubSub),
        ("master", ClientClass::Master),
    ];
    let found = known.into_iter().find(|(word, _)| is(name, word));
    found.map(|(_, class)| class).ok_or_else(|| quoting("ERR Unknown client type '", name, "'"))
}

/// CLIENT LIST: all, those of a TYPE, or those with the given IDs.
pub fn list(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut filter = ClientFilter::default();
    match args.get(2) {
        None => {}
        Some(word) if is(word, "TYPE") && args.len() == 4 => filter.class = Some(class(at(args, 3))?),
        Some(word) if is(word, "ID") && args.len() > 3 => {
            let mut ids = Vec::with_capacity(args.len() - 3);
            for text in args.from(3).iter() {
                // A negative id is a valid integer, but no client has it.
                ids.extend(u64::try_from(parse_i64(text).ok_or(INVALID_ID)?));
            }
            filter.ids = Some(ids);
        }
        Some(_) => return Err(ReplyError::SYNTAX),
    }
    client(ClientCommand::List(filter))
}

/// CLIENT GETNAME
pub fn get_name(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::GetName)
}

/// CLIENT SETNAME
pub fn set_name(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::SetName { name: client_name(at(args, 2))? })
}

/// CLIENT SETINFO
pub fn set_info(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (option, value) = (at(args, 2), at(args, 3));
    let attribute = if is(option, "LIB-NAME") {
        LibraryAttribute::Name
    } else if is(option, "LIB-VER") {
        LibraryAttribute::Version
    } else {
        return Err(quoting("ERR Unrecognized option '", option, "'"));
    };
    if !is_printable(value) {
        let after = " cannot contain spaces, newlines or special characters.";
        return Err(quoting("ERR ", option, after));
    }
    client(ClientCommand::SetInfo { attribute, value })
}

/// CLIENT KILL: `addr:port`, or filters.
pub fn kill(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    if args.len() == 3 {
        return client(ClientCommand::KillAddress { address: at(args, 2) });
    }
    let mut filter = ClientFilter::default();
    let mut skip_me = true;
    let mut cursor = Cursor::new(args, 2);
    while cursor.left() > 0 {
        if let Some(text) = cursor.take_option("ID") {
            let id = parse_i64(text).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
            filter.ids = Some(vec![id.ok_or(ID_NOT_POSITIVE)?]);
        } else if let Some(name) = cursor.take_option("TYPE") {
            filter.class = Some(class(name)?);
        } else if let Some(address) = cursor.take_option("ADDR") {
            filter.address = Some(address);
        } else if let Some(address) = cursor.take_option("LADDR") {
            filter.local_address = Some(address);
        } else if let Some(user) = cursor.take_option("USER") {
            filter.user = Some(user);
        } else if let Some(text) = cursor.take_option("MAXAGE") {
            let age = parse_i64(text).ok_or(MAXAGE_INVALID)?;
            let positive = u64::try_from(age).ok().filter(|&age| age > 0);
            filter.max_age_seconds = Some(positive.ok_or(MAXAGE_TOO_SMALL)?);
        } else if let Some(word) = cursor.take_option("SKIPME") {
            skip_me = yes_or_no(word, ["yes", "no"])?;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    client(ClientCommand::Kill { filter, skip_me })
}

/// Whether the argument is the first of two words; a third word is a syntax error.
fn yes_or_no(arg: &[u8], words: [&str; 2]) -> Result<bool, ReplyError> {
    let found = words.iter().position(|word| is(arg, word));
    found.map(|index| index == 0).ok_or(ReplyError::SYNTAX)
}

/// CLIENT REPLY
pub fn reply(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let known = [("ON", ReplyMode::On), ("OFF", ReplyMode::Off), ("SKIP", ReplyMode::Skip)];
    let mode = known.into_iter().find(|(word, _)| is(at(args, 2), word));
    client(ClientCommand::Reply(mode.ok_or(ReplyError::SYNTAX)?.1))
}

/// CLIENT UNBLOCK
pub fn unblock(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let with_error = match args.get(3) {
        None => false,
        Some(_) if args.len() > 4 => return Err(subcommand_syntax(args)),
        Some(reason) => yes_or_no(reason, ["ERROR", "TIMEOUT"]).map_err(|_| UNBLOCK_REASON)?,
    };
    // A negative id is a valid integer, but no client has it; 0 is free as well.
    let id = u64::try_from(integer(at(args, 2))?).unwrap_or(0);
    client(ClientCommand::Unblock { id, with_error })
}

/// CLIENT NO-EVICT
pub fn no_evict(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::NoEvict { on: yes_or_no(at(args, 2), ["on", "off"])? })
}

/// CLIENT NO-TOUCH
pub fn no_touch(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::NoTouch { on: yes_or_no(at(args, 2), ["on", "off"])? })
}

/// CLIENT PAUSE
pub fn pause(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let writes_only = match args.get(3) {
        None => false,
        Some(_) if args.len() > 4 => return Err(subcommand_syntax(args)),
        Some(mode) => yes_or_no(mode, ["WRITE", "ALL"]).map_err(|_| PAUSE_MODE)?,
    };
    client(ClientCommand::Pause { timeout_ms: timeout_ms(at(args, 2))?, writes_only })
}

/// CLIENT UNPAUSE
pub fn unpause(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::Unpause)
}

/// CLIENT GETREDIR
pub fn get_redirection(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::GetRedirection)
}

/// CLIENT TRACKINGINFO
pub fn tracking_info(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::TrackingInfo)
}

/// CLIENT TRACKING. The options are parsed and checked even with OFF.
pub fn tracking(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut options = TrackingOptions::default();
    let mut cursor = Cursor::new(args, 3);
    while cursor.left() > 0 {
        if let Some(id) = cursor.take_option("REDIRECT") {
            if options.redirect.is_some() {
                return Err(REDIRECT_TWICE);
            }
            // No client has a negative id; 0 is free as well.
            options.redirect = Some(u64::try_from(integer(id)?).unwrap_or(0));
        } else if let Some(prefix) = cursor.take_option("PREFIX") {
            options.prefixes.push(prefix);
        } else {
            let word = cursor.take().unwrap_or_default();
            match () {
                () if is(word, "BCAST") => options.broadcast = true,
                () if is(word, "OPTIN") => options.opt_in = true,
                () if is(word, "OPTOUT") => options.opt_out = true,
                () if is(word, "NOLOOP") => options.no_loop = true,
                () => return Err(ReplyError::SYNTAX),
            }
        }
    }
    client(ClientCommand::Tracking { on: yes_or_no(at(args, 2), ["on", "off"])?, options })
}

/// CLIENT CACHING
pub fn caching(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::Caching { yes: yes_or_no(at(args, 2), ["yes", "no"])? })
}

/// CLIENT HELP
pub fn help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    client(ClientCommand::Help(help::reply("CLIENT", help::CLIENT)))
}
