//! S13: the journal does not run out of descriptors, however many files it has.

use crate::support::server::{Server, binary_under_test, is_redis};
use crate::support::value::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("descriptors").count()
}

#[test]
fn many_journal_files_take_no_descriptors() {
    if is_redis(&binary_under_test()) {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let script = folder.path().join("limited");
    let text = format!("#!/bin/sh\nulimit -n 64\nexec {} \"$@\"\n", binary_under_test().display());
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it may run");
    let mut server = Server::of(script, &["--maxclients", "20", "--journal-file-bytes", "1mb"]);
    let mut client = server.connect();
    let before = open_files(&server);
    let payload = "x".repeat(128 << 10);
    for _ in 0..320 {
        assert!(!client.command(&["XADD", "s", "*", "v", &payload]).is_error());
    }
    let files = fs::read_dir(server.data_dir().join("journal")).expect("a folder").count();
    assert!(files >= 40, "{files} journal files");
    assert!(open_files(&server) <= before + 2, "{before} descriptors, then {}", open_files(&server));
    server.kill();
    server.restart();
    // As many clients as are allowed, beside all of it.
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.line("XLEN s"), Value::Integer(320));
    }
    for _ in 0..40 {
        assert!(!clients[0].command(&["XADD", "s", "*", "v", &payload]).is_error());
    }
    assert_eq!(clients[1].line("SAVE"), Value::ok());
    let files = fs::read_dir(server.data_dir().join("journal")).expect("a folder").count();
    assert!(files <= 3, "{files} journal files behind a checkpoint");
    assert!(open_files(&server) <= before + 22, "{} descriptors", open_files(&server));
}
