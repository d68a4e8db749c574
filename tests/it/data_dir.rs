//! Unusable data directories: the server names the directory and the reason, exits non-zero, and changes
//! nothing. Codes such as P11 are those of docs/reliability.md.

use crate::support::mounted::Mounted;
use crate::support::server::{Server, free_port, start_and_expect_exit};
use crate::support::value::Value;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[track_caller]
fn assert_refused(port: u16, dir: &Path, words: &[&str]) {
    let (status, log) = start_and_expect_exit(port, dir, &[]);
    let status = status.unwrap_or_else(|| panic!("it started in {}\n{log}", dir.display()));
    assert!(!status.success(), "exited with {status}\n{log}");
    let lower = log.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "nothing of {word:?} in\n{log}");
    }
    assert!(!log.contains("panicked"), "a panic is no message\n{log}");
}

#[test]
fn a_port_in_use_is_named() {
    let dir = TempDir::new().expect("a directory");
    let port = free_port();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port");
    assert_refused(port, dir.path(), &[&port.to_string(), "in use"]);
    // The failed start leaves nothing behind: the next one may have other partitions.
    assert_refused(port, &dir.path().join("new"), &["in use"]);
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 0);
}

#[test]
fn settings_that_are_wrong_are_named_and_touch_nothing() {
    let folder = TempDir::new().expect("a directory");
    let file = folder.path().join("h.toml");
    fs::write(&file, "# mine\nprot = 1\n").expect("a file");
    let file = file.display().to_string();
    let logfile = folder.path().join("no/such/folder/log").display().to_string();
    for (flags, words) in [
        (&["--frobnicate", "1"][..], &["frobnicate", "--help"][..]),
        (&["--maxclients", "many"], &["maxclients", "many"]),
        (&["--config", &file], &["h.toml:2", "prot", "port"]),
        (&["--config", "/nonexistent/h.toml"], &["/nonexistent/h.toml", "no such file"]),
        (&["--logfile", &logfile], &[&logfile, "no such file"]),
        (&["--bind", "nowhere"], &["bind", "nowhere"]),
    ] {
        let dir = folder.path().join("data");
        let (status, log) = start_and_expect_exit(free_port(), &dir, flags);
        assert!(status.is_some_and(|status| !status.success()), "{flags:?}: {status:?}\n{log}");
        for word in words {
            assert!(
                log.to_lowercase().contains(&word.to_lowercase()),
                "{flags:?}: nothing of {word:?} in\n{log}"
            );
        }
        assert!(!dir.exists(), "{flags:?} made a data directory");
    }
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let folder = TempDir::new().expect("a directory");
    let path = folder.path().join("not-a-directory");
    fs::write(&path, "precious").expect("a file");
    assert_refused(free_port(), &path, &["not-a-directory"]);
    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
}

#[test]
fn a_directory_has_one_server() {
    let server = Server::start();
    if server.is_redis() {
        eprintln!("SKIPPED: Redis does not lock its directory");
        return;
    }
    let mut client = server.connect();
    client.line("XADD s 1-1 a 1");
    assert_refused(free_port(), &server.data_dir(), &[&server.data_dir().display().to_string()]);
    assert_eq!(client.line("XADD s 1-2 a 1"), Value::bulk("1-2"));
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let folder = TempDir::new().expect("a directory");
    fs::write(folder.path().join("thesis.txt"), "precious").expect("a file");
    if Server::start().is_redis() {
        eprintln!("SKIPPED: Redis starts beside any files");
        return;
    }
    assert_refused(free_port(), folder.path(), &[&folder.path().display().to_string()]);
    let names: Vec<String> = files(folder.path())
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    assert!(names.contains(&"thesis.txt".to_string()));
    assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).expect("the file"), "precious");
}

/// Takes the mask away from the records of a journal file (docs/formats.md).
fn unmask(bytes: &mut [u8]) {
    if !bytes.starts_with(b"HWJRNL") {
        return;
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let mixed = (number(24) ^ number(16)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mask = ((mixed >> 32) as u32 | 0x0101_0101).to_le_bytes();
    for (at, byte) in bytes.iter_mut().enumerate().skip(64) {
        *byte ^= mask[at % 4];
    }
}

/// S5: damage with valid records behind it is not a torn tail: nothing is cut or skipped.
#[test]
fn a_damaged_record_refuses_the_start() {
    let mut server = Server::start();
    let mut client = server.connect();
    for at in 0..200 {
        client.command(&[
            "XADD",
            "s",
            &format!("{}-1", at + 1),
            "field",
            &format!("needle-{at:04}-{}", "x".repeat(50)),
        ]);
    }
    server.kill();
    if server.is_redis() {
        eprintln!("SKIPPED: Redis's log has no checksums");
        return;
    }
    let needle = b"needle-0100-";
    let (path, offset) = files(&server.data_dir())
        .into_iter()
        .find_map(|path| {
            let mut bytes = fs::read(&path).ok()?;
            unmask(&mut bytes);
            let offset = bytes.windows(needle.len()).position(|window| window == needle)?;
            Some((path, offset))
        })
        .expect("the entry in some file");
    let mut bytes = fs::read(&path).expect("the file");
    bytes[offset] ^= 0x20;
    fs::write(&path, &bytes).expect("damage done");
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    assert_refused(free_port(), &server.data_dir(), &[&name]);
    assert_refused(free_port(), &server.data_dir(), &[&name]);
    assert_eq!(fs::read(&path).expect("the file"), bytes, "the damaged file was changed");
    // After the repair it starts with all data.
    bytes[offset] ^= 0x20;
    fs::write(&path, &bytes).expect("damage undone");
    server.restart();
    assert_eq!(server.connect().line("XLEN s"), Value::Integer(200));
}

/// R12: what is durable on one member may not be committed, and what it acknowledges alone the others lack.
#[test]
fn a_member_of_a_cluster_does_not_start_as_a_node_of_its_own() {
    if std::env::var_os("HEADWATER_TEST_FLAGS").is_some() || Server::start().is_redis() {
        eprintln!("SKIPPED: the flags of this test say how writes are committed");
        return;
    }
    for (role, wrong) in [("local", "raft"), ("raft", "local")] {
        let mut server = Server::with(&["--replication", role]);
        server.connect().line("SET k v");
        assert!(server.terminate().success());
        let path = server.data_dir().join("meta");
        let meta = fs::read_to_string(&path).expect("its meta");
        let cluster = meta.lines().find_map(|line| line.strip_prefix("cluster ")).expect("a line");
        let words = match role {
            "local" => vec!["without a cluster", "replication local"],
            _ => vec!["a member of the cluster", cluster, "replication raft"],
        };
        let (status, log) = start_and_expect_exit(free_port(), &server.data_dir(), &["--replication", wrong]);
        assert!(status.is_some_and(|status| !status.success()), "{role}: {status:?}\n{log}");
        for word in words.into_iter().chain([path.to_str().expect("a name")]) {
            assert!(log.contains(word), "{role}: nothing of {word:?} in\n{log}");
        }
        assert_eq!(fs::read_to_string(&path).expect("its meta"), meta);
        server.restart();
        assert_eq!(server.connect().line("GET k"), Value::bulk("v"));
    }
}

/// SIGTERM leads to exit status 0, and nothing is lost.
#[test]
fn stopped_gracefully_it_starts_with_everything() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.line("XADD s 1-1 a 1");
    client.line("XGROUP CREATE s g 0");
    client.line("XREADGROUP GROUP g c STREAMS s >");
    client.line("SET k v EX 1000");
    client.line("SELECT 3");
    client.line("SET three 3");
    for _ in 0..2 {
        let status = server.terminate();
        assert!(status.success(), "SIGTERM: {status}\n{}", server.log());
        server.restart();
        let mut client = server.connect();
        assert_eq!(client.line("XPENDING s g").elements()[0], Value::Integer(1));
        assert_eq!(client.line("GET k"), Value::bulk("v"));
        assert!(client.line("TTL k").integer() > 900);
        client.line("SELECT 3");
        assert_eq!(client.line("GET three"), Value::bulk("3"));
    }
}

#[test]
fn a_read_only_directory_is_named() {
    let folder = TempDir::new().expect("a directory");
    let dir = folder.path().join("read-only-data");
    fs::create_dir(&dir).expect("a directory");
    let Some(_mounted) = Mounted::tmpfs(&dir, "ro,size=1m") else { return };
    assert_refused(free_port(), &dir, &["read-only"]);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Without the file that describes the layout, data is neither read in another layout nor overwritten.
#[test]
fn data_without_its_meta_file_is_refused() {
    for saves in [false, true] {
        let mut server = Server::start();
        let mut client = server.connect();
        client.line("SET k v");
        if saves {
            client.line("SAVE");
        }
        server.kill();
        let (meta, aside) = (server.data_dir().join("meta"), server.data_dir().with_file_name("meta"));
        std::fs::rename(&meta, &aside).expect("moved away");
        let (status, text) =
            start_and_expect_exit(0, &server.data_dir(), &["--port", &free_port().to_string()]);
        assert!(status.is_some_and(|status| !status.success()), "{text}");
        assert!(text.contains("holds data but no file \"meta\""), "{text}");
        std::fs::rename(&aside, &meta).expect("put back");
        server.restart();
        assert_eq!(server.connect().line("GET k"), Value::bulk("v"));
    }
}
