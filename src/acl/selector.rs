//! A set of permissions for commands, keys and channels. A user has a root set and may have more.

use crate::acl::rule::{RuleError, has_blanks, is_blank};
use crate::base::glob;
use crate::command::keys::Access;
use crate::command::lookup;
use crate::command::spec::{Category, Row};
use crate::command::table::{ROWS, TABLE, subcommands};
use std::collections::BTreeMap;

/// A constant of its own, because the layout of a type must not depend on the evaluation of all rows.
const WORDS: usize = 4;

const _: () = assert!(ROWS.div_ceil(64) == WORDS, "as many bits as rows");

/// One bit per row of the command table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Commands([u64; WORDS]);

impl Commands {
    const NONE: Commands = Commands([0; WORDS]);

    fn all() -> Commands {
        let mut commands = Commands::NONE;
        for index in 0..ROWS {
            commands.set(index, true);
        }
        commands
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }

    fn set(&mut self, index: usize, allowed: bool) {
        let bit = 1 << (index % 64);
        if allowed {
            self.0[index / 64] |= bit;
        } else {
            self.0[index / 64] &= !bit;
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    reads: bool,
    writes: bool,
}

impl KeyPattern {
    fn describe(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.reads, self.writes) {
            (true, true) => b"~",
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            (false, false) => unreachable!("a pattern that allows nothing is no rule"),
        };
        [prefix, &self.pattern].concat()
    }
}

/// A set of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    all_keys: bool,
    all_channels: bool,
    commands: Commands,
    /// The rules began with `+@all`, so commands of later versions are allowed too.
    begins_with_all: bool,
    /// For commands that are not allowed as a whole: the allowed first arguments, by row.
    first_arguments: BTreeMap<usize, Vec<Vec<u8>>>,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
    /// Command rules since `+@all` or `-@all`, in order, because their order matters.
    command_rules: Vec<String>,
}

impl Selector {
    /// No permissions, except for channels if `acl-pubsub-default` grants them.
    pub fn new(all_channels: bool) -> Selector {
        Selector {
            all_keys: false,
            all_channels,
            commands: Commands::NONE,
            begins_with_all: false,
            first_arguments: BTreeMap::new(),
            keys: Vec::new(),
            channels: Vec::new(),
            command_rules: Vec::new(),
        }
    }

    /// Parses a selector in brackets (Redis `aclCreateSelectorFromOpSet`).
    pub fn parse(rule: &[u8], all_channels: bool) -> Result<Selector, RuleError> {
        let mut selector = Selector::new(all_channels);
        for word in rule[1..rule.len() - 1].split(|&byte| is_blank(byte)).filter(|word| !word.is_empty()) {
            selector.apply(word)?;
            if word.ends_with(b")") {
                // Inside a line of rules this bracket would end the selector.
                return Err(RuleError::Syntax);
            }
        }
        Ok(selector)
    }

    /// Applies one non-empty rule (Redis `ACLSetSelector`).
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            self.all_keys = true;
            self.keys.clear();
        } else if is("resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is("allchannels") || is("&*") {
            self.all_channels = true;
            self.channels.clear();
        } else if is("resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is("allcommands") || is("+@all") {
            self.begin(true);
        } else if is("nocommands") || is("-@all") {
            self.begin(false);
        } else {
            match rule {
                [b'~', pattern @ ..] => self.add_key_pattern(pattern, true, true)?,
                [b'%', rest @ ..] => self.add_limited_key_pattern(rest)?,
                [b'&', pattern @ ..] => self.add_channel(pattern)?,
                [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                    self.change_category(category, *sign == b'+')?
                }
                [b'+', name @ ..] => self.allow(name)?,
                [b'-', name @ ..] => {
                    let row = lookup::by_full_name(name).ok_or(RuleError::Unknown)?;
                    self.change_command(row, false);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn begin(&mut self, with_all: bool) {
        self.commands = if with_all { Commands::all() } else { Commands::NONE };
        self.begins_with_all = with_all;
        self.command_rules.clear();
        self.first_arguments.clear();
    }

    /// `R~pattern`, `W~pattern`, `RW~pattern`
    fn add_limited_key_pattern(&mut self, rest: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (mut reads, mut writes) = (false, false);
        for (index, letter) in rest.iter().enumerate() {
            match letter.to_ascii_uppercase() {
                b'R' if !reads => reads = true,
                b'W' if !writes => writes = true,
                b'~' if reads || writes => return self.add_key_pattern(&rest[index + 1..], reads, writes),
                _ => return Err(RuleError::Syntax),
            }
        }
        // Redis reads `%R` as a pattern that matches only the empty key; it is a mistake in practice.
        Err(RuleError::Syntax)
    }

    fn add_key_pattern(&mut self, pattern: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), reads, writes }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn change_category(&mut self, name: &[u8], allowed: bool) -> Result<(), RuleError> {
        // No category name contains a second `@`.
        let category = Category::find(name).filter(|_| !name.starts_with(b"@")).ok_or(RuleError::Unknown)?;
        self.note_command_rule(category.name(), allowed);
        for row in TABLE.iter().filter(|row| row.is_in(category)) {
            self.set_command(row, allowed);
        }
        Ok(())
    }

    /// `+command`, `+command|subcommand`, `+command|first-argument`.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            let row = lookup::command(name).ok_or(RuleError::Unknown)?;
            self.change_command(row, true);
            return Ok(());
        };
        let (command, argument) = (&name[..bar], &name[bar + 1..]);
        let row = lookup::by_full_name(command).ok_or(RuleError::Unknown)?;
        if row.container.is_some() {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if lookup::is_container(row) {
            let row = lookup::by_full_name(name).ok_or(RuleError::Unknown)?;
            self.change_command(row, true);
            return Ok(());
        }
        if has_blanks(argument) {
            // Such an argument has no form in a line of rules.
            return Err(RuleError::Syntax);
        }
        let rule = String::from_utf8(name.to_ascii_lowercase()).map_err(|_| RuleError::Syntax)?;
        let argument = argument.to_ascii_lowercase();
        let arguments = self.first_arguments.entry(row.index()).or_default();
        if !arguments.contains(&argument) {
            arguments.push(argument);
        }
        self.note_command_rule(&rule, true);
        Ok(())
    }

    fn change_command(&mut self, row: &'static Row, allowed: bool) {
        self.set_command(row, allowed);
        self.note_command_rule(row.full_name(), allowed);
    }

    /// Sets a command and its sub-commands.
    fn set_command(&mut self, row: &'static Row, allowed: bool) {
        self.commands.set(row.index(), allowed);
        self.first_arguments.remove(&row.index());
        if row.container.is_none() {
            for subcommand in subcommands(row.name) {
                self.commands.set(subcommand.index(), allowed);
            }
        }
    }

    /// Appends the rule; drops the rules that it overrules: the same command and its sub-commands (Redis 7.2
    /// `ACLUpdateCommandRules`).
    fn note_command_rule(&mut self, name: &str, allowed: bool) {
        self.command_rules.retain(|rule| {
            let rest = rule[1..].strip_prefix(name);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.command_rules.push(format!("{}{name}", if allowed { '+' } else { '-' }));
    }

    // ---- decisions

    /// Whether nothing is forbidden, so that requests need no check.
    pub fn allows_everything(&self) -> bool {
        self.all_keys && self.all_channels && self.commands == Commands::all()
    }

    /// Whether the command may be sent. `first_argument` follows the command's full name.
    pub fn allows_command(&self, row: &Row, first_argument: Option<&[u8]>) -> bool {
        self.commands.has(row.index())
            || self.first_arguments.get(&row.index()).zip(first_argument).is_some_and(
                |(allowed, argument)| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(argument)),
            )
    }

    pub fn allows_key(&self, key: &[u8], access: Access) -> bool {
        self.all_keys
            || self.keys.iter().any(|allowed| {
                (allowed.reads || !access.reads)
                    && (allowed.writes || !access.writes)
                    && glob::matches(&allowed.pattern, key)
            })
    }

    /// Whether a channel is allowed. A pattern (`is_pattern`) must equal an allowed pattern literally.
    pub fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self
                .channels
                .iter()
                .any(|allowed| if is_pattern { allowed == name } else { glob::matches(allowed, name) })
    }

    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    pub fn channel_patterns(&self) -> &[Vec<u8>] {
        &self.channels
    }

    // ---- descriptions

    /// The command rules: `+@all -get`.
    pub fn describe_commands(&self) -> String {
        let mut text = String::from(if self.begins_with_all { "+@all" } else { "-@all" });
        for rule in &self.command_rules {
            text.push(' ');
            text.push_str(rule);
        }
        text
    }

    /// `~a %R~b`
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        // `~*` makes the other patterns redundant.
        let describe = |key: &KeyPattern| match &key.describe()[..] {
            b"~*" if self.keys.len() > 1 => b"%RW~*".to_vec(),
            rule => rule.to_vec(),
        };
        self.keys.iter().map(describe).collect::<Vec<_>>().join(&b' ')
    }

    /// `&a &b`
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|channel| [b"&", &channel[..]].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// Rules that rebuild this selector.
    pub fn describe(&self) -> Vec<u8> {
        let channels = self.describe_channels();
        let mut parts = vec![self.describe_keys()];
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(channels);
        parts.push(self.describe_commands().into_bytes());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(rules: &str) -> Selector {
        let mut selector = Selector::new(false);
        for rule in rules.split_whitespace() {
            selector.apply(rule.as_bytes()).unwrap_or_else(|error| panic!("{rule}: {error}"));
        }
        selector
    }

    #[test]
    fn what_is_described_can_be_read_again() {
        for rules in ["%RW~* ~b", "~b %RW~*", "%RW~*", "%R~* %W~*"] {
            let described = selector(rules).describe();
            let again = selector(std::str::from_utf8(&described).unwrap());
            assert_eq!(again.describe(), described, "{rules}");
        }
        assert_eq!(Selector::parse(b"(~a) +get)", false), Err(RuleError::Syntax));
        assert_eq!(Selector::parse(b"( ~))", false), Err(RuleError::Syntax));
    }

    fn commands(rules: &str) -> String {
        selector(rules).describe_commands()
    }

    fn refused(rule: &str) -> RuleError {
        selector("").apply(rule.as_bytes()).unwrap_err()
    }

    fn may(selector: &Selector, name: &str, argument: Option<&str>) -> bool {
        selector.allows_command(lookup::by_full_name(name.as_bytes()).unwrap(), argument.map(str::as_bytes))
    }

    /// Assertions of Redis's own suite (7.2, tests/unit/acl.tcl), with commands that exist here.
    #[test]
    fn rules_on_commands_keep_their_order_and_lose_what_is_overruled() {
        assert_eq!(commands("+@all -@stream -@slow +xlen"), "+@all -@stream -@slow +xlen");
        assert_eq!(commands("+@all -@stream -@slow +xlen -@stream"), "+@all -@slow +xlen -@stream");
        assert_eq!(commands("+@all -@stream -@slow +xlen +@stream"), "+@all -@slow +xlen +@stream");
        assert_eq!(commands("+@all -@stream -@all"), "-@all");
        assert_eq!(commands("+@STREAM"), "-@all +@stream");
        assert_eq!(commands("+XLEN -Xlen"), "-@all -xlen");
        assert_eq!(commands("+client|id +client|setname"), "-@all +client|id +client|setname");
        assert_eq!(commands("+client|id +client"), "-@all +client");
        assert_eq!(commands("+client -client|id"), "-@all +client -client|id");
        assert_eq!(commands("+@all +client|id"), "+@all +client|id");
        assert_eq!(commands("+select|0 +select|1 +select"), "-@all +select");
        assert_eq!(commands("+select|0 +get"), "-@all +select|0 +get");
    }

    #[test]
    fn commands_are_allowed_with_their_subcommands() {
        let config = selector("+config -config|set");
        assert!(may(&config, "config|get", None) && !may(&config, "config|set", None));
        assert!(may(&selector("+config|get"), "config|get", None));
        assert!(!may(&selector("+config|get"), "config|rewrite", None));
        assert!(!may(&selector("+config|get"), "config", None));
        let select = selector("+select|0");
        assert!(may(&select, "select", Some("0")) && !may(&select, "select", Some("1")));
        assert!(!may(&select, "select", None) && !may(&selector("+select|0 -select"), "select", Some("0")));
        let streams = selector("+@all -@stream");
        assert!(!may(&streams, "xadd", None) && !may(&streams, "xgroup|create", None));
        assert!(may(&streams, "get", None));
    }

    #[test]
    fn keys_are_allowed_to_read_or_to_write() {
        let read = Access { reads: true, writes: false };
        let write = Access { reads: false, writes: true };
        let both = Access { reads: true, writes: true };
        let look = Access { reads: false, writes: false };
        let keys = selector("%R~r* %W~w* ~b* %rW~c* %R~d* %W~d*");
        let decisions =
            |key: &str| [read, write, both, look].map(|access| keys.allows_key(key.as_bytes(), access));
        assert_eq!(decisions("r1"), [true, false, false, true]);
        assert_eq!(decisions("w1"), [false, true, false, true]);
        for key in ["b1", "c1", "d1"] {
            assert_eq!(decisions(key), [true; 4]);
        }
        assert_eq!(decisions("x"), [false; 4]);
        assert_eq!(keys.describe_keys(), b"%R~r* %W~w* ~b* ~c* ~d*");
        // Two patterns do not combine into one permission.
        assert!(!selector("%R~k* %W~k1").allows_key(b"k1", both));
    }

    #[test]
    fn patterns_of_channels_are_allowed_to_the_letter() {
        let channels = selector("&news.* &x");
        assert!(channels.allows_channel(b"news.a", false) && !channels.allows_channel(b"old", false));
        assert!(channels.allows_channel(b"news.*", true) && !channels.allows_channel(b"news.a", true));
        assert_eq!(channels.describe_channels(), b"&news.* &x");
        assert!(Selector::new(true).allows_channel(b"anything*", true));
    }

    #[test]
    fn wrong_rules_are_refused_for_their_reason() {
        use RuleError::*;
        let unknown = [
            "+foo",
            "+",
            "-",
            "+@",
            "-@foo",
            "+@@stream",
            "+config|foo",
            "+|get",
            "-get|x",
            "+foo|x",
            "+get|a|b",
        ];
        for rule in unknown {
            assert_eq!(refused(rule), Unknown, "{rule}");
        }
        let syntax =
            ["foo", "%~k", "%", "%R", "%RR~a", "%RX~a", "~a b", "&a\0", "+get|", "(", ")", "on", "+get|a b"];
        for rule in syntax {
            assert_eq!(refused(rule), Syntax, "{rule}");
        }
        assert_eq!(refused("+config|set|x"), FirstArgumentOfSubcommand);
        assert_eq!(selector("~*").apply(b"~a"), Err(AfterAllKeys));
        assert_eq!(selector("allkeys").apply(b"%R~a"), Err(AfterAllKeys));
        assert_eq!(selector("&*").apply(b"&a"), Err(AfterAllChannels));
    }

    #[test]
    fn everything_is_allowed_only_where_nothing_is_forbidden() {
        assert!(selector("+@all ~* &*").allows_everything());
        assert!(selector("+@all -get +get ~* &*").allows_everything());
        for rules in ["+@all ~*", "+@all &*", "~* &*", "+@all -get ~* &*", "+@all ~* resetkeys &*"] {
            assert!(!selector(rules).allows_everything(), "{rules}");
        }
    }

    fn rule() -> impl Strategy<Value = String> {
        let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
        prop_oneof![
            word(&[
                "~*",
                "allkeys",
                "resetkeys",
                "&*",
                "allchannels",
                "resetchannels",
                "+@all",
                "-@all",
                "~a",
                "%R~b"
            ]),
            word(&[
                "%W~b",
                "&c",
                "&d*",
                "+select|0",
                "+get|x",
                "allcommands",
                "nocommands",
                "+foo",
                "bad",
                "%"
            ]),
            (any::<bool>(), 0..TABLE.len()).prop_map(|(plus, row)| format!(
                "{}{}",
                if plus { '+' } else { '-' },
                TABLE[row].full_name()
            )),
            (any::<bool>(), 0..Category::ALL.len()).prop_map(|(plus, at)| format!(
                "{}{}",
                if plus { '+' } else { '-' },
                Category::ALL[at].name()
            )),
        ]
    }

    proptest! {
        /// A selector's description rebuilds the selector, so the users file loses nothing.
        #[test]
        fn descriptions_are_complete(rules in prop::collection::vec(rule(), 0..20)) {
            let mut made = Selector::new(false);
            for rule in &rules {
                let before = made.clone();
                if made.apply(rule.as_bytes()).is_err() {
                    prop_assert_eq!(&made, &before);
                }
            }
            let text = String::from_utf8(made.describe()).unwrap();
            for all_channels in [false, true] {
                let again = Selector::parse(format!("({text})").as_bytes(), all_channels).unwrap();
                prop_assert_eq!(&again, &made, "{}", text);
            }
        }

        #[test]
        fn no_rule_panics(rule in prop::collection::vec(any::<u8>(), 1..12)) {
            let _ = Selector::new(false).apply(&rule);
        }
    }
}
