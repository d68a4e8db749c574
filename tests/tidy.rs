//! The house rules that a compiler does not know: floors, crates per room, sizes. The tables come first.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Bottom up: a room uses only rooms before it.
const FLOORS: &[&str] = &[
    "base",
    "model",
    "env",
    "config",
    "observe",
    "resp",
    "command",
    "state",
    "storage",
    "pubsub",
    "replication",
    "partition",
    "acl",
    "server",
    "node",
];

/// Crates that only some rooms know (tests may use them anywhere).
const CRATE_ROOMS: &[(&str, &[&str])] = &[
    ("openraft", &["replication"]),
    ("openraft_rt_tokio", &["replication"]),
    ("redis_protocol", &["resp"]),
    ("memmap2", &["env"]),
    ("rustix", &["env", "node"]),
    ("rustls", &["server"]),
    ("socket2", &["server", "node"]),
    ("sha2", &["acl"]),
    ("subtle", &["acl"]),
    ("toml", &["config"]),
    ("tracing_subscriber", &["observe"]),
    ("xxhash_rust", &["base"]),
];

/// Crates that some rooms must not know.
const CRATE_BANS: &[(&str, &[&str])] = &[("tokio", &["base", "model", "command", "state", "storage", "acl"])];

const UNSAFE_ROOMS: &[&str] = &["env"];

/// What asks the operating system, or tokio's timers: only `env` does, so that the simulation may answer instead.
const OUTSIDE_WORLD: &[&str] = &[
    "Instant",
    "SystemTime",
    "tokio::time",
    "std::thread",
    "thread::Builder",
    "thread::spawn",
    "thread::sleep",
    "std::fs",
    "RandomState",
    "RealFs",
    "RealThreads",
    "SystemClock",
    "SystemEntropy",
];

/// Files that may, each with the reason.
const OUTSIDE_WORLD_ALLOWED: &[(&str, &str)] = &[
    ("src/node/node.rs", "chooses the real world for everything below it"),
    ("src/node/unix_socket.rs", "the file of a socket is no data: it has a mode, an owner and a listener"),
    ("src/net/tls/config.rs", "certificates are read before a client is served"),
    ("src/config/load.rs", "the settings file is read before there is a node"),
    ("src/config/rewrite.rs", "CONFIG REWRITE: the settings file is not in the data directory"),
    ("src/observe/tracing.rs", "the log is written as the process runs, simulated or not"),
    ("src/commands/info.rs", "/proc: what the system says of the process"),
    ("src/commands/memory.rs", "/proc: what the system says of the process"),
    ("src/replication/testing.rs", "tests"),
    ("src/replication/raft/suite.rs", "tests"),
    ("src/command/document.rs", "writes the documentation of commands, in a test"),
];

/// Lines before the tests of a file.
const PRODUCTION_LINES_MAX: usize = 700;

const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

struct Source {
    /// As in the repository.
    path: String,
    room: Option<String>,
    /// Code lines without comments and text, up to the tests, with their numbers from 1.
    lines: Vec<(usize, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The production code of `src`.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.sort();
    let is_test = |path: &PathBuf| {
        let is_of_tests = |part: &str| {
            let name = part.trim_end_matches(".rs");
            name == "tests" || name.ends_with("_test") || name.ends_with("_tests")
        };
        path.components().any(|part| part.as_os_str().to_str().is_some_and(is_of_tests))
    };
    paths.retain(|path| !is_test(path));
    assert!(paths.len() > FLOORS.len());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let inside = path.strip_prefix(root().join("src")).unwrap();
            let room =
                inside.components().next().map(|c| c.as_os_str().to_str().unwrap().trim_end_matches(".rs"));
            let room = room.filter(|room| FLOORS.contains(room)).map(str::to_owned);
            let lines = text
                .lines()
                .enumerate()
                .take_while(|(_, line)| {
                    line.trim_end() != "#[cfg(test)]" && line.trim_end() != "#[cfg(test)] mod tests {"
                })
                .map(|(at, line)| (at + 1, code(line)))
                .collect();
            Source { path: format!("src/{}", inside.display()), room, lines }
        })
        .collect()
}

/// A line without its comment and without what is between double quotes.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut escaped = false;
    let mut previous = ' ';
    for c in line.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if c == '"' && previous != '\'' {
            quoted = true;
        } else if c == '/' && previous == '/' {
            out.pop();
            break;
        } else {
            out.push(c);
        }
        previous = c;
    }
    out
}

/// The words of a line that stand before `::`, each with what follows it.
fn paths_in(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices("::").filter_map(|(at, _)| {
        let before = &line[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        // Not the middle of a longer path.
        let is_head = !before[..start].ends_with("::") && start < at;
        is_head.then(|| (&before[start..], &line[at + 2..]))
    })
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// Fails with all complaints at once.
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn complain(check: impl Fn(&Source, &str) -> Option<String>) {
    let mut complaints = Vec::new();
    for source in sources() {
        for (at, line) in &source.lines {
            complaints.extend(check(&source, line).map(|what| format!("{}:{at}: {what}", source.path)));
        }
    }
    report(complaints);
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let floor = |room: &str| FLOORS.iter().position(|name| *name == room);
    complain(|source, line| {
        let own = floor(source.room.as_ref()?)?;
        paths_in(line).find_map(|(head, rest)| {
            let used = if head == "crate" { word(rest) } else { return None };
            match floor(used) {
                Some(used_floor) if used_floor <= own => None,
                Some(_) => Some(format!("{} is below {used}", FLOORS[own])),
                None => Some(format!("crate::{used} names no room: write crate::room::file::Name")),
            }
        })
    });
}

#[test]
fn a_crate_stays_in_its_rooms() {
    complain(|source, line| {
        let room = source.room.as_deref()?;
        paths_in(line).find_map(|(head, _)| {
            let kept = CRATE_ROOMS.iter().any(|(name, rooms)| *name == head && !rooms.contains(&room));
            let banned = CRATE_BANS.iter().any(|(name, rooms)| *name == head && rooms.contains(&room));
            (kept || banned).then(|| format!("{head} is not for {room}"))
        })
    });
}

#[test]
fn only_env_is_unsafe() {
    complain(|source, line| {
        let is_unsafe = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        let allowed = source.room.as_deref().is_some_and(|room| UNSAFE_ROOMS.contains(&room));
        (is_unsafe && !allowed).then(|| "unsafe is for env".to_owned())
    });
}

#[test]
fn only_env_asks_the_operating_system() {
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    complain(|source, line| {
        let is_allowed = OUTSIDE_WORLD_ALLOWED.iter().any(|(path, _)| *path == source.path);
        if is_allowed || source.path.starts_with("src/env/") {
            return None;
        }
        let found = OUTSIDE_WORLD.iter().find(|name| {
            line.match_indices(**name).any(|(at, _)| {
                !line[..at].ends_with(is_of_name) && !line[at + name.len()..].starts_with(is_of_name)
            })
        });
        found.map(|name| format!("{name}: ask the clock, the files or the threads of env"))
    });
    for (path, _) in OUTSIDE_WORLD_ALLOWED {
        assert!(root().join(path).exists(), "{path} is gone, and needs no exception");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    complain(|_, line| {
        UNFINISHED.iter().find(|word| line.contains(**word)).map(|word| format!("{word} is left"))
    });
}

#[test]
fn the_root_lists_rooms_in_order_and_exports_nothing_else() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let items: Vec<_> =
        lib.lines().filter(|l| !l.starts_with("//") && !l.starts_with("#!") && !l.is_empty()).collect();
    let expected: Vec<_> = FLOORS.iter().map(|room| format!("pub mod {room};")).collect();
    assert_eq!(items, expected);
    complain(|source, line| {
        let exports = line.trim_start().starts_with("pub use ");
        exports.then(|| format!("{} re-exports; say where a name lives", source.path))
    });
}

#[test]
fn a_file_is_one_noun() {
    let long = sources().into_iter().filter(|source| source.lines.len() > PRODUCTION_LINES_MAX);
    report(
        long.map(|source| format!("{}: {} lines of production code", source.path, source.lines.len()))
            .collect(),
    );
}

#[test]
fn architecture_md_knows_every_room() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing: BTreeSet<_> = FLOORS.iter().filter(|room| !text.contains(&format!("`{room}`"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not mention {missing:?}");
}

#[test]
fn code_is_told_from_comments_and_text() {
    assert_eq!(code(r#"a("unsafe // x \" y") // crate::b"#), "a() ");
    assert_eq!(
        paths_in("use crate::base::x; tokio::y").map(|(h, _)| h).collect::<Vec<_>>(),
        ["crate", "tokio"]
    );
}
