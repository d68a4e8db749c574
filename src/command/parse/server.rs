//! CONFIG, INFO, FLUSHALL, SHUTDOWN, WAIT and similar commands; fixed replies for absent features.

use crate::command::parse::cursor::{Cursor, at, is, list, subcommand_syntax};
use crate::command::parse::help;
use crate::command::parse::number::{at_least_zero, integer, integer_between, timeout_ms};
use crate::command::value::key::{KeyQuery, KeyWrite};
use crate::command::value::server::{CheckpointCommand, MemoryCommand, ServerCommand};
use crate::command::value::{Command, Data, Query, Write};
use crate::model::args::Args;
use crate::model::reply::{Reply, ReplyError};

const NO_CLUSTER: ReplyError = ReplyError::new("ERR This instance has cluster support disabled");

fn server(command: ServerCommand<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(command))
}

fn fixed<'a>(reply: Reply) -> Result<Command<'a>, ReplyError> {
    server(ServerCommand::Fixed(reply))
}

/// CONFIG GET
pub fn config_get(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::ConfigGet { patterns: list(args, 2) })
}

/// CONFIG SET
pub fn config_set(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    if !args.len().is_multiple_of(2) {
        return Err(ReplyError::SYNTAX);
    }
    server(ServerCommand::ConfigSet { pairs: list(args, 2) })
}

/// CONFIG RESETSTAT
pub fn config_reset_statistics(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::ConfigResetStatistics)
}

/// CONFIG REWRITE
pub fn config_rewrite(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::ConfigRewrite)
}

/// CONFIG HELP
pub fn config_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(help::reply("CONFIG", help::CONFIG))
}

/// INFO
pub fn info(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Info { sections: list(args, 1) })
}

/// TIME
pub fn time(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Time)
}

/// DBSIZE
pub fn db_size(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Query(Query::Key(KeyQuery::Count))))
}

/// FLUSHALL
pub fn flush_all(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    check_flush_mode(args.from(1))?;
    Ok(Command::Data(Data::Write(Write::Key(KeyWrite::FlushAll))))
}

/// FLUSHDB
pub fn flush_db(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    check_flush_mode(args.from(1))?;
    Ok(Command::Data(Data::Write(Write::Key(KeyWrite::FlushDatabase))))
}

/// SWAPDB. The server knows the number of databases.
pub fn swap_db(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let index = |at: &[u8], text: &'static str| {
        let index = integer_between(at, i64::from(i32::MIN), i64::from(i32::MAX));
        index.map_err(|_| ReplyError::new(text))
    };
    let first = index(at(args, 1), "ERR invalid first DB index")?;
    let second = index(at(args, 2), "ERR invalid second DB index")?;
    match (u32::try_from(first), u32::try_from(second)) {
        (Ok(first), Ok(second)) => {
            Ok(Command::Data(Data::Write(Write::Key(KeyWrite::SwapDatabases { first, second }))))
        }
        _ => Err(ReplyError::DATABASE_OUT_OF_RANGE),
    }
}

/// SYNC, ASYNC or nothing; all free memory in the same way (Redis `getFlushCommandFlags`).
fn check_flush_mode(args: Args<'_>) -> Result<(), ReplyError> {
    match (args.len(), args.get(0)) {
        (0, _) => Ok(()),
        (1, Some(mode)) if is(mode, "SYNC") || is(mode, "ASYNC") => Ok(()),
        _ => Err(ReplyError::SYNTAX),
    }
}

/// SHUTDOWN. Acknowledged writes are on disk at all times, so SAVE and NOSAVE are equal.
pub fn shutdown(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let [mut save, mut no_save, mut now, mut force, mut abort] = [false; 5];
    for arg in args.from(1).iter() {
        match () {
            () if is(arg, "SAVE") => save = true,
            () if is(arg, "NOSAVE") => no_save = true,
            () if is(arg, "NOW") => now = true,
            () if is(arg, "FORCE") => force = true,
            () if is(arg, "ABORT") => abort = true,
            () => return Err(ReplyError::SYNTAX),
        }
    }
    if (abort && (save || no_save || now || force)) || (save && no_save) {
        return Err(ReplyError::SYNTAX);
    }
    server(ServerCommand::Shutdown { force, abort })
}

/// SAVE
pub fn save(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Checkpoint(CheckpointCommand::Save))
}

/// BGSAVE
pub fn background_save(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let schedule = match (args.len(), args.get(1)) {
        (1, _) => false,
        (2, Some(word)) if is(word, "SCHEDULE") => true,
        _ => return Err(ReplyError::SYNTAX),
    };
    server(ServerCommand::Checkpoint(CheckpointCommand::BackgroundSave { schedule }))
}

/// BGREWRITEAOF
pub fn background_rewrite(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Checkpoint(CheckpointCommand::Rewrite))
}

/// LASTSAVE
pub fn last_save(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::LastSave)
}

/// ROLE
pub fn role(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Role)
}

/// WAIT
pub fn wait(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let replicas = integer(at(args, 1))?;
    server(ServerCommand::Wait { replicas, timeout_ms: timeout_ms(at(args, 2))? })
}

/// WAITAOF
pub fn wait_aof(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let local = integer_between(at(args, 1), 0, 1)?;
    let replicas = integer_between(at(args, 2), 0, i64::MAX)?;
    server(ServerCommand::WaitAof { local, replicas, timeout_ms: timeout_ms(at(args, 3))? })
}

/// MEMORY USAGE
pub fn memory_usage(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    /// Default number of samples (Redis `OBJ_COMPUTE_SIZE_DEF_SAMPLES`).
    const SAMPLES_DEFAULT: usize = 5;
    let mut cursor = Cursor::new(args, 3);
    let mut samples = SAMPLES_DEFAULT;
    while cursor.left() > 0 {
        let Some(given) = cursor.take_option("SAMPLES") else { return Err(ReplyError::SYNTAX) };
        samples = usize::try_from(integer(given)?).map_err(|_| ReplyError::SYNTAX)?;
    }
    server(ServerCommand::MemoryUsage { key: at(args, 2), samples })
}

/// MEMORY DOCTOR
pub fn memory_doctor(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Memory(MemoryCommand::Doctor))
}

/// MEMORY STATS
pub fn memory_stats(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Memory(MemoryCommand::Stats))
}

/// MEMORY PURGE
pub fn memory_purge(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Memory(MemoryCommand::Purge))
}

/// MEMORY MALLOC-STATS
pub fn memory_malloc_stats(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    server(ServerCommand::Memory(MemoryCommand::MallocStats))
}

/// MEMORY HELP
pub fn memory_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(help::reply("MEMORY", help::MEMORY))
}

/// LOLWUT
pub fn lolwut(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    const COLUMNS_DEFAULT: u64 = 66;
    const ROWS_DEFAULT: u64 = 8;
    let mut cursor = Cursor::new(args, 1);
    if let Some(version) = cursor.take_option("VERSION") {
        // All versions have the same picture.
        integer(version)?;
    }
    let mut size = |default: u64, max: u64| match cursor.take() {
        None => Ok(default),
        Some(given) => integer(given).map(|given| at_least_zero(given).clamp(1, max)),
    };
    let (columns, rows) = (size(COLUMNS_DEFAULT, 1000)?, size(ROWS_DEFAULT, 100)?);
    server(ServerCommand::Art { columns, rows })
}

/// MODULE LIST
pub fn module_list(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(Reply::Array(Vec::new()))
}

/// MODULE HELP
pub fn module_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(help::reply("MODULE", help::MODULE))
}

/// SCRIPT FLUSH
pub fn script_flush(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match (args.len(), args.get(2)) {
        (2, _) => fixed(Reply::OK),
        (3, Some(mode)) if is(mode, "SYNC") || is(mode, "ASYNC") => fixed(Reply::OK),
        _ => Err(ReplyError::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
}

/// SCRIPT EXISTS
pub fn script_exists(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(Reply::Array(vec![Reply::Integer(0); args.from(2).len()]))
}

/// SCRIPT HELP
pub fn script_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(help::reply("SCRIPT", help::SCRIPT))
}

/// FUNCTION FLUSH
pub fn function_flush(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match (args.len(), args.get(2)) {
        (2, _) => fixed(Reply::OK),
        (3, Some(mode)) if is(mode, "SYNC") || is(mode, "ASYNC") => fixed(Reply::OK),
        (4.., _) => Err(subcommand_syntax(args)),
        _ => Err(ReplyError::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
    }
}

/// FUNCTION LIST; the options are ignored, because nothing could match.
pub fn function_list(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (mut with_code, mut name) = (false, None);
    let mut words = args.from(2).iter();
    while let Some(word) = words.next() {
        if !with_code && is(word, "WITHCODE") {
            with_code = true;
        } else if name.is_none() && is(word, "LIBRARYNAME") {
            name = words.next();
            if name.is_none() {
                return Err(ReplyError::new("ERR library name argument was not given"));
            }
        } else {
            return Err(ReplyError::owned([b"ERR Unknown argument ", word].concat()));
        }
    }
    fixed(Reply::Array(Vec::new()))
}

/// FUNCTION STATS
pub fn function_stats(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(Reply::Map(vec![
        (Reply::Text("running_script"), Reply::Nil),
        (Reply::Text("engines"), Reply::Map(Vec::new())),
    ]))
}

/// FUNCTION HELP
pub fn function_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    fixed(help::reply("FUNCTION", help::FUNCTION))
}

/// CLUSTER, READONLY, READWRITE, ASKING: the replies of a Redis outside a cluster.
pub fn no_cluster(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Err(NO_CLUSTER)
}
