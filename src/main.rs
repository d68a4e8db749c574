//! The command line.

use headwater::config::load::{self, Invocation};
use headwater::node::node;
use headwater::observe::tracing;
use std::process::ExitCode;

fn main() -> ExitCode {
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let config = match load::load(&flags, std::env::vars()) {
        Ok(Invocation::Print(text)) => {
            println!("{}", text.trim_end());
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Run(config)) => *config,
        Err(error) => return fail(&error),
    };
    if let Err(error) = tracing::install(config.loglevel, &config.logfile) {
        return fail(&format!("cannot write the log file {}: {error}", config.logfile));
    }
    let logs_to_file = !config.logfile.is_empty();
    match node::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if logs_to_file {
                // Whoever looks for the reason later looks there.
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
