//! Persistence of users: settings and the users file, over restarts and kill -9.

use crate::support::client::{Client, PATIENCE};
use crate::support::server::{Server, free_port, start_and_expect_exit};
use crate::support::value::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn names(client: &mut Client) -> Vec<String> {
    client.line("ACL USERS").elements().iter().map(Value::text).collect()
}

fn can_log_in(server: &Server, user: &str, password: &str) -> bool {
    server.connect().command(&["AUTH", user, password]) == Value::ok()
}

/// A server whose users file holds `text`, and the path of the file.
fn with_file(folder: &TempDir, text: &str) -> (Server, String) {
    let path = folder.path().join("users.acl").display().to_string();
    fs::write(&path, text).expect("a file of users");
    (Server::with(&["--aclfile", &path]), path)
}

#[test]
fn saved_users_survive_a_kill_and_others_do_not() {
    let folder = TempDir::new().expect("a directory");
    let (mut server, path) = with_file(&folder, "");
    let mut client = server.connect();
    assert_eq!(names(&mut client), ["default"]);
    assert_eq!(
        client.line("ACL SETUSER ann on >secret ~a* %R~b +@stream -xtrim (~c +get) &news"),
        Value::ok()
    );
    let described = client.line("ACL LIST");
    assert_eq!(client.line("ACL SAVE"), Value::ok());
    assert_eq!(client.line("ACL SETUSER bob on nopass"), Value::ok());
    assert_eq!(client.line("ACL SETUSER ann +xtrim"), Value::ok());
    server.kill();
    let text = fs::read_to_string(&path).expect("the file");
    assert!(!text.contains("secret"), "a password in the file:\n{text}");
    let files: Vec<_> =
        fs::read_dir(folder.path()).expect("the folder").map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["users.acl"], "something was left behind");
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.line("ACL LIST"), described);
    assert!(can_log_in(&server, "ann", "secret") && !can_log_in(&server, "ann", "wrong"));
    assert!(!can_log_in(&server, "bob", "x"));
    assert_eq!(client.line("CONFIG GET aclfile").elements()[1], Value::bulk(&path));
}

#[test]
fn a_file_with_an_error_loads_nothing_and_says_which_line() {
    let folder = TempDir::new().expect("a directory");
    let (server, path) = with_file(&folder, "user ann on nopass ~* +@all\n");
    let mut client = server.connect();
    let before = client.line("ACL LIST");
    fs::write(&path, "user bob on\n\nuser cid on +nope\nuser dan on ~* ~d\n").expect("the file");
    let refused = client.line("ACL LOAD");
    assert_eq!(
        refused.text(),
        format!(
            "ERR {path}:3: Error in applying operation '+nope': Unknown command or category name in ACL. {path}:4: Adding a pattern after \
             the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of \
             patterns. WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        )
    );
    assert_eq!(client.line("ACL LIST"), before);
    fs::remove_file(&path).expect("removed");
    let refused = client.line("ACL LOAD").text();
    assert!(refused.starts_with(&format!("ERR Error loading ACLs, opening file '{path}': ")), "{refused}");
    assert_eq!(client.line("ACL LIST"), before);
    // Saving fails if the folder is gone.
    fs::remove_dir(folder.path()).expect("an empty folder");
    let refused = client.line("ACL SAVE").text();
    assert_eq!(
        refused,
        "ERR There was an error trying to save the ACLs. Please check the server logs for more information"
    );
    assert!(server.log().contains("ACL SAVE"), "the log says nothing");
}

#[test]
fn loading_closes_only_whom_it_concerns() {
    let folder = TempDir::new().expect("a directory");
    let all =
        "user ann on nopass ~* &* +@all\nuser bob on nopass ~* &* +@all\nuser cid on nopass ~* &* +@all\n";
    let (server, path) = with_file(&folder, all);
    let mut clients: Vec<Client> = ["ann", "bob", "cid", "cid"]
        .iter()
        .map(|user| {
            let mut client = server.connect();
            assert_eq!(client.command(&["AUTH", user, "x"]), Value::ok());
            client
        })
        .collect();
    clients[3].line("SUBSCRIBE gone");
    let mut admin = server.connect();
    fs::write(&path, "user ann on nopass ~* &* +@all -get\nuser cid on nopass ~* &still +@all\n")
        .expect("the file");
    assert_eq!(admin.line("ACL LOAD"), Value::ok());
    assert_eq!(names(&mut admin), ["ann", "cid", "default"]);
    assert!(clients[1].is_closed_within(PATIENCE), "there is no bob any more");
    assert!(clients[3].is_closed_within(PATIENCE), "cid may not listen to that any more");
    assert_eq!(
        clients[0].line("GET k").text(),
        "NOPERM User ann has no permissions to run the 'get' command"
    );
    assert_eq!(clients[2].line("PUBLISH gone m").text(), "NOPERM No permissions to access a channel");
    assert_eq!(clients[2].line("PUBLISH still m"), Value::Integer(0));
}

#[test]
fn the_default_user_of_the_file_holds_and_otherwise_requirepass() {
    let folder = TempDir::new().expect("a directory");
    let path = folder.path().join("users.acl").display().to_string();
    fs::write(&path, "user ann on nopass ~* +@all\n").expect("a file");
    let server = Server::with(&["--aclfile", &path, "--requirepass", "secret"]);
    // A file without a line for the user does not remove its password.
    assert!(server.connect().line("PING").text().starts_with("NOAUTH"));
    assert!(can_log_in(&server, "default", "secret"));
    fs::write(&path, "user ann on nopass ~* +@all\nuser default on >other +@all\n").expect("a file");
    let mut ann = server.connect();
    assert_eq!(ann.line("AUTH ann x"), Value::ok());
    assert_eq!(ann.line("ACL LOAD"), Value::ok());
    assert!(can_log_in(&server, "default", "other") && !can_log_in(&server, "default", "secret"));
    // Only a password that logs in is reported.
    assert_eq!(ann.line("CONFIG GET requirepass").elements()[1], Value::bulk(""));
}

#[test]
fn users_come_from_settings_too() {
    let folder = TempDir::new().expect("a directory");
    let file = folder.path().join("h.toml");
    fs::write(&file, "user = [\"ann on >secret (~a +get)\", \"default off\"]\n").expect("a file");
    let file = file.display().to_string();
    // The test server's first request would be refused, so the command line defines a usable user.
    let mut server = Server::with(&["--config", &file, "--user", "bob on nopass +@all ~*"]);
    for _ in 0..2 {
        let mut client = server.connect();
        assert!(client.line("PING").text().starts_with("NOAUTH"));
        assert_eq!(client.line("AUTH ann secret"), Value::ok());
        assert_eq!(client.line("GET a"), Value::Null);
        assert!(client.line("GET b").text().starts_with("NOPERM"));
        assert_eq!(client.line("AUTH bob x"), Value::ok());
        assert_eq!(names(&mut client), ["ann", "bob", "default"]);
        // ACL SETUSER does not change settings.
        client.line("ACL DELUSER ann");
        server.kill();
        server.restart();
    }
}

#[track_caller]
fn assert_refused(flags: &[&str], words: &[&str]) {
    let folder = TempDir::new().expect("a directory");
    let dir = folder.path().join("data");
    let (status, log) = start_and_expect_exit(free_port(), &dir, flags);
    assert!(status.is_some_and(|status| !status.success()), "{flags:?}: {status:?}\n{log}");
    for word in words {
        assert!(log.contains(word), "{flags:?}: nothing of {word:?} in\n{log}");
    }
    assert!(!log.contains("hidden"), "a password in\n{log}");
    assert!(!Path::new(&dir).exists(), "{flags:?} made a data directory");
}

#[test]
fn a_server_does_not_start_with_users_that_are_wrong() {
    let folder = TempDir::new().expect("a directory");
    let path = folder.path().join("users.acl").display().to_string();
    fs::write(&path, "user ann on\nuser bob >hidden bad\n").expect("a file");
    assert_refused(&["--aclfile", &path], &["users.acl:2: Syntax error"]);
    assert_refused(&["--aclfile", "/nonexistent/users.acl"], &["opening file '/nonexistent/users.acl'"]);
    assert_refused(
        &["--user", "ann on >hidden +nope"],
        &["'+nope': Unknown command or category name in ACL"],
    );
    assert_refused(&["--user", "ann on", "--user", "ann off"], &["Duplicate user found"]);
    assert_refused(&["--aclfile", &path, "--user", "ann on"], &["aclfile", "at the same time"]);
}
