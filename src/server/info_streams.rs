//! INFO streams: the largest streams, their groups, how far those are behind.
//!
//! The work is bounded whatever there is: at most [`KEYS_LOOKED_AT_MAX`] keys are looked at, from where the call before has
//! stopped, and what was largest before is looked at again. So up to that many keys the section is exact, and with more it
//! becomes so after a few calls.

use crate::model::log::PartitionId;
use crate::server::info::line;
use crate::server::worker::Worker;
use crate::state::keyspace::{KeySequence, Value};
use crate::state::stream::Stream;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Keys that one INFO looks at.
const KEYS_LOOKED_AT_MAX: usize = 10_000;

/// Streams that are shown, and groups of each.
const STREAMS_SHOWN_MAX: usize = 100;
const GROUPS_SHOWN_MAX: usize = 16;

/// As of MEMORY USAGE.
const SAMPLES: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StreamKey {
    partition: u16,
    database: u32,
    key: Bytes,
}

/// Where the last INFO streams has stopped, and what it has found.
#[derive(Default)]
pub struct Survey {
    next: (u16, u32, u64),
    largest: Vec<StreamKey>,
}

impl Worker {
    pub fn info_streams(&self, text: &mut String) {
        let (found, looked_at, keys) = self.survey();
        line(text, "streams_keys", keys);
        line(text, "streams_keys_looked_at", looked_at);
        line(text, "streams_shown", found.len());
        for (number, (bytes, stream)) in found.iter().enumerate() {
            self.with_stream(stream, |found| describe(text, number, stream, *bytes, found));
        }
    }

    /// The largest streams that are known, by bytes descending; how many keys were looked at, and how many there are.
    fn survey(&self) -> (Vec<(usize, StreamKey)>, usize, usize) {
        let mut survey = self.stream_survey.borrow_mut();
        let keys: usize = self
            .partitions()
            .map(|partition| {
                partition.borrow().machine().databases().map(|(_, keys)| keys.len()).sum::<usize>()
            })
            .sum();
        let mut seen: BTreeSet<StreamKey> = survey.largest.drain(..).collect();
        let mut left = KEYS_LOOKED_AT_MAX.min(keys);
        let looked_at = left;
        if left == keys {
            survey.next = (0, 0, 0);
        }
        // From where the last call has stopped to the end, and from the beginning if that was not enough.
        for _ in 0..2 {
            self.walk(&mut survey.next, &mut left, &mut seen);
            if left == 0 {
                break;
            }
            survey.next = (0, 0, 0);
        }
        let mut found: Vec<(usize, StreamKey)> = seen
            .into_iter()
            .filter_map(|key| Some((self.with_stream(&key, |stream| stream.memory(SAMPLES))?, key)))
            .collect();
        found.sort_by(|(a, a_key), (b, b_key)| b.cmp(a).then_with(|| a_key.cmp(b_key)));
        found.truncate(STREAMS_SHOWN_MAX);
        survey.largest = found.iter().map(|(_, key)| key.clone()).collect();
        (found, looked_at, keys)
    }

    /// Collects the streams among the next `left` keys.
    fn walk(&self, next: &mut (u16, u32, u64), left: &mut usize, seen: &mut BTreeSet<StreamKey>) {
        for partition in next.0..self.router.partitions() {
            let owner = self.partition(PartitionId(partition)).borrow();
            for (database, keys) in owner.machine().databases() {
                let from = match (partition, database).cmp(&(next.0, next.1)) {
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => next.2,
                    std::cmp::Ordering::Greater => 0,
                };
                for (key, entry) in keys.from_sequence(KeySequence(from)) {
                    if *left == 0 {
                        *next = (partition, database, entry.sequence().0);
                        return;
                    }
                    *left -= 1;
                    if let Value::Stream(_) = entry.value {
                        seen.insert(StreamKey { partition, database, key: key.clone() });
                    }
                }
            }
        }
        *next = (self.router.partitions(), 0, 0);
    }

    fn with_stream<R>(&self, stream: &StreamKey, see: impl FnOnce(&Stream) -> R) -> Option<R> {
        let partition = self.partition(PartitionId(stream.partition)).borrow();
        let (_, keys) = partition.machine().databases().find(|(number, _)| *number == stream.database)?;
        match &keys.get(&stream.key, self.now())?.value {
            Value::Stream(stream) => Some(see(stream)),
            Value::String(_) => None,
        }
    }
}

fn describe(text: &mut String, number: usize, key: &StreamKey, bytes: usize, stream: &Stream) {
    let _ = write!(
        text,
        "stream{number}:name={},db={},length={},bytes={bytes},groups={},last_id={}\r\n",
        escaped(&key.key),
        key.database,
        stream.log.len(),
        stream.groups.len(),
        stream.log.last_id,
    );
    for (at, (name, group)) in stream.groups.iter().take(GROUPS_SHOWN_MAX).enumerate() {
        let lag = stream.log.lag(group.last_id, group.entries_read);
        let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let _ = write!(
            text,
            "stream{number}_group{at}:name={},lag={lag},pending={},consumers={}\r\n",
            escaped(name),
            group.pending_len(),
            group.consumers().len(),
        );
    }
}

/// A name may hold anything, but a line of INFO is one line, and its fields end with commas (reliability P14).
fn escaped(name: &[u8]) -> String {
    let mut out = String::new();
    for &byte in name {
        match byte {
            b' '..=b'~' if !b"\\=,".contains(&byte) => out.push(char::from(byte)),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_end_its_field() {
        assert_eq!(escaped(b"a b:1"), "a b:1");
        assert_eq!(escaped(b"a,b=\r\n\\"), "a\\x2cb\\x3d\\x0d\\x0a\\x5c");
    }
}
