//! The command line.

use headwater::config::load::{self, Invocation};
use headwater::node::node;
use headwater::observe::tracing;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let text = |os: OsString| os.to_string_lossy().into_owned();
    let flags: Vec<String> = std::env::args_os().skip(1).map(text).collect();
    let environment: Vec<_> = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let config = match load::load(&flags, environment.iter().cloned()) {
        Ok(Invocation::Print(text)) => {
            return match writeln!(std::io::stdout(), "{}", text.trim_end()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            };
        }
        Ok(Invocation::Run(config)) => *config,
        Err(error) => return fail(&error),
    };
    let log_levels = match tracing::install(config.loglevel, &config.logfile) {
        Ok(log_levels) => log_levels,
        Err(error) => return fail(&format!("cannot write the log file {}: {error}", config.logfile)),
    };
    for name in load::unknown_variables(&environment) {
        ::tracing::warn!(name, "no setting is named like this variable of the environment; ignored");
    }
    let logs_to_file = !config.logfile.is_empty();
    tracing::end_at_panics(logs_to_file);
    match node::run(config, log_levels) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if logs_to_file {
                // The log file is where an operator looks for the reason.
                ::tracing::error!(%error, "stopped");
            }
            fail(&error)
        }
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("headwater: {error}");
    ExitCode::FAILURE
}
