//! Decides whether a user may send a request.

use crate::acl::selector::Selector;
use crate::acl::user::User;
use crate::command::keys::{self, Access};
use crate::command::spec::{Flags, Row};
use crate::command::value::{Command, PubSubCommand};
use crate::model::args::{ArgList, Args};
use crate::model::reply::ReplyError;

/// The permissions that a request needs. They derive from the parsed command, so that the checked keys are
/// the used keys (docs/reliability.md A1).
pub struct Demand<'c> {
    row: &'static Row,
    first_argument: Option<&'c [u8]>,
    command: Option<&'c Command<'c>>,
    /// Keys of a request that does not parse. It will be refused anyway, but Redis reports missing
    /// permissions first.
    found: Vec<(&'c [u8], Access)>,
}

/// The reason for a refusal: the part of the request that no selector allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied<'c> {
    Command,
    Key(&'c [u8]),
    Channel(&'c [u8]),
}

/// The channels of a command that need permission; leaving a channel needs none.
struct Channels<'c> {
    one: Option<&'c [u8]>,
    more: ArgList<'c>,
    are_patterns: bool,
}

impl<'c> Demand<'c> {
    /// The demand of a parsed request.
    pub fn of(row: &'static Row, args: Args<'c>, command: &'c Command<'c>) -> Demand<'c> {
        Demand { row, first_argument: first_argument(row, args), command: Some(command), found: Vec::new() }
    }

    /// The demand of a request that does not parse: the row's key specs find its keys.
    pub fn of_unparsed(row: &'static Row, args: Args<'c>) -> Demand<'c> {
        let found = keys::find(row, args).unwrap_or_default();
        let found = found.into_iter().map(|(key, spec)| (key, Access::of(spec))).collect();
        Demand { row, first_argument: first_argument(row, args), command: None, found }
    }

    /// The demand of a blocked command; `first_argument` is known only if the caller kept it.
    pub fn of_waiting(
        row: &'static Row,
        first_argument: Option<&'c [u8]>,
        command: &'c Command<'c>,
    ) -> Demand<'c> {
        Demand { row, first_argument, command: Some(command), found: Vec::new() }
    }

    fn keys(&self) -> impl Iterator<Item = (&'c [u8], Access)> + '_ {
        let parsed = self.command.into_iter().flat_map(|command| keys::accesses(self.row, command));
        parsed.chain(self.found.iter().copied())
    }

    fn channels(&self) -> Channels<'c> {
        let (one, more, are_patterns) = match self.command {
            Some(Command::PubSub(command)) => match *command {
                PubSubCommand::Publish { channel, .. } | PubSubCommand::ShardPublish { channel, .. } => {
                    (Some(channel), ArgList::EMPTY, false)
                }
                PubSubCommand::Subscribe { channels } | PubSubCommand::ShardSubscribe { channels } => {
                    (None, channels, false)
                }
                PubSubCommand::PatternSubscribe { patterns } => (None, patterns, true),
                _ => (None, ArgList::EMPTY, false),
            },
            _ => (None, ArgList::EMPTY, false),
        };
        Channels { one, more, are_patterns }
    }

    /// The decision (Redis `ACLCheckAllUserCommandPerm`). Of several refusals it returns the one that came
    /// furthest: channels before keys before commands, and of two keys the later one.
    pub fn check(&self, user: &User) -> Result<(), Denied<'c>> {
        if user.allows_everything() {
            return Ok(());
        }
        let mut furthest = (0, 0, Denied::Command);
        for selector in user.selectors() {
            match self.check_selector(selector) {
                Ok(()) => return Ok(()),
                Err(refused) if (refused.0, refused.1) > (furthest.0, furthest.1) => furthest = refused,
                Err(_) => {}
            }
        }
        Err(furthest.2)
    }

    /// The error carries how far the check came: kind and position of the refused part, and the part itself.
    fn check_selector(&self, selector: &Selector) -> Result<(), (u8, usize, Denied<'c>)> {
        if !self.row.flags.contains(Flags::NO_AUTH) && !selector.allows_command(self.row, self.first_argument)
        {
            return Err((0, 0, Denied::Command));
        }
        for (index, (key, access)) in self.keys().enumerate() {
            if !selector.allows_key(key, access) {
                return Err((1, index, Denied::Key(key)));
            }
        }
        let Channels { one, more, are_patterns } = self.channels();
        for (index, channel) in one.into_iter().chain(more.iter()).enumerate() {
            if !selector.allows_channel(channel, are_patterns) {
                return Err((2, index, Denied::Channel(channel)));
            }
        }
        Ok(())
    }
}

/// The argument after the full command name.
fn first_argument<'c>(row: &Row, args: Args<'c>) -> Option<&'c [u8]> {
    args.get(if row.container.is_some() { 2 } else { 1 })
}

impl Denied<'_> {
    /// The reply to the client. It does not repeat keys and channels.
    pub fn error(&self, user: &User, row: &Row) -> ReplyError {
        match self {
            Denied::Command => {
                let text = [b"NOPERM ", &self.explain(user, row)[..]].concat();
                ReplyError::owned(text)
            }
            Denied::Key(_) => ReplyError::new("NOPERM No permissions to access a key"),
            Denied::Channel(_) => ReplyError::new("NOPERM No permissions to access a channel"),
        }
    }

    /// The detailed text for ACL DRYRUN (Redis 7.2 `getAclErrorMessage`).
    pub fn explain(&self, user: &User, row: &Row) -> Vec<u8> {
        let user = user.name();
        match *self {
            Denied::Command => {
                let name = row.full_name().as_bytes();
                [b"User ", user, b" has no permissions to run the '", name, b"' command"].concat()
            }
            Denied::Key(key) => {
                [b"User ", user, b" has no permissions to access the '", key, b"' key"].concat()
            }
            Denied::Channel(channel) => {
                [b"User ", user, b" has no permissions to access the '", channel, b"' channel"].concat()
            }
        }
    }

    /// The reply of EXEC for a command that was allowed when it was queued (Redis `execCommand`).
    pub fn error_at_exec(&self) -> ReplyError {
        let why = match self {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments",
        };
        ReplyError::owned(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
             is no longer allowed for the following reason: {why}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::users::Users;
    use crate::command::lookup;
    use crate::model::args::OwnedArgs;

    /// `ok`, or the reason for the refusal.
    fn decide(rules: &str, request: &str) -> String {
        let mut users = Users::new(false);
        let user = users.set_user(b"u", rules.split(' ').map(str::as_bytes)).unwrap();
        let owned: OwnedArgs = request.split(' ').map(str::as_bytes).collect();
        let args = owned.as_args();
        let row = lookup::find(args).unwrap();
        let parsed = (row.parse)(args);
        let demand = match &parsed {
            Ok(command) => Demand::of(row, args, command),
            Err(_) => Demand::of_unparsed(row, args),
        };
        match demand.check(&user) {
            Ok(()) => "ok".to_owned(),
            Err(denied) => String::from_utf8(denied.explain(&user, row)).unwrap(),
        }
    }

    fn command(name: &str) -> String {
        format!("User u has no permissions to run the '{name}' command")
    }

    fn key(name: &str) -> String {
        format!("User u has no permissions to access the '{name}' key")
    }

    fn channel(name: &str) -> String {
        format!("User u has no permissions to access the '{name}' channel")
    }

    #[test]
    fn commands_then_keys_then_channels() {
        assert_eq!(decide("~*", "GET k"), command("get"));
        assert_eq!(decide("+xgroup", "XGROUP CREATE k g 0"), key("k"));
        assert_eq!(decide("~* +xgroup|setid", "XGROUP CREATE k g 0"), command("xgroup|create"));
        assert_eq!(decide("+get", "GET k"), key("k"));
        assert_eq!(decide("+mget ~a ~c", "MGET a b c d"), key("b"));
        assert_eq!(decide("+publish", "PUBLISH c m"), channel("c"));
        assert_eq!(decide("+subscribe &a*", "SUBSCRIBE a1 b a2"), channel("b"));
        assert_eq!(decide("+psubscribe &a*", "PSUBSCRIBE a1"), channel("a1"));
        assert_eq!(decide("+psubscribe &a*", "PSUBSCRIBE a*"), "ok");
        assert_eq!(decide("+ssubscribe &a*", "SSUBSCRIBE a1"), "ok");
        assert_eq!(decide("+spublish", "SPUBLISH c m"), channel("c"));
        assert_eq!(decide("+unsubscribe +pubsub", "UNSUBSCRIBE a"), "ok");
        // AUTH is allowed before and after the login.
        assert_eq!(decide("", "AUTH x"), "ok");
        assert_eq!(decide("", "PING"), command("ping"));
    }

    #[test]
    fn what_is_done_to_a_key_follows_from_the_request() {
        let read = "+@all %R~a %W~b";
        assert_eq!(decide(read, "GET a"), "ok");
        assert_eq!(decide(read, "GET b"), key("b"));
        assert_eq!(decide(read, "SET a v"), key("a"));
        assert_eq!(decide(read, "SET b v"), "ok");
        assert_eq!(decide(read, "SET b v GET"), key("b"));
        assert_eq!(decide(read, "SET b v NX GET"), key("b"));
        assert_eq!(decide(read, "COPY a b"), "ok");
        assert_eq!(decide(read, "COPY b a"), key("b"));
        assert_eq!(decide(read, "RENAME a b"), key("a"));
        assert_eq!(decide(read, "XADD b * f v"), "ok");
        assert_eq!(decide(read, "XADD a * f v"), key("a"));
        assert_eq!(decide(read, "XREADGROUP GROUP g c STREAMS a >"), "ok");
        assert_eq!(decide(read, "XREADGROUP GROUP g c BLOCK 0 STREAMS a b > >"), key("b"));
        assert_eq!(decide(read, "XREADGROUP GROUP STREAMS b STREAMS a >"), "ok");
        assert_eq!(decide(read, "EXISTS a b"), "ok");
        assert_eq!(decide(read, "EXISTS a x"), key("x"));
        assert_eq!(decide(read, "WATCH a b x"), key("x"));
        assert_eq!(decide(read, "MEMORY USAGE x"), key("x"));
        assert_eq!(decide(read, "DEBUG OBJECT b"), key("b"));
    }

    #[test]
    fn one_selector_must_allow_all() {
        let rules = "+get ~a (+set ~b) (+mget ~c ~d)";
        assert_eq!(decide(rules, "GET a"), "ok");
        assert_eq!(decide(rules, "SET b v"), "ok");
        assert_eq!(decide(rules, "SET a v"), key("a"));
        assert_eq!(decide(rules, "GET b"), key("b"));
        assert_eq!(decide(rules, "DEL a"), command("del"));
        // Of two refusals, the one that came further is reported.
        assert_eq!(decide("+mget ~a (+mget ~a ~b)", "MGET a b c"), key("c"));
        assert_eq!(decide("(+mget ~a ~b) (+mget ~a)", "MGET a b c"), key("c"));
    }

    #[test]
    fn a_request_that_does_not_parse_is_refused_for_its_keys_first() {
        assert_eq!(decide("+xadd ~a", "XADD x nonsense f v"), key("x"));
        assert_eq!(decide("+xadd ~a", "XADD a nonsense f v"), "ok");
        assert_eq!(decide("+xread ~a", "XREAD COUNT x STREAMS x 0"), key("x"));
        assert_eq!(decide("+set ~a", "SET x v BAD"), key("x"));
    }

    #[test]
    fn first_arguments_are_those_behind_the_name() {
        assert_eq!(decide("+select|0", "SELECT 0"), "ok");
        assert_eq!(decide("+select|0", "SELECT 1"), command("select"));
        assert_eq!(decide("~a +get|A", "GET a"), "ok");
    }
}
