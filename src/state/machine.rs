//! The machine: all databases of a partition, and their log position.

use crate::base::wire::Malformed;
use crate::command::value::group::GroupRead;
use crate::command::value::key::Scan;
use crate::command::value::string::StringQuery;
use crate::command::value::{Query, Write};
use crate::model::entry_id::EntryId;
use crate::model::limits::{
    IDEMPOTENCY_DURATION_S_DEFAULT, IDEMPOTENCY_IDS_DEFAULT, STREAM_NODE_BYTES_DEFAULT,
    STREAM_NODE_ENTRIES_DEFAULT,
};
use crate::model::log::LogIndex;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::across;
use crate::state::answer::Answer;
use crate::state::blocked::{BlockedNumber, BlockedReads};
use crate::state::checkpoint;
use crate::state::deletion_versions::DeletionVersions;
use crate::state::effects::{Effects, EventKind, Lookups};
use crate::state::group;
use crate::state::image::Moments;
use crate::state::key;
use crate::state::key_table::KeySequence;
use crate::state::keyspace::{KeyVersion, Keyspace, Value};
use crate::state::op::batch::BatchReader;
use crate::state::op::{Op, Step, Transaction, Watched};
use crate::state::query::{self, Page, View};
use crate::state::scope::Scope;
use crate::state::seen::{ConsumerPath, LoggedOnly, SeenTimes};
use crate::state::stream;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::log::NodeLimits;
use crate::state::string;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The answer to a query, and its numbers of hits and misses.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub answer: Answer,
    pub lookups: Lookups,
}

/// Invariants: `applied` advances by one; `time` never goes back; `changes` counts writes and is above every
/// version that it has given.
#[derive(Debug)]
pub struct Machine {
    pub(in crate::state) applied: LogIndex,
    pub(in crate::state) time: TimeMs,
    pub(in crate::state) changes: u64,
    pub(in crate::state) limits: NodeLimits,
    /// For new streams.
    pub(in crate::state) idempotency: IdempotencyLimits,
    pub(in crate::state) databases: BTreeMap<u32, Keyspace>,
    pub(in crate::state) deletions: DeletionVersions,
    /// The images that were taken. Local to this node, as are the marks of what was touched.
    pub(in crate::state) moments: Moments,
}

/// The queries among the commands of a transaction.
#[derive(Clone, Copy)]
pub struct Queries<'q> {
    pub steps: &'q [Step<Query<'q>>],
    pub seen: &'q dyn SeenTimes,
}

impl Queries<'_> {
    pub const NONE: Queries<'static> = Queries { steps: &[], seen: &LoggedOnly };
}

/// An entry that is being applied.
pub struct EntryRun<'e> {
    ops: BatchReader<'e>,
    blocked: BlockedReads<'e>,
}

impl EntryRun<'_> {
    /// No read is blocked: [`Machine::serve_next`] has nothing to do.
    pub fn is_quiet(&self) -> bool {
        self.blocked.is_empty()
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            applied: LogIndex(0),
            time: TimeMs(0),
            changes: 0,
            limits: NodeLimits { entries: STREAM_NODE_ENTRIES_DEFAULT, bytes: STREAM_NODE_BYTES_DEFAULT },
            idempotency: IdempotencyLimits {
                duration_s: IDEMPOTENCY_DURATION_S_DEFAULT,
                ids: IDEMPOTENCY_IDS_DEFAULT,
            },
            databases: BTreeMap::new(),
            deletions: DeletionVersions::default(),
            moments: Moments::default(),
        }
    }
}

impl Machine {
    pub fn new() -> Machine {
        Machine::default()
    }

    /// The last log record that was applied, or at least begun.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The greatest time of a batch so far.
    pub fn time(&self) -> TimeMs {
        self.time
    }

    pub fn node_limits(&self) -> NodeLimits {
        self.limits
    }

    pub fn idempotency_limits(&self) -> IdempotencyLimits {
        self.idempotency
    }

    /// Begins the record at `index`, which must be the next one. A leader's clock may be behind its
    /// predecessor's: then time does not advance.
    pub fn begin(&mut self, index: LogIndex, time: TimeMs) {
        self.skip(index);
        self.time = self.time.max(time);
    }

    /// A record without ops (a membership change, a blank entry of a new term).
    pub fn skip(&mut self, index: LogIndex) {
        assert_eq!(index, self.applied.next(), "records are applied one after the other");
        self.applied = index;
    }

    /// Applies an op of the current record. A refusal is an answer; nothing fails.
    pub fn apply(&mut self, op: &Op<'_>, effects: &mut Effects) -> Answer {
        match op {
            Op::Write { database, write } => self.write(*database, write, effects),
            Op::Transaction(transaction) => self.apply_transaction(transaction, Queries::NONE, effects),
            Op::BlockingRead { database, read } => {
                self.write(*database, &Write::GroupRead(read.clone()), effects)
            }
        }
    }

    /// Begins the entry at `index`, which must be the next one; call [`Machine::serve_next`] until it gives
    /// nothing, and then [`Machine::apply_next`], in turn.
    pub fn begin_entry<'e>(
        &mut self,
        index: LogIndex,
        entry: &'e [u8],
        effects: &mut Effects,
    ) -> Result<EntryRun<'e>, Malformed> {
        let ops = BatchReader::new(entry)?;
        let blocked = BlockedReads::decode(ops.blocked())?;
        self.begin(index, ops.time());
        effects.want_signals(!blocked.is_empty());
        Ok(EntryRun { ops, blocked })
    }

    /// Applies the next op of the entry; `None` at its end. Then [`Machine::serve_next`] serves the reads
    /// that the op made readable. `queries`: those of a transaction, if a client of this node sent it.
    pub fn apply_next(
        &mut self,
        run: &mut EntryRun<'_>,
        queries: Queries<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Answer>, Malformed> {
        // By reference: an op is large.
        let next = run.ops.next()?;
        let Some(op) = &next else {
            effects.want_signals(false);
            return Ok(None);
        };
        if let Op::BlockingRead { database, read } = op {
            run.blocked.precede(*database, read);
            while self.serve_next(run, effects).is_some() {}
        }
        let answer = match op {
            Op::Transaction(transaction) => self.apply_transaction(transaction, queries, effects),
            op => self.apply(op, effects),
        };
        if !run.blocked.is_empty() {
            run.blocked.signal(&effects.take_signals());
        }
        if matches!(answer, Answer::NilArray)
            && let Some(Op::BlockingRead { database, read }) = next
        {
            effects.want_signals(true);
            run.blocked.block(database, read);
        }
        Ok(Some(answer))
    }

    /// Serves the next blocked read that looks or that the last op made readable, in order; `None` when none
    /// is left.
    pub fn serve_next(
        &mut self,
        run: &mut EntryRun<'_>,
        effects: &mut Effects,
    ) -> Option<(BlockedNumber, Answer)> {
        while let Some((number, database, read)) = run.blocked.next_due() {
            let outcome = group::read::try_blocked(&mut self.scope(database, effects), &read);
            // The attempt may have found a due key.
            run.blocked.signal(&effects.take_signals());
            let Some(outcome) = outcome else { continue };
            self.changes += 1;
            for (key, _) in &read.streams {
                effects.note_lookup(self.view(database, self.time).entry(key).is_some());
            }
            run.blocked.unblock(number);
            effects.want_signals(!run.blocked.is_empty());
            return Some((number, outcome.into()));
        }
        None
    }

    /// Applies an entry whose answers no client of this node waits for: at recovery, or proposed by another
    /// node.
    pub fn apply_entry(&mut self, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
        let mut effects = Effects::unwanted();
        let mut run = self.begin_entry(index, entry, &mut effects)?;
        loop {
            while self.serve_next(&mut run, &mut effects).is_some() {}
            if self.apply_next(&mut run, Queries::NONE, &mut effects)?.is_none() {
                return Ok(());
            }
        }
    }

    /// Answers from applied state, and of consumers what is known beside it.
    pub fn query(&self, database: u32, now: TimeMs, query: &Query<'_>, seen: &dyn SeenTimes) -> Answered {
        let view = self.view(database, now);
        let answer = view.answer(query, seen).into();
        let mut lookups = Lookups::default();
        match query {
            // The answer shows a hit or a miss.
            Query::String(StringQuery::Get { .. }) => lookups.note(!matches!(answer, Answer::Nil)),
            _ => query.keys_read().for_each(|key| lookups.note(view.entry(key).is_some())),
        }
        Answered { answer, lookups }
    }

    /// The version of a key for WATCH: every change gives another one, even if the key is absent before and
    /// after.
    pub fn version(&self, database: u32, now: TimeMs, key: &[u8]) -> KeyVersion {
        self.view(database, now).version(key)
    }

    /// One step of SCAN.
    pub fn scan(&self, database: u32, now: TimeMs, scan: &Scan<'_>) -> Page {
        self.view(database, now).scan(scan)
    }

    /// DBSIZE: includes keys that are due and not yet deleted.
    pub fn count(&self, database: u32, now: TimeMs) -> usize {
        self.view(database, now).count()
    }

    /// KEYS.
    pub fn matching(&self, database: u32, now: TimeMs, pattern: &[u8]) -> Vec<Bytes> {
        self.view(database, now).matching(pattern)
    }

    /// OBJECT ENCODING; `None` if the key does not exist.
    pub fn encoding(&self, database: u32, now: TimeMs, key: &[u8]) -> Option<&'static str> {
        self.view(database, now).entry(key).map(|entry| query::encoding(&entry.value))
    }

    /// Whether an XREADGROUP must be applied: it would find entries or be refused, or, unless the consumer
    /// `is_seen` already, leave a trace of it.
    pub fn would_change(&self, database: u32, now: TimeMs, read: &GroupRead<'_>, is_seen: bool) -> bool {
        let view = self.view(database, now);
        if is_seen {
            group::read::would_find(read, view.now, |key| view.entry(key))
        } else {
            group::read::would_change(read, view.now, |key| view.entry(key))
        }
    }

    /// When a consumer was last seen according to the log; `None` if it does not exist.
    pub fn seen_at(&self, now: TimeMs, consumer: ConsumerPath<'_>) -> Option<TimeMs> {
        let stream = self.view(consumer.database, now).stream(consumer.key).ok()??;
        group::read::seen_at(stream.group(consumer.group)?, consumer.consumer)
    }

    /// The refusal of an XREADGROUP in the current state, if any.
    pub fn group_read_refusal(&self, database: u32, now: TimeMs, read: &GroupRead<'_>) -> Option<ReplyError> {
        let view = self.view(database, now);
        group::read::refusal(read, |key| view.entry(key))
    }

    /// When an XREADGROUP with CLAIM that finds nothing now will find a pending entry if nothing else
    /// changes.
    pub fn next_claimable_at(&self, database: u32, now: TimeMs, read: &GroupRead<'_>) -> Option<TimeMs> {
        let view = self.view(database, now);
        group::read::next_claimable_at(read, |key| view.entry(key))
    }

    /// The last id of a stream, for reads that wait for later entries; 0-0 if the stream does not exist.
    pub fn last_id(&self, database: u32, now: TimeMs, key: &[u8]) -> EntryId {
        let stream = self.view(database, now).stream(key).ok().flatten();
        stream.map_or(EntryId::MIN, |stream| stream.log.last_id)
    }

    /// Records the misses of the query, if wanted.
    pub fn note_misses(&self, database: u32, now: TimeMs, query: &Query<'_>, effects: &mut Effects) {
        if effects.are_misses_wanted() {
            query.keys_read().for_each(|key| self.note_miss(database, now, key, effects));
        }
    }

    /// The same for one key that is read.
    pub fn note_miss(&self, database: u32, now: TimeMs, key: &[u8], effects: &mut Effects) {
        let view = self.view(database, now);
        if effects.are_misses_wanted() && view.entry(key).is_none() {
            if view.keys.is_some_and(|keys| keys.get_due_too(key).is_some()) {
                effects.push(database, key, EventKind::Due);
            }
            effects.push(database, key, EventKind::Miss);
        }
    }

    /// When the next key is due.
    pub fn next_deadline(&self) -> Option<TimeMs> {
        self.databases.values().filter_map(Keyspace::next_deadline).min()
    }

    /// When the next idempotent id of any stream is due.
    pub fn next_forgetting(&self) -> Option<TimeMs> {
        self.databases.values().filter_map(Keyspace::next_forgetting).min()
    }

    /// Databases with at least one write so far, in order, for INFO.
    pub fn databases(&self) -> impl Iterator<Item = (u32, &Keyspace)> {
        self.databases.iter().map(|(database, keys)| (*database, keys))
    }

    /// Writes applied so far, including those that changed nothing.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Estimated bytes of a key and its value; `None` if the key does not exist. For each kind of part of a
    /// stream, at most `samples` are measured and stand for the others; 0: all.
    pub fn memory_usage(&self, database: u32, now: TimeMs, key: &[u8], samples: usize) -> Option<usize> {
        let entry = self.view(database, now).entry(key)?;
        let value = match &entry.value {
            Value::String(text) => text.bytes.len(),
            Value::Stream(stream) => stream.memory(samples),
        };
        Some(key.len() + Keyspace::BYTES_PER_KEY + value)
    }

    /// The key and its value in the encoding of a checkpoint, for digests; `None` if the key does not exist.
    pub fn key_image(&self, database: u32, now: TimeMs, key: &[u8]) -> Option<Vec<u8>> {
        let mut image = Vec::new();
        let entry = self.view(database, now).entry(key)?;
        checkpoint::encode_value(&entry.value, &mut |piece| image.extend_from_slice(piece));
        Some(image)
    }

    /// A query's time is the machine's or later, so a due key stays absent.
    fn view(&self, database: u32, now: TimeMs) -> View<'_> {
        View {
            keys: self.databases.get(&database),
            now: now.max(self.time),
            database,
            deletions: &self.deletions,
        }
    }

    pub(in crate::state) fn scope<'m>(&'m mut self, database: u32, effects: &'m mut Effects) -> Scope<'m> {
        Scope {
            keys: self.databases.entry(database).or_default().begin(self.applied),
            database,
            time: self.time,
            version: KeyVersion(self.changes),
            limits: self.limits,
            idempotency: self.idempotency,
            deletions: &mut self.deletions,
            effects,
        }
    }

    fn write(&mut self, database: u32, write: &Write<'_>, effects: &mut Effects) -> Answer {
        self.changes += 1;
        // The most frequent write reads none.
        if !matches!(write, Write::Add(_)) {
            let mut lookups = Lookups::default();
            for key in write.keys_read() {
                let is_hit = self.view(database, self.time).entry(key).is_some();
                lookups.note(is_hit);
                if !is_hit && effects.are_misses_wanted() {
                    effects.push(database, key, EventKind::Miss);
                }
            }
            effects.add_lookups(lookups);
        }
        let scope = &mut self.scope(database, effects);
        match write {
            Write::Add(add) => stream::write::add(scope, add),
            Write::Stream(write) => stream::write::write(scope, write),
            Write::GroupRead(read) => group::read::read(scope, read),
            Write::GroupChange(change) => group::change::change(scope, change),
            Write::Claim(claim) => group::claim::claim(scope, claim),
            Write::AutoClaim(claim) => group::claim::auto_claim(scope, claim),
            Write::String(write) => string::write(scope, write),
            Write::Key(write) => {
                key::write(scope, write).unwrap_or_else(|| across::write(self, database, write, effects))
            }
        }
        .into()
    }

    /// Applies a transaction of the current record, with the queries among its commands; other nodes have no
    /// queries. One answer per command in request order, or a null array if a watched key has changed.
    pub fn apply_transaction(
        &mut self,
        transaction: &Transaction<'_>,
        queries: Queries<'_>,
        effects: &mut Effects,
    ) -> Answer {
        if self.is_any_changed(&transaction.watched, self.time) {
            return Answer::Aborted;
        }
        let Queries { steps, seen } = queries;
        let mut answers = Vec::with_capacity(transaction.writes.len() + steps.len());
        let mut queries = steps.iter().peekable();
        for Step { step, database, command } in &transaction.writes {
            while let Some(query) = queries.next_if(|query| query.step < *step) {
                answers.push(self.query_step(self.time, query, seen, effects));
            }
            assert!(queries.peek().is_none_or(|query| query.step > *step), "step {step} is one command");
            effects.begin_step(*step);
            answers.push(self.write(*database, command, effects));
        }
        answers.extend(queries.map(|query| self.query_step(self.time, query, seen, effects)));
        Answer::Transaction(answers)
    }

    /// A transaction without writes. It needs no log entry: it is answered from applied state.
    pub fn query_transaction(
        &self,
        watched: &[Watched<'_>],
        queries: Queries<'_>,
        now: TimeMs,
        effects: &mut Effects,
    ) -> Answer {
        if self.is_any_changed(watched, now) {
            return Answer::Aborted;
        }
        let Queries { steps, seen } = queries;
        Answer::Transaction(steps.iter().map(|query| self.query_step(now, query, seen, effects)).collect())
    }

    /// A key that was due when it was watched counts as absent, and its deletion not as a change.
    fn is_any_changed(&self, watched: &[Watched<'_>], now: TimeMs) -> bool {
        watched.iter().any(|watched| self.view(watched.database, now).version(watched.key) != watched.version)
    }

    fn query_step(
        &self,
        now: TimeMs,
        query: &Step<Query<'_>>,
        seen: &dyn SeenTimes,
        effects: &mut Effects,
    ) -> Answer {
        effects.begin_step(query.step);
        self.note_misses(query.database, now, &query.command, effects);
        let Answered { answer, lookups } = self.query(query.database, now, &query.command, seen);
        effects.add_lookups(lookups);
        answer
    }

    /// Asserts all invariants; for tests.
    pub fn check(&self) {
        for keys in self.databases.values() {
            keys.check();
            for (key, entry) in keys.from_sequence(KeySequence(0)) {
                let version = entry.version.0;
                assert!((1..=self.changes).contains(&version), "{key:?} has a version that was given");
            }
        }
    }
}
