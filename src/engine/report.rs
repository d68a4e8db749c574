//! The figures of an engine, for INFO, MEMORY and CLIENT LIST.
//!
//! The work is bounded by the number of partitions and databases, and for single streams by
//! [`KEYS_LOOKED_AT_MAX`]. Each call looks at no more keys than that, from where the previous call stopped,
//! and again at the largest known streams. Up to that many keys the section is exact; with more it becomes
//! exact after a few calls.

use crate::engine::blocked_reads::BlockedCounts;
use crate::engine::checkpoints::CheckpointLog;
use crate::engine::engine::Engine;
use crate::engine::statistics::EngineStatistics;
use crate::model::entry_id::EntryId;
use crate::model::log::PartitionId;
use crate::partition::partition::Partition;
use crate::state::key_table::KeySequence;
use crate::state::keyspace::Value;
use crate::state::stream::Stream;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum keys that one report looks at.
const KEYS_LOOKED_AT_MAX: usize = 10_000;

/// Maximum streams listed, and groups of each.
const STREAMS_SHOWN_MAX: usize = 100;
const GROUPS_SHOWN_MAX: usize = 16;

/// Same as MEMORY USAGE.
const SAMPLES: usize = 5;

/// The state of an engine at one moment.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub statistics: EngineStatistics,
    pub blocked: BlockedCounts,
    pub checkpoints: CheckpointLog,
    /// Log entries applied, over all partitions; serves as the replication offset.
    pub applied: u64,
    /// Writes applied, over all partitions.
    pub changes: u64,
    pub keys: usize,
    pub databases: BTreeMap<u32, DatabaseReport>,
    pub journal_bytes_since_checkpoint: u64,
    pub checkpoint_bytes: u64,
    pub committer: &'static str,
    /// Whether every commit is synced.
    pub syncs_each_commit: bool,
    /// Bytes of gathered ops and ops in flight.
    pub bytes_in_flight: usize,
    pub clock: ClockReport,
    pub streams: StreamsReport,
}

/// How log time and the wall clock stand to each other (`engine::log_clock`).
#[derive(Debug, Clone, Copy, Default)]
pub struct ClockReport {
    /// Milliseconds by which log time is ahead of the wall clock; negative if it is behind.
    pub ahead_ms: i64,
    /// When the wall clock is believed that is ahead; `None`: it is not.
    pub believed_in_ms: Option<u64>,
    /// Steps of the wall clock since the start.
    pub steps: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct DatabaseReport {
    pub keys: usize,
    pub expiring: usize,
    /// Sum over all keys with an expiry of the milliseconds until it.
    pub left_ms: u128,
}

#[derive(Debug, Clone, Default)]
pub struct StreamsReport {
    pub keys_looked_at: usize,
    /// The largest streams, by bytes descending.
    pub largest: Vec<StreamReport>,
}

#[derive(Debug, Clone)]
pub struct StreamReport {
    pub key: Bytes,
    pub database: u32,
    pub bytes: usize,
    pub length: u64,
    pub last_id: EntryId,
    /// Number of groups; `groups` lists the first of them.
    pub group_count: usize,
    pub groups: Vec<GroupReport>,
}

#[derive(Debug, Clone)]
pub struct GroupReport {
    pub name: Bytes,
    pub lag: Option<i64>,
    pub pending: usize,
    pub consumers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StreamKey {
    partition: u16,
    database: u32,
    key: Bytes,
}

/// The position of the last report, and the largest streams known.
#[derive(Default)]
pub struct Survey {
    next: (u16, u32, u64),
    largest: Vec<StreamKey>,
}

/// Log entries applied, over all partitions.
fn applied_entries(engine: &Engine) -> u64 {
    engine.partitions.iter().map(|partition| partition.read().applied().0).sum()
}

/// Writes applied, over all partitions.
pub(super) fn changes(engine: &Engine) -> u64 {
    engine.partitions.iter().map(|partition| partition.read().changes()).sum()
}

/// Bytes that the machines will grow by when everything in flight is applied; an estimate.
pub(super) fn growth(engine: &Engine) -> usize {
    engine.partitions.iter().map(Partition::growth).sum()
}

/// The current figures; with `streams` also those of single streams.
pub(super) fn report(engine: &mut Engine, streams: bool) -> Report {
    let now = engine.now();
    let mut databases = BTreeMap::<u32, DatabaseReport>::new();
    for partition in &engine.partitions {
        for (number, keys) in partition.read().databases() {
            let database = databases.entry(number).or_default();
            database.keys += keys.len();
            database.expiring += keys.expiring();
            let mean = keys.mean_deadline().map_or(0, |at| at.since(now));
            database.left_ms += u128::from(mean) * keys.expiring() as u128;
        }
    }
    let keys = databases.values().map(|database| database.keys).sum();
    let streams = if streams { survey(engine, keys) } else { StreamsReport::default() };
    Report {
        statistics: engine.statistics.clone(),
        blocked: engine.blocked.counts(),
        checkpoints: engine.checkpoints.log.clone(),
        applied: applied_entries(engine),
        changes: changes(engine),
        keys,
        databases,
        journal_bytes_since_checkpoint: engine.committer.bytes_since_checkpoint(),
        checkpoint_bytes: engine.committer.checkpoint_bytes(),
        committer: engine.committer.name(),
        syncs_each_commit: engine.committer.sync_due_in().is_none(),
        bytes_in_flight: engine.bytes_in_flight(),
        clock: clock_report(engine),
        streams,
    }
}

fn clock_report(engine: &Engine) -> ClockReport {
    let (clock, log_clock) = (&engine.context.clock, &engine.log_clock);
    let (wall_us, at_us) = (clock.now_micros(), clock.monotonic_us());
    ClockReport {
        ahead_ms: log_clock.ahead_ms(wall_us, at_us),
        believed_in_ms: log_clock.believed_in_us(at_us).map(|us| us / 1000),
        steps: log_clock.steps(),
    }
}

fn survey(engine: &mut Engine, keys: usize) -> StreamsReport {
    let mut survey = std::mem::take(&mut engine.survey);
    let mut seen: BTreeSet<StreamKey> = survey.largest.drain(..).collect();
    let mut left = KEYS_LOOKED_AT_MAX.min(keys);
    let keys_looked_at = left;
    if left == keys {
        survey.next = (0, 0, 0);
    }
    // From the position of the last call to the end, then from the beginning if keys are left.
    for _ in 0..2 {
        walk(engine, &mut survey.next, &mut left, &mut seen);
        if left == 0 {
            break;
        }
        survey.next = (0, 0, 0);
    }
    let bytes_of = |key: &StreamKey| stream(engine, key).map(|stream| stream.memory(SAMPLES));
    let mut found: Vec<(usize, StreamKey)> =
        seen.into_iter().filter_map(|key| Some((bytes_of(&key)?, key))).collect();
    found.sort_by(|(a, a_key), (b, b_key)| b.cmp(a).then_with(|| a_key.cmp(b_key)));
    found.truncate(STREAMS_SHOWN_MAX);
    survey.largest = found.iter().map(|(_, key)| key.clone()).collect();
    let describe = |(bytes, key): (usize, StreamKey)| Some(describe(&key, bytes, stream(engine, &key)?));
    let largest = found.into_iter().filter_map(describe).collect();
    engine.survey = survey;
    StreamsReport { keys_looked_at, largest }
}

/// Collects the streams among the next `left` keys.
fn walk(engine: &Engine, next: &mut (u16, u32, u64), left: &mut usize, seen: &mut BTreeSet<StreamKey>) {
    for partition in next.0..engine.router.partitions() {
        let machine = engine.partition(PartitionId(partition)).read();
        for (database, keys) in machine.databases() {
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
                    seen.insert(StreamKey { partition, database, key: Bytes::copy_from_slice(key) });
                }
            }
        }
    }
    *next = (engine.router.partitions(), 0, 0);
}

fn stream<'e>(engine: &'e Engine, key: &StreamKey) -> Option<&'e Stream> {
    let machine = engine.partition(PartitionId(key.partition)).read();
    let (_, keys) = machine.databases().find(|(number, _)| *number == key.database)?;
    match &keys.get(&key.key, engine.now())?.value {
        Value::Stream(stream) => Some(stream),
        Value::String(_) => None,
    }
}

fn describe(key: &StreamKey, bytes: usize, stream: &Stream) -> StreamReport {
    let groups = stream.groups.iter().take(GROUPS_SHOWN_MAX).map(|(name, group)| GroupReport {
        name: name.clone(),
        lag: stream.log.lag(group.last_id, group.entries_read),
        pending: group.pending_len(),
        consumers: group.consumers_len(),
    });
    StreamReport {
        key: key.key.clone(),
        database: key.database,
        bytes,
        length: stream.log.len(),
        last_id: stream.log.last_id,
        group_count: stream.groups.len(),
        groups: groups.collect(),
    }
}
