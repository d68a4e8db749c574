//! The house rules that a compiler does not know: floors, crates per room, sizes, references. The tables come
//! first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
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
    "acl",
    "replication",
    "partition",
    "context",
    "engine",
    "session",
    "net",
    "push",
    "frontend",
    "commands",
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
    ("rustls", &["net"]),
    ("socket2", &["net", "node"]),
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
    ("src/engine/thread.rs", "starts a runtime of its own, which no lane of env carries"),
    ("src/state/key_table.rs", "ahash: its random numbers choose places in an index that is never iterated"),
    ("src/engine/testing.rs", "tests"),
    ("src/replication/testing.rs", "tests"),
    ("src/replication/raft/suite_tests.rs", "tests"),
    ("src/command/document.rs", "writes the documentation of commands, in a test"),
];

/// The replicated machine holds values: what a read could change would differ between machines.
const CELL_FREE_ROOMS: &[&str] = &["state"];

/// What changes behind a shared reference; `Atomic` stands for all names that begin so.
const CELLS: &[&str] = &[
    "RefCell",
    "OnceCell",
    "UnsafeCell",
    "LazyCell",
    "Atomic",
    "Mutex",
    "RwLock",
    "OnceLock",
    "LazyLock",
    "thread_local",
];

/// Lines before the tests of a file.
const PRODUCTION_LINES_MAX: usize = 700;

/// Of a type: methods over all its `impl` blocks, fields, and fields that are `pub`.
const METHODS_MAX: usize = 40;
const FIELDS_MAX: usize = 16;
const PUBLIC_FIELDS_MAX: usize = 12;

/// Types that may be larger, each with its reason.
const LARGE_TYPES: &[(&str, &str)] = &[
    ("env::Disk", "the simulated disk: one field for each fault that it can be told to make"),
    ("config::Config", "one field for each setting; it has no behaviour"),
    ("observe::Metrics", "one counter for each line of INFO; it has no behaviour but counting"),
    ("engine::Report", "the lines of INFO that an engine tells; it has no behaviour"),
    ("session::Session", "what a connection has told of itself, as CLIENT LIST shows it"),
    ("command::Row", "one column for each fact of the command table"),
];

/// Rooms in which files import each other in a circle, with how many circles there are and why. Between rooms
/// there is none.
const CIRCLES: &[(&str, usize, &str)] = &[
    ("command", 1, "a row names its parser, and the parser's errors name the row"),
    ("config", 1, "a setting knows its field of the settings, and the settings the list of them"),
    ("engine", 1, "the engine hands work to its parts, which finish it through the engine"),
    ("env", 1, "the simulated files are handles of the simulated disk that makes them"),
    (
        "replication",
        2,
        "openraft's traits make log, machine and snapshots know each other; errors stand by the seam",
    ),
    (
        "state",
        4,
        "a stream owns its groups and a group reads its stream; a machine writes the checkpoint of itself",
    ),
    ("storage", 1, "the tail of the journal holds the journal's records"),
];

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
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with("_tests.rs"))
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
fn the_machine_has_no_cells() {
    complain(|source, line| {
        let room = source.room.as_deref()?;
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let is_cell =
            |word: &&str| CELLS.iter().any(|it| word == it || (*it == "Atomic" && word.starts_with(it)));
        let found = if line.contains("std::cell") { Some("std::cell") } else { words.find(is_cell) }?;
        CELL_FREE_ROOMS.contains(&room).then(|| format!("{found}: {room} has no interior mutability"))
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

/// Codes of faults in comments, and tests that the page of faults names.
#[test]
fn docs_reliability_md_explains_every_code_and_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let explained: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("**")?.split_once("** ")).map(|(c, _)| c).collect();
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    files(&root().join("tests"), &mut paths);
    let texts: Vec<_> = paths.iter().map(|path| (path, fs::read_to_string(path).unwrap())).collect();
    let mut complaints = Vec::new();
    for (path, text) in &texts {
        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        let unexplained = comments.flat_map(codes).filter(|code| !explained.contains(code));
        complaints.extend(unexplained.map(|code| format!("{}: {code} is not explained", path.display())));
    }
    for name in page.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
        let is_test = name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit());
        let definition = format!("fn {name}(");
        if is_test && !texts.iter().any(|(_, text)| text.contains(&definition)) {
            complaints.push(format!("docs/reliability.md: there is no test {name}"));
        }
    }
    report(complaints);
}

/// The codes of docs/reliability.md that a comment mentions: `S2`, `P11`.
fn codes(comment: &str) -> impl Iterator<Item = &str> {
    comment.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| {
        let number = word.strip_prefix(['S', 'R', 'P', 'A', 'M']).unwrap_or_default();
        matches!(number.len(), 1 | 2) && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The walks of ARCHITECTURE.md go through files that are there.
#[test]
fn architecture_md_names_files_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let missing: BTreeSet<_> = quoted
        .filter(|name| name.contains('/') && !name.contains([' ', '*']))
        .filter(|name| !root().join(name).exists() && !["", ".rs"].iter().any(|end| src(name, end).exists()))
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names {missing:?}");
}

fn src(name: &str, end: &str) -> PathBuf {
    root().join("src").join(format!("{name}{end}"))
}

#[test]
fn code_is_told_from_comments_and_text() {
    assert_eq!(code(r#"a("unsafe // x \" y") // crate::b"#), "a() ");
    assert_eq!(
        paths_in("use crate::base::x; tokio::y").map(|(h, _)| h).collect::<Vec<_>>(),
        ["crate", "tokio"]
    );
}

/// How large a type is.
#[derive(Default)]
struct Size {
    methods: usize,
    fields: usize,
    public_fields: usize,
}

/// Every type by room and name. Blocks are told by their indentation: rustfmt has laid them out.
fn types() -> BTreeMap<String, Size> {
    let mut types = BTreeMap::<String, Size>::new();
    for source in sources() {
        let Some(room) = &source.room else { continue };
        let mut at: Option<(String, bool)> = None;
        for (_, line) in &source.lines {
            if line.starts_with('}') {
                at = None;
            } else if let Some(name) = block_of(line, "impl") {
                at = Some((format!("{room}::{name}"), true));
            } else if let Some(name) = block_of(line, "struct") {
                at = Some((format!("{room}::{name}"), false));
            } else if let Some((name, is_impl)) = &at {
                let size = types.entry(name.clone()).or_default();
                let Some(item) = line.strip_prefix("    ").filter(|item| !item.starts_with([' ', '#', ')']))
                else {
                    continue;
                };
                if *is_impl {
                    size.methods += usize::from(item.split_whitespace().any(|word| word == "fn"));
                } else if item.contains(':') {
                    size.fields += 1;
                    size.public_fields += usize::from(item.starts_with("pub "));
                }
            }
        }
    }
    types
}

/// The name of the type that a block which begins on this line is of.
fn block_of<'l>(line: &'l str, keyword: &str) -> Option<&'l str> {
    let line = line.trim_end();
    let rest = line.strip_suffix('{')?.trim_end();
    let rest = rest
        .strip_prefix("pub ")
        .or_else(|| rest.split_once(") ").filter(|(p, _)| p.starts_with("pub(")).map(|(_, r)| r))
        .unwrap_or(rest);
    let rest = rest.strip_prefix(keyword)?;
    let rest = match rest.strip_prefix('<') {
        Some(generics) => {
            let mut depth = 1;
            let end = generics.find(|c| {
                depth += match c {
                    '<' => 1,
                    '>' => -1,
                    _ => 0,
                };
                depth == 0
            })?;
            &generics[end + 1..]
        }
        None => rest,
    };
    let rest = rest.strip_prefix(' ')?;
    let of = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    let of = of.trim_start_matches(['&', '\'']);
    Some(word(of.rsplit("::").next().filter(|_| !of.contains('<')).unwrap_or(of)))
}

#[test]
fn a_type_is_one_noun() {
    let over = |size: &Size| {
        size.methods > METHODS_MAX || size.fields > FIELDS_MAX || size.public_fields > PUBLIC_FIELDS_MAX
    };
    let allowed = |name: &str| LARGE_TYPES.iter().any(|(large, _)| *large == name);
    let types = types();
    report(
        types
            .iter()
            .filter(|(name, size)| over(size) && !allowed(name))
            .map(|(name, it)| {
                format!(
                    "{name}: {} methods, {} fields, {} of them pub",
                    it.methods, it.fields, it.public_fields
                )
            })
            .collect(),
    );
    let unneeded = LARGE_TYPES.iter().filter(|(name, _)| !types.get(*name).is_some_and(over));
    report(unneeded.map(|(name, _)| format!("{name} needs no exception")).collect());
}

/// The files of a room that import each other in a circle, as sets of more than one.
fn circles() -> Vec<Vec<String>> {
    let sources = sources();
    let module = |path: &str| {
        path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
    };
    let modules: BTreeSet<String> = sources.iter().map(|source| module(&source.path)).collect();
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    for source in &sources {
        let from = module(&source.path);
        for (_, line) in &source.lines {
            for (head, rest) in paths_in(line).filter(|(head, _)| *head == "crate") {
                assert_eq!(head, "crate");
                let path: Vec<&str> =
                    rest.split("::").map(word).take_while(|part| !part.is_empty()).collect();
                // A `mod.rs`, which only lists its files, counts as no file's import.
                let to =
                    (2..=path.len()).rev().map(|len| path[..len].join("::")).find(|it| modules.contains(it));
                edges.entry(from.clone()).or_default().extend(to.filter(|to| *to != from));
            }
        }
    }
    let reach = |from: &String| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(next) = todo.pop() {
            for to in edges.get(&next).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    todo.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = modules.iter().map(|it| (it, reach(it))).collect();
    let mut found = BTreeSet::new();
    for (one, reaches) in &reached {
        let circle: Vec<String> =
            reaches.iter().filter(|other| reached[other].contains(*one)).cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

#[test]
fn circles_are_few_and_stay_in_their_room() {
    let room = |file: &String| word(file).to_owned();
    let circles = circles();
    let crossing = circles.iter().filter(|circle| circle.iter().map(room).collect::<BTreeSet<_>>().len() > 1);
    report(crossing.map(|circle| format!("imports in a circle over rooms: {circle:?}")).collect());
    for (name, count) in circles.iter().fold(BTreeMap::new(), |mut counts, circle| {
        *counts.entry(word(&circle[0])).or_insert(0) += 1;
        counts
    }) {
        let known = CIRCLES.iter().find(|(room, ..)| *room == name).map_or(0, |(_, known, _)| *known);
        assert!(
            count <= known,
            "{name} has {count} circles of imports, and {known} of them have a reason: {circles:#?}"
        );
        assert_eq!(count, known, "{name} has fewer circles of imports: say so");
    }
}

/// Says how large the house is, whatever the test runner captures.
/// A panic that unwinds in a task would leave the server running without it.
#[test]
fn a_panic_ends_the_released_process() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let (_, profile) = manifest.split_once("[profile.release]").unwrap();
    let profile = profile.split("\n[").next().unwrap();
    assert!(profile.lines().any(|line| line == "panic = \"abort\""), "{profile}");
}

#[test]
fn the_largest_are_told() {
    let mut text = String::from("\nlargest types (methods, fields, pub fields):\n");
    let mut types: Vec<_> = types().into_iter().collect();
    types.sort_by_key(|(_, size)| std::cmp::Reverse(size.methods + size.fields));
    for (name, it) in types.iter().take(10) {
        text += &format!("  {:3} {:3} {:3}  {name}\n", it.methods, it.fields, it.public_fields);
    }
    let mut files: Vec<_> = sources().into_iter().map(|it| (it.lines.len(), it.path)).collect();
    files.sort_by(|one, other| other.cmp(one));
    text += "largest files (lines of production code):\n";
    for (lines, path) in files.iter().take(10) {
        text += &format!("  {lines:4}  {path}\n");
    }
    let circles = circles();
    text += &format!("circles of imports: {}\n", circles.len());
    for circle in &circles {
        text += &format!("  {}\n", circle.join(", "));
    }
    std::io::stderr().write_all(text.as_bytes()).expect("standard error takes text");
}
