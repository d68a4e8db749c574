//! A panic, in whatever task, ends the process with its message (docs/reliability.md P16).

use crate::support::client::PATIENCE;
use crate::support::server::Server;
use crate::support::value::Value;

#[test]
fn a_panic_ends_the_process_and_is_told() {
    let folder = tempfile::tempdir().expect("a directory");
    let logfile = folder.path().join("log");
    let logfile = logfile.to_str().expect("a path");
    let mut server = Server::with(&["--enable-debug-command", "yes", "--logfile", logfile]);
    if server.is_redis() {
        return;
    }
    let mut client = server.connect();
    assert_eq!(client.line("SET acknowledged 1"), Value::ok());
    client.send(&["DEBUG", "PANIC"]).expect("the request");
    assert!(client.is_closed_within(PATIENCE), "the connection of a dead process");
    let status = server.ended();
    assert!(!status.success(), "{status}");
    // On standard error, and in the log where operators look.
    for told in [server.log(), std::fs::read_to_string(logfile).expect("the log")] {
        assert!(told.contains("DEBUG PANIC") && told.contains("src/commands/debug.rs:"), "{told}");
    }
    server.restart();
    assert_eq!(server.connect().line("GET acknowledged").text(), "1");
}
