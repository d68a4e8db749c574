//! Recent denials: ACL LOG.

use std::collections::VecDeque;

/// An equal denial within this time increments a count instead of adding an entry (Redis
/// `ACL_LOG_GROUPING_MAX_TIME_DELTA`).
const GROUPED_WITHIN_MS: u64 = 60_000;

/// Recent entries that are searched for an equal one.
const GROUPED_AMONG: usize = 10;

/// Bytes kept of a name that a client chose: user, key, channel.
const NAME_BYTES_MAX: usize = 1024;

/// Bytes kept of a client's description, which contains such names.
const CLIENT_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Command,
    Key,
    Channel,
    /// A failed login.
    Auth,
}

impl Reason {
    /// The name in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    TopLevel,
    /// Between MULTI and EXEC, or during EXEC.
    Multi,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
        }
    }
}

/// One denial and its context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub reason: Reason,
    pub context: Context,
    /// The command, key or channel; for a login, the command's name as it was sent.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
}

/// A denial and the count of equal ones.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Counts up from 0; stays with the entry.
    pub id: u64,
    pub count: u64,
    pub event: Event,
    /// The client of the most recent denial, in the form of CLIENT LIST.
    pub client: String,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    pub updated_ms: u64,
}

/// The most recent entries, at most `acllog-max-len`.
#[derive(Debug, Default)]
pub struct Log {
    /// Newest first.
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl Log {
    pub fn note(&mut self, mut event: Event, mut client: String, now_ms: u64, entries_max: usize) {
        if client.len() > CLIENT_BYTES_MAX {
            // Names in it are escaped, so every byte is a character.
            client = client.chars().take(CLIENT_BYTES_MAX).collect();
        }
        event.object.truncate(NAME_BYTES_MAX);
        event.user.truncate(NAME_BYTES_MAX);
        let same =
            self.entries.iter().take(GROUPED_AMONG).position(|entry| {
                entry.event == event && now_ms.abs_diff(entry.updated_ms) <= GROUPED_WITHIN_MS
            });
        let entry = match same.and_then(|index| self.entries.remove(index)) {
            Some(entry) => Entry { count: entry.count + 1, client, updated_ms: now_ms, ..entry },
            None => {
                self.next_id += 1;
                let id = self.next_id - 1;
                Entry { id, count: 1, event, client, created_ms: now_ms, updated_ms: now_ms }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(entries_max);
    }

    /// Newest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Keeps the newest `entries_max` entries.
    pub fn truncate(&mut self, entries_max: usize) {
        self.entries.truncate(entries_max);
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str) -> Event {
        Event { reason: Reason::Key, context: Context::TopLevel, object: object.into(), user: b"u".to_vec() }
    }

    fn counts(log: &Log) -> Vec<(u64, u64)> {
        log.entries().map(|entry| (entry.id, entry.count)).collect()
    }

    #[test]
    fn the_same_within_a_minute_is_one_entry() {
        let mut log = Log::default();
        log.note(event("a"), "one".into(), 1000, 128);
        log.note(event("b"), "two".into(), 2000, 128);
        log.note(event("a"), "three".into(), 61_000, 128);
        assert_eq!(counts(&log), [(0, 2), (1, 1)]);
        let first = log.entries().next().unwrap();
        assert_eq!((first.created_ms, first.updated_ms, &first.client[..]), (1000, 61_000, "three"));
        log.note(event("a"), "four".into(), 121_001, 128);
        assert_eq!(counts(&log), [(2, 1), (0, 2), (1, 1)]);
        for other in [
            Event { reason: Reason::Command, ..event("a") },
            Event { context: Context::Multi, ..event("a") },
            Event { user: b"v".to_vec(), ..event("a") },
        ] {
            log.note(other, String::new(), 121_002, 128);
        }
        assert_eq!(counts(&log).len(), 6);
        log.clear();
        assert_eq!(counts(&log), []);
    }

    #[test]
    fn only_the_latest_are_kept_and_looked_at() {
        let mut log = Log::default();
        for number in 0..11 {
            log.note(event(&number.to_string()), String::new(), 0, 128);
        }
        // An equal entry is found ten entries back, but not eleven.
        log.note(event("1"), String::new(), 0, 128);
        log.note(event("0"), String::new(), 0, 128);
        assert_eq!(counts(&log)[..3], [(11, 1), (1, 2), (10, 1)]);
        log.note(event("x"), String::new(), 0, 3);
        assert_eq!(counts(&log).len(), 3);
        log.note(event("y"), String::new(), 0, 0);
        assert_eq!(counts(&log), []);
    }

    #[test]
    fn long_names_are_cut() {
        let mut log = Log::default();
        log.note(event(&"k".repeat(5000)), String::new(), 0, 1);
        assert_eq!(log.entries().next().unwrap().event.object.len(), NAME_BYTES_MAX);
    }
}
