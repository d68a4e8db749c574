//! The users file (`aclfile`): one user per line in the form of ACL LIST. ACL SAVE replaces it as a whole.

use crate::acl::rule::{RuleError, has_blanks, is_blank, merge_selectors};
use crate::acl::user::User;
use crate::acl::users::{DEFAULT_USER, Users};
use crate::env::fs::{Fs, OpenMode};
use crate::env::replace::replace_file;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes of a users file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The location of the users file.
#[derive(Debug, Clone)]
pub struct UserFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl UserFile {
    pub fn new(fs: Arc<dyn Fs>, path: PathBuf) -> UserFile {
        UserFile { fs, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the users. `initial` holds the users that exist without any line: the default user, unless a
    /// line defines it. On error, one line lists each wrong line with its reason, and the caller must keep
    /// its present users (Redis `ACLLoadFromFile`).
    pub fn load(&self, initial: Users) -> Result<Users, String> {
        let path = self.path.display().to_string();
        let text =
            self.read().map_err(|error| format!("Error loading ACLs, opening file '{path}': {error}"))?;
        parse(&text, &path, initial)
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let file = self.fs.open(&self.path, OpenMode::Read)?;
        let length = file.len()?;
        if length > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any file of users"));
        }
        let mut text = vec![0; length as usize];
        let read = file.read_at(&mut text, 0)?;
        text.truncate(read);
        Ok(text)
    }

    /// Writes the users. After an error, or a crash at any moment, the file has either the old or the new
    /// content.
    pub fn save(&self, users: &Users) -> io::Result<()> {
        replace_file(&*self.fs, &self.path, &users.describe())
    }
}

/// Parses a file's text into `users`, which hold the default user.
fn parse(text: &[u8], path: &str, mut users: Users) -> Result<Users, String> {
    let all_channels = users.all_channels;
    let mut seen_default = false;
    let mut errors = String::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let place = format!("{path}:{}", at + 1);
        let line = trim(line);
        if line.is_empty() {
            continue;
        }
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
            let _ = write!(errors, "{place} should start with user keyword followed by the username. ");
            continue;
        };
        if has_blanks(name) {
            let name = name.escape_ascii();
            let _ = write!(errors, "'{place}: username '{name}' contains invalid characters. ");
            continue;
        }
        let is_known = if name == DEFAULT_USER {
            std::mem::replace(&mut seen_default, true)
        } else {
            users.get(name).is_some()
        };
        if is_known {
            let name = name.escape_ascii();
            let _ = write!(errors, "WARNING: Duplicate user '{name}' found on line {}. ", at + 1);
            continue;
        }
        match merge_selectors(words) {
            Err(_) => {
                let _ = write!(errors, "{place}: Unmatched parenthesis in selector definition. ");
            }
            Ok(rules) => {
                users.insert(read_user(name, &rules, &place, all_channels, &mut errors));
            }
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors
        .push_str("WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
    Err(errors)
}

/// Builds a user from its rules; problems are appended to `errors`. A rule may hold a password, so only rules
/// on commands are quoted.
fn read_user(name: &[u8], rules: &[Vec<u8>], place: &str, all_channels: bool, errors: &mut String) -> User {
    let mut user = User::new(name, all_channels);
    let mut is_wrong = false;
    for rule in rules {
        match user.apply(trim(rule), all_channels) {
            Ok(()) => {}
            Err(why @ RuleError::Unknown) => {
                let rule = rule.escape_ascii();
                let _ = write!(errors, "{place}: Error in applying operation '{rule}': {why}. ");
            }
            Err(why) => {
                if !is_wrong {
                    let _ = write!(errors, "{place}: {why}. ");
                }
                is_wrong = true;
            }
        }
    }
    user
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::{Faults, SimFs};

    fn load(text: &str) -> Result<String, String> {
        parse(text.as_bytes(), "f", Users::new(false))
            .map(|users| String::from_utf8(users.describe()).unwrap())
    }

    #[test]
    fn a_saved_file_reads_back() {
        let text = "user ann on sanitize-payload #ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ~a %R~b \
                    resetchannels &c -@all +@stream -xadd (~d resetchannels -@all +get)\nuser default on nopass \
                    sanitize-payload ~* &* +@all\n";
        assert_eq!(load(text).unwrap(), text);
        assert_eq!(load("").unwrap(), "user default on nopass sanitize-payload ~* &* +@all\n");
        assert_eq!(load("\n \r\n  user  \r\n").unwrap_err().matches("f:3").count(), 1);
        assert_eq!(
            load("user default off\r\n").unwrap(),
            "user default off sanitize-payload resetchannels -@all\n"
        );
        assert!(load("user x on  ( ~a  +get )  nopass").unwrap().contains("(~a resetchannels -@all +get)"));
    }

    #[test]
    fn every_line_that_is_wrong_is_named_with_its_reason() {
        let text = "user ann on +foo >secret bad worse\nmember bob\nuser ann\nuser c\td on\nuser e (~a\nuser f ~* ~b\n# no";
        assert_eq!(
            load(text).unwrap_err(),
            "f:1: Error in applying operation '+foo': Unknown command or category name in ACL. f:1: Syntax error. \
             f:2 should start with user keyword followed by the username. \
             WARNING: Duplicate user 'ann' found on line 3. \
             'f:4: username 'c\\td' contains invalid characters. \
             f:5: Unmatched parenthesis in selector definition. \
             f:6: Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
             Try 'resetkeys' to start with an empty list of patterns. \
             f:7 should start with user keyword followed by the username. \
             WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        );
        assert!(load("user default on\nuser default off").unwrap_err().contains("Duplicate user 'default'"));
    }

    fn users(rules: &str) -> Users {
        let mut users = Users::new(false);
        users.set_user(b"ann", rules.split(' ').map(str::as_bytes)).unwrap();
        users
    }

    /// A crash at every operation leaves the old file or the new one, complete.
    #[test]
    fn saving_is_all_or_nothing() {
        let (before, after) = (users("on +get"), users("on +get +set ~longer"));
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let fs = SimFs::new(seed);
            fs.create_dir_all(Path::new("/d")).unwrap();
            let file = UserFile::new(Arc::new(fs.clone()), "/d/users.acl".into());
            file.save(&before).unwrap();
            let crash_at_operation = Some(fs.operations() + 1 + seed % 8);
            fs.set_faults(Faults { crash_at_operation, ..Faults::default() });
            let saved = file.save(&after);
            fs.crash();
            let loaded = file.load(Users::new(false)).unwrap().describe();
            if saved.is_ok() {
                assert_eq!(loaded, after.describe());
            } else {
                assert!(loaded == before.describe() || loaded == after.describe());
            }
            outcomes.insert((saved.is_ok(), loaded == after.describe()));
            // The next save succeeds.
            file.save(&after).unwrap();
            assert_eq!(file.load(Users::new(false)).unwrap().describe(), after.describe());
        }
        assert!(outcomes.contains(&(true, true)) && outcomes.contains(&(false, false)), "{outcomes:?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_said() {
        let fs = SimFs::new(1);
        let error = UserFile::new(Arc::new(fs), "/none".into()).load(Users::new(false)).unwrap_err();
        assert!(error.starts_with("Error loading ACLs, opening file '/none': "), "{error}");
    }
}
