//! The engine itself: what it owns, and where submissions go.

use crate::command::value::group::GroupRead;
use crate::command::value::key::{KeyQuery, KeyWrite, Scan};
use crate::command::value::stream::{Read, StreamQuery};
use crate::command::value::{Data, Query, Write};
use crate::context::context::NodeContext;
use crate::engine::blocked_reads::{BlockedId, BlockedReads};
use crate::engine::checkpoints::Checkpoints;
use crate::engine::report::Survey;
use crate::engine::scatter::{ChainId, GatherId, Merge, Scatter, Target};
use crate::engine::statistics::{EngineStatistics, Spike};
use crate::engine::submission::{EngineAnswer, Interest, Notice, Outcome, Position, Question, STOPPED, Work};
use crate::engine::upkeep::Upkeep;
use crate::engine::{blocking, questions, scatter, upkeep};
use crate::model::log::{PartitionId, ProposalId};
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::observe::stopwatch::Stopwatch;
use crate::partition::partition::Partition;
use crate::partition::router::Router;
use crate::replication::committer::Committer;
use crate::state::answer::Answer;
use crate::state::effects::{Effect, Effects, Lookups};
use crate::state::machine::{Answered, Machine};
use crate::state::op::{Op, Transaction};
use crate::state::query::Page;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// What an item of a batch was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Request(RequestId),
    /// One part of a command that was spread over partitions.
    Part {
        gather: GatherId,
        part: u32,
    },
    /// One stream of a read that goes from partition to partition.
    Link(ChainId),
    /// A blocked read that is in flight.
    Blocked(BlockedId),
    /// The engine's own ops: deletes what is due, forgets idempotent ids, does anything else.
    Expired,
    Forgotten,
    Internal,
}

/// What wakes the engine's driver.
#[derive(Default)]
pub(super) struct Wakers {
    /// Something was put into an open batch.
    pub work: Notify,
    /// The earliest time at which something is due may have changed.
    pub timer: Notify,
    pub checkpoint: Notify,
    /// Somebody waits for a sync.
    pub sync: Notify,
    /// There is something to deliver that no round brings.
    pub delivery: Notify,
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
}

/// Nothing of it is borrowed across an await, and it calls nobody: what it has to say is taken from it.
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
    /// The proposal whose entry is being applied.
    pub(super) current: Option<ProposalId>,
}

impl Engine {
    /// An engine of partitions whose machines were brought to the end of what is committed.
    pub fn new(context: Arc<NodeContext>, committer: Rc<Committer>, machines: Vec<Machine>) -> Engine {
        let partitions: Vec<_> =
            (0..).map(PartitionId).zip(machines).map(|(id, machine)| Partition::new(id, machine)).collect();
        let mut engine = Engine {
            router: Router::new(partitions.len() as u16),
            partitions,
            committer,
            blocked: BlockedReads::default(),
            scatter: Scatter::default(),
            delivery: Delivery::default(),
            interest: Interest::default(),
            upkeep: Upkeep::default(),
            checkpoints: Checkpoints::new(context.now()),
            survey: Survey::default(),
            statistics: EngineStatistics::default(),
            stopwatch: Stopwatch::new(context.clock.clone()),
            wakers: Rc::default(),
            next_proposal: 1,
            current: None,
            context,
        };
        upkeep::log_stream_settings(&mut engine);
        engine
    }

    /// Takes work of a request. Returns its outcome if that is known at once; otherwise it comes with a delivery, once.
    pub fn submit(&mut self, request: RequestId, work: Work<'_>) -> Option<Outcome> {
        match work {
            Work::Data { partition, database, data, position } => {
                self.data(request, partition, database, data, position)
            }
            Work::Everywhere { database, data } => self.everywhere(request, database, data),
            Work::PerStream { database, data } => self.per_stream(request, database, data),
            Work::Blocking { database, read, timeout_ms } => {
                blocking::block(self, request, database, read, timeout_ms)
            }
            Work::Transaction { partition, watched, commands } => {
                if let Some(error) = self.refusal() {
                    return Some(Outcome::of(request, error));
                }
                let (transaction, queries) = Transaction::of_commands(watched, commands);
                let notes_keys = !self.blocked.is_empty();
                let tag = Tag::Request(request);
                self.partition_mut(partition).transact(transaction, &queries, notes_keys, tag);
                self.request_round();
                None
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
            Work::Question(question) => self.question(request, question),
        }
    }

    pub fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Interest(interest) => self.interest = interest,
            Notice::Forbid { request, forbidden } => self.blocked.forbid(request, forbidden),
            Notice::EndWait { request, ending } => blocking::end_wait(self, request, ending),
            Notice::Paused(paused) => self.upkeep.is_paused = paused,
            Notice::ExpiresActively(on) => self.upkeep.expires_actively = on,
            Notice::UpkeepPaused(paused) => self.upkeep.is_held = paused,
            Notice::StreamSettings => upkeep::log_stream_settings(self),
            Notice::ResetStatistics => self.statistics = EngineStatistics::default(),
        }
    }

    /// What has come for frontends since the last time.
    pub fn take_delivery(&mut self) -> Delivery {
        std::mem::take(&mut self.delivery)
    }

    /// Bytes of ops that are gathered or in flight.
    pub fn bytes_in_flight(&self) -> usize {
        self.partitions.iter().map(Partition::bytes).sum()
    }

    /// Nothing is being gathered or in flight in any partition.
    pub fn is_idle(&self) -> bool {
        self.partitions.iter().all(Partition::is_idle)
    }

    pub(super) fn partition(&self, id: PartitionId) -> &Partition<Tag> {
        &self.partitions[usize::from(id.0)]
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> &mut Partition<Tag> {
        &mut self.partitions[usize::from(id.0)]
    }

    /// The partition that has a key.
    pub(super) fn home(&self, key: &[u8]) -> &Partition<Tag> {
        self.partition(self.router.of_key(key))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.router.partitions()).map(PartitionId)
    }

    /// What is to be kept of what ops do.
    pub(super) fn effects(&self) -> Effects {
        match self.interest {
            Interest { misses: true, .. } => Effects::wanted_with_misses(),
            Interest { events: true, .. } => Effects::wanted(),
            _ if self.blocked.is_empty() => Effects::unwanted(),
            _ => Effects::wanted(),
        }
    }

    /// Puts a write into its partition's open batch.
    pub(super) fn write(&mut self, partition: PartitionId, database: u32, write: &Write<'_>, tag: Tag) {
        if let Some(error) = self.refusal() {
            self.finish(tag, Answer::Refused(error), Vec::new(), 0);
            return;
        }
        let notes_keys = !self.blocked.is_empty();
        self.partition_mut(partition).write(database, write, notes_keys, tag);
        self.request_round();
    }

    pub(super) fn write_op(&mut self, partition: PartitionId, op: &Op<'_>, tag: Tag) {
        if let Some(error) = self.refusal() {
            self.finish(tag, Answer::Refused(error), Vec::new(), 0);
            return;
        }
        let notes_keys = !self.blocked.is_empty();
        self.partition_mut(partition).write_op(op, notes_keys, tag);
        self.request_round();
    }

    /// Why nothing more is written at all, if so.
    fn refusal(&self) -> Option<ReplyError> {
        self.context.latch.is_tripped().then_some(STOPPED)
    }

    pub(super) fn request_round(&self) {
        self.wakers.work.notify_one();
    }

    /// Answers a request, or goes on with what an answer was a part of.
    pub(super) fn finish(&mut self, tag: Tag, reply: Answer, events: Vec<Effect>, nanoseconds: u64) {
        match tag {
            Tag::Request(request) => {
                self.deliver(Outcome { request: Some(request), answer: reply.into(), events, nanoseconds });
            }
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

    /// Tells what an op did to keys when its answer goes elsewhere, or nowhere.
    pub(super) fn tell(&mut self, events: Vec<Effect>, by: Option<RequestId>) {
        if self.interest.events && !events.is_empty() {
            let answer = EngineAnswer::Events { by };
            self.deliver(Outcome { request: None, answer, events, nanoseconds: 0 });
        }
    }

    /// Counts what reads have found, and what they have not.
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
            // It finds nothing and changes nothing: it need not be logged to say so.
            (Data::Write(Write::GroupRead(read)), Position::First)
                if !self.would_change(partition, database, read) =>
            {
                Some(Outcome::of(request, Answer::NilArray))
            }
            (Data::Write(write), _) => {
                if let Some(error) = self.refusal() {
                    return Some(Outcome::of(request, error));
                }
                self.write(partition, database, write, Tag::Request(request));
                None
            }
        }
    }

    /// Answers from applied state, with what the read missed.
    fn answer_now(
        &mut self,
        request: RequestId,
        partition: PartitionId,
        database: u32,
        query: &Query<'_>,
    ) -> Outcome {
        let now = self.context.now();
        let Answered { answer, lookups } = self.partition(partition).read().query(database, now, query);
        self.note_lookups(lookups);
        let mut outcome = Outcome::of(request, answer);
        if self.interest.misses {
            outcome.events = self.misses(database, query);
            upkeep::delete_due(self, &outcome.events);
        }
        outcome
    }

    /// What a query looks for in vain, wherever its keys are.
    fn misses(&self, database: u32, query: &Query<'_>) -> Vec<Effect> {
        let now = self.context.now();
        let mut effects = self.effects();
        for key in query.keys_read() {
            self.home(key).read().note_miss(database, now, key, &mut effects);
        }
        effects.take()
    }

    pub(super) fn query(&mut self, partition: PartitionId, database: u32, query: &Query<'_>) -> Answer {
        let now = self.context.now();
        let Answered { answer, lookups } = self.partition(partition).read().query(database, now, query);
        self.note_lookups(lookups);
        answer
    }

    /// Whether an XREADGROUP would find something or leave a trace.
    pub(super) fn would_change(&self, partition: PartitionId, database: u32, read: &GroupRead<'_>) -> bool {
        self.partition(partition).read().would_change(database, self.context.now(), read)
    }

    fn everywhere(&mut self, request: RequestId, database: u32, data: &Data<'_>) -> Option<Outcome> {
        match data {
            Data::Query(Query::Key(query)) => {
                Some(Outcome::of(request, self.query_everywhere(database, query)))
            }
            Data::Write(
                write @ Write::Key(
                    KeyWrite::FlushAll | KeyWrite::FlushDatabase | KeyWrite::SwapDatabases { .. },
                ),
            ) => {
                scatter::write_everywhere(self, database, write, Merge::Same, Target::Request(request));
                self.take_immediate(request)
            }
            other => panic!("{other:?} concerns keys of one hash slot"),
        }
    }

    fn query_everywhere(&self, database: u32, query: &KeyQuery<'_>) -> Answer {
        let now = self.context.now();
        match query {
            KeyQuery::Count => {
                Answer::count(self.ids().map(|id| self.partition(id).read().count(database, now)).sum())
            }
            KeyQuery::Matching { pattern } => {
                let found =
                    self.ids().flat_map(|id| self.partition(id).read().matching(database, now, pattern));
                Answer::Keys(found.collect())
            }
            KeyQuery::Random { chance } => {
                let first = (chance % u64::from(self.router.partitions())) as u16;
                let ids = (first..self.router.partitions()).chain(0..first).map(PartitionId);
                let mut found = ids.filter_map(|id| self.partition(id).read().random(database, now, *chance));
                found.next().map_or(Answer::Nil, Answer::Bulk)
            }
            KeyQuery::Scan(scan) => self.scan_everywhere(database, scan),
            other => panic!("{other:?} concerns keys of one hash slot"),
        }
    }

    /// One partition after the other, until one has more or COUNT is reached: the partition is the cursor's remainder,
    /// so that cursors stay small.
    fn scan_everywhere(&self, database: u32, scan: &Scan<'_>) -> Answer {
        let now = self.context.now();
        let partitions = u64::from(self.router.partitions());
        let mut cursor = scan.cursor;
        let mut found = Vec::new();
        loop {
            let (id, inner) = (cursor % partitions, cursor / partitions);
            let part = Scan { cursor: inner, ..*scan };
            let page = self.partition(PartitionId(id as u16)).read().scan(database, now, &part);
            found.extend(page.keys);
            cursor = match page.next {
                0 if id + 1 == partitions => 0,
                0 => id + 1,
                next => next.saturating_mul(partitions).saturating_add(id),
            };
            if cursor == 0 || page.next != 0 || found.len() as u64 >= scan.count {
                return Answer::Page(Page { next: cursor, keys: found });
            }
        }
    }

    fn per_stream(&mut self, request: RequestId, database: u32, data: &Data<'_>) -> Option<Outcome> {
        match data {
            Data::Query(query @ Query::Stream(StreamQuery::Read(read))) => {
                let mut outcome = Outcome::of(request, self.read_per_stream(database, read));
                if self.interest.misses {
                    outcome.events = self.misses(database, query);
                    upkeep::delete_due(self, &outcome.events);
                }
                Some(outcome)
            }
            Data::Write(Write::GroupRead(read)) => {
                scatter::group_read_per_stream(self, database, read, Target::Request(request));
                self.take_immediate(request)
            }
            other => panic!("{other:?} does not span hash slots"),
        }
    }

    /// XREAD over any streams, each from its own partition.
    pub(super) fn read_per_stream(&mut self, database: u32, read: &Read<'_>) -> Answer {
        let mut found = Vec::new();
        for stream in &read.streams {
            // What is refused is refused, wherever it stands.
            let left = read.limits.after(&found);
            let one = Read { limits: left.unwrap_or(read.limits), streams: vec![*stream], ..*read };
            let query = Query::Stream(StreamQuery::Read(one));
            match self.query(self.router.of_key(stream.0), database, &query) {
                Answer::Streams(more) if left.is_some() => found.extend(more),
                error @ Answer::Refused(_) => return error,
                _ => {}
            }
        }
        if found.is_empty() { Answer::NilArray } else { Answer::Streams(found) }
    }

    /// The outcome of the request at hand, if it came while its work was taken.
    pub(super) fn take_immediate(&mut self, request: RequestId) -> Option<Outcome> {
        let is_its = |outcome: &Outcome| outcome.request == Some(request);
        if self.delivery.outcomes.last().is_some_and(is_its) { self.delivery.outcomes.pop() } else { None }
    }

    fn question(&mut self, request: RequestId, question: Question<'_>) -> Option<Outcome> {
        questions::answer(self, request, question).map(|answer| Outcome::of(request, answer))
    }

    /// Ends everything that is open or in flight: the log has failed, and none of it is known to be kept.
    pub fn fail_everything(&mut self, error: &ReplyError) {
        for at in 0..self.partitions.len() {
            for tag in self.partitions[at].abandon() {
                self.finish(tag, Answer::Refused(error.clone()), Vec::new(), 0);
            }
        }
        self.checkpoints.abandon(error).into_iter().for_each(|outcome| self.deliver(outcome));
    }
}
