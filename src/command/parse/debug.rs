//! DEBUG, as far as test suites use it.

use crate::command::parse::cursor::{at, is, list, subcommand_syntax};
use crate::command::parse::help;
use crate::command::parse::number::{integer, integer_between};
use crate::command::value::Command;
use crate::command::value::server::{DebugCommand, ServerCommand};
use crate::model::args::Args;
use crate::model::limits::STRING_BYTES_MAX;
use crate::model::reply::ReplyError;

/// Longest DEBUG SLEEP: an hour, so that a typo does not stop a server for ever.
const SLEEP_SECONDS_MAX: f64 = 3600.0;

const NOT_POSITIVE: ReplyError = ReplyError::new("ERR value is out of range, must be positive");

/// DEBUG (Redis `debugCommand`): sub-commands are not rows of the table, as in Redis.
pub fn debug(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let name = at(args, 1);
    let any = usize::MAX;
    let takes =
        |word: &str, min: usize, max: usize| is(name, word) && (min..=max).contains(&(args.len() - 2));
    let command = match () {
        () if takes("HELP", 0, 0) => {
            return Ok(Command::Server(ServerCommand::Fixed(help::reply("DEBUG", help::DEBUG))));
        }
        () if takes("SLEEP", 1, 1) => DebugCommand::Sleep { milliseconds: sleep_ms(at(args, 2)) },
        () if takes("SET-ACTIVE-EXPIRE", 1, 1) => DebugCommand::SetActiveExpire { on: at(args, 2) != b"0" },
        () if takes("RELOAD", 0, any) => {
            // Nothing is saved, merged or flushed: the server rebuilds its memory from disk.
            let is_known =
                |option: &[u8]| ["MERGE", "NOFLUSH", "NOSAVE"].iter().any(|known| is(option, known));
            if !list(args, 2).iter().all(is_known) {
                return Err(ReplyError::new(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
            DebugCommand::Reload
        }
        () if takes("LOADAOF", 0, 0) => DebugCommand::Reload,
        () if takes("OBJECT", 1, any) => DebugCommand::Object { key: at(args, 2) },
        () if takes("DIGEST", 0, 0) => DebugCommand::Digest,
        () if takes("DIGEST-VALUE", 1, any) => DebugCommand::DigestValue { keys: list(args, 2) },
        () if takes("PROTOCOL", 1, 1) => DebugCommand::Protocol { kind: at(args, 2) },
        () if takes("LOG", 1, 1) => DebugCommand::Log { message: at(args, 2) },
        () if takes("STRINGMATCH-LEN", 2, 2) => DebugCommand::StringMatchLength {
            length: u64::try_from(integer(at(args, 2))?).map_err(|_| ReplyError::NOT_AN_INTEGER)?,
            pattern: at(args, 3),
        },
        () if takes("POPULATE", 1, 3) => DebugCommand::Populate {
            count: u64::try_from(integer(at(args, 2))?).map_err(|_| NOT_POSITIVE)?,
            prefix: args.get(3).unwrap_or(b"key"),
            size: match args.get(4) {
                None => None,
                Some(size) => Some(
                    usize::try_from(integer_between(size, 0, STRING_BYTES_MAX as i64)?)
                        .map_err(|_| ReplyError::NOT_AN_INTEGER)?,
                ),
            },
        },
        () if takes("HTSTATS", 1, 2) => DebugCommand::TableStatistics { database: integer(at(args, 2))? },
        () if takes("PAUSE-CRON", 1, 1) => DebugCommand::PauseCron { paused: integer(at(args, 2))? != 0 },
        () if takes("PANIC", 0, 0) => DebugCommand::Panic,
        () if takes("REPLYBUFFER", 2, 2) => DebugCommand::Accepted,
        () => return Err(subcommand_syntax(args)),
    };
    Ok(Command::Server(ServerCommand::Debug(command)))
}

/// Seconds with a fraction; other text is 0, as Redis's `strtod` reads it.
fn sleep_ms(text: &[u8]) -> u64 {
    let seconds: f64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    (seconds.clamp(0.0, SLEEP_SECONDS_MAX) * 1000.0) as u64
}
