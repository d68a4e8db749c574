//! The Unix socket: the description of its clients, and the fate of its file.

use crate::support::client::PATIENCE;
use crate::support::server::{Server, start_and_expect_exit};
use crate::support::value::Value;
use crate::support::wire::Door;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn path_of(server: &Server) -> PathBuf {
    match server.door() {
        Door::Unix(path) => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_are_told_by_the_path() {
    let server = Server::with(&["--transport", "unix", "--enable-debug-command", "local"]);
    let path = path_of(&server).display().to_string();
    let mut client = server.connect();
    let info = client.line("CLIENT INFO").text();
    assert!(info.contains(&format!(" addr={path}:0 laddr={path}:0 ")), "{info}");
    assert!(info.contains(" flags=U "), "{info}");
    assert_eq!(client.line("CONFIG GET unixsocket").elements()[1], Value::bulk(&path));
    let info = client.line("INFO server").text();
    assert!(info.contains(&format!("\r\nlistener1:name=unix,bind={path}\r\n")), "{info}");
    // Its clients are on this machine, so protected mode accepts them.
    assert_eq!(client.line("CONFIG GET protected-mode").elements()[1], Value::bulk("yes"));
    assert_eq!(client.line("DEBUG SLEEP 0"), Value::ok());
    let mut other = server.connect();
    assert_eq!(other.line(&format!("CLIENT KILL ADDR {path}:0 SKIPME yes")), Value::Integer(1));
    assert!(client.is_closed_within(PATIENCE));
}

/// The transcripts pass over the socket as well.
#[test]
fn transcripts_hold_over_it() {
    for name in ["blocking", "protocol", "pubsub", "transactions", "xread"] {
        crate::transcripts::run(name, &["--transport", "unix"]);
    }
}

#[test]
fn its_mode_is_as_asked_for() {
    let server = Server::with(&["--transport", "unix", "--unixsocketperm", "600"]);
    let mode = std::fs::metadata(path_of(&server)).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.connect().line("CONFIG GET unixsocketperm").elements()[1], Value::bulk("600"));
}

#[test]
fn its_file_goes_with_the_server_and_survives_no_kill() {
    let mut server = Server::with(&["--transport", "unix"]);
    let path = path_of(&server);
    server.connect().line("SET k v");
    server.kill();
    assert!(path.exists(), "kill -9 leaves it");
    server.restart();
    assert_eq!(server.connect().line("GET k"), Value::bulk("v"));
    assert!(server.terminate().success());
    assert!(!path.exists());
}

#[test]
fn a_living_socket_or_another_file_is_never_taken() {
    let server = Server::with(&["--transport", "unix"]);
    let path = path_of(&server).display().to_string();
    let folder = tempfile::tempdir().expect("a directory");
    let data = folder.path().join("data");
    let (status, text) = start_and_expect_exit(0, &data, &["--unixsocket", &path]);
    assert!(status.is_some_and(|status| !status.success()));
    assert!(text.contains(&path) && text.contains("another process listens there"), "{text}");
    assert_eq!(server.connect().line("PING").text(), "PONG");

    let file = folder.path().join("notes");
    std::fs::write(&file, "mine").expect("written");
    let (status, text) =
        start_and_expect_exit(0, &data, &["--unixsocket", file.to_str().expect("a plain path")]);
    assert!(status.is_some_and(|status| !status.success()));
    assert!(text.contains("notes") && text.contains("no socket"), "{text}");
    assert_eq!(std::fs::read(&file).expect("still there"), b"mine");
    assert!(!data.exists(), "a refused start made the data directory");
}

#[test]
fn it_can_be_the_only_door() {
    let folder = tempfile::tempdir().expect("a directory");
    let (status, text) = start_and_expect_exit(0, &folder.path().join("data"), &[]);
    assert!(status.is_some_and(|status| !status.success()));
    assert!(text.contains("nothing to listen on"), "{text}");

    let server = Server::with(&["--transport", "unix", "--port", "0"]);
    assert_eq!(server.connect().line("CONFIG GET port").elements()[1], Value::bulk("0"));
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "a TCP port is open");
}
