//! Serving blocked reads: see [`crate::server::blocking`] for the rules.

use crate::command::value::group::{GroupChange, GroupReadFrom};
use crate::command::value::key::KeyWrite;
use crate::command::value::stream::{Add, NewId, Read, ReadFrom, StreamQuery, TrimUntil};
use crate::command::value::string::{SetCondition, StringWrite};
use crate::command::value::{Data, Query, Write};
use crate::model::args::Args;
use crate::model::entry_id::EntryId;
use crate::model::reply::{Reply, ReplyError};
use crate::partition::router::Router;
use crate::server::blocking::{Ending, Waiter, WaiterId, WaiterKind};
use crate::server::connection::{Connection, Hold};
use crate::server::dispatch::Flow;
use crate::server::gather::Target;
use crate::server::ticket::{Place, Ticket};
use crate::server::worker::Worker;
use crate::state::effects::{Effect, KeyEvent};
use crate::state::op::codec;
use bytes::Bytes;
use std::rc::Rc;

/// A reader with CLAIM is looked at no more often than this by the clock, and at least this often.
const CLAIM_LOOK_MS_MIN: u64 = 5;
const CLAIM_LOOK_MS_MAX: u64 = 3_600_000;

impl Waiter {
    fn reads_for(&self, group: &[u8]) -> bool {
        self.group.as_deref() == Some(group)
    }

    /// Whether it is an XREAD that would get the entry of an XADD.
    fn may_read(&self, add: &Add<'_>) -> bool {
        let Data::Query(Query::Stream(StreamQuery::Read(read))) = decode(&self.read) else { return false };
        read.streams.iter().any(|(key, from)| {
            *key == add.key && !matches!(from, ReadFrom::After(id) if *id >= highest_id(add))
        })
    }

    /// Whether it reads for the group, with CLAIM.
    fn claims_for(&self, group: &[u8]) -> bool {
        self.reads_for(group)
            && matches!(decode(&self.read), Data::Write(Write::GroupRead(read)) if read.claim.is_some())
    }
}

impl Worker {
    /// XREAD or XREADGROUP with BLOCK, outside of a transaction.
    pub fn execute_blocking(
        &self,
        connection: &Rc<Connection>,
        args: Args<'_>,
        read: &mut Data<'_>,
        timeout_ms: u64,
    ) -> Flow {
        if !connection.is_settled() {
            return Flow::HoldUntilSettled;
        }
        let (database, protocol) = {
            let session = connection.session.borrow();
            (session.database, session.protocol)
        };
        if let Err(error) = self.complete(read, protocol) {
            connection.reply(&Reply::Error(error));
            return Flow::Next;
        }
        match &*read {
            Data::Query(Query::Stream(StreamQuery::Read(read))) => {
                let resolved = self.resolve_new(database, read);
                let reply = self.read_per_stream(database, &resolved);
                if reply != Reply::NilArray {
                    connection.reply(&reply);
                    if self.hears.get() {
                        self.hear_read(connection, database, &Query::Stream(StreamQuery::Read(resolved)));
                    }
                    return Flow::Next;
                }
                let read = Read { skips_others: true, ..resolved };
                let read = Data::Query(Query::Stream(StreamQuery::Read(read)));
                self.remember(connection, read.keys());
                // What had to be forgotten for it is not kept for its reply, which may never come.
                connection.send_deferred();
                self.wait(connection, args, WaiterKind::Read, &read, timeout_ms);
            }
            Data::Write(Write::GroupRead(_)) => {
                let id = self.wait(connection, args, WaiterKind::GroupRead, read, timeout_ms);
                self.try_group_read(id);
            }
            other => unreachable!("{other:?} does not block"),
        }
        // It may be answered already: then nothing would let it go on.
        if !connection.is_settled() {
            connection.hold.set(Hold::UntilSettled);
        }
        Flow::Next
    }

    fn wait(
        &self,
        connection: &Rc<Connection>,
        args: Args<'_>,
        kind: WaiterKind,
        read: &Data<'_>,
        timeout_ms: u64,
    ) -> WaiterId {
        let mut encoded = Vec::new();
        codec::encode_data(read, &mut encoded);
        let deadline_ms = (timeout_ms > 0).then(|| self.clock.monotonic_ms().saturating_add(timeout_ms));
        let (database, row, first_argument) = {
            let session = connection.session.borrow();
            let row = session.last_command.expect("the command that is being executed");
            // Unrestricted users have no use for it.
            let first_argument = args.get(1).filter(|_| !session.unrestricted).map(Bytes::copy_from_slice);
            (session.database, row, first_argument)
        };
        let waiter = Waiter {
            place: Place::open(connection),
            row,
            first_argument,
            database,
            keys: read.keys().map(Bytes::copy_from_slice).collect(),
            group: group_of(read).map(Bytes::copy_from_slice),
            read: encoded,
            kind,
            deadline_ms,
            wake_ms: None,
            in_flight: 0,
            may_be_in_vain: false,
            ended: None,
            is_remembered: kind == WaiterKind::Read && self.remembers(connection),
        };
        let id = self.waiters.borrow_mut().register(waiter);
        if deadline_ms.is_some() {
            self.deadline_due.notify_one();
        }
        id
    }

    /// Something happened to a key: whoever waits on it is served, or told that it cannot be.
    pub fn serve_waiters(&self, effect: &Effect) {
        let could_serve = match effect.event {
            KeyEvent::Add
            | KeyEvent::RenameTo
            | KeyEvent::CopyTo
            | KeyEvent::MoveTo
            | KeyEvent::Restore
            | KeyEvent::Swap => true,
            KeyEvent::Claimable
            | KeyEvent::Delete
            | KeyEvent::Expired
            | KeyEvent::RenameFrom
            | KeyEvent::MoveFrom
            | KeyEvent::Set
            | KeyEvent::Flush
            | KeyEvent::GroupDestroy => false,
            // XGROUP SETID wakes nobody, whatever it puts before them: Redis signals no key for it.
            _ => return,
        };
        let ids: Vec<WaiterId> = {
            let waiters = self.waiters.borrow();
            if let KeyEvent::Flush | KeyEvent::Swap = effect.event {
                waiters
                    .all()
                    .filter(|id| waiters.get(*id).is_some_and(|w| w.database == effect.database))
                    .collect()
            } else {
                waiters.on_key(effect.database, &effect.key).collect()
            }
        };
        for id in ids {
            let kind = self.waiters.borrow().get(id).map(|waiter| waiter.kind);
            match kind {
                Some(WaiterKind::Read) if could_serve => self.try_read(id),
                Some(WaiterKind::GroupRead) if effect.event == KeyEvent::Claimable => self.wake(id),
                Some(WaiterKind::GroupRead) => self.try_group_read(id),
                _ => {}
            }
        }
    }

    /// A write is on its way to keys that somebody may wait for: the readers concerned ride behind it, and see what it leaves and
    /// nothing of what comes after it, as Redis serves them between two commands. Of the readers of a group that wait for an added entry
    /// only the first rides, so that both take one commit; nobody rides behind an entry that he would not get, for he could not ride behind
    /// the next one then. `is_first`: nothing is on its way before the write, and what is applied tells whether it will be refused.
    pub fn ride_behind(&self, database: u32, write: &Write<'_>, is_first: bool) {
        let riders: Vec<WaiterId> = {
            let waiters = self.waiters.borrow();
            let idle = |id: &WaiterId| waiters.get(*id).is_some_and(Waiter::can_ride);
            let is = |id: &WaiterId, kind| waiters.get(*id).is_some_and(|waiter| waiter.kind == kind);
            let group_reader = |id: &WaiterId| idle(id) && is(id, WaiterKind::GroupRead);
            match write {
                Write::Add(add) if waiters.on_key(database, add.key).next().is_none() => return,
                Write::Add(add) if is_first && self.is_refused(database, add) => return,
                Write::Add(add) => {
                    let reader = |id: &WaiterId| {
                        idle(id) && waiters.get(*id).is_some_and(|waiter| waiter.may_read(add))
                    };
                    let readers = waiters.on_key(database, add.key).filter(reader);
                    let of_groups = waiters.first_idle_of_groups(database, add.key);
                    let served =
                        of_groups.filter(|(group, _)| !is_first || self.may_deliver(database, add, group));
                    readers.chain(served.map(|(_, id)| id)).collect()
                }
                Write::Key(KeyWrite::Copy { from, .. } | KeyWrite::Rename { from, .. })
                    if is_first && !self.has_key(database, from) =>
                {
                    return;
                }
                Write::Key(KeyWrite::Restore { key, .. }) => {
                    waiters.on_key(database, key).filter(idle).collect()
                }
                Write::Key(KeyWrite::Move { key, database: other }) => {
                    let of_source = waiters.on_key(database, key).filter(group_reader);
                    let of_target = waiters.on_key(*other, key).filter(idle);
                    of_source.chain(of_target).collect()
                }
                Write::Key(KeyWrite::SwapDatabases { first, second }) => {
                    let is_here = |id: &WaiterId| {
                        waiters.get(*id).is_some_and(|w| w.database == *first || w.database == *second)
                    };
                    waiters.all().filter(idle).filter(is_here).collect()
                }
                Write::Key(KeyWrite::Copy { to, database: other, .. }) => {
                    waiters.on_key(other.unwrap_or(database), to).filter(idle).collect()
                }
                Write::Key(KeyWrite::Rename { from, to, .. }) => {
                    let of_source = waiters.on_key(database, from).filter(group_reader);
                    let of_target = waiters.on_key(database, to).filter(idle);
                    of_source.chain(of_target).collect()
                }
                // What is gone serves nobody, but those who read for a group are told.
                Write::String(write) if !replaces_streams(write) => return,
                Write::Key(KeyWrite::Delete { .. }) | Write::String(_) => {
                    write.keys().flat_map(|key| waiters.on_key(database, key)).filter(group_reader).collect()
                }
                Write::GroupChange(GroupChange::Destroy { key, group }) => {
                    let of_group = |id: &WaiterId| waiters.get(*id).is_some_and(|w| w.reads_for(group));
                    waiters.on_key(database, key).filter(group_reader).filter(of_group).collect()
                }
                // What is given back goes to the first who claims.
                Write::GroupChange(GroupChange::NegativeAcknowledge { key, group, .. }) => {
                    let claims = |id: &WaiterId| waiters.get(*id).is_some_and(|w| w.claims_for(group));
                    waiters.on_key(database, key).filter(group_reader).filter(claims).take(1).collect()
                }
                Write::Key(KeyWrite::FlushAll) => waiters.all().filter(group_reader).collect(),
                Write::Key(KeyWrite::FlushDatabase) => {
                    let is_here = |id: &WaiterId| waiters.get(*id).is_some_and(|w| w.database == database);
                    waiters.all().filter(group_reader).filter(is_here).collect()
                }
                _ => return,
            }
        };
        for id in riders {
            // A key named twice names its readers twice.
            let kind = self.waiters.borrow().get(id).filter(|w| w.can_ride()).map(|waiter| waiter.kind);
            match kind {
                Some(WaiterKind::Read) => self.ride_with_read(id),
                Some(WaiterKind::GroupRead) => {
                    self.send_group_read(id);
                    self.note_doubt(id, database, is_first, write);
                }
                None => {}
            }
        }
    }

    /// Notes whether a group read that rides behind the write may find nothing. It will find the entry of an XADD, unless that
    /// trims it; with an id of its own, or a group that is ahead, and writes on their way before it, it may not.
    fn note_doubt(&self, id: WaiterId, database: u32, is_first: bool, write: &Write<'_>) {
        let group = self.waiters.borrow().get(id).and_then(|waiter| waiter.group.clone());
        let is_certain = match write {
            Write::Add(add) => {
                let may_deliver = || group.is_some_and(|group| self.may_deliver(database, add, &group));
                (is_first || add.id == NewId::Auto) && may_deliver() && !self.may_trim_itself(database, add)
            }
            _ => false,
        };
        if let Some(waiter) = self.waiters.borrow_mut().get_mut(id) {
            waiter.may_be_in_vain = !is_certain;
        }
    }

    /// Whether a write should wait until the requests of its pipeline are answered: it concerns somebody whose group read is on its
    /// way and may come back empty. Then that can ride behind this one.
    pub fn must_wait_for_riders(&self, database: u32, write: &Write<'_>) -> bool {
        let waiters = self.waiters.borrow();
        let is_in_doubt = |id: WaiterId| waiters.get(id).is_some_and(|w| w.in_flight > 0 && w.may_be_in_vain);
        match write {
            _ if waiters.is_empty() => false,
            Write::Key(KeyWrite::FlushAll | KeyWrite::FlushDatabase | KeyWrite::SwapDatabases { .. }) => {
                waiters.all().any(is_in_doubt)
            }
            Write::Key(KeyWrite::Copy { to, database: Some(other), .. }) => {
                waiters.on_key(*other, to).any(is_in_doubt)
            }
            _ => write.keys().flat_map(|key| waiters.on_key(database, key)).any(is_in_doubt),
        }
    }

    fn has_key(&self, database: u32, key: &[u8]) -> bool {
        let partition = self.partition(self.router.of_key(key)).borrow();
        partition.machine().has_key(database, self.now(), key)
    }

    /// Whether an XADD will be refused for its id, whatever is on its way, or makes no stream: nobody needs to ride behind it.
    /// (Should what is on its way make the stream first, whoever waits rides behind that, or hears of the effect.)
    fn is_refused(&self, database: u32, add: &Add<'_>) -> bool {
        let partition = self.partition(self.router.of_key(add.key)).borrow();
        let (machine, now) = (partition.machine(), self.now());
        if !add.make_stream && !machine.has_key(database, now, add.key) {
            return true;
        }
        match add.id {
            NewId::Auto => false,
            NewId::AutoSequence { ms } => ms < machine.last_id(database, now, add.key).ms,
            NewId::Explicit(id) => id <= machine.last_id(database, now, add.key),
        }
    }

    /// Whether the trimming of an XADD may take its own entry away.
    fn may_trim_itself(&self, database: u32, add: &Add<'_>) -> bool {
        match add.trim.map(|trim| trim.until) {
            None | Some(TrimUntil::MaxLength(1..)) => false,
            Some(TrimUntil::MaxLength(0)) => true,
            Some(TrimUntil::MinId(id)) => {
                let partition = self.partition(self.router.of_key(add.key)).borrow();
                id > partition.machine().last_id(database, self.now(), add.key)
            }
        }
    }

    /// Whether the group may be given the entry of an XADD: as far as can be told, it is not ahead of it.
    fn may_deliver(&self, database: u32, add: &Add<'_>, group: &[u8]) -> bool {
        let partition = self.partition(self.router.of_key(add.key)).borrow();
        let last = partition.machine().group_last_id(database, self.now(), add.key, group);
        last.is_none_or(|last| last < highest_id(add))
    }

    /// Puts an XREAD behind the writes of the open batch; one over several partitions is left to the effects.
    fn ride_with_read(&self, id: WaiterId) {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = waiters.get_mut(id) else { return };
        let data = decode(&waiter.read);
        let Data::Query(query @ Query::Stream(StreamQuery::Read(read))) = &data else {
            unreachable!("{data:?} is not what a reader waits for")
        };
        if let Ok(Some(partition)) = self.router.of_keys(read.streams.iter().map(|(key, _)| *key)) {
            self.partition(partition).borrow_mut().ride(waiter.database, query, Ticket::Waiter(id));
            drop(data);
            waiter.in_flight += 1;
        }
    }

    fn try_read(&self, id: WaiterId) {
        let reply = {
            let waiters = self.waiters.borrow();
            let Some(waiter) = waiters.get(id) else { return };
            let data = decode(&waiter.read);
            let Data::Query(Query::Stream(StreamQuery::Read(read))) = &data else {
                unreachable!("{data:?} is not what a reader waits for")
            };
            self.read_per_stream(waiter.database, read)
        };
        if reply != Reply::NilArray {
            let reply = self.refusal(id).unwrap_or(reply);
            self.end_with(id, &reply);
        }
    }

    /// Why the waiter is not served although it could be: its user's rights were taken away meanwhile.
    fn refusal(&self, id: WaiterId) -> Option<Reply> {
        let waiters = self.waiters.borrow();
        let waiter = waiters.get(id)?;
        let connection = &waiter.place.connection;
        if connection.session.borrow().unrestricted {
            return None;
        }
        // The description of the client, for ACL LOG, looks at the waiters too.
        let (connection, row) = (connection.clone(), waiter.row);
        let (first_argument, read) = (waiter.first_argument.clone(), waiter.read.clone());
        drop(waiters);
        let refused =
            self.permit_waiting(&connection, row, first_argument.as_deref(), decode(&read)).err()?;
        self.metrics.note_rejection(row.index());
        Some(Reply::Error(refused))
    }

    /// Sends a group reader's XREADGROUP if it would find something, change something or be refused. If not, and it would
    /// claim, it is looked at again when that may have changed by the passing of time.
    fn try_group_read(&self, id: WaiterId) {
        let (is_due, wake_in_ms) = {
            let waiters = self.waiters.borrow();
            let Some(waiter) = waiters.get(id).filter(|waiter| waiter.in_flight == 0) else { return };
            let data = decode(&waiter.read);
            let Data::Write(Write::GroupRead(read)) = &data else {
                unreachable!("{data:?} is not what a group reader waits for")
            };
            let is_due = read.streams.iter().any(|stream| {
                let one = crate::command::value::group::GroupRead { streams: vec![*stream], ..*read };
                self.would_change(self.router.of_key(stream.0), waiter.database, &one)
            });
            let wake_in_ms = read.claim.filter(|_| !is_due).map(|min_idle_ms| {
                let at = read.streams.iter().filter_map(|stream| {
                    let one = crate::command::value::group::GroupRead { streams: vec![*stream], ..*read };
                    let partition = self.partition(self.router.of_key(stream.0)).borrow();
                    partition.machine().next_claimable_at(waiter.database, self.now(), &one)
                });
                // What is delivered from now on is not claimable before that either.
                let unknown_ms = min_idle_ms.clamp(CLAIM_LOOK_MS_MIN, CLAIM_LOOK_MS_MAX);
                at.min().map_or(unknown_ms, |at| at.since(self.now()).clamp(1, unknown_ms))
            });
            (is_due, wake_in_ms)
        };
        if is_due {
            self.send_group_read(id);
        } else if let Some(wake_in_ms) = wake_in_ms {
            self.wake_in(id, wake_in_ms);
        }
    }

    fn wake_in(&self, id: WaiterId, ms: u64) {
        let at_ms = self.clock.monotonic_ms().saturating_add(ms);
        self.waiters.borrow_mut().set_wake(id, Some(at_ms));
        self.deadline_due.notify_one();
    }

    /// Something may have become claimable for a group reader. One goes at a time: who finds another one on its way to the
    /// same stream looks again when that has taken what it wants.
    fn wake(&self, id: WaiterId) {
        let others_are_on_their_way = {
            let mut waiters = self.waiters.borrow_mut();
            waiters.set_wake(id, None);
            let Some(waiter) = waiters.get(id) else { return };
            let is_on_its_way =
                |other: WaiterId| other != id && waiters.get(other).is_some_and(|w| w.in_flight > 0);
            waiter.keys.iter().any(|key| waiters.on_key(waiter.database, key).any(is_on_its_way))
        };
        if others_are_on_their_way {
            self.wake_in(id, 1);
        } else {
            self.try_group_read(id);
        }
    }

    fn send_group_read(&self, id: WaiterId) {
        if let Some(refusal) = self.refusal(id) {
            self.end_with(id, &refusal);
            return;
        }
        let (database, encoded) = {
            let mut waiters = self.waiters.borrow_mut();
            let waiter = waiters.get_mut(id).expect("looked up just now");
            assert_eq!(waiter.in_flight, 0, "{id:?} is on its way already");
            waiter.in_flight = 1;
            waiter.may_be_in_vain = true;
            (waiter.database, waiter.read.clone())
        };
        let data = decode(&encoded);
        let Data::Write(Write::GroupRead(read)) = data else {
            unreachable!("a group reader sends group reads")
        };
        match single_partition(&self.router, &read.streams) {
            Some(partition) => self.write(partition, database, &Write::GroupRead(read), Ticket::Waiter(id)),
            None => self.group_read_per_stream(database, &read, Target::Waiter(id)),
        }
    }

    /// A read that was on its way has been executed.
    pub fn waiter_came_back(&self, id: WaiterId, reply: Reply) {
        // Served by one that was on its way before it, if there is none any more.
        let (kind, ended, is_last) = {
            let mut waiters = self.waiters.borrow_mut();
            let Some(waiter) = waiters.get_mut(id) else { return };
            waiter.in_flight -= 1;
            (waiter.kind, waiter.ended, waiter.in_flight == 0)
        };
        let found_nothing = reply == Reply::NilArray;
        match (found_nothing, ended, kind) {
            (true, _, _) if !is_last => {}
            // A group reader's rights were looked at when it was sent; what it was given is the client's.
            (false, _, WaiterKind::GroupRead) => self.end_with(id, &reply),
            (false, _, WaiterKind::Read) => {
                let reply = self.refusal(id).unwrap_or(reply);
                self.end_with(id, &reply);
            }
            (true, Some(ending), _) => self.end_with(id, &ending_reply(ending)),
            (true, None, WaiterKind::GroupRead) => self.try_group_read(id),
            (true, None, WaiterKind::Read) => self.try_read(id),
        }
    }

    /// The wait of this connection, if it waits, ends without entries. Returns whether it waited.
    pub fn end_wait(&self, connection: &Rc<Connection>, ending: Ending) -> bool {
        let id = self.waiters.borrow().of_connection(connection.id);
        let Some(id) = id else { return false };
        self.end_without_entries(id, ending);
        true
    }

    /// The client has closed its side. Returns whether that ended a wait. A read that is on its way is answered with
    /// what it brings: the entries are the client's.
    pub fn end_wait_of_closed(&self, connection: &Connection) -> bool {
        let id = self.waiters.borrow().of_connection(connection.id);
        let Some(id) = id else { return false };
        let in_flight = self.waiters.borrow().get(id).is_some_and(|waiter| waiter.in_flight > 0);
        self.end_without_entries(id, Ending::Disconnected);
        !in_flight
    }

    fn end_without_entries(&self, id: WaiterId, ending: Ending) {
        let in_flight = {
            let mut waiters = self.waiters.borrow_mut();
            let Some(waiter) = waiters.get_mut(id) else { return };
            if waiter.in_flight > 0 {
                waiter.ended = Some(ending);
            }
            waiter.in_flight > 0
        };
        if in_flight {
            self.waiters.borrow_mut().forget_deadline(id);
        } else {
            self.end_with(id, &ending_reply(ending));
        }
    }

    fn end_with(&self, id: WaiterId, reply: &Reply) {
        let Some(waiter) = self.waiters.borrow_mut().remove(id) else { return };
        if waiter.is_remembered && matches!(reply, Reply::Streams(_)) {
            self.remember_at_its_place(&waiter.place.connection, waiter.keys.iter().map(|key| &key[..]));
        }
        self.answer_late(&waiter.place, reply);
    }

    /// Ends waits whose time is over, and looks again after those who would claim, as they come due.
    pub async fn run_deadlines(&self) {
        loop {
            let now = self.clock.monotonic_ms();
            loop {
                let due = self.waiters.borrow().first_due(now);
                match due {
                    Some(id) => self.end_without_entries(id, Ending::TimedOut),
                    None => break,
                }
            }
            loop {
                let due = self.waiters.borrow().first_to_wake(now);
                match due {
                    Some(id) => self.wake(id),
                    None => break,
                }
            }
            let next = self.waiters.borrow().next_deadline();
            let changed = self.deadline_due.notified();
            match next {
                Some(at) => {
                    let wait = std::time::Duration::from_millis(at.saturating_sub(now));
                    let _ = tokio::time::timeout(wait, changed).await;
                }
                None => changed.await,
            }
        }
    }

    pub fn finish_gathered(&self, target: Target, reply: Reply) {
        match target {
            Target::Client(place) => self.answer(&place, &reply),
            Target::Waiter(id) => self.waiter_came_back(id, reply),
        }
    }
}

/// Whether a string may take the place of a stream: all others find a key that holds the wrong kind of value, or leave it.
fn replaces_streams(write: &StringWrite<'_>) -> bool {
    match write {
        StringWrite::Set(set) => set.condition != SetCondition::IfAbsent && !set.get,
        StringWrite::SetMany { .. } => true,
        _ => false,
    }
}

/// No id that the entry of an XADD may get is above this.
fn highest_id(add: &Add<'_>) -> EntryId {
    match add.id {
        NewId::Auto => EntryId::MAX,
        NewId::AutoSequence { ms } => EntryId { ms, seq: u64::MAX },
        NewId::Explicit(id) => id,
    }
}

fn group_of<'a>(read: &Data<'a>) -> Option<&'a [u8]> {
    match read {
        Data::Write(Write::GroupRead(read)) => Some(read.group),
        _ => None,
    }
}

fn decode(encoded: &[u8]) -> Data<'_> {
    codec::decode_data(encoded).expect("a waiter's read was encoded here")
}

fn single_partition(
    router: &Router,
    streams: &[(&[u8], GroupReadFrom)],
) -> Option<crate::model::log::PartitionId> {
    let mut ids = streams.iter().map(|(key, _)| router.of_key(key));
    let first = ids.next()?;
    ids.all(|id| id == first).then_some(first)
}

fn ending_reply(ending: Ending) -> Reply {
    match ending {
        Ending::TimedOut | Ending::Disconnected => Reply::NilArray,
        Ending::Unblocked => Reply::Error(ReplyError::new("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
    }
}
