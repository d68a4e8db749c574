//! The access control of a node: users, the log of denials, the throttle of logins, the users file.

use crate::acl::file::UserFile;
use crate::acl::log::Log;
use crate::acl::password::PasswordHash;
use crate::acl::throttle::{Limits, Throttle};
use crate::acl::user::User;
use crate::acl::users::{DEFAULT_USER, Users};
use crate::base::shared::Shared;
use crate::config::config::Config;
use crate::env::fs::Fs;

use std::path::PathBuf;

use std::sync::Arc;

/// User definitions that prevent the start.
#[derive(Debug, thiserror::Error)]
pub enum AclError {
    #[error("users are defined by 'user' settings and by aclfile at the same time; use one of the two")]
    TwoPlaces,
    #[error("user = '{line}': {why}")]
    Setting { line: String, why: String },
    #[error("{0}")]
    File(String),
}

/// The access control of a node.
#[derive(Debug)]
pub struct Acl {
    pub users: Shared<Users>,
    pub log: Shared<Log>,
    pub throttle: Shared<Throttle>,
    file: Option<UserFile>,
}

impl Acl {
    /// Loads the users that the configuration names.
    ///
    /// # Errors
    ///
    /// A wrong definition. A missing user, or one with more permissions than intended, is worse than a
    /// refused start.
    pub fn open(config: &Config, fs: Arc<dyn Fs>) -> Result<Acl, AclError> {
        let file = (!config.aclfile.is_empty()).then(|| UserFile::new(fs, PathBuf::from(&config.aclfile)));
        let users = match &file {
            Some(_) if !config.users.is_empty() => return Err(AclError::TwoPlaces),
            Some(file) => load(file, config).map_err(AclError::File)?,
            None => configured(config)?,
        };
        for user in users.iter().filter(|user| !user.is_enabled()) {
            let name = user.name().escape_ascii();
            tracing::info!(user = %name, "the user is disabled: there is no 'on' among its rules");
        }
        Ok(Acl { users: Shared::new(users), log: Shared::default(), throttle: Shared::default(), file })
    }

    pub fn file(&self) -> Option<&UserFile> {
        self.file.as_ref()
    }

    /// Reads the users file again without applying it. `None`: there is no file.
    pub fn reload(&self, config: &Config) -> Option<Result<Users, String>> {
        self.file.as_ref().map(|file| load(file, config))
    }

    /// The current users as `user` settings, for CONFIG REWRITE. `None` if a users file holds them, or if
    /// only the default user exists, as the current settings define it.
    ///
    /// # Errors
    ///
    /// A user whose name or patterns are not text, as settings must be.
    pub fn as_settings(&self, config: &Config) -> Result<Option<Vec<String>>, String> {
        let users = self.users.borrow();
        if self.file.is_some() {
            return Ok(None);
        }
        if configured(config).is_ok_and(|configured| configured.describe() == users.describe()) {
            // The configured lines, so that equal definitions in the file keep their form.
            return Ok((!config.users.is_empty()).then(|| config.users.clone()));
        }
        let initial = initial(config);
        let is_given = |user: &&Arc<User>| {
            user.name() != DEFAULT_USER || user.describe() != initial.default_user().describe()
        };
        let lines = users.iter().filter(is_given).map(|user| {
            let mut line = user.describe();
            line.drain(.."user ".len());
            String::from_utf8(line).map_err(|_| {
                let name = user.name().escape_ascii();
                format!("the rules of user '{name}' are not UTF-8, keep users in an aclfile")
            })
        });
        lines.collect::<Result<_, _>>().map(Some)
    }

    /// Whether the password in `requirepass` is still one of the default user's passwords.
    pub fn is_default_password(&self, password: &[u8]) -> bool {
        self.users.borrow().default_user().has_password(&PasswordHash::of(password))
    }
}

/// The back-off of failed logins.
pub fn login_limits(config: &Config) -> Limits {
    Limits {
        failures_free: config.login_failures_free,
        backoff_max_ms: config.login_backoff_max_ms,
        with_loopback: config.login_backoff_loopback,
    }
}

/// Loads the users file. Without a line for the default user, `requirepass` defines it.
fn load(file: &UserFile, config: &Config) -> Result<Users, String> {
    file.load(initial(config))
}

/// The default user alone, with the password of `requirepass`.
fn initial(config: &Config) -> Users {
    let mut users = Users::new(config.acl_all_channels);
    if !config.requirepass.is_empty() {
        users.set_default_password(&config.requirepass);
    }
    users
}

/// The users of `requirepass` and the `user` settings, one of which may define the default user.
fn configured(config: &Config) -> Result<Users, AclError> {
    let mut users = initial(config);
    let mut seen: Vec<&str> = Vec::new();
    for line in &config.users {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let refuse = |why: String| AclError::Setting { line: without_passwords(line), why };
        if name.is_empty() {
            return Err(refuse("a name is missing".to_owned()));
        }
        if seen.contains(&name) {
            return Err(refuse(
                "Duplicate user found. A user can only be defined once in config files".to_owned(),
            ));
        }
        seen.push(name);
        // A definition is complete, even for the default user: it starts from `reset`.
        let rules = std::iter::once("reset").chain(words).map(str::as_bytes);
        users.set_user(name.as_bytes(), rules).map_err(|error| {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            refuse(text.strip_prefix("ERR ").unwrap_or(&text).to_owned())
        })?;
    }
    Ok(users)
}

/// The line with its passwords hidden, for logs.
fn without_passwords(line: &str) -> String {
    let words = line.split_ascii_whitespace().map(|word| match word.as_bytes() {
        [b'>' | b'<', ..] => &word[..1],
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::SimFs;

    fn open(config: Config) -> Result<String, String> {
        let acl = Acl::open(&config, Arc::new(SimFs::new(1))).map_err(|error| error.to_string())?;
        let text = acl.users.borrow().describe();
        Ok(String::from_utf8(text).unwrap())
    }

    fn with_users(users: &[&str]) -> Config {
        Config { users: users.iter().map(|user| user.to_string()).collect(), ..Config::default() }
    }

    #[test]
    fn users_come_from_the_settings() {
        let text = open(with_users(&["ann on >x (~a +get)", "default on +@all ~*"])).unwrap();
        assert!(text.starts_with("user ann on sanitize-payload #2d71"), "{text}");
        // Neither the permissions of a fresh default user nor an earlier password remain.
        assert!(text.ends_with("user default on sanitize-payload ~* resetchannels +@all\n"), "{text}");
    }

    #[test]
    fn the_default_user_has_the_password_of_requirepass() {
        let text = open(Config { requirepass: b"x".to_vec(), ..Config::default() }).unwrap();
        assert!(
            text.starts_with("user default on sanitize-payload #2d71") && text.ends_with(" ~* &* +@all\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_passwords() {
        let error = open(with_users(&["ann on >secret +foo"])).unwrap_err();
        assert_eq!(
            error,
            "user = 'ann on > +foo': Error in ACL SETUSER modifier '+foo': Unknown command or category name in ACL"
        );
        assert!(open(with_users(&["ann on", "ann off"])).unwrap_err().contains("Duplicate user"));
        assert!(open(with_users(&[" "])).unwrap_err().contains("a name is missing"));
        let both = Config { aclfile: "/d/users.acl".to_owned(), ..with_users(&["ann on"]) };
        assert!(open(both).unwrap_err().contains("at the same time"));
        let missing = Config { aclfile: "/d/users.acl".to_owned(), ..Config::default() };
        assert!(open(missing).unwrap_err().contains("opening file '/d/users.acl'"));
    }
}
