//! The machine: all databases of a partition, and where in the log they stand.

use crate::base::wire::Malformed;
use crate::command::value::group::GroupRead;
use crate::command::value::key::{KeyWrite, Scan};
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
use crate::state::answer::Answer;
use crate::state::blocked::{BlockedNumber, BlockedReads};
use crate::state::checkpoint;
use crate::state::effects::{Effects, KeyEvent, Lookups};
use crate::state::group;
use crate::state::key;
use crate::state::keyspace::{KeyEntry, KeyVersion, Keyspace, Value};
use crate::state::op::batch::BatchReader;
use crate::state::op::{Op, Step, Transaction, Watched};
use crate::state::query::{self, Page, View};
use crate::state::removals::Removals;
use crate::state::scope::Scope;
use crate::state::stream;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::log::NodeLimits;
use crate::state::string;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The answer to a query, and how often it has found a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub answer: Answer,
    pub lookups: Lookups,
}

const SAME_OBJECT: ReplyError = ReplyError::new("ERR source and destination objects are the same");

/// Invariants: `applied` advances by one; `time` never goes back; `changes` counts writes and is above every version
/// that it has given. A clone shares streams and strings, and is the image for a checkpoint.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(in crate::state) applied: LogIndex,
    pub(in crate::state) time: TimeMs,
    pub(in crate::state) changes: u64,
    pub(in crate::state) limits: NodeLimits,
    /// For streams to come.
    pub(in crate::state) idempotency: IdempotencyLimits,
    pub(in crate::state) databases: BTreeMap<u32, Keyspace>,
    pub(in crate::state) removals: Removals,
}

/// An entry that is being applied.
pub struct EntryRun<'e> {
    ops: BatchReader<'e>,
    blocked: BlockedReads<'e>,
}

/// What an op of an entry came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    Answered(Answer),
    /// A blocking read found nothing and waits.
    Blocked(BlockedNumber),
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
            removals: Removals::default(),
        }
    }
}

impl Machine {
    pub fn new() -> Machine {
        Machine::default()
    }

    /// The last log record that has been applied, or at least begun.
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

    /// Begins the record at `index`, which is the next one. A leader's clock may be behind its predecessor's: then time
    /// stands still.
    pub fn begin(&mut self, index: LogIndex, time: TimeMs) {
        self.skip(index);
        self.time = self.time.max(time);
    }

    /// A record without ops (a membership change, a blank entry of a new term).
    pub fn skip(&mut self, index: LogIndex) {
        assert_eq!(index, self.applied.next(), "records are applied one after the other");
        self.applied = index;
    }

    /// Applies an op of the record begun last. A refusal is an answer; nothing fails.
    pub fn apply(&mut self, op: &Op<'_>, effects: &mut Effects) -> Answer {
        match op {
            Op::Write { database, write } => self.write(*database, write, effects),
            Op::Transaction(transaction) => self.apply_transaction(transaction, &[], effects),
            Op::BlockingRead { database, read } => {
                self.write(*database, &Write::GroupRead(read.clone()), effects)
            }
        }
    }

    /// Begins the entry at `index`, which is the next one; [`Machine::apply_next`] and [`Machine::serve_next`] follow in turn.
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

    /// Applies the next op of the entry; `None` at its end. The reads that it made readable are served next. `queries`: those
    /// among its commands, if it is a transaction of a client of this node.
    pub fn apply_next(
        &mut self,
        run: &mut EntryRun<'_>,
        queries: &[Step<Query<'_>>],
        effects: &mut Effects,
    ) -> Result<Option<Applied>, Malformed> {
        let Some(op) = run.ops.next()? else {
            effects.want_signals(false);
            return Ok(None);
        };
        let answer = match &op {
            Op::Transaction(transaction) => self.apply_transaction(transaction, queries, effects),
            op => self.apply(op, effects),
        };
        if !run.blocked.is_empty() {
            run.blocked.signal(&effects.take_signals());
        }
        Ok(Some(match op {
            Op::BlockingRead { database, read } if answer == Answer::NilArray => {
                effects.want_signals(true);
                Applied::Blocked(run.blocked.block(database, read))
            }
            _ => Applied::Answered(answer),
        }))
    }

    /// Serves the next of the blocked reads that the last op has woken, in their order; `None` when there is none left.
    pub fn serve_next(
        &mut self,
        run: &mut EntryRun<'_>,
        effects: &mut Effects,
    ) -> Option<(BlockedNumber, Answer)> {
        while let Some((number, database, read)) = run.blocked.next_due() {
            let outcome = group::read::try_blocked(&mut self.scope(database, effects), &read);
            // Trying it may have found a key due.
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

    /// Applies an entry whose answers nobody here waits for: at recovery, or proposed by another node.
    pub fn apply_entry(&mut self, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
        let mut effects = Effects::unwanted();
        let mut run = self.begin_entry(index, entry, &mut effects)?;
        while self.apply_next(&mut run, &[], &mut effects)?.is_some() {
            while self.serve_next(&mut run, &mut effects).is_some() {}
        }
        Ok(())
    }

    /// Answers from what is applied.
    pub fn query(&self, database: u32, now: TimeMs, query: &Query<'_>) -> Answered {
        let view = self.view(database, now);
        let answer = view.answer(query).into();
        let mut lookups = Lookups::default();
        match query {
            // Told by the answer.
            Query::String(StringQuery::Get { .. }) => lookups.note(answer != Answer::Nil),
            _ => query.keys_read().for_each(|key| lookups.note(view.entry(key).is_some())),
        }
        Answered { answer, lookups }
    }

    /// What WATCH remembers of a key: another version after every change, also if the key is gone before and after.
    pub fn version(&self, database: u32, now: TimeMs, key: &[u8]) -> KeyVersion {
        self.view(database, now).version(key)
    }

    /// One step of SCAN.
    pub fn scan(&self, database: u32, now: TimeMs, scan: &Scan<'_>) -> Page {
        self.view(database, now).scan(scan)
    }

    /// DBSIZE: keys that are due and not yet deleted count.
    pub fn count(&self, database: u32, now: TimeMs) -> usize {
        self.view(database, now).count()
    }

    /// KEYS
    pub fn matching(&self, database: u32, now: TimeMs, pattern: &[u8]) -> Vec<Bytes> {
        self.view(database, now).matching(pattern)
    }

    /// RANDOMKEY; chance comes from above the machine.
    pub fn random(&self, database: u32, now: TimeMs, chance: u64) -> Option<Bytes> {
        self.view(database, now).random(chance)
    }

    /// OBJECT ENCODING; `None` if there is no such key.
    pub fn encoding(&self, database: u32, now: TimeMs, key: &[u8]) -> Option<&'static str> {
        self.view(database, now).entry(key).map(|entry| query::encoding(&entry.value))
    }

    /// See [`View::answer_bytes`].
    pub fn answer_bytes(&self, database: u32, now: TimeMs, query: &Query<'_>) -> usize {
        self.view(database, now).answer_bytes(query)
    }

    /// Whether an XREADGROUP must be applied: it would find something, make a consumer, or be refused.
    pub fn would_change(&self, database: u32, now: TimeMs, read: &GroupRead<'_>) -> bool {
        let view = self.view(database, now);
        group::read::would_change(read, view.now, |key| view.entry(key))
    }

    /// The same of one that waits: whether it would find something, or be refused.
    pub fn would_find(&self, database: u32, now: TimeMs, read: &GroupRead<'_>) -> bool {
        let view = self.view(database, now);
        group::read::would_find(read, view.now, |key| view.entry(key))
    }

    /// Why an XREADGROUP is refused as things stand, if it is.
    pub fn group_read_refusal(&self, database: u32, now: TimeMs, read: &GroupRead<'_>) -> Option<ReplyError> {
        let view = self.view(database, now);
        group::read::refusal(read, |key| view.entry(key))
    }

    /// When an XREADGROUP with CLAIM that finds nothing now will find something that is pending, if nothing else happens.
    pub fn next_claimable_at(&self, database: u32, now: TimeMs, read: &GroupRead<'_>) -> Option<TimeMs> {
        let view = self.view(database, now);
        group::read::next_claimable_at(read, |key| view.entry(key))
    }

    /// The last id of a stream, to wait for what comes after it; 0-0 if there is no such stream.
    pub fn last_id(&self, database: u32, now: TimeMs, key: &[u8]) -> EntryId {
        let stream = self.view(database, now).stream(key).ok().flatten();
        stream.map_or(EntryId::MIN, |stream| stream.log.last_id)
    }

    /// The id up to which a group was given entries, if there is such a group.
    pub fn group_last_id(&self, database: u32, now: TimeMs, key: &[u8], group: &[u8]) -> Option<EntryId> {
        let stream = self.view(database, now).stream(key).ok().flatten()?;
        stream.group(group).map(|group| group.last_id)
    }

    /// Whether there is such a key.
    pub fn has_key(&self, database: u32, now: TimeMs, key: &[u8]) -> bool {
        self.view(database, now).entry(key).is_some()
    }

    /// Pushes what the query looks for in vain, if that is wanted.
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
                effects.push(database, key, KeyEvent::Due);
            }
            effects.push(database, key, KeyEvent::Miss);
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

    /// Databases that were ever written to, in order, for INFO.
    pub fn databases(&self) -> impl Iterator<Item = (u32, &Keyspace)> {
        self.databases.iter().map(|(database, keys)| (*database, keys))
    }

    /// Writes applied so far, those that changed nothing too.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes that a key and its value take, about; `None` if there is no such key. Of what a stream is made of, at most
    /// `samples` of each kind are looked at and stand for the others; 0: all.
    pub fn memory_usage(&self, database: u32, now: TimeMs, key: &[u8], samples: usize) -> Option<usize> {
        let entry = self.view(database, now).entry(key)?;
        let value = match &entry.value {
            Value::String(text) => text.bytes.len(),
            Value::Stream(stream) => stream.memory(samples),
        };
        Some(key.len() + size_of::<KeyEntry>() + value)
    }

    /// The key and its value as a checkpoint writes them, for digests; `None` if there is no such key.
    pub fn key_image(&self, database: u32, now: TimeMs, key: &[u8]) -> Option<Vec<u8>> {
        let mut image = Vec::new();
        let entry = self.view(database, now).entry(key)?;
        checkpoint::encode_value(&entry.value, &mut |piece| image.extend_from_slice(piece));
        Some(image)
    }

    /// A query sees time as the machine does, or later: a due key stays gone.
    fn view(&self, database: u32, now: TimeMs) -> View<'_> {
        View {
            keys: self.databases.get(&database),
            now: now.max(self.time),
            database,
            removals: &self.removals,
        }
    }

    fn scope<'m>(&'m mut self, database: u32, effects: &'m mut Effects) -> Scope<'m> {
        Scope {
            keys: self.databases.entry(database).or_default(),
            database,
            time: self.time,
            version: KeyVersion(self.changes),
            limits: self.limits,
            idempotency: self.idempotency,
            removals: &mut self.removals,
            effects,
        }
    }

    fn write(&mut self, database: u32, write: &Write<'_>, effects: &mut Effects) -> Answer {
        self.changes += 1;
        // The most frequent one reads none.
        if !matches!(write, Write::Add(_)) {
            let mut lookups = Lookups::default();
            for key in write.keys_read() {
                let is_hit = self.view(database, self.time).entry(key).is_some();
                lookups.note(is_hit);
                if !is_hit && effects.are_misses_wanted() {
                    effects.push(database, key, KeyEvent::Miss);
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
                key::write(scope, write).unwrap_or_else(|| self.key_write(database, write, effects))
            }
        }
        .into()
    }

    /// Key commands that reach beyond one database.
    fn key_write(
        &mut self,
        database: u32,
        write: &KeyWrite<'_>,
        effects: &mut Effects,
    ) -> Result<Answer, ReplyError> {
        match write {
            KeyWrite::Copy { from, to, database: into, replace } => {
                self.copy((database, from), (into.unwrap_or(database), to), *replace, effects)
            }
            KeyWrite::Move { key, database: into } => self.move_key(database, key, *into, effects),
            KeyWrite::SwapDatabases { first, second } => {
                self.swap(*first, *second, effects);
                Ok(Answer::Done)
            }
            KeyWrite::FlushAll => {
                let mut databases: Vec<u32> = self.databases.keys().copied().collect();
                if databases.is_empty() {
                    databases.push(database);
                }
                databases.iter().for_each(|database| key::flush(&mut self.scope(*database, effects)));
                Ok(Answer::Done)
            }
            KeyWrite::DeleteExpired { limit } => Ok(self.delete_expired(*limit, effects)),
            KeyWrite::SetStreamNodeLimits { entries, bytes } => {
                self.limits = NodeLimits { entries: *entries, bytes: *bytes };
                Ok(Answer::Done)
            }
            KeyWrite::SetIdempotencyLimits { duration_s, ids } => {
                self.idempotency = IdempotencyLimits { duration_s: *duration_s, ids: *ids };
                Ok(Answer::Done)
            }
            KeyWrite::ForgetIds { limit } => {
                self.forget_ids(*limit as usize);
                Ok(Answer::Done)
            }
            _ => unreachable!("what stays within one database is done"),
        }
    }

    /// COPY: streams with their groups; the copy shares what it can.
    fn copy(
        &mut self,
        (from_database, from): (u32, &[u8]),
        (to_database, to): (u32, &[u8]),
        replace: bool,
        effects: &mut Effects,
    ) -> Result<Answer, ReplyError> {
        if (from_database, from) == (to_database, to) {
            return Err(SAME_OBJECT);
        }
        let copied = self.scope(from_database, effects).entry(from).map(|entry| entry.clone());
        let Some(entry) = copied else { return Ok(Answer::Integer(0)) };
        let mut target = self.scope(to_database, effects);
        let overwritten = target.entry(to).map(|before| !before.value.is_like(&entry.value));
        if overwritten.is_some() && !replace {
            return Ok(Answer::Integer(0));
        }
        target.insert_new(to, entry.value.clone());
        target.keys.set_deadline(to, entry.expires_at());
        target.push(to, KeyEvent::CopyTo);
        if let Some(has_other_type) = overwritten {
            target.overwritten(to, has_other_type);
        }
        Ok(Answer::Integer(1))
    }

    /// MOVE: nothing happens if the name is taken there.
    fn move_key(
        &mut self,
        from: u32,
        key: &[u8],
        to: u32,
        effects: &mut Effects,
    ) -> Result<Answer, ReplyError> {
        if from == to {
            return Err(SAME_OBJECT);
        }
        if !self.scope(from, effects).exists(key) || self.scope(to, effects).exists(key) {
            return Ok(Answer::Integer(0));
        }
        let entry = self.scope(from, effects).remove(key).expect("just seen");
        let mut target = self.scope(to, effects);
        let deadline = entry.expires_at();
        target.insert_new(key, entry.value);
        target.keys.set_deadline(key, deadline);
        effects.push(from, key, KeyEvent::MoveFrom);
        effects.push(to, key, KeyEvent::MoveTo);
        Ok(Answer::Integer(1))
    }

    /// SWAPDB. Keys keep their versions: to whoever watches a name, it is another key's now.
    fn swap(&mut self, first: u32, second: u32, effects: &mut Effects) {
        if first == second {
            return;
        }
        let [former, latter] =
            [first, second].map(|database| self.databases.remove(&database).unwrap_or_default());
        self.databases.insert(first, latter);
        self.databases.insert(second, former);
        for database in [first, second] {
            effects.push(database, b"", KeyEvent::Swap);
        }
    }

    fn delete_expired(&mut self, limit: u32, effects: &mut Effects) -> Answer {
        let now = self.time;
        let mut deleted = 0;
        for (database, keys) in &mut self.databases {
            while deleted < limit
                && let Some(key) = keys.first_due(now).cloned()
            {
                let entry = keys.remove(&key).expect("just seen");
                self.removals.note(*database, &key, entry.version);
                effects.push(*database, &key, KeyEvent::Expired);
                deleted += 1;
            }
        }
        Answer::Integer(i64::from(deleted))
    }

    /// Forgets idempotent ids that are due; nobody watches or waits for that.
    fn forget_ids(&mut self, limit: usize) {
        let mut left = limit;
        for keys in self.databases.values_mut() {
            while left > 0
                && let Some(key) = keys.first_forgetting(self.time).cloned()
            {
                let stream = keys.stream_mut(&key).expect("only streams forget");
                left -= stream.producers.forget_due(self.time, left);
                keys.refresh_forgetting(&key);
            }
        }
    }

    /// Applies a transaction of the record begun last, with the queries among its commands: a node that was not asked has
    /// none. One answer per command in request order, or a null array if a watched key has changed.
    pub fn apply_transaction(
        &mut self,
        transaction: &Transaction<'_>,
        queries: &[Step<Query<'_>>],
        effects: &mut Effects,
    ) -> Answer {
        if self.is_any_changed(&transaction.watched, self.time) {
            return Answer::Aborted;
        }
        let mut answers = Vec::with_capacity(transaction.writes.len() + queries.len());
        let mut queries = queries.iter().peekable();
        for Step { step, database, command } in &transaction.writes {
            while let Some(query) = queries.next_if(|query| query.step < *step) {
                answers.push(self.query_step(self.time, query, effects));
            }
            assert!(queries.peek().is_none_or(|query| query.step > *step), "step {step} is one command");
            effects.begin_step(*step);
            answers.push(self.write(*database, command, effects));
        }
        answers.extend(queries.map(|query| self.query_step(self.time, query, effects)));
        Answer::Transaction(answers)
    }

    /// A transaction without writes. It needs no log: it is answered from what is applied.
    pub fn query_transaction(
        &self,
        watched: &[Watched<'_>],
        queries: &[Step<Query<'_>>],
        now: TimeMs,
        effects: &mut Effects,
    ) -> Answer {
        if self.is_any_changed(watched, now) {
            return Answer::Aborted;
        }
        Answer::Transaction(queries.iter().map(|query| self.query_step(now, query, effects)).collect())
    }

    /// A key that was due when it was watched counts as gone, and its deletion as no change.
    fn is_any_changed(&self, watched: &[Watched<'_>], now: TimeMs) -> bool {
        watched.iter().any(|watched| self.view(watched.database, now).version(watched.key) != watched.version)
    }

    fn query_step(&self, now: TimeMs, query: &Step<Query<'_>>, effects: &mut Effects) -> Answer {
        effects.begin_step(query.step);
        self.note_misses(query.database, now, &query.command, effects);
        let Answered { answer, lookups } = self.query(query.database, now, &query.command);
        effects.add_lookups(lookups);
        answer
    }

    /// Asserts the invariants of everything held; for tests.
    pub fn check(&self) {
        for keys in self.databases.values() {
            keys.check();
            for (key, entry) in keys.from_sequence(crate::state::keyspace::KeySequence(0)) {
                let version = entry.version.0;
                assert!((1..=self.changes).contains(&version), "{key:?} has a version that was given");
            }
        }
    }
}
