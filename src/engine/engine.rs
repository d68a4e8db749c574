//! The engine: its owners and the routes of submissions.

use crate::base::signal::Signal;
use crate::command::value::group::GroupRead;
use crate::command::value::{Data, Query, Write};
use crate::context::context::NodeContext;
use crate::engine::blocked_reads::{BlockedId, BlockedReads};
use crate::engine::checkpoints::Checkpoints;
use crate::engine::log_clock::LogClock;
use crate::engine::report::Survey;
use crate::engine::scatter::{ChainId, GatherId, Scatter};
use crate::engine::statistics::{EngineStatistics, Spike};
use crate::engine::submission::{EngineAnswer, Interest, Notice, Outcome, Position, STOPPED, Work};
use crate::engine::upkeep::Upkeep;
use crate::engine::{blocking, questions, scatter, several, upkeep};
use crate::model::log::PartitionId;
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::model::time::TimeMs;
use crate::observe::stopwatch::Stopwatch;
use crate::partition::partition::Partition;
use crate::partition::router::Router;
use crate::replication::committer::Committer;
use crate::state::answer::Answer;
use crate::state::effects::{Effects, Events, KeyEvent, Lookups};
use crate::state::machine::{Answered, Machine};
use std::rc::Rc;
use std::sync::Arc;

/// What requested an item of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Request(RequestId),
    /// One part of a command that is spread over partitions.
    Part {
        gather: GatherId,
        part: u32,
    },
    /// One stream of a read that goes from partition to partition.
    Link(ChainId),
    /// A blocked read that an entry carries.
    Blocked(BlockedId),
    /// The op that shows the consumer of a blocked read.
    Shown(BlockedId),
    /// The engine's own ops: deleting due keys, forgetting idempotent ids, or others.
    Expired,
    Forgotten,
    Internal,
}

/// Wakes the engine's driver.
#[derive(Default)]
pub(super) struct Wakers {
    /// An open batch received work, the committer has room again, or a delivery is ready outside any round.
    pub work: Signal,
    /// The earliest due time may have changed.
    pub timer: Signal,
    pub checkpoint: Signal,
    /// A request waits for a sync.
    pub sync: Signal,
}

/// What a frontend takes from its engine.
#[derive(Debug, Default)]
pub struct Delivery {
    pub outcomes: Vec<Outcome>,
    pub spikes: Vec<Spike>,
}

impl Delivery {
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.spikes.is_empty()
    }

    /// Drops everything, and more memory than usual.
    pub(super) fn empty(&mut self) {
        self.outcomes.clear();
        self.outcomes.shrink_to(OUTCOMES_KEPT_MAX);
        self.spikes.clear();
    }

    /// Appends a later delivery.
    pub fn append(&mut self, later: Delivery) {
        self.outcomes.extend(later.outcomes);
        self.spikes.extend(later.spikes);
    }

    /// Bytes of memory, without the memory that its outcomes share with the state.
    pub fn memory(&self) -> usize {
        let events: usize = self.outcomes.iter().map(|outcome| outcome.events.len()).sum();
        self.outcomes.len() * size_of::<Outcome>() + events * size_of::<KeyEvent>()
    }
}

const OUTCOMES_KEPT_MAX: usize = 4096;

/// Never borrowed across an await. The engine calls no other owner: its output is taken from it.
pub struct Engine {
    pub(super) context: Arc<NodeContext>,
    pub(super) router: Router,
    pub(super) partitions: Vec<Partition<Tag>>,
    pub(super) committer: Rc<Committer>,
    pub(super) blocked: BlockedReads,
    pub(super) scatter: Scatter,
    pub(super) delivery: Delivery,
    pub(super) interest: Interest,
    pub(super) upkeep: Upkeep,
    pub(super) checkpoints: Checkpoints,
    pub(super) survey: Survey,
    pub(super) statistics: EngineStatistics,
    pub(super) stopwatch: Stopwatch,
    pub(super) wakers: Rc<Wakers>,
    pub(super) next_proposal: u64,
    /// Entries are stamped by it, and reads judge by it.
    pub(super) log_clock: LogClock,
}

impl Engine {
    /// An engine of partitions whose machines have applied everything committed.
    pub fn new(context: Arc<NodeContext>, committer: Rc<Committer>, machines: Vec<Machine>) -> Engine {
        let partitions: Vec<_> =
            (0..).map(PartitionId).zip(machines).map(|(id, machine)| Partition::new(id, machine)).collect();
        let last = partitions.iter().map(|it| it.read().time()).max().unwrap_or_default();
        let wall_us = context.clock.now_micros();
        let log_clock = LogClock::start(last, wall_us, context.clock.monotonic_us());
        let mut engine = Engine {
            router: Router::new(partitions.len() as u16),
            partitions,
            committer,
            blocked: BlockedReads::default(),
            scatter: Scatter::default(),
            delivery: Delivery::default(),
            interest: Interest::default(),
            upkeep: Upkeep::default(),
            checkpoints: Checkpoints::new(context.wall_time()),
            survey: Survey::default(),
            statistics: EngineStatistics::default(),
            stopwatch: Stopwatch::new(context.clock.clone()),
            wakers: Rc::default(),
            next_proposal: 1,
            log_clock,
            context,
        };
        upkeep::look_at_clock(&mut engine);
        upkeep::log_stream_settings(&mut engine);
        engine
    }

    /// For tests: small batches, and a small limit of an op.
    pub fn set_bytes_max(&mut self, batch: usize, op: usize) {
        self.partitions.iter_mut().for_each(|it| it.set_bytes_max(batch, op));
    }

    /// Accepts work of a request. Returns an immediate outcome, or sends the outcome once with a later
    /// delivery.
    #[inline]
    pub fn submit(&mut self, request: RequestId, work: Work<'_>) -> Option<Outcome> {
        match work {
            Work::Data { partition, database, data, position } => {
                self.data(request, partition, database, data, position)
            }
            other => self.submit_other(request, other),
        }
    }

    #[inline(never)]
    fn submit_other(&mut self, request: RequestId, work: Work<'_>) -> Option<Outcome> {
        match work {
            Work::Data { .. } => panic!("a command on keys is no other work"),
            Work::Everywhere { database, data } => several::everywhere(self, request, database, data),
            Work::PerStream { database, data } => several::per_stream(self, request, database, data),
            Work::Blocking { database, read, timeout_ms } => {
                blocking::block(self, request, database, read, timeout_ms)
            }
            Work::Transaction { partition, transaction, queries } => {
                let tag = Tag::Request(request);
                let put = |at: &mut Partition<Tag>, notes| at.transact(transaction, &queries, notes, tag);
                self.put(partition, put).err().map(|error| Outcome::of(request, error))
            }
            Work::Pass { partition } => {
                self.partition_mut(partition).pass(Tag::Request(request));
                self.request_round();
                None
            }
            Work::Fill { database, writes } => {
                scatter::fill(self, request, database, &writes);
                self.take_immediate(request)
            }
            Work::Question(question) => {
                questions::answer(self, request, question).map(|answer| Outcome::of(request, answer))
            }
        }
    }

    pub fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Interest(interest) => self.interest = interest,
            Notice::Forbid { request, forbidden } => blocking::forbid(self, request, forbidden),
            Notice::EndWait { request, ending } => blocking::end_wait(self, request, ending),
            Notice::Paused(paused) => self.upkeep.is_paused = paused,
            Notice::ExpiresActively(on) => self.upkeep.expires_actively = on,
            Notice::UpkeepPaused(paused) => self.upkeep.is_held = paused,
            Notice::StreamSettings => upkeep::log_stream_settings(self),
            Notice::ResetStatistics => self.statistics = EngineStatistics::default(),
        }
    }

    /// Output for frontends since the last call.
    pub fn take_delivery(&mut self) -> Delivery {
        std::mem::take(&mut self.delivery)
    }

    /// The time of the log, for entries and for reads: a key is never due for one of them alone.
    #[inline]
    pub(super) fn now(&self) -> TimeMs {
        if cfg!(headwater_bug = "time_follows_the_wall_clock") {
            return self.context.wall_time();
        }
        self.log_clock.now(self.context.clock.monotonic_us())
    }

    /// Bytes of gathered ops and ops in flight.
    pub fn bytes_in_flight(&self) -> usize {
        self.partitions.iter().map(Partition::bytes).sum()
    }

    /// Nothing is gathered or in flight in any partition.
    pub fn is_idle(&self) -> bool {
        self.partitions.iter().all(Partition::is_idle)
    }

    pub(super) fn partition(&self, id: PartitionId) -> &Partition<Tag> {
        &self.partitions[usize::from(id.0)]
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> &mut Partition<Tag> {
        &mut self.partitions[usize::from(id.0)]
    }

    /// The partition of a key.
    pub(super) fn home(&self, key: &[u8]) -> &Partition<Tag> {
        self.partition(self.router.of_key(key))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.router.partitions()).map(PartitionId)
    }

    /// Which events the machines keep.
    pub(super) fn effects(&self) -> Effects {
        match self.interest {
            Interest { misses: true, .. } => Effects::wanted_with_misses(),
            Interest { events: true, .. } => Effects::wanted(),
            _ if self.blocked.is_empty() => Effects::unwanted(),
            _ => Effects::wanted(),
        }
    }

    /// Adds a write to the open batch of its partition.
    pub(super) fn write(&mut self, partition: PartitionId, database: u32, write: &Write<'_>, tag: Tag) {
        if let Err(error) = self.put(partition, |at, notes_keys| at.write(database, write, notes_keys, tag)) {
            self.finish(tag, Answer::Refused(error), Events::NONE, 0);
        }
    }

    /// Puts something into an open batch, unless all writes are refused or this one is too large. `put` is told
    /// whether the batch has to note its keys, because reads are blocked.
    fn put(
        &mut self,
        partition: PartitionId,
        put: impl FnOnce(&mut Partition<Tag>, bool) -> Result<(), ReplyError>,
    ) -> Result<(), ReplyError> {
        if self.context.latch.is_tripped() {
            return Err(STOPPED);
        }
        let notes_keys = !self.blocked.is_empty();
        put(self.partition_mut(partition), notes_keys)?;
        self.request_round();
        Ok(())
    }

    pub(super) fn request_round(&self) {
        self.wakers.work.notify();
    }

    /// Answers a request, or continues the larger task of which this is a part.
    #[inline]
    pub(super) fn finish(&mut self, tag: Tag, reply: Answer, events: Events, nanoseconds: u64) {
        match tag {
            Tag::Request(request) => {
                self.deliver(Outcome { request: Some(request), answer: reply.into(), events, nanoseconds });
            }
            part => self.finish_part(part, reply, events, nanoseconds),
        }
    }

    fn finish_part(&mut self, tag: Tag, reply: Answer, events: Events, nanoseconds: u64) {
        match tag {
            Tag::Request(request) => panic!("{request:?} is no part"),
            Tag::Part { gather, part } => {
                let asker = self.scatter.asker(gather);
                self.tell(events, asker);
                if let Some((target, whole)) = self.scatter.put(gather, part as usize, reply) {
                    scatter::finish_gathered(self, target, whole);
                }
            }
            Tag::Link(chain) => {
                self.tell(events, None);
                scatter::link_came_back(self, chain, reply);
            }
            Tag::Blocked(id) => {
                self.tell(events, None);
                blocking::served(self, id, reply);
            }
            Tag::Shown(id) => {
                self.tell(events, None);
                blocking::shown(self, id, reply);
            }
            Tag::Expired => {
                upkeep::expired(self, &reply, nanoseconds);
                self.tell(events, None);
            }
            Tag::Forgotten => self.upkeep.forgetting -= 1,
            Tag::Internal => self.tell(events, None),
        }
    }

    pub(super) fn deliver(&mut self, outcome: Outcome) {
        self.delivery.outcomes.push(outcome);
    }

    /// Publishes an op's events when its answer has another destination or none.
    pub(super) fn tell(&mut self, events: Events, by: Option<RequestId>) {
        if self.interest.events && !events.is_empty() {
            let answer = EngineAnswer::Events { by };
            self.deliver(Outcome { request: None, answer, events, nanoseconds: 0 });
        }
    }

    /// Counts the hits and misses of reads.
    pub(super) fn note_lookups(&mut self, lookups: Lookups) {
        self.statistics.keyspace_hits += lookups.hits;
        self.statistics.keyspace_misses += lookups.misses;
    }

    // ---- commands on keys

    fn data(
        &mut self,
        request: RequestId,
        partition: PartitionId,
        database: u32,
        data: &Data<'_>,
        position: Position,
    ) -> Option<Outcome> {
        match (data, position) {
            (Data::Query(query), position)
                if position == Position::First || cfg!(headwater_bug = "query_overtakes_write") =>
            {
                Some(self.answer_now(request, partition, database, query))
            }
            (Data::Query(query), _) => {
                self.partition_mut(partition).query_behind(database, query, Tag::Request(request));
                self.request_round();
                None
            }
            // The read finds nothing and changes nothing, so it needs no log entry.
            (Data::Write(Write::GroupRead(read)), Position::First)
                if !self.would_change(partition, database, read) =>
            {
                let now = self.now();
                self.partition_mut(partition).note_look(database, now, read);
                Some(Outcome::of(request, Answer::NilArray))
            }
            (Data::Write(write), _) => {
                let tag = Tag::Request(request);
                let put = |at: &mut Partition<Tag>, notes| at.write(database, write, notes, tag);
                self.put(partition, put).err().map(|error| Outcome::of(request, error))
            }
        }
    }

    /// Answers from applied state, with the misses of the read.
    fn answer_now(
        &mut self,
        request: RequestId,
        partition: PartitionId,
        database: u32,
        query: &Query<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::of(request, self.query(partition, database, query));
        if self.interest.misses {
            outcome.events = self.misses(database, query);
            upkeep::delete_due(self, &outcome.events);
        }
        outcome
    }

    /// The misses of a query, in all partitions of its keys.
    pub(super) fn misses(&self, database: u32, query: &Query<'_>) -> Events {
        let now = self.now();
        let mut effects = self.effects();
        for key in query.keys_read() {
            self.home(key).read().note_miss(database, now, key, &mut effects);
        }
        effects.take()
    }

    pub(super) fn query(&mut self, partition: PartitionId, database: u32, query: &Query<'_>) -> Answer {
        let now = self.now();
        let Answered { answer, lookups } = self.partition(partition).query(database, now, query);
        self.note_lookups(lookups);
        answer
    }

    /// Whether an XREADGROUP would find entries or change state.
    pub(super) fn would_change(&self, partition: PartitionId, database: u32, read: &GroupRead<'_>) -> bool {
        self.partition(partition).read().would_change(database, self.now(), read, false)
    }

    /// The outcome of the current request, if submitting its work produced one.
    pub(super) fn take_immediate(&mut self, request: RequestId) -> Option<Outcome> {
        let is_its = |outcome: &Outcome| outcome.request == Some(request);
        if self.delivery.outcomes.last().is_some_and(is_its) { self.delivery.outcomes.pop() } else { None }
    }

    /// Ends everything open or in flight after the log has failed; none of it is known to be durable.
    pub fn fail_everything(&mut self, error: &ReplyError) {
        for at in 0..self.partitions.len() {
            for tag in self.partitions[at].abandon() {
                self.finish(tag, Answer::Refused(error.clone()), Events::NONE, 0);
            }
        }
        for id in self.blocked.take_asking() {
            blocking::served(self, id, Answer::Refused(error.clone()));
        }
        self.checkpoints.abandon(error).into_iter().for_each(|outcome| self.deliver(outcome));
    }
}
