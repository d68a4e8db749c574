//! Set-up of the log: destination, level, format.

use crate::config::config::LogLevel;
use std::io::{self, Write};
use std::sync::Mutex;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Changes the log level while the process runs.
pub struct LogLevels(reload::Handle<Targets, Registry>);

impl LogLevels {
    /// For a simulated node, which leaves the log of the process alone.
    pub fn detached() -> LogLevels {
        LogLevels(reload::Layer::new(targets(LogLevel::Nothing)).1)
    }

    pub fn set(&self, level: LogLevel) {
        // Fails only when the subscriber is gone at process exit.
        let _ = self.0.reload(targets(level));
    }
}

/// Installs the log: plain lines to `logfile` (appended; empty: standard output), from `level` on.
///
/// Fields may hold client data, so control characters are escaped (docs/reliability.md P14). Fails if the
/// file cannot be opened; does nothing if a log is already installed (as in tests).
pub fn install(level: LogLevel, logfile: &str) -> io::Result<LogLevels> {
    let out: Box<dyn Write + Send> = if logfile.is_empty() {
        Box::new(io::stdout())
    } else {
        Box::new(std::fs::OpenOptions::new().create(true).append(true).open(logfile)?)
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Mutex::new(Escaping(out)));
    let (levels, handle) = reload::Layer::new(targets(level));
    let _ = tracing_subscriber::registry().with(levels).with(lines).try_init();
    Ok(LogLevels(handle))
}

/// Makes a panic in any thread or task the end of the process. Standard error tells it with its place, and so
/// does the log if that is another file. Without this, a build that unwinds would go on without the task.
pub fn end_at_panics(logs_to_file: bool) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if logs_to_file {
            tracing::error!("{panic}");
        }
        std::process::abort();
    }));
}

fn targets(level: LogLevel) -> Targets {
    Targets::new().with_default(filter(level)).with_target("openraft", openraft(level))
}

/// openraft logs details at INFO that operators cannot use, and a page per commit at DEBUG.
fn openraft(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Verbose => LevelFilter::INFO,
        LogLevel::Notice | LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

/// Writes one formatted event per call and escapes everything but the final line break.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = event.strip_suffix(b"\n").map_or((event, &b""[..]), |line| (line, &b"\n"[..]));
        let mut escaped = Vec::with_capacity(event.len());
        for &byte in line {
            if byte < b' ' || byte == 0x7f {
                escaped.extend(byte.escape_ascii());
            } else {
                escaped.push(byte);
            }
        }
        escaped.extend_from_slice(end);
        self.0.write_all(&escaped)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p14_an_event_is_one_line() {
        let mut out = Escaping(Vec::new());
        out.write_all(b"name=a\r\nb\x1b[31m \xc3\xa9\n").unwrap();
        assert_eq!(out.0, b"name=a\\r\\nb\\x1b[31m \xc3\xa9\n");
    }
}
