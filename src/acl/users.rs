//! All users of the node by name.

use crate::acl::password::PasswordHash;
use crate::acl::rule::{has_blanks, merge_selectors};
use crate::acl::user::User;
use crate::model::reply::ReplyError;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const DEFAULT_USER: &[u8] = b"default";

/// The users; one named `default` always exists. Clones share the users.
#[derive(Debug, Clone)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, Arc<User>>,
    /// `acl-pubsub-default`: new users and selectors start with all channels.
    pub all_channels: bool,
}

impl Users {
    /// The default user alone.
    pub fn new(all_channels: bool) -> Users {
        let mut users = Users { by_name: BTreeMap::new(), all_channels };
        users.insert(User::default_user());
        users
    }

    /// Inserts a user; replaces one of the same name.
    pub fn insert(&mut self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        self.by_name.insert(user.name().to_vec(), user.clone());
        user
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user of connections before login.
    pub fn default_user(&self) -> &Arc<User> {
        &self.by_name[DEFAULT_USER]
    }

    /// In order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// The user, if the password is right. An unknown user, a disabled one and a wrong password take the same
    /// time (docs/reliability.md A12).
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        let hash = PasswordHash::of(password);
        self.get(name).filter(|user| user.accepts(&hash))
    }

    /// ACL SETUSER: applies all rules or none (Redis `ACLStringSetUser`). Returns the resulting user.
    pub fn set_user<'r>(
        &mut self,
        name: &[u8],
        rules: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<Arc<User>, ReplyError> {
        if has_blanks(name) {
            return Err(ReplyError::new("ERR Usernames can't contain spaces or null characters"));
        }
        let rules = merge_selectors(rules).map_err(|start| {
            let before = b"ERR Unmatched parenthesis in acl selector starting at '";
            ReplyError::owned([before, start, b"'."].concat())
        })?;
        let mut user = match self.get(name) {
            Some(user) => User::clone(user),
            None => User::new(name, self.all_channels),
        };
        for rule in rules {
            user.apply(&rule, self.all_channels).map_err(|why| {
                let after = format!("': {why}");
                let parts: [&[u8]; 3] = [b"ERR Error in ACL SETUSER modifier '", &rule, after.as_bytes()];
                ReplyError::owned(parts.concat())
            })?;
        }
        Ok(self.insert(user))
    }

    /// Returns whether the user existed. The caller must not pass the default user.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        assert!(name != DEFAULT_USER, "there is always a default user");
        self.by_name.remove(name).is_some()
    }

    /// `requirepass`: sets the default user's only password; empty means no password.
    pub fn set_default_password(&mut self, password: &[u8]) {
        let mut user = User::clone(self.default_user());
        let rule = if password.is_empty() { b"nopass".to_vec() } else { [b">", password].concat() };
        for rule in [&b"resetpass"[..], &rule] {
            user.apply(rule, self.all_channels).expect("a rule that is always right");
        }
        self.insert(user);
    }

    /// One line per user, each with a line end.
    pub fn describe(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for user in self.iter() {
            text.extend(user.describe());
            text.push(b'\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(users: &mut Users, line: &str) -> Result<Arc<User>, String> {
        let mut words = line.split(' ').map(str::as_bytes);
        let name = words.next().unwrap();
        users.set_user(name, words).map_err(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    #[test]
    fn all_rules_or_none() {
        let mut users = Users::new(false);
        let made = set(&mut users, "ann on +get ~a").unwrap();
        let error = set(&mut users, "ann off +foo").unwrap_err();
        assert_eq!(
            error,
            "ERR Error in ACL SETUSER modifier '+foo': Unknown command or category name in ACL"
        );
        assert_eq!(users.get(b"ann"), Some(&made));
        assert!(set(&mut users, "bob foo").is_err() && users.get(b"bob").is_none());
        let error = set(&mut users, "ann on (~a +get").unwrap_err();
        assert_eq!(error, "ERR Unmatched parenthesis in acl selector starting at '(~a'.");
    }

    #[test]
    fn the_default_password_comes_and_goes() {
        let mut users = Users::new(false);
        assert!(users.default_user().is_open());
        users.set_default_password(b"secret");
        assert!(!users.default_user().is_open());
        assert!(users.authenticate(b"default", b"secret").is_some());
        assert!(users.authenticate(b"default", b"secre").is_none());
        users.set_default_password(b"");
        assert!(users.authenticate(b"default", b"x").is_some() && users.default_user().is_open());
    }

    #[test]
    fn channels_of_new_users_follow_the_setting() {
        let mut users = Users::new(true);
        assert!(set(&mut users, "ann (~a)").unwrap().selectors().iter().all(|s| s.allows_all_channels()));
        assert!(set(&mut users, "ann resetchannels reset").unwrap().selectors()[0].allows_all_channels());
    }
}
