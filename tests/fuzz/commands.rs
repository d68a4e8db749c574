//! Bytes become requests, rows, typed commands, COMMAND's replies and log entries.

use crate::engine::{Subject, outcome};
use headwater::command::describe;
use headwater::command::keys;
use headwater::command::lookup;
use headwater::command::table::TABLE;
use headwater::command::value::server::ServerCommand;
use headwater::command::value::{Command, Data};
use headwater::model::args::Args;
use headwater::resp::reader::{Progress, RequestLimits, RequestReader};
use headwater::state::op::codec;
use std::path::Path;

/// Calls `see` with each request in the bytes.
pub fn each_request(bytes: &[u8], mut see: impl FnMut(Args<'_>)) {
    let mut reader = RequestReader::new();
    let mut at = 0;
    while at < bytes.len() {
        match reader.next(&bytes[at..], &RequestLimits::default()) {
            Ok(Progress::Request { args, consumed }) => {
                see(args);
                at += consumed;
            }
            Ok(Progress::Empty { consumed }) => at += consumed,
            Ok(Progress::Incomplete) | Err(_) => return,
        }
    }
}

/// Every command in the transcripts: together they cover all commands.
pub fn transcribed() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/transcripts")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort();
    let mut commands: Vec<Vec<u8>> = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).expect("a transcript");
        for line in text.lines() {
            let typed =
                line.trim_start_matches(|letter: char| letter.is_ascii_lowercase()).strip_prefix("> ");
            commands.extend(typed.map(|typed| format!("{typed}\n").into_bytes()));
        }
    }
    commands.sort();
    commands.dedup();
    commands
}

fn check_request(args: Args<'_>) -> u64 {
    let row = match lookup::find(args) {
        Ok(row) => row,
        Err(error) => {
            assert!(error.as_bytes().len() < 1024, "a refusal repeats too much of the request");
            return outcome((lookup::row_of(args).map(|row| row.full_name()), "refused"));
        }
    };
    assert!(row.accepts(args.len()));
    let found = keys::find(row, args);
    let command = match (row.parse)(args) {
        Ok(command) => command,
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            return outcome((row.full_name(), text.split('\'').next().map(str::to_owned)));
        }
    };
    let used: Vec<&[u8]> = command.keys().collect();
    // DEBUG has no key specs (as in Redis).
    if row.name != "debug" {
        let found: Vec<&[u8]> =
            found.expect("what parses has keys in their places").into_iter().map(|(key, _)| key).collect();
        assert_eq!(used, found, "{}: the keys that it uses and those that its specs find", row.full_name());
    }
    match &command {
        Command::Data(data) | Command::Blocking { read: data, .. } => check_logged(data),
        Command::Server(ServerCommand::Command(query)) => drop(describe::answer(query)),
        _ => {}
    }
    outcome((row.full_name(), args.len().min(12), std::mem::discriminant(&command)))
}

/// A command's log encoding decodes to the same command.
fn check_logged(data: &Data<'_>) {
    let mut bytes = Vec::new();
    codec::encode_data(data, &mut bytes);
    assert_eq!(codec::decode_data(&bytes).as_ref(), Ok(data));
}

fn check(bytes: &[u8]) -> u64 {
    let mut kinds = Vec::new();
    each_request(bytes, |args| kinds.push(check_request(args)));
    kinds.truncate(2);
    outcome(kinds)
}

#[test]
fn commands() {
    let words = TABLE.iter().flat_map(|row| row.full_name().split('|'));
    let mut tokens: Vec<String> = words.map(|word| format!("{word} ")).collect();
    for word in [
        "MAXLEN ~ ",
        "MINID = ",
        "LIMIT ",
        "NOMKSTREAM ",
        "COUNT ",
        "BLOCK ",
        "STREAMS ",
        "GROUP g c ",
        "NOACK ",
        "MKSTREAM ",
        "IDLE ",
        "TIME ",
        "RETRYCOUNT ",
        "FORCE ",
        "JUSTID ",
        "LASTID ",
        "EX ",
        "PXAT ",
        "KEEPTTL ",
        "NX ",
        "XX ",
        "GET ",
        "MATCH ",
        "TYPE ",
        "REPLACE ",
        "DB ",
        "KEEPREF ",
        "DELREF ",
        "ACKED ",
        "IDS 2 ",
        "ENTRIESREAD ",
        "ID ",
        "ADDR ",
        "SKIPME ",
        "0-1 ",
        "* ",
        "$ ",
        "> ",
        "- + ",
        "( ",
        "\n",
        "\"\" ",
        "\"\\x00\" ",
        "k ",
        "{t}k ",
    ] {
        tokens.push(word.to_owned());
    }
    let tokens: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
    Subject { name: "commands", seeds: transcribed(), tokens: &tokens, check: &check }.run();
}
