//! Replies as bytes, recorded from Redis 8.0.6 (tests/recorded): Headwater sends the same, in both protocols.
//!
//! ```text
//! > XREAD STREAMS s $      a command
//! 2 *-1|                   what Redis answers over RESP2; `|` stands for CR LF
//! 3 _|                     over RESP3, where that is something else
//! ```
//! `<int>` in a reply stands for any digits, `...` for anything (also at the end of a reply). compat/differences.md names what differs.

use crate::support::client::{Client, PATIENCE};
use crate::support::notation::{encode, split};
use crate::support::server::Server;
use std::path::PathBuf;

#[test]
fn errors() {
    compare("errors");
}

#[test]
fn streams() {
    compare("streams");
}

fn compare(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/{name}.txt"));
    let text = std::fs::read_to_string(&path).expect("the recording");
    let server = Server::start();
    let mut failures = String::new();
    for protocol in [2, 3] {
        let mut client = if protocol == 3 { server.connect3() } else { server.connect() };
        client.line("FLUSHALL");
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("> ") else { continue };
            let mut wanted = "";
            while let Some(line) = lines.next_if(|line| !line.starts_with("> ")) {
                match line.split_at_checked(2) {
                    Some(("2 ", reply)) => wanted = reply,
                    Some(("3 ", reply)) if protocol == 3 => wanted = reply,
                    _ => {}
                }
            }
            let got = ask(&mut client, command);
            if !matches(wanted, &got) {
                failures += &format!("RESP{protocol} > {command}\n  recorded {wanted}\n  got      {got}\n");
            }
        }
    }
    assert!(failures.is_empty(), "{}:\n{failures}", path.display());
}

fn ask(client: &mut Client, command: &str) -> String {
    let mut bytes = Vec::new();
    encode(&split(command), &mut bytes);
    client.send_bytes(&bytes).expect("a command sent");
    let reply = client.receive_bytes(PATIENCE).expect("a reply");
    String::from_utf8_lossy(&reply).replace("\r\n", "|")
}

fn matches(wanted: &str, got: &str) -> bool {
    let mut wanted = wanted;
    let mut got = got;
    loop {
        if wanted == "..." {
            return true;
        }
        if let Some(rest) = wanted.strip_prefix("<int>") {
            let digits = got.trim_start_matches(|byte: char| byte.is_ascii_digit());
            if digits.len() == got.len() {
                return false;
            }
            (wanted, got) = (rest, digits);
            continue;
        }
        match (wanted.chars().next(), got.chars().next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other => {
                (wanted, got) = (&wanted[one.len_utf8()..], &got[other.len_utf8()..]);
            }
            _ => return false,
        }
    }
}
