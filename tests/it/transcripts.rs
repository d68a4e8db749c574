//! Transcripts: files in tests/transcripts in the form of a redis-cli session, run line by line.
//!
//! ```text
//! ## a section: fresh connections, empty databases      (tags: [since 7.2] [before 7.2] [resp3] [untagged])
//! > XADD s 1-1 a 1          a command on the main connection
//! "1-1"                     its reply, as redis-cli prints it
//! a> XREAD BLOCK 0 STREAMS s $     a command on connection `a`
//! (blocked)                 it does not answer yet
//! a<                        what connection `a` gets next: the reply of a blocked command, a message
//! a>raw "PING\r\n"          bytes
//! (closed)                  the server closes the connection
//! ```
//! In replies `<id>` stands for any entry id, `<int>` for any integer, `<any>` for anything on the line, a
//! line `...` for the rest. A first line `# flags: --partitions 4` sets the server's flags. On a server with
//! several partitions, any other transcript is played with a hash tag before every key, which is removed from
//! replies; [untagged] sections are exempt. HEADWATER_TRANSCRIPTS_WRITE=1 writes the replies of the server
//! under test into the files (for sections of its version).

use crate::support::client::{Client, PATIENCE};
use crate::support::keys::{tagged, tagged_bytes, without_tag};
use crate::support::notation::{encode, split};
use crate::support::server::{Server, binary_under_test, is_redis};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), &[]);
        })*

        #[test]
        fn every_transcript_is_run() {
            let listed = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(folder()).expect("tests/transcripts") {
                let path = entry.expect("a file").path();
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                assert!(listed.contains(&name.as_str()), "{name}.txt is in no test");
            }
        }
    };
}

transcripts! {
    acl_checks acl_commands acl_rules admin autoclaim blocking claim claiming_read client config databases dump expire groups
    hello idempotency info keys latency monitor nack notifications notifications_expiry partitions pending protocol
    pubsub read_limits resp3 scan select slowlog strings tracking transactions trim watch xackdel xadd xdel xdelex
    xinfo xrange xread xsetid
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// The time during which a blocked command must not reply.
const BLOCKED_FOR: Duration = Duration::from_millis(20);

struct Session<'a> {
    server: &'a Server,
    control: Client,
    clients: BTreeMap<String, Client>,
    /// A hash tag precedes every key.
    is_tagged: bool,
    resp3: bool,
    blocked: i64,
}

/// Plays a transcript on a server with these flags.
pub fn run(name: &str, flags: &[&str]) {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let is_writing = std::env::var_os("HEADWATER_TRANSCRIPTS_WRITE").is_some();
    let own_flags: Option<Vec<&str>> = text
        .strip_prefix("# flags: ")
        .and_then(|rest| rest.lines().next())
        .map(|line| line.split(' ').collect());
    if own_flags.is_some() && is_redis(&binary_under_test()) {
        return;
    }
    let all_flags = [flags, own_flags.as_deref().unwrap_or_default()].concat();
    let server = Server::with(&all_flags);
    let is_partitioned_itself = own_flags.is_some_and(|flags| flags.contains(&"--partitions"));
    let is_tagged = server.is_partitioned() && !is_partitioned_itself;
    let mut session = Session::new(&server, is_tagged);
    let mut written = String::new();
    let mut failures = String::new();
    let mut is_skipped = false;
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let line_number = at + 1;
        at += 1;
        let _ = writeln!(written, "{line}");
        if let Some(title) = line.strip_prefix("## ") {
            is_skipped = !applies(title, server.version()) || (is_tagged && title.contains("[untagged]"));
            session = Session::new(&server, is_tagged);
            session.resp3 = title.contains("[resp3]");
        }
        if is_skipped {
            continue;
        }
        let Some(step) = Step::parse(line) else { continue };
        let start = at;
        while at < lines.len()
            && !lines[at].is_empty()
            && !lines[at].starts_with('#')
            && Step::parse(lines[at]).is_none()
        {
            at += 1;
        }
        let expected: Vec<&str> = lines[start..at].to_vec();
        let wanted_lines = if is_writing { None } else { Some(expected.as_slice()) };
        let actual = session.play(&step, wanted_lines);
        let keeps = matches(&expected, &actual);
        if is_writing && !keeps {
            for line in &actual {
                let _ = writeln!(written, "{line}");
            }
        } else {
            for line in &expected {
                let _ = writeln!(written, "{line}");
            }
        }
        if !is_writing && !keeps {
            let _ = write!(
                failures,
                "{}:{line_number}: {line}\nexpected:\n  {}\ngot:\n  {}\n\n",
                path.display(),
                expected.join("\n  "),
                actual.join("\n  ")
            );
        }
    }
    if is_writing {
        std::fs::write(&path, written).expect("transcript written");
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Whether a section's tags permit it on a server of this version.
fn applies(title: &str, version: (u32, u32)) -> bool {
    let tag = |name: &str| {
        let (_, rest) = title.split_once(&format!("[{name} "))?;
        let (major, minor) = rest.split_once(']')?.0.split_once('.')?;
        Some((major.parse().expect("a major version"), minor.parse().expect("a minor version")))
    };
    tag("since").is_none_or(|since: (u32, u32)| version >= since)
        && tag("before").is_none_or(|before: (u32, u32)| version < before)
}

struct Step {
    client: String,
    action: Action,
}

enum Action {
    Command(Vec<Vec<u8>>),
    Raw(Vec<u8>),
    Receive,
}

impl Step {
    /// `> …`, `a> …`, `a>raw …`, `a<`; anything else is not a step.
    fn parse(line: &str) -> Option<Step> {
        let mark = line.find(|letter: char| !letter.is_ascii_lowercase())?;
        let client = line[..mark].to_string();
        let rest = &line[mark..];
        let action = if rest == "<" {
            Action::Receive
        } else if let Some(bytes) = rest.strip_prefix(">raw ") {
            Action::Raw(split(bytes).concat())
        } else {
            Action::Command(split(rest.strip_prefix("> ")?))
        };
        Some(Step { client, action })
    }
}

impl<'a> Session<'a> {
    fn new(server: &'a Server, is_tagged: bool) -> Session<'a> {
        let mut control = server.connect();
        control.line("FLUSHALL");
        Session { server, control, clients: BTreeMap::new(), is_tagged, resp3: false, blocked: 0 }
    }

    /// Plays one step; reads as many values as the expected text has (all available ones if it is unknown).
    fn play(&mut self, step: &Step, expected: Option<&[&str]>) -> Vec<String> {
        if !self.clients.contains_key(&step.client) {
            let client = if self.resp3 { self.server.connect3() } else { self.server.connect() };
            self.clients.insert(step.client.clone(), client);
        }
        let client = self.clients.get_mut(&step.client).expect("the client of this step");
        let mut bytes = Vec::new();
        match &step.action {
            Action::Command(args) if self.is_tagged => encode(&tagged(args), &mut bytes),
            Action::Command(args) => encode(args, &mut bytes),
            Action::Raw(raw) if self.is_tagged => bytes = tagged_bytes(raw),
            Action::Raw(raw) => bytes.extend_from_slice(raw),
            Action::Receive => self.blocked = (self.blocked - 1).max(0),
        }
        if let Err(error) = client.send_bytes(&bytes) {
            return vec![format!("(not sent: {error})")];
        }
        let is_blocked = expected.is_some_and(|lines| lines == ["(blocked)"]);
        let mut lines = Vec::new();
        loop {
            let patience = match expected {
                Some(_) if is_blocked => BLOCKED_FOR,
                Some(_) => PATIENCE,
                None if lines.is_empty() => Duration::from_secs(1),
                None => Duration::from_millis(30),
            };
            if expected.is_some_and(|expected| enough(expected, lines.len())) {
                break;
            }
            match client.receive(patience) {
                Ok(value) if self.is_tagged => {
                    lines.extend(value.lines().iter().map(|line| without_tag(line)))
                }
                Ok(value) => lines.extend(value.lines()),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    if lines.is_empty() {
                        lines.push("(blocked)".to_string());
                    }
                    break;
                }
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    lines.push(format!("(no reply: {error})"));
                    break;
                }
                Err(_) => {
                    lines.push("(closed)".to_string());
                    break;
                }
            }
        }
        if lines == ["(blocked)"] && !matches!(step.action, Action::Receive) {
            self.blocked += 1;
            self.wait_for_blocked();
        }
        lines
    }

    /// Returns when the server reports as many blocked clients as this transcript has.
    fn wait_for_blocked(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let info = self.control.line("INFO clients").text();
            let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
            if line
                .and_then(|text| text.trim().parse::<i64>().ok())
                .is_some_and(|count| count >= self.blocked)
            {
                return;
            }
            assert!(Instant::now() < deadline, "{} were to wait: {info}", self.blocked);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether the lines in `got` satisfy the expected text.
fn enough(expected: &[&str], got: usize) -> bool {
    if expected.is_empty() {
        return true;
    }
    if expected.last() == Some(&"...") { got > 0 } else { got >= expected.len() }
}

fn matches(expected: &[&str], actual: &[String]) -> bool {
    for (at, line) in expected.iter().enumerate() {
        if *line == "..." {
            return true;
        }
        if !actual.get(at).is_some_and(|actual| line_matches(line.trim_end(), actual.trim_end())) {
            return false;
        }
    }
    expected.len() == actual.len()
}

/// Matches one line against its pattern.
fn line_matches(pattern: &str, text: &str) -> bool {
    let Some(start) = pattern.find('<') else { return pattern == text };
    type Hole = (&'static str, fn(char) -> bool);
    let holes: [Hole; 3] = [
        ("<id>", |letter| letter.is_ascii_digit() || letter == '-'),
        ("<int>", |letter| letter.is_ascii_digit() || letter == '-'),
        ("<any>", |_| true),
    ];
    let Some((hole, fits)) = holes.iter().find(|(name, _)| pattern[start..].starts_with(name)) else {
        // A `<` that begins no placeholder is literal.
        return text.get(..=start) == Some(&pattern[..=start])
            && line_matches(&pattern[start + 1..], &text[start + 1..]);
    };
    let Some(rest) = text.strip_prefix(&pattern[..start]) else { return false };
    let after = &pattern[start + hole.len()..];
    let longest = rest.find(|letter| !fits(letter)).unwrap_or(rest.len());
    (0..=longest).rev().any(|length| {
        rest.is_char_boundary(length)
            && (length > 0 || *hole == "<any>")
            && line_matches(after, &rest[length..])
    })
}

#[test]
fn holes_match_what_they_name() {
    assert!(line_matches("1) \"<id>\"", "1) \"17-0\""));
    assert!(!line_matches("1) \"<id>\"", "1) \"\""));
    assert!(line_matches("id=<int> addr=<any> resp=2", "id=5 addr=127.0.0.1:1 x resp=2"));
    assert!(!line_matches("(integer) <int>", "(integer) 5 "));
    assert!(line_matches("CREATE <key> <int>", "CREATE <key> 5"));
    assert!(!line_matches("a", "b"));
}
