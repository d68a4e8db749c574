//! Queries: answered from applied state, without changing it.

use crate::base::{glob, mix};
use crate::command::value::Query;
use crate::command::value::key::{KeyQuery, ObjectAspect, Scan, TimeUnit};
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::stream::StreamQuery;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::deletion_versions::DeletionVersions;
use crate::state::group;
use crate::state::key::BUSY_KEY;
use crate::state::key_table::{KeyName, KeySequence};
use crate::state::keyspace::{KeyEntry, KeyVersion, Keyspace, Text, Value};
use crate::state::rdb::payload;
use crate::state::seen::{SeenTimes, StreamSeen};
use crate::state::stream;
use crate::state::stream::Stream;
use crate::state::string;
use bytes::Bytes;

const NO_FREQUENCY: ReplyError = ReplyError::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
     between policies at runtime LRU and LFU data will take some time to adjust.",
);

/// Positions that RANDOMKEY tries before it takes a key near one.
const RANDOM_TRIES_MAX: usize = 256;

/// Keys that RANDOMKEY passes at most.
const RANDOM_STEPS_MAX: usize = 1024;

/// The result of one step of SCAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The next cursor; 0 at the end.
    pub next: u64,
    pub keys: Vec<Bytes>,
}

/// One database at one moment.
#[derive(Clone, Copy)]
pub struct View<'m> {
    /// `None`: the database has had no writes.
    pub keys: Option<&'m Keyspace>,
    pub now: TimeMs,
    pub database: u32,
    pub deletions: &'m DeletionVersions,
}

impl<'m> View<'m> {
    pub fn entry(&self, key: &[u8]) -> Option<&'m KeyEntry> {
        self.keys?.get(key, self.now)
    }

    /// The version for WATCH: every change gives another one, even if the key is absent before and after.
    pub fn version(&self, key: &[u8]) -> KeyVersion {
        match self.keys.and_then(|keys| keys.get_due_too(key)) {
            Some(entry) if entry.is_due(self.now) => {
                self.deletions.version_when_gone(self.database, key, entry.version)
            }
            Some(entry) => entry.version,
            None => self.deletions.version(self.database, key),
        }
    }

    pub fn stream(&self, key: &[u8]) -> Result<Option<&'m Stream>, ReplyError> {
        match self.entry(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(ReplyError::WRONG_TYPE),
        }
    }

    fn existing_stream(&self, key: &[u8]) -> Result<&'m Stream, ReplyError> {
        self.stream(key)?.ok_or(ReplyError::NO_SUCH_KEY)
    }

    fn text(&self, key: &[u8]) -> Result<Option<&'m Text>, ReplyError> {
        match self.entry(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ReplyError::WRONG_TYPE),
        }
    }

    pub fn answer(&self, query: &Query<'_>, seen: &dyn SeenTimes) -> Result<Answer, ReplyError> {
        match query {
            Query::Stream(query) => self.stream_query(query, seen),
            Query::Pending(query) => group::query::pending(self.stream(query.key)?, query, self.now),
            Query::Key(query) => self.key_query(query, seen),
            Query::String(query) => string::query(query, |key| self.text(key)),
            Query::Refused(refusal) => self.refuse(refusal),
        }
    }

    /// The error of the key, or of the argument.
    fn refuse(&self, refusal: &Refusal<'_>) -> Result<Answer, ReplyError> {
        let key = refusal.key;
        if let Look::Text | Look::TextOrNil = refusal.look {
            let missing = self.text(key)?.is_none();
            let nil = missing && refusal.look == Look::TextOrNil;
            return if nil { Ok(Answer::Nil) } else { Err(refusal.error.clone()) };
        }
        if refusal.look == Look::Vacant {
            return Err(if self.entry(key).is_some() { BUSY_KEY } else { refusal.error.clone() });
        }
        let stream = self.stream(key)?;
        let has = |group: &[u8]| stream.is_some_and(|stream| stream.group(group).is_some());
        match refusal.look {
            Look::Stream if stream.is_none() => Err(ReplyError::NO_SUCH_KEY),
            Look::StreamOrZero if stream.is_none() => Ok(Answer::Integer(0)),
            Look::GroupOrZero { group } if !has(group) => Ok(Answer::Integer(0)),
            Look::Group { group } if !has(group) => Err(group::read::no_group(key, group, "")),
            Look::ParentOfGroup { make_stream: false } if stream.is_none() => {
                Err(group::change::KEY_REQUIRED)
            }
            Look::GroupOfStream { .. } if stream.is_none() => Err(group::change::KEY_REQUIRED),
            Look::GroupOfStream { group } if !has(group) => Err(group::change::no_such_group(key, group)),
            _ => Err(refusal.error.clone()),
        }
    }

    fn stream_query(&self, query: &StreamQuery<'_>, seen: &dyn SeenTimes) -> Result<Answer, ReplyError> {
        Ok(match query {
            StreamQuery::Length { key } => {
                Answer::Integer(self.stream(key)?.map_or(0, |stream| stream.log.len() as i64))
            }
            StreamQuery::Range(range) => stream::query::range(self.stream(range.key)?, range),
            StreamQuery::Read(read) => stream::query::read(read, |key| self.stream(key))?,
            StreamQuery::Info { key, full } => {
                let info =
                    stream::query::info(self.existing_stream(key)?, *full, self.now, self.seen(key, seen));
                Answer::StreamInfo(Box::new(info))
            }
            StreamQuery::Groups { key } => group::query::groups(self.existing_stream(key)?),
            StreamQuery::Consumers { key, group } => {
                group::query::consumers(self.existing_stream(key)?, group, self.now, self.seen(key, seen))?
            }
        })
    }

    fn seen<'s>(&self, key: &'s [u8], times: &'s dyn SeenTimes) -> StreamSeen<'s> {
        StreamSeen { times, database: self.database, key }
    }

    fn key_query(&self, query: &KeyQuery<'_>, seen: &dyn SeenTimes) -> Result<Answer, ReplyError> {
        Ok(match query {
            KeyQuery::Exists { keys } | KeyQuery::Touch { keys } => {
                Answer::count(keys.iter().filter(|key| self.entry(key).is_some()).count())
            }
            KeyQuery::Dump { key, rdb_version } => match self.entry(key) {
                Some(entry) => {
                    Answer::Bulk(payload::dump(&entry.value, *rdb_version, self.seen(key, seen)).into())
                }
                None => Answer::Nil,
            },
            KeyQuery::Type { key } => {
                Answer::TypeName(self.entry(key).map_or("none", |entry| type_name(&entry.value)))
            }
            KeyQuery::TimeToLive { key, unit, absolute } => {
                Answer::Integer(self.time_to_live(key, *unit, *absolute))
            }
            KeyQuery::Random { chance } => self.random(*chance).map_or(Answer::Nil, Answer::Bulk),
            KeyQuery::Matching { pattern } => Answer::Keys(self.matching(pattern)),
            KeyQuery::Scan(scan) => Answer::Page(self.scan(scan)),
            KeyQuery::Object { key, aspect } => match self.entry(key) {
                None => Answer::Nil,
                Some(entry) => object(&entry.value, *aspect)?,
            },
            KeyQuery::Count => Answer::count(self.count()),
        })
    }

    /// DBSIZE: includes keys that are due and not yet deleted.
    pub fn count(&self) -> usize {
        self.keys.map_or(0, Keyspace::len)
    }

    /// KEYS.
    pub fn matching(&self, pattern: &[u8]) -> Vec<Bytes> {
        let live = self.live_from(KeySequence(0)).filter(|(key, _)| selects(pattern, key));
        live.map(|(key, _)| Bytes::copy_from_slice(key)).collect()
    }

    fn live_from(&self, from: KeySequence) -> impl Iterator<Item = (&'m KeyName, &'m KeyEntry)> {
        let now = self.now;
        self.keys
            .into_iter()
            .flat_map(move |keys| keys.from_sequence(from))
            .filter(move |(_, entry)| entry.expires_at().is_none_or(|at| at > now))
    }

    fn time_to_live(&self, key: &[u8], unit: TimeUnit, absolute: bool) -> i64 {
        let Some(entry) = self.entry(key) else { return -2 };
        let Some(at) = entry.expires_at() else { return -1 };
        let ms = if absolute { at.0 } else { at.since(self.now) };
        match unit {
            TimeUnit::Milliseconds => ms as i64,
            TimeUnit::Seconds => (ms.saturating_add(500) / 1000) as i64,
        }
    }

    /// A key that is not due, each with the same probability.
    ///
    /// Few keys are counted. Among many, a random position is taken if it holds a key, and otherwise another
    /// one is tried. Only if nearly all positions are those of deleted keys, a key some random steps behind a
    /// position must do, and then a key behind many deleted ones is chosen somewhat more often.
    pub fn random(&self, chance: u64) -> Option<Bytes> {
        let keys = self.keys?;
        if keys.len() <= RANDOM_STEPS_MAX {
            let live = self.live_from(KeySequence(0)).count() as u64;
            let nth = usize::try_from(chance.checked_rem(live)?).ok()?;
            return self.live_from(KeySequence(0)).nth(nth).map(|(key, _)| Bytes::copy_from_slice(key));
        }
        let places = keys.next_sequence().0;
        let mut chance = chance;
        for _ in 0..RANDOM_TRIES_MAX {
            let place = KeySequence(chance % places);
            if let Some((key, _)) = self.live_from(place).next().filter(|(_, it)| it.sequence() == place) {
                return Some(Bytes::copy_from_slice(key));
            }
            chance = mix::another(chance);
        }
        let (place, steps) = (chance % places, mix::another(chance) as usize % RANDOM_STEPS_MAX);
        let behind = self.live_from(KeySequence(place)).chain(self.live_from(KeySequence(0)));
        behind.take(steps + 1).last().map(|(key, _)| Bytes::copy_from_slice(key))
    }

    /// SCAN. The cursor is the position of the next key: a key that exists throughout the scan is returned
    /// once, despite other changes.
    pub fn scan(&self, scan: &Scan<'_>) -> Page {
        let mut keys = Vec::new();
        let mut next = 0;
        let mut left = scan.count.max(1);
        for (key, entry) in
            self.keys.into_iter().flat_map(|keys| keys.from_sequence(KeySequence(scan.cursor)))
        {
            if left == 0 {
                next = entry.sequence().0;
                break;
            }
            left -= 1;
            let shown = entry.expires_at().is_none_or(|at| at > self.now)
                && scan.pattern.is_none_or(|pattern| selects(pattern, key))
                && scan
                    .of_type
                    .is_none_or(|name| name.eq_ignore_ascii_case(type_name(&entry.value).as_bytes()));
            if shown {
                keys.push(Bytes::copy_from_slice(key));
            }
        }
        Page { next, keys }
    }
}

/// For `*`, KEYS and SCAN return every key, even the empty one, which does not match as a pattern (Redis
/// `keysCommand`).
fn selects(pattern: &[u8], key: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, key)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Stream(_) => "stream",
    }
}

/// OBJECT ENCODING.
pub fn encoding(value: &Value) -> &'static str {
    match value {
        Value::String(text) => string::encoding(text),
        Value::Stream(_) => "stream",
    }
}

fn object(value: &Value, aspect: ObjectAspect) -> Result<Answer, ReplyError> {
    Ok(match (aspect, value) {
        (ObjectAspect::Encoding, value) => Answer::Encoding(encoding(value)),
        (ObjectAspect::ReferenceCount, _) => Answer::Integer(1),
        (ObjectAspect::IdleTime, _) => Answer::Integer(0),
        (ObjectAspect::Frequency, _) => return Err(NO_FREQUENCY),
    })
}
