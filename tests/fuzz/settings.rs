//! The settings file and flags. CONFIG GET and SET agree: an accepted value can be read and set again.

use crate::engine::{Subject, outcome};
use headwater::config::config::Config;
use headwater::config::load::{self, Invocation};
use headwater::config::settings::SETTINGS;
use std::path::Path;

fn check_told(config: &Config) {
    for setting in SETTINGS {
        let told = setting.get(config);
        let mut again = config.clone();
        if let Err(why) = setting.set(&mut again, &told) {
            panic!("{} is told as '{told}' and refuses that: {why}", setting.name);
        }
        assert_eq!(&again, config, "{} told as '{told}'", setting.name);
    }
}

/// A refusal without its quotes of the input.
fn kind(error: &impl std::fmt::Display) -> String {
    error.to_string().chars().filter(|letter| letter.is_ascii_lowercase()).take(60).collect()
}

fn check_file(bytes: &[u8]) -> u64 {
    let mut config = Config::default();
    match load::read_text(&mut config, Path::new("h.toml"), &String::from_utf8_lossy(bytes)) {
        Ok(()) => {
            check_told(&config);
            let changed = SETTINGS.iter().position(|setting| setting.get(&config) != setting.default);
            outcome(("taken", changed))
        }
        Err(error) => outcome(kind(&error)),
    }
}

#[test]
fn settings_file() {
    let names: Vec<String> = SETTINGS.iter().map(|setting| format!("\n{} = ", setting.name)).collect();
    let mut tokens: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    tokens.extend(VALUES.iter().chain(&[
        &b"\n"[..],
        b"[",
        b"]",
        b"= ",
        b"\"",
        b"\"\"\"",
        b"#",
        b"true",
        b"1.5",
        b"{a = 1}",
    ]));
    let seeds = SETTINGS
        .iter()
        .map(|setting| format!("{} = \"{}\"\n", setting.name, setting.default).into_bytes())
        .chain([load::example().into_bytes()])
        .collect();
    Subject { name: "settings_file", seeds, tokens: &tokens, check: &check_file }.run();
}

const VALUES: &[&[u8]] = &[
    b"yes",
    b"no",
    b"64mb",
    b"1gb",
    b"10s",
    b"100ms",
    b"-1",
    b"700",
    b"normal 0 0 0",
    b"pubsub 1mb 1k 10",
    b"*",
    b"::1",
];

/// One flag per line.
fn check_flags(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes).into_owned();
    // It names a file to read, which is outside of parsing.
    if text.to_ascii_lowercase().contains("config") {
        return 0;
    }
    let flags: Vec<String> = text.split('\n').map(str::to_owned).collect();
    match load::load(&flags, []) {
        Ok(Invocation::Run(config)) => {
            check_told(&config);
            let changed = SETTINGS.iter().position(|setting| setting.get(&config) != setting.default);
            outcome(("taken", changed, flags.len().min(6)))
        }
        Ok(Invocation::Print(text)) => outcome(("printed", text.len())),
        Err(error) => outcome(kind(&error)),
    }
}

#[test]
fn flags() {
    let names: Vec<String> = SETTINGS.iter().map(|setting| format!("\n--{}\n", setting.name)).collect();
    let mut tokens: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    tokens.extend(VALUES.iter().chain(&[&b"\n"[..], b"--", b"=", b" "]));
    let seeds = SETTINGS
        .iter()
        .map(|setting| format!("--{}\n{}", setting.name, setting.default).into_bytes())
        .collect();
    Subject { name: "flags", seeds, tokens: &tokens, check: &check_flags }.run();
}
