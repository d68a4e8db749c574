//! A user: its passwords, whether it may log in, and its permissions.

use crate::acl::password::PasswordHash;
use crate::acl::rule::RuleError;
use crate::acl::selector::Selector;

/// A user after some rules. Immutable once shared: sessions hold the version that they were last given.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    name: Vec<u8>,
    enabled: bool,
    /// Any password is accepted.
    needs_no_password: bool,
    /// `skip-sanitize-payload`. Stored and reported only; RESTORE always checks payloads.
    skips_sanitizing: bool,
    passwords: Vec<PasswordHash>,
    /// The root permissions first.
    selectors: Vec<Selector>,
    /// One selector allows everything.
    allows_everything: bool,
}

impl User {
    /// A user without permissions that cannot log in; `all_channels`: `acl-pubsub-default`.
    pub fn new(name: &[u8], all_channels: bool) -> User {
        User {
            name: name.to_vec(),
            enabled: false,
            needs_no_password: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
            allows_everything: false,
        }
    }

    /// The user of connections before login, on a server without settings.
    pub fn default_user() -> User {
        let mut user = User::new(b"default", false);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(rule.as_bytes(), false).expect("a rule that is always right");
        }
        user
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether connections act as this user without a login, if it is the default user.
    pub fn is_open(&self) -> bool {
        self.enabled && self.needs_no_password
    }

    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    pub fn allows_everything(&self) -> bool {
        self.allows_everything
    }

    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Whether a password with this hash logs in.
    pub fn accepts(&self, password: &PasswordHash) -> bool {
        // Always compared, so that the time does not reveal which of the three conditions failed.
        let is_known = password.is_one_of(&self.passwords);
        self.enabled && (self.needs_no_password || is_known)
    }

    pub fn has_password(&self, password: &PasswordHash) -> bool {
        password.is_one_of(&self.passwords)
    }

    /// Applies one rule (Redis `ACLSetUser`). On error nothing changes.
    pub fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if rule.is_empty() {
            // Empty between two consecutive blanks.
        } else if is("on") {
            self.enabled = true;
        } else if is("off") {
            self.enabled = false;
        } else if is("nopass") {
            self.needs_no_password = true;
            self.passwords.clear();
        } else if is("resetpass") {
            self.needs_no_password = false;
            self.passwords.clear();
        } else if is("skip-sanitize-payload") {
            self.skips_sanitizing = true;
        } else if is("sanitize-payload") {
            self.skips_sanitizing = false;
        } else if is("clearselectors") {
            self.selectors.truncate(1);
        } else if is("reset") {
            *self = User::new(&self.name, all_channels);
        } else {
            match rule {
                [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
                [b'#', hash @ ..] => self.add_password(PasswordHash::parse(hash).ok_or(RuleError::BadHash)?),
                [b'<', password @ ..] => self.remove_password(PasswordHash::of(password))?,
                [b'!', hash @ ..] => {
                    self.remove_password(PasswordHash::parse(hash).ok_or(RuleError::BadHash)?)?
                }
                [b'(', .., b')'] => self.selectors.push(Selector::parse(rule, all_channels)?),
                _ => self.selectors[0].apply(rule)?,
            }
        }
        self.allows_everything = self.selectors.iter().any(Selector::allows_everything);
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) {
        if !hash.is_one_of(&self.passwords) {
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        let index =
            self.passwords.iter().position(|known| *known == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(index);
        Ok(())
    }

    // ---- descriptions

    /// Flags in Redis's order.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let enabled = if self.enabled { "on" } else { "off" };
        let sanitizing = if self.skips_sanitizing { "skip-sanitize-payload" } else { "sanitize-payload" };
        [Some(enabled), self.needs_no_password.then_some("nopass"), Some(sanitizing)].into_iter().flatten()
    }

    /// Password hashes in hexadecimal.
    pub fn passwords(&self) -> impl Iterator<Item = String> + '_ {
        self.passwords.iter().map(PasswordHash::hex)
    }

    /// `user <name> <rules>`, which rebuilds the user. It contains password hashes, but no passwords.
    pub fn describe(&self) -> Vec<u8> {
        let mut parts = vec![b"user".to_vec(), self.name.clone()];
        parts.extend(self.flags().map(|flag| flag.as_bytes().to_vec()));
        parts.extend(self.passwords().map(|hash| format!("#{hash}").into_bytes()));
        parts.push(self.selectors[0].describe());
        for selector in &self.selectors[1..] {
            parts.push([b"(", &selector.describe()[..], b")"].concat());
        }
        parts.join(&b' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &str) -> User {
        let mut user = User::new(b"u", false);
        for rule in crate::acl::rule::merge_selectors(rules.split(' ').map(str::as_bytes)).unwrap() {
            user.apply(&rule, false).unwrap();
        }
        user
    }

    fn described(rules: &str) -> String {
        String::from_utf8(user(rules).describe()).unwrap()
    }

    /// Recorded from Redis 8.0.6, with other names.
    #[test]
    fn users_are_described_as_redis_describes_them() {
        assert_eq!(User::default_user().describe(), b"user default on nopass sanitize-payload ~* &* +@all");
        assert_eq!(described(""), "user u off sanitize-payload resetchannels -@all");
        assert_eq!(
            described("on nopass ~key +mget (~key ~otherkey +mget)"),
            "user u on nopass sanitize-payload ~key resetchannels -@all +mget (~key ~otherkey resetchannels -@all +mget)"
        );
        assert_eq!(
            described("on >hello %R~read* %W~write* ~rw* +@all"),
            "user u on sanitize-payload #2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 %R~read* \
             %W~write* ~rw* resetchannels +@all"
        );
        assert_eq!(described("+get reset"), "user u off sanitize-payload resetchannels -@all");
        assert_eq!(
            described("() (~a)"),
            "user u off sanitize-payload resetchannels -@all (resetchannels -@all) (~a resetchannels -@all)"
        );
    }

    #[test]
    fn passwords_come_and_go() {
        let right = |user: &User, password: &str| user.accepts(&PasswordHash::of(password.as_bytes()));
        let mut user = user("on >a >b >a");
        assert!(right(&user, "a") && right(&user, "b") && !right(&user, "c") && !right(&user, ""));
        assert_eq!(user.apply(b"<c", false), Err(RuleError::NoSuchPassword));
        user.apply(b"<a", false).unwrap();
        assert!(!right(&user, "a") && right(&user, "b"));
        user.apply(b"nopass", false).unwrap();
        assert!(right(&user, "c"));
        user.apply(b"off", false).unwrap();
        assert!(!right(&user, "c"));
        user.apply(b"on", false).unwrap();
        user.apply(b"resetpass", false).unwrap();
        assert!(!right(&user, "b") && !right(&user, ""));
        let hash = PasswordHash::of(b"x").hex();
        user.apply(format!("#{hash}").as_bytes(), false).unwrap();
        assert!(right(&user, "x"));
        user.apply(format!("!{hash}").as_bytes(), false).unwrap();
        assert!(!right(&user, "x"));
        for rule in [&b"#x"[..], b"!x"] {
            assert_eq!(user.apply(rule, false), Err(RuleError::BadHash));
        }
    }

    #[test]
    fn a_user_of_which_one_selector_allows_everything_may_do_everything() {
        assert!(user("+@all ~* &*").allows_everything());
        assert!(user("(+@all ~* &*)").allows_everything());
        assert!(!user("+@all ~* (&*)").allows_everything());
        assert!(!user("(+@all ~* &*) clearselectors").allows_everything());
    }

    #[test]
    fn a_selector_with_a_wrong_rule_is_refused_whole() {
        let mut one = user("on");
        for rule in [&b"(on)"[..], b"(>x)", b"(())", b"(+foo)", b"("] {
            assert!(one.apply(rule, false).is_err(), "{}", rule.escape_ascii());
        }
        assert_eq!(one, user("on"));
    }
}
