//! Commands on keys: to their partition, as a query, an op, or spread over several partitions.

use crate::command::value::group::GroupRead;
use crate::command::value::key::{KeyQuery, KeyWrite, Scan};
use crate::command::value::reach::Reach;
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::stream::{Read, ReadFrom, StreamQuery};
use crate::command::value::{Data, Query, Write};
use crate::model::limits::RIDING_BYTES_MAX;
use crate::model::log::PartitionId;
use crate::model::reply::{Reply, ReplyError};
use crate::resp::writer::Protocol;
use crate::server::connection::Connection;
use crate::server::dispatch::Flow;
use crate::server::gather::{Gather, Merge, Target};
use crate::server::ticket::{Place, Ticket, TrackedRead};
use crate::server::worker::Worker;
use crate::state::answer::Answer;
use crate::state::effects::Lookups;
use crate::state::query::Page;
use crate::state::rdb::payload;
use std::rc::Rc;

impl Worker {
    /// Executes a command on keys for a client. Queries are answered at once if nothing of this connection is on its
    /// way, and behind it otherwise.
    pub fn execute_data(&self, connection: &Rc<Connection>, data: &mut Data<'_>) -> Flow {
        let (database, protocol) = {
            let session = connection.session.borrow();
            (session.database, session.protocol)
        };
        if let Err(error) = self.complete(data, protocol) {
            connection.reply(&Reply::Error(error));
            return Flow::Next;
        }
        if let Data::Write(write) = data
            && !connection.is_settled()
            && self.must_wait_for_riders(database, write)
        {
            return Flow::HoldUntilSettled;
        }
        match self.place_of(data) {
            Err(error) => connection.reply(&Reply::Error(error)),
            Ok(Whereabouts::One(partition)) => {
                if !self.may_ride(connection, database, partition, data) {
                    return Flow::HoldUntilSettled;
                }
                self.execute_in(connection, database, partition, data);
            }
            Ok(Whereabouts::Everywhere | Whereabouts::PerStream) if !connection.is_settled() => {
                return Flow::HoldUntilSettled;
            }
            Ok(Whereabouts::Everywhere) => self.execute_everywhere(connection, database, data),
            Ok(Whereabouts::PerStream) => self.execute_per_stream(connection, database, data),
        }
        Flow::Next
    }

    /// Adds what a command on keys needs to know of the server and the client: chance for RANDOMKEY, the version of RDB for
    /// DUMP, whether there is such a database for COPY, MOVE and SWAPDB, the protocol for MAXSIZE. Looks through the payload
    /// of RESTORE, so that only what can be restored is logged.
    pub fn complete(&self, data: &mut Data<'_>, protocol: Protocol) -> Result<(), ReplyError> {
        let limits = match data {
            Data::Write(Write::GroupRead(read)) => &mut read.limits,
            Data::Query(Query::Stream(StreamQuery::Read(read))) => &mut read.limits,
            Data::Write(Write::Key(_)) | Data::Query(Query::Key(_)) => {
                return self.complete_key_command(data);
            }
            _ => return Ok(()),
        };
        if let Some(max) = &mut limits.max_size {
            max.rule = protocol.size_rule();
        }
        Ok(())
    }

    fn complete_key_command(&self, data: &mut Data<'_>) -> Result<(), ReplyError> {
        match data {
            Data::Query(Query::Key(KeyQuery::Random { chance })) => *chance = self.entropy.u64(),
            Data::Query(Query::Key(KeyQuery::Dump { rdb_version, .. })) => {
                *rdb_version = self.config.borrow().dump_rdb_version;
            }
            Data::Write(Write::Key(
                KeyWrite::Copy { database: Some(database), .. } | KeyWrite::Move { database, .. },
            )) if *database >= self.databases() => return Err(ReplyError::DATABASE_OUT_OF_RANGE),
            Data::Write(Write::Key(KeyWrite::SwapDatabases { first, second }))
                if (*first).max(*second) >= self.databases() =>
            {
                return Err(ReplyError::DATABASE_OUT_OF_RANGE);
            }
            Data::Write(Write::Key(KeyWrite::Restore { key, payload, replace, .. })) => {
                let limits = self.partition(self.router.of_key(key)).borrow().machine().idempotency_limits();
                match payload::restore(payload, self.now(), limits) {
                    Ok(_) => {}
                    Err(error) if *replace => return Err(error),
                    Err(error) => {
                        *data = Data::Query(Query::Refused(Refusal { key, look: Look::Vacant, error }))
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the command may go behind what is on its way: a query whose answer would be one too many waits until the others
    /// are answered, so that a client that does not read cannot take the server's memory with them.
    fn may_ride(
        &self,
        connection: &Connection,
        database: u32,
        partition: PartitionId,
        data: &Data<'_>,
    ) -> bool {
        match data {
            Data::Query(_) if connection.is_settled() => {
                connection.riding_bytes.set(0);
                true
            }
            Data::Query(query) => {
                let bytes = self.partition(partition).borrow().riding_bytes(database, self.now(), query);
                let riding = connection.riding_bytes.get().saturating_add(bytes);
                connection.riding_bytes.set(riding);
                riding <= RIDING_BYTES_MAX
            }
            // Whose value a key gets by them is not known yet: nothing rides behind it.
            Data::Write(Write::Key(
                KeyWrite::Copy { .. }
                | KeyWrite::Rename { .. }
                | KeyWrite::Move { .. }
                | KeyWrite::Restore { .. }
                | KeyWrite::SwapDatabases { .. },
            )) => {
                connection.riding_bytes.set(RIDING_BYTES_MAX + 1);
                true
            }
            Data::Write(_) => true,
        }
    }

    fn execute_in(
        &self,
        connection: &Rc<Connection>,
        database: u32,
        partition: PartitionId,
        data: &Data<'_>,
    ) {
        match data {
            Data::Query(query) if connection.is_settled() => {
                let reply = self.query(partition, database, query);
                connection.reply(&reply);
                if self.hears.get() {
                    self.hear_read(connection, database, query);
                }
            }
            Data::Query(query) => {
                let place = Place::open(connection);
                let ticket = match self.keys_to_remember(connection, query) {
                    Some(keys) => Ticket::Read(Box::new(TrackedRead { place, keys })),
                    None => Ticket::Client(place),
                };
                self.partition(partition).borrow_mut().ride(database, query, ticket);
                self.request_round();
            }
            Data::Write(Write::GroupRead(read))
                if connection.is_settled() && !self.would_change(partition, database, read) =>
            {
                // Finds nothing and changes nothing: it need not be logged to say so.
                connection.reply(&Reply::NilArray);
            }
            Data::Write(write) => {
                self.write(partition, database, write, Ticket::Client(Place::open(connection)));
            }
        }
        connection.last_partition.set(partition);
    }

    /// Answers from applied state.
    pub fn query(&self, partition: PartitionId, database: u32, query: &Query<'_>) -> Reply {
        let answered = self.partition(partition).borrow().query(database, self.now(), query);
        self.note_lookups(answered.lookups);
        answered.answer.into()
    }

    /// Adds what reads have found, and what they have not, to the metrics.
    pub fn note_lookups(&self, lookups: Lookups) {
        self.metrics.keyspace_hits.add(lookups.hits);
        self.metrics.keyspace_misses.add(lookups.misses);
    }

    /// Whether an XREADGROUP would find something or leave a trace.
    pub fn would_change(&self, partition: PartitionId, database: u32, read: &GroupRead<'_>) -> bool {
        self.partition(partition).borrow().machine().would_change(database, self.now(), read)
    }

    /// Puts a write into its partition's open batch, and behind it whoever waits for what it does.
    pub fn write(&self, partition: PartitionId, database: u32, write: &Write<'_>, ticket: Ticket) {
        let mut at = self.partition(partition).borrow_mut();
        let is_first = at.is_idle();
        at.write(database, write, ticket);
        drop(at);
        if !self.waiters.borrow().is_empty() {
            self.ride_behind(database, write, is_first);
        }
        self.request_round();
    }

    fn place_of(&self, data: &Data<'_>) -> Result<Whereabouts, ReplyError> {
        if self.router.partitions() == 1 {
            return Ok(Whereabouts::One(PartitionId(0)));
        }
        if data.reach() == Reach::Everywhere {
            return Ok(Whereabouts::Everywhere);
        }
        match (self.router.of_keys(data.keys()), data) {
            (Ok(partition), _) => Ok(Whereabouts::One(partition.unwrap_or(PartitionId(0)))),
            (Err(_), Data::Write(Write::GroupRead(_)) | Data::Query(Query::Stream(StreamQuery::Read(_)))) => {
                Ok(Whereabouts::PerStream)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn execute_everywhere(&self, connection: &Rc<Connection>, database: u32, data: &Data<'_>) {
        match data {
            Data::Query(Query::Key(query)) => {
                let reply = self.query_everywhere(database, query);
                connection.reply(&reply);
            }
            Data::Write(
                write @ Write::Key(
                    KeyWrite::FlushAll | KeyWrite::FlushDatabase | KeyWrite::SwapDatabases { .. },
                ),
            ) => {
                let target = Target::Client(Place::open(connection));
                self.write_everywhere(database, write, Merge::Same, target);
            }
            other => unreachable!("{other:?} concerns keys of one slot"),
        }
    }

    /// One op for each partition.
    pub fn write_everywhere(&self, database: u32, write: &Write<'_>, how: Merge, target: Target) {
        let partitions = self.router.partitions();
        let gather = Rc::new(Gather::new(usize::from(partitions), how, target));
        for id in 0..partitions {
            let ticket = Ticket::Part { gather: gather.clone(), part: usize::from(id) };
            self.write(PartitionId(id), database, write, ticket);
        }
    }

    fn query_everywhere(&self, database: u32, query: &KeyQuery<'_>) -> Reply {
        let ids = (0..self.router.partitions()).map(PartitionId);
        let now = self.now();
        match query {
            KeyQuery::Count => {
                let count = |id| self.partition(id).borrow().machine().count(database, now);
                Reply::count(ids.map(count).sum())
            }
            KeyQuery::Matching { pattern } => {
                let found =
                    ids.flat_map(|id| self.partition(id).borrow().machine().matching(database, now, pattern));
                Answer::Keys(found.collect()).into()
            }
            KeyQuery::Random { chance } => {
                let first = (chance % u64::from(self.router.partitions())) as u16;
                let mut ids = (first..self.router.partitions()).chain(0..first).map(PartitionId);
                let found =
                    ids.find_map(|id| self.partition(id).borrow().machine().random(database, now, *chance));
                found.map_or(Reply::Nil, Reply::Bulk)
            }
            KeyQuery::Scan(scan) => self.scan_everywhere(database, scan),
            other => unreachable!("{other:?} concerns keys of one slot"),
        }
    }

    /// One partition after the other, until one has more or COUNT is reached: the partition is the cursor's remainder,
    /// so that cursors stay small.
    fn scan_everywhere(&self, database: u32, scan: &Scan<'_>) -> Reply {
        let partitions = u64::from(self.router.partitions());
        let mut cursor = scan.cursor;
        let mut found = Vec::new();
        loop {
            let (id, inner) = (cursor % partitions, cursor / partitions);
            let part = Scan { cursor: inner, ..*scan };
            let owner = self.partition(PartitionId(id as u16)).borrow();
            let Page { next, keys } = owner.machine().scan(database, self.now(), &part);
            found.extend(keys);
            cursor = match next {
                0 if id + 1 == partitions => 0,
                0 => id + 1,
                next => next.saturating_mul(partitions).saturating_add(id),
            };
            if cursor == 0 || next != 0 || found.len() as u64 >= scan.count {
                return Answer::Page(Page { next: cursor, keys: found }).into();
            }
        }
    }

    /// XREAD and XREADGROUP over streams of several slots: independent reads, answered together.
    fn execute_per_stream(&self, connection: &Rc<Connection>, database: u32, data: &Data<'_>) {
        match data {
            Data::Query(Query::Stream(StreamQuery::Read(read))) => {
                let reply = self.read_per_stream(database, read);
                connection.reply(&reply);
                if self.hears.get() {
                    self.hear_read(connection, database, &Query::Stream(StreamQuery::Read(read.clone())));
                }
            }
            Data::Write(Write::GroupRead(read)) => {
                self.group_read_per_stream(database, read, Target::Client(Place::open(connection)));
            }
            other => unreachable!("{other:?} does not span slots"),
        }
    }

    /// `$` as the id that it stands for now.
    pub fn resolve_new<'a>(&self, database: u32, read: &Read<'a>) -> Read<'a> {
        let streams = read.streams.iter().map(|&(key, from)| match from {
            ReadFrom::New => {
                let partition = self.partition(self.router.of_key(key)).borrow();
                (key, ReadFrom::After(partition.machine().last_id(database, self.now(), key)))
            }
            other => (key, other),
        });
        Read { streams: streams.collect(), ..*read }
    }
}

enum Whereabouts {
    One(PartitionId),
    Everywhere,
    PerStream,
}
