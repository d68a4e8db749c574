//! The command line.

use headwater::config::load::{self, Action};
use headwater::node::node;
use headwater::observe::tracing as tracing_setup;
use std::process::ExitCode;

fn main() -> ExitCode {
    let action = load::load(std::env::args().skip(1), |name| std::env::var(name).ok(), std::path::Path::new("."));
    let config = match action {
        Ok(Action::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Action::Run(config)) => config,
        Err(error) => return fail(&error),
    };
    if let Err(error) = tracing_setup::set_up(&config) {
        return fail(&error);
    }
    match node::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("headwater: {error}");
    ExitCode::FAILURE
}
