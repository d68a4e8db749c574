//! An engine over a committer that loses leadership, refuses, truncates, delays and installs snapshots, under random commands.
//!
//! The oracle is the log: what is committed in the end is replayed, and must hold what clients were told, and nothing that
//! they were told is not there. One seed is one run; `HEADWATER_SEED=n` repeats it, `HEADWATER_SEEDS=n` runs more.

use crate::command::value::group::{GroupChange, GroupRead, PendingQuery, PendingRange};
use crate::command::value::key::KeyWrite;
use crate::command::value::key_scope::KeyScope;
use crate::command::value::stream::{Range, StreamQuery};
use crate::command::value::{Data, Query, Write};
use crate::engine::blocked_reads::{AnyRead, BlockedState};
use crate::engine::several;
use crate::engine::submission::{Ending, Interest, NOT_COMMITTED, Notice, UNKNOWN};
use crate::engine::testing::Bench;
use crate::model::entry_id::EntryId;
use crate::model::log::PartitionId;
use crate::model::request::RequestId;
use crate::replication::event::Payload;
use crate::replication::scripted::ScriptedCommitter;
use crate::replication::testing::image;
use crate::state::answer::Answer;
use crate::state::op::Op;
use crate::state::op::batch::BatchReader;
use crate::state::op::random::{Pool, pool, random_query, random_write};
use crate::state::seen::LoggedOnly;
use crate::state::testing::Random;
use std::collections::{BTreeMap, BTreeSet};

const CONNECTIONS: u64 = 10;
const STEPS: usize = 120;

/// Keys of one tag share a partition.
const TAGS: [&str; 3] = ["a", "b", "c"];

fn seeds(usual: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("seeds are numbers"));
    match number("HEADWATER_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("HEADWATER_SEEDS").unwrap_or(usual)).collect(),
    }
}

/// Names the seed should the test fail.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("HEADWATER_SEED={}", self.0);
        }
    }
}

/// What a request was about.
#[derive(Debug, Clone)]
enum Asked {
    /// With the value that finds it in the log.
    Add {
        key: String,
        label: String,
    },
    /// `is_spread`: over several partitions. What one of them gives is answered even if another one does not know what it gave.
    Read {
        consumer: String,
        acknowledges: bool,
        claims: bool,
        is_spread: bool,
    },
    Acknowledge {
        key: String,
        id: EntryId,
    },
    DeleteEntry {
        key: String,
        id: EntryId,
    },
    Other,
}

struct Run {
    bench: Bench,
    random: Random,
    asked: BTreeMap<RequestId, Asked>,
    homes: BTreeMap<RequestId, PartitionId>,
    /// The blocked request of each connection.
    blocked: BTreeMap<u64, RequestId>,
    /// Entries that somebody was told of.
    known: Vec<(String, EntryId)>,
    heard: usize,
}

impl Run {
    fn new(seed: u64, partitions: u16) -> Run {
        let mut random = Random::new(seed);
        let committer = ScriptedCommitter::chaos(seed, partitions);
        committer.set_in_flight_max(1 + random.below(6) as usize);
        Run {
            bench: Bench::over(committer),
            random,
            asked: BTreeMap::new(),
            homes: BTreeMap::new(),
            blocked: BTreeMap::new(),
            known: Vec::new(),
            heard: 0,
        }
    }

    fn partitions(&self) -> u16 {
        self.bench.script().partitions().count() as u16
    }

    fn send(&mut self, connection: u64, database: u32, command: &str, asked: Asked) -> RequestId {
        let request = self.bench.send_to(connection, database, command);
        self.asked.insert(request, asked);
        if command.contains(" BLOCK ") && self.bench.outcome(request).is_none() {
            self.blocked.insert(connection, request);
        }
        if let Some(key) = command.split(' ').nth(1)
            && command.starts_with("XA")
        {
            self.homes.insert(request, self.bench.engine.router.of_key(key.as_bytes()));
        }
        request
    }

    /// A connection whose frontend would take another request.
    fn connection(&mut self) -> Option<u64> {
        let connection = 1 + self.random.below(CONNECTIONS);
        if let Some(request) = self.blocked.get(&connection) {
            self.bench.outcome(*request)?;
            self.blocked.remove(&connection);
        }
        Some(connection)
    }

    fn key(&mut self) -> String {
        let tag = TAGS[self.random.below(3) as usize];
        let name = if self.random.one_in(3) { "t" } else { "s" };
        format!("{{{tag}}}{name}")
    }

    fn known(&mut self) -> Option<(String, EntryId)> {
        let count = self.known.len() as u64;
        (count > 0).then(|| self.known[self.random.below(count) as usize].clone())
    }

    fn add(&mut self, connection: u64) {
        let key = self.key();
        let label = format!("r{}", self.asked.len());
        let command = format!("XADD {key} * label {label}");
        self.send(connection, 0, &command, Asked::Add { key, label });
    }

    fn read(&mut self, connection: u64, may_claim: bool, is_plain: bool) {
        let is_blocking = self.bench.is_drained(connection) && !self.random.one_in(4);
        let mut keys = vec![self.key()];
        if self.bench.is_drained(connection) {
            while self.random.one_in(3) {
                let key = self.key();
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        let homes = keys.iter().map(|key| self.bench.engine.router.of_key(key.as_bytes()));
        let is_spread = homes.collect::<BTreeSet<_>>().len() > 1;
        let random = &mut self.random;
        let consumer = format!("c{connection}");
        let mut command =
            if is_plain { "XREAD".to_owned() } else { format!("XREADGROUP GROUP g {consumer}") };
        let mut option = |one_in: u64, text: String| {
            let is_chosen = random.one_in(one_in);
            if is_chosen {
                command.push(' ');
                command.push_str(&text);
            }
            is_chosen
        };
        option(2, "COUNT 1".into());
        option(5, "MAXCOUNT 2".into());
        option(6, "MAXSIZE 90".into());
        let claims = !is_plain && may_claim && option(3, "CLAIM 150".into());
        let acknowledges = !is_plain && option(6, "NOACK".into());
        if is_blocking {
            let timeout = [0, 0, 0, 40, 200][random.below(5) as usize];
            command.push_str(&format!(" BLOCK {timeout}"));
        }
        let mark = if is_plain { "$" } else { ">" };
        let marks = vec![mark; keys.len()].join(" ");
        let command = format!("{command} STREAMS {} {marks}", keys.join(" "));
        let asked =
            if is_plain { Asked::Other } else { Asked::Read { consumer, acknowledges, claims, is_spread } };
        self.send(connection, 0, &command, asked);
    }

    fn acknowledge_or_delete(&mut self, connection: u64) {
        let Some((key, id)) = self.known() else { return };
        if self.random.one_in(4) {
            let command = format!("XDEL {key} {id}");
            self.send(connection, 0, &command, Asked::DeleteEntry { key, id });
        } else {
            let command = format!("XACK {key} g {id}");
            self.send(connection, 0, &command, Asked::Acknowledge { key, id });
        }
    }

    /// Something that makes, moves or removes whole keys and groups.
    fn upset(&mut self, connection: u64) {
        let key = self.key();
        let sibling = if key.ends_with('s') { key.replace("}s", "}t") } else { key.replace("}t", "}s") };
        let number = self.random.below(20);
        let consumer = 1 + self.random.below(CONNECTIONS);
        let command = match number {
            0..=4 => format!("XGROUP CREATE {key} g 0 MKSTREAM"),
            5 => format!("XGROUP DESTROY {key} g"),
            6 => format!("DEL {key}"),
            7 => format!("RENAME {key} {sibling}"),
            8 => format!("COPY {key} {sibling} REPLACE"),
            9 => format!("MOVE {key} 1"),
            10 if self.bench.is_drained(connection) => "SWAPDB 0 1".into(),
            11 if self.bench.is_drained(connection) && self.random.one_in(3) => "FLUSHALL".into(),
            12 => format!("SET {key} text"),
            13 => format!("PEXPIRE {key} {}", self.random.below(300)),
            14 => format!("XGROUP DELCONSUMER {key} g c{consumer}"),
            15 => format!("XTRIM {key} MAXLEN {}", self.random.below(4)),
            16 => format!("XAUTOCLAIM {key} g c{consumer} 50 0"),
            17 => format!("COPY {key} {key} DB 1 REPLACE"),
            18 => format!("XADD {key} MAXLEN ~ 2 {}-{} a 1", self.random.below(90), 1 + self.random.below(3)),
            _ => format!("XLEN {key}"),
        };
        let database = u32::from(self.random.one_in(8));
        self.send(connection, database, &command, Asked::Other);
    }

    /// Any command that there is, as far as a frontend would let it through.
    fn anything(&mut self, connection: u64, pool: &Pool) {
        let data = match self.random.one_in(4) {
            true => Data::Query(random_query(&mut self.random, pool)),
            false => Data::Write(random_write(&mut self.random, pool)),
        };
        // Nobody hears of it, as with Redis: what it puts before a blocked read stays there.
        if matches!(data, Data::Write(Write::GroupChange(GroupChange::SetId { .. }))) {
            return;
        }
        let is_single = self.partitions() == 1;
        let names_keys = data.keys().next().is_some();
        let is_spread = data.key_scope() == KeyScope::Everywhere;
        let is_flush = matches!(
            data,
            Data::Write(Write::Key(
                KeyWrite::FlushAll | KeyWrite::FlushDatabase | KeyWrite::SwapDatabases { .. }
            )) | Data::Query(_)
        );
        let fits = match self.bench.engine.router.of_keys(data.keys()) {
            _ if is_single => true,
            _ if is_spread => is_flush && self.bench.is_drained(connection),
            Ok(_) => names_keys,
            Err(_) => false,
        };
        if fits {
            let request = self.bench.send_data(connection, 0, &data);
            self.asked.insert(request, Asked::Other);
        }
    }

    fn transaction(&mut self, connection: u64) {
        let key = self.key();
        let label = format!("r{}", self.asked.len());
        let add = format!("XADD {key} * label {label}");
        let read = format!("XREADGROUP GROUP g c{connection} COUNT 1 STREAMS {key} >");
        let length = format!("XLEN {key}");
        let (asked, commands) = match self.random.below(3) {
            0 => (Asked::Other, vec![&*length]),
            1 => (Asked::Add { key, label }, vec![&*add, &*length]),
            _ => (Asked::Other, vec![&*length, &*read, &*read]),
        };
        let request = self.bench.exec(connection, &commands);
        self.asked.insert(request, asked);
    }

    fn step(&mut self, commands: &mut impl FnMut(&mut Run, u64)) {
        match self.random.below(20) {
            0..=9 => {
                if let Some(connection) = self.connection() {
                    commands(self, connection);
                }
            }
            10..=12 => drop(self.bench.propose()),
            13..=17 => drop(self.bench.take_events()),
            18 => {
                let ms = self.random.below(60);
                self.bench.advance(ms);
            }
            _ => self.disturb(),
        }
        self.learn();
    }

    fn disturb(&mut self) {
        let count = self.blocked.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.random.below(count) as usize;
        let request = *self.blocked.values().nth(at).expect("below their number");
        match self.random.below(5) {
            0 => self.bench.unblock(request, Ending::Unblocked),
            1 => self.bench.unblock(request, Ending::TimedOut),
            2 => self.bench.forbid(request),
            _ => {
                let interest = Interest { events: self.random.flag(), misses: self.random.one_in(4) };
                self.bench.engine.notice(Notice::Interest(interest));
            }
        }
    }

    fn learn(&mut self) {
        for at in self.heard..self.bench.order.len() {
            let request = self.bench.order[at];
            if let (Some(Answer::Id(id)), Some(Asked::Add { key, .. })) =
                (self.bench.answer(request), self.asked.get(&request))
            {
                self.known.push((key.clone(), *id));
            }
        }
        self.heard = self.bench.order.len();
    }

    fn run(&mut self, mut commands: impl FnMut(&mut Run, u64)) {
        for _ in 0..STEPS {
            self.step(&mut commands);
        }
        self.come_to_rest();
        self.check();
    }

    /// This node leads, everything is committed, and time passes until nothing happens any more.
    fn come_to_rest(&mut self) {
        self.bench.script().calm();
        self.bench.settle();
        let mut quiet = 0;
        while quiet < 8 {
            let told = self.bench.order.len();
            self.bench.advance(50);
            self.bench.settle();
            quiet = if self.bench.order.len() == told { quiet + 1 } else { 0 };
        }
    }

    // What holds at the end.

    fn check(&mut self) {
        self.check_machines();
        self.check_blocked();
        self.check_log();
        self.check_order();
    }

    /// The engine's machines, and those of a replica, are what the log makes.
    fn check_machines(&self) {
        for partition in self.bench.script().partitions() {
            let machine = self.bench.engine.partition(partition).read();
            machine.check();
            let [one, other] = [0, 1].map(|_| image(&self.bench.script().replay(partition)));
            assert!(one == other, "{partition:?}: replicas are equal");
            assert!(image(machine) == one, "{partition:?}: the engine has applied what is committed");
        }
    }

    /// Everything was answered but reads that wait, and there is nothing for those.
    fn check_blocked(&mut self) {
        let engine = &mut self.bench.engine;
        let blocked: BTreeSet<RequestId> = engine.blocked.all().map(|(_, read)| read.request).collect();
        let reads: Vec<_> = engine
            .blocked
            .all()
            .map(|(_, it)| (it.request, it.database, it.read.clone(), it.state))
            .collect();
        for (request, database, read, state) in reads {
            assert_eq!(state, BlockedState::Waiting, "{request:?} is in no log");
            match &read {
                AnyRead::Read(read) => {
                    let found = several::read_per_stream(engine, database, &read.as_read());
                    assert_eq!(found, Answer::NilArray, "{request:?} waits for {read:?}");
                }
                AnyRead::Group(owned) => {
                    let (read, now) = (owned.as_read(), engine.now());
                    for stream in &read.streams {
                        let one = GroupRead { streams: vec![*stream], ..read.clone() };
                        let machine = engine.home(stream.0).read();
                        assert!(
                            !machine.would_change(database, now, &one, true),
                            "{request:?} waits for {one:?}"
                        );
                    }
                }
            }
        }
        for request in self.asked.keys() {
            let is_told = self.bench.outcome(*request).is_some();
            assert!(is_told != blocked.contains(request), "{request:?}: {:?}", self.asked[request]);
        }
    }

    /// How often the log adds an entry with each label.
    fn labels(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let mut note = |write: &Write<'_>| {
            if let Write::Add(add) = write
                && let Some((b"label", label)) = add.fields.pairs().next()
            {
                *found.entry(String::from_utf8_lossy(label).into_owned()).or_insert(0) += 1;
            }
        };
        for partition in self.bench.script().partitions() {
            for (_, payload) in self.bench.script().committed(partition) {
                let Payload::Entry(entry) = payload else { continue };
                let mut ops = BatchReader::new(&entry).unwrap();
                while let Some(op) = ops.next().unwrap() {
                    match &op {
                        Op::Write { write, .. } => note(write),
                        Op::Transaction(it) => it.writes.iter().for_each(|step| note(&step.command)),
                        Op::BlockingRead { .. } => {}
                    }
                }
            }
        }
        found
    }

    /// What was done is in the log once, what was refused is not, and what is unknown at most once.
    fn check_log(&self) {
        let labels = self.labels();
        for (request, asked) in &self.asked {
            let Asked::Add { label, .. } = asked else { continue };
            let times = labels.get(label).copied().unwrap_or(0);
            match self.bench.answer(*request) {
                Some(Answer::Refused(error)) if *error == NOT_COMMITTED => {
                    assert_eq!(times, 0, "{request:?} was refused");
                }
                Some(Answer::Refused(error)) if *error == UNKNOWN => {
                    assert!(times <= 1, "{request:?} is unknown");
                }
                other => assert_eq!(times, 1, "{request:?} was told {other:?}"),
            }
        }
    }

    /// A connection hears from a partition in the order in which it asked, as far as its requests were executed.
    fn check_order(&self) {
        let mut last: BTreeMap<(u64, PartitionId), u64> = BTreeMap::new();
        for request in &self.bench.order {
            let Some(home) = self.homes.get(request) else { continue };
            match self.bench.answer(*request) {
                Some(Answer::Refused(error)) if *error == NOT_COMMITTED || *error == UNKNOWN => continue,
                _ => {}
            }
            let before = last.insert((request.connection.number, *home), request.reply_slot);
            assert!(before < Some(request.reply_slot), "{request:?} was told after {before:?}");
        }
    }

    /// Of a run in which no stream and no group goes: ids ascend, entries stay until they are deleted, and pending is what was
    /// delivered and not acknowledged.
    fn check_deliveries(&self) {
        let mut last: BTreeMap<&str, EntryId> = BTreeMap::new();
        let mut owners: BTreeMap<(String, EntryId), BTreeSet<&str>> = BTreeMap::new();
        let mut delivered = BTreeSet::new();
        let mut acknowledged = BTreeSet::new();
        let mut deleted = BTreeSet::new();
        let mut doubtful = BTreeSet::new();
        let mut is_claim_doubtful = false;
        let is_unknown = |request: &RequestId| match self.bench.answer(*request) {
            Some(Answer::Refused(error)) => *error == UNKNOWN,
            _ => false,
        };
        for (request, asked) in &self.asked {
            match asked {
                Asked::Acknowledge { key, id } => drop(acknowledged.insert((key.clone(), *id))),
                Asked::DeleteEntry { key, id } => drop(deleted.insert((key.clone(), *id))),
                Asked::Read { consumer, claims, is_spread, .. } if is_unknown(request) || *is_spread => {
                    doubtful.insert(&consumer[..]);
                    is_claim_doubtful |= claims;
                }
                _ => {}
            }
        }
        for request in &self.bench.order {
            match (self.asked.get(request), self.bench.answer(*request)) {
                (Some(Asked::Add { key, .. }), Some(Answer::Id(id))) => {
                    let before = last.insert(key, *id);
                    assert!(before < Some(*id), "{key}: {id} comes after {before:?}");
                }
                (Some(Asked::Read { consumer, acknowledges, claims, is_spread }), Some(answer)) => {
                    let Answer::Streams(streams) = answer else { continue };
                    for (key, list) in streams {
                        for (at, id) in list.ids().enumerate() {
                            let place = (String::from_utf8_lossy(key).into_owned(), id);
                            let is_first =
                                !claims || list.before(at).is_none_or(|before| before.deliveries == 0);
                            let is_new = !is_first || delivered.insert(place.clone());
                            assert!(is_new, "{place:?} was delivered before it was to {consumer}");
                            if *acknowledges && is_first {
                                continue;
                            }
                            let known = owners.entry(place).or_default();
                            // It is told when its last part has come: others may have claimed meanwhile.
                            if !is_spread {
                                known.clear();
                            }
                            known.insert(consumer);
                        }
                    }
                }
                _ => {}
            }
        }
        for tag in TAGS {
            for name in ["s", "t"] {
                self.check_pending(
                    &format!("{{{tag}}}{name}"),
                    &owners,
                    &acknowledged,
                    &deleted,
                    &doubtful,
                    is_claim_doubtful,
                );
            }
        }
    }

    fn check_pending(
        &self,
        key: &str,
        owners: &BTreeMap<(String, EntryId), BTreeSet<&str>>,
        acknowledged: &BTreeSet<(String, EntryId)>,
        deleted: &BTreeSet<(String, EntryId)>,
        doubtful: &BTreeSet<&str>,
        is_claim_doubtful: bool,
    ) {
        let partition = self.bench.engine.router.of_key(key.as_bytes());
        let machine = self.bench.script().replay(partition);
        let now = machine.time();
        let ask = |command: Query<'_>| machine.query(0, now, &command, &LoggedOnly).answer;
        let range = Range {
            key: key.as_bytes(),
            start: EntryId::MIN,
            end: EntryId::MAX,
            count: None,
            reverse: false,
        };
        let entries: BTreeSet<EntryId> = match ask(Query::Stream(StreamQuery::Range(range))) {
            Answer::Entries(list) => list.ids().collect(),
            other => panic!("{key} is a stream: {other:?}"),
        };
        for (of, id) in self.known.iter().filter(|(of, _)| of == key) {
            let is_deleted = deleted.contains(&(of.clone(), *id));
            assert!(is_deleted || entries.contains(id), "{key}: {id} was acknowledged and is gone");
        }
        let rows = PendingRange {
            min_idle_ms: 0,
            start: EntryId::MIN,
            end: EntryId::MAX,
            count: u64::MAX,
            consumer: None,
        };
        let pending = PendingQuery { key: key.as_bytes(), group: b"g", range: Some(rows) };
        let pending: BTreeMap<EntryId, String> = match ask(Query::Pending(pending)) {
            Answer::PendingRows(rows) => rows
                .into_iter()
                .map(|row| (row.id, String::from_utf8_lossy(&row.owner).into_owned()))
                .collect(),
            other => panic!("{key} has a group: {other:?}"),
        };
        for (id, owner) in &pending {
            let known = owners.get(&(key.to_owned(), *id));
            let is_told = known.is_some_and(|known| known.contains(&owner[..]));
            assert!(
                is_told || doubtful.contains(&owner[..]),
                "{key}: {id} is pending for {owner}, not {known:?}"
            );
        }
        for ((_, id), known) in owners.iter().filter(|((of, _), _)| of == key) {
            let place = (key.to_owned(), *id);
            let may_be_gone = acknowledged.contains(&place) || deleted.contains(&place) || is_claim_doubtful;
            if !known.is_empty() && !may_be_gone {
                assert!(pending.contains_key(id), "{key}: {id} was delivered to {known:?}");
            }
        }
    }
}

/// Streams with a group each, made before anything goes wrong.
fn with_groups(seed: u64, partitions: u16) -> Run {
    let mut run = Run::new(seed, partitions);
    for tag in TAGS {
        for name in ["s", "t"] {
            let command = format!("XGROUP CREATE {{{tag}}}{name} g 0 MKSTREAM");
            loop {
                let request = run.send(0, 0, &command, Asked::Other);
                while run.bench.outcome(request).is_none() {
                    run.bench.propose();
                    run.bench.take_events();
                }
                // Something else happens too, or a partition that has lost its leader never gets one.
                run.bench.take_events();
                let told = run.bench.told(request);
                if told == "OK" || told.starts_with("BUSYGROUP") {
                    break;
                }
            }
        }
    }
    run
}

#[test]
fn what_clients_were_told_is_in_the_log_whatever_happens_to_it() {
    for seed in seeds(300) {
        let named = Seed(seed);
        let pool = pool();
        let mut run = Run::new(seed, 1 + (seed % 3) as u16);
        run.run(|run, connection| match run.random.below(20) {
            0..=5 => run.add(connection),
            6..=10 => run.read(connection, true, false),
            11 => run.read(connection, false, true),
            12 => run.acknowledge_or_delete(connection),
            13..=16 => run.upset(connection),
            17 => run.transaction(connection),
            _ => run.anything(connection, &pool),
        });
        drop(named);
    }
}

#[test]
fn what_was_delivered_is_pending_until_it_is_acknowledged() {
    for seed in seeds(200) {
        let named = Seed(seed);
        let mut run = with_groups(seed, 1 + (seed % 3) as u16);
        let may_claim = seed % 2 == 0;
        run.run(|run, connection| match run.random.below(10) {
            0..=3 => run.add(connection),
            4..=7 => run.read(connection, may_claim, false),
            8 => run.read(connection, false, true),
            _ => run.acknowledge_or_delete(connection),
        });
        run.check_deliveries();
        drop(named);
    }
}

/// However many entries are in flight, and whichever of them are refused or add nothing.
#[test]
fn readers_are_served_in_the_order_in_which_they_came() {
    for seed in seeds(300) {
        let named = Seed(seed);
        let mut random = Random::new(seed);
        let mut bench = Bench::scripted(1);
        bench.script().set_in_flight_max(1 + random.below(4) as usize);
        let keys = ["s", "t", "u"];
        for key in keys {
            bench.run(0, &format!("XGROUP CREATE {key} g 0 MKSTREAM"));
            bench.run(0, &format!("XSETID {key} 0-1"));
            for connection in (1..=CONNECTIONS).filter(|it| it % 3 > 0) {
                bench.run(connection, &format!("XGROUP CREATECONSUMER {key} g c{connection}"));
            }
        }
        let mut readers: Vec<(RequestId, Vec<&str>)> = Vec::new();
        for _ in 0..150 {
            let connection = 1 + random.below(CONNECTIONS);
            let key = keys[random.below(3) as usize];
            match random.below(12) {
                0..=3 if bench.is_drained(connection) => {
                    let mut of = vec![key];
                    of.extend(keys.iter().filter(|it| **it != key && random.one_in(4)));
                    let (names, marks) = (of.join(" "), vec![">"; of.len()].join(" "));
                    let command =
                        format!("XREADGROUP GROUP g c{connection} COUNT 1 BLOCK 0 STREAMS {names} {marks}");
                    readers.push((bench.send(connection, &command), of));
                }
                4 | 5 => drop(bench.send(0, &format!("XADD {key} * a 1"))),
                6 => drop(bench.send(0, &format!("XADD {key} 0-1 a 1"))),
                7 => bench.script().refuse(PartitionId(0), 1),
                8 => bench.advance(random.below(150)),
                9 | 10 => drop(bench.propose()),
                _ => {
                    bench.script().commit(PartitionId(0), 1 + random.below(2) as usize);
                    bench.take_events();
                }
            }
        }
        bench.script().calm();
        bench.settle();
        bench.advance(1000);
        bench.settle();
        for key in keys {
            let of_key = readers.iter().filter(|(_, of)| of.contains(&key));
            let mut last = EntryId::MIN;
            let mut waits = None;
            for (reader, of) in of_key {
                let Some(Answer::Streams(streams)) = bench.answer(*reader) else {
                    assert!(bench.outcome(*reader).is_none(), "{reader:?}: {:?}", bench.outcome(*reader));
                    waits = waits.or(Some(reader));
                    continue;
                };
                let Some((_, list)) = streams.iter().find(|(name, _)| name == key) else { continue };
                let id = list.ids().next().expect("a read brings entries");
                assert!(waits.is_none(), "{waits:?} waits on {key}, and {reader:?} of {of:?} was served");
                assert!(last < id, "{reader:?} of {of:?}: {key} {id} after {last}");
                last = id;
            }
        }
        drop(named);
    }
}
