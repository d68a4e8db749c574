//! Rules of users in ACL SETUSER's syntax (separated by NUL), and the users file.

use crate::engine::{Subject, outcome};
use headwater::acl::file::UserFile;
use headwater::acl::users::Users;
use headwater::env::fs::{Fs, OpenMode};
use headwater::env::sim_fs::SimFs;
use std::path::Path;
use std::sync::Arc;

const TOKENS: &[&[u8]] = &[
    b"on",
    b"off",
    b">p",
    b"<p",
    b"nopass",
    b"resetpass",
    b"~*",
    b"~a",
    b"%R~b",
    b"%W~b",
    b"%RW~",
    b"%",
    b"&*",
    b"&c",
    b"+@all",
    b"-@all",
    b"+@stream",
    b"-@write",
    b"+xadd",
    b"-xadd",
    b"+config|get",
    b"+select|0",
    b"+xgroup|",
    b"(",
    b")",
    b"(~a",
    b"+get)",
    b"reset",
    b"clearselectors",
    b"resetkeys",
    b"resetchannels",
    b"#",
    b"!",
    b"|",
    b" ",
    b"\0",
    b"\n",
    b"user ",
    b"user default ",
];

/// A user's description rebuilds the user.
fn rules(bytes: &[u8]) -> u64 {
    let mut users = Users::new(false);
    let rules = bytes.split(|&byte| byte == 0);
    match users.set_user(b"u", rules) {
        Err(error) => {
            assert!(users.get(b"u").is_none(), "a refused user is there");
            let text = error.as_bytes();
            // The reason follows the quoted rule.
            outcome(text[text.iter().rposition(|&byte| byte == b'\'').map_or(0, |at| at + 1)..].to_vec())
        }
        Ok(user) => {
            let line = user.describe();
            let again = read(&line).unwrap_or_else(|error| panic!("{error}\n{}", line.escape_ascii()));
            assert_eq!(again.get(b"u").map(|again| again.describe()), Some(line.clone()));
            let signs =
                line.iter().filter(|byte| b"+-~%&(#|".contains(byte)).take(8).copied().collect::<Vec<_>>();
            outcome((user.allows_everything(), user.is_open(), signs))
        }
    }
}

/// A file is read as a whole or not at all, and saving restores what was read.
fn file(bytes: &[u8]) -> u64 {
    match read(bytes) {
        Err(errors) => outcome(errors.split_whitespace().filter(|word| !word.contains(':')).count().min(64)),
        Ok(users) => {
            let text = users.describe();
            assert_eq!(read(&text).expect("what was described").describe(), text);
            outcome((users.iter().len(), text.len().min(400) / 8))
        }
    }
}

fn read(bytes: &[u8]) -> Result<Users, String> {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new("/d")).expect("a directory");
    let path = Path::new("/d/users.acl");
    fs.open(path, OpenMode::CreateNew).and_then(|file| file.write_at(bytes, 0)).expect("a file");
    UserFile::new(Arc::new(fs), path.to_owned()).load(Users::new(false))
}

#[test]
fn acl_rules() {
    Subject { name: "acl_rules", seeds: Vec::new(), tokens: TOKENS, check: &rules }.run();
}

#[test]
fn user_file() {
    Subject { name: "user_file", seeds: Vec::new(), tokens: TOKENS, check: &file }.run();
}
