//! SLOWLOG, LATENCY, MONITOR.

use crate::command::parse::cursor::{at, list};
use crate::command::parse::help;
use crate::command::parse::number::integer;
use crate::command::value::Command;
use crate::command::value::server::{LatencyCommand, ServerCommand, SlowLogCommand};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

/// Default number of SLOWLOG GET entries.
const SLOWLOG_GET_DEFAULT: u64 = 10;

fn server(command: ServerCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(command))
}

/// SLOWLOG GET (Redis 7.0 `slowlogCommand`)
pub fn slow_log_get(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    const TOO_FEW: ReplyError = ReplyError::new("ERR count should be greater than or equal to -1");
    let count = match args.len() {
        2 => Some(SLOWLOG_GET_DEFAULT),
        3 => match integer(at(args, 2)).map_err(|_| TOO_FEW)? {
            -1 => None,
            count => Some(u64::try_from(count).map_err(|_| TOO_FEW)?),
        },
        _ => return Err(crate::command::parse::cursor::subcommand_syntax(args)),
    };
    server(ServerCommand::SlowLog(SlowLogCommand::Get { count }))
}

/// SLOWLOG LEN
pub fn slow_log_len(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::SlowLog(SlowLogCommand::Len))
}

/// SLOWLOG RESET
pub fn slow_log_reset(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::SlowLog(SlowLogCommand::Reset))
}

/// SLOWLOG HELP
pub fn slow_log_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Fixed(help::reply("SLOWLOG", help::SLOWLOG)))
}

fn latency(command: LatencyCommand<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Latency(command))
}

/// LATENCY LATEST
pub fn latest(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    latency(LatencyCommand::Latest)
}

/// LATENCY HISTORY
pub fn history(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    latency(LatencyCommand::History { event: at(args, 2) })
}

/// LATENCY RESET
pub fn reset(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    latency(LatencyCommand::Reset { events: list(args, 2) })
}

/// LATENCY GRAPH
pub fn graph(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    latency(LatencyCommand::Graph { event: at(args, 2) })
}

/// LATENCY DOCTOR
pub fn doctor(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    latency(LatencyCommand::Doctor)
}

/// LATENCY HISTOGRAM
pub fn histogram(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    latency(LatencyCommand::Histogram { commands: list(args, 2) })
}

/// LATENCY HELP
pub fn latency_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Fixed(help::reply("LATENCY", help::LATENCY)))
}

/// MONITOR
pub fn monitor(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Monitor)
}
