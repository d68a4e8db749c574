//! The machine against recorded replies of Redis, and the effects of ops.

use crate::command::value::group::*;
use crate::command::value::key::*;
use crate::command::value::stream::*;
use crate::command::value::string::*;
use crate::command::value::{Data, Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::entry_id::EntryId;
use crate::model::log::LogIndex;
use crate::model::reply::Reply;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::effects::{Effects, KeyEvent, Lookups};
use crate::state::keyspace::KeyVersion;
use crate::state::machine::Machine;
use crate::state::machine_property_tests::image;
use crate::state::op::{Op, Transaction, Watched};

/// A machine with a clock to script.
struct Bench {
    machine: Machine,
    index: u64,
    effects: Effects,
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench { machine: Machine::new(), index: 0, effects: Effects::wanted() };
        bench.at(1000);
        bench
    }

    fn at(&mut self, ms: u64) {
        self.index += 1;
        self.machine.begin(LogIndex(self.index), TimeMs(ms));
    }

    fn write(&mut self, write: Write<'_>) -> Reply {
        self.machine.apply(&Op::Write { database: 0, write }, &mut self.effects).into()
    }

    fn query(&self, query: Query<'_>) -> Reply {
        self.machine.query(0, self.machine.time(), &query).answer.into()
    }

    fn add(&mut self, key: &str, id: NewId, trim: Option<Trim>) -> Reply {
        let fields: OwnedArgs = [&b"a"[..], b"1"].into_iter().collect();
        let fields = ArgList::Args(fields.as_args());
        let key = key.as_bytes();
        self.write(Write::Add(Add { key, make_stream: true, id, trim, idempotency: None, fields }))
    }

    fn add_at(&mut self, ms: u64, seq: u64) -> Reply {
        self.add("s", NewId::Explicit(EntryId::new(ms, seq)), None)
    }

    fn trim(&mut self, until: TrimUntil, exactness: Exactness, references: References) -> Reply {
        let trim = Trim { until, exactness, references };
        self.write(Write::Stream(StreamWrite::Trim { key: b"s", trim }))
    }

    fn len(&self) -> i64 {
        match self.query(Query::Stream(StreamQuery::Length { key: b"s" })) {
            Reply::Integer(len) => len,
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, group: &str) -> Reply {
        let from = GroupStart::Id(EntryId::MIN);
        self.write(Write::GroupChange(GroupChange::Create {
            key: b"s",
            group: group.as_bytes(),
            from,
            make_stream: false,
            entries_read: None,
        }))
    }

    fn read(&mut self, consumer: &str, count: Option<u64>, from: GroupReadFrom) -> Reply {
        let read = GroupRead {
            group: b"g",
            consumer: consumer.as_bytes(),
            limits: ReadLimits { count, ..ReadLimits::default() },
            claim: None,
            no_ack: false,
            streams: vec![(b"s", from)],
        };
        self.write(Write::GroupRead(read))
    }

    fn acknowledge(&mut self, ids: &[(u64, u64)]) -> Reply {
        let ids = ids.iter().map(|(ms, seq)| EntryId::new(*ms, *seq)).collect();
        self.write(Write::GroupChange(GroupChange::Acknowledge { key: b"s", group: b"g", ids }))
    }

    fn delete(&mut self, ids: &[(u64, u64)]) -> Reply {
        let ids = ids.iter().map(|(ms, seq)| EntryId::new(*ms, *seq)).collect();
        self.write(Write::Stream(StreamWrite::Delete { key: b"s", ids }))
    }

    fn events(&mut self) -> Vec<KeyEvent> {
        self.effects.drain().map(|effect| effect.event).collect()
    }

    fn set(&mut self, key: &str, value: &str, expiry: Expiry) -> Reply {
        self.write(Write::String(StringWrite::Set(Set {
            key: key.as_bytes(),
            value: value.as_bytes(),
            condition: SetCondition::Always,
            get: false,
            expiry,
        })))
    }

    fn get(&self, key: &str) -> Reply {
        self.query(Query::String(StringQuery::Get { key: key.as_bytes() }))
    }

    fn version(&self, key: &str) -> u64 {
        self.machine.version(0, self.machine.time(), key.as_bytes()).0
    }
}

/// The ids in a reply of XRANGE, XREADGROUP, XCLAIM.
fn ids(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Entries(list) => list.ids().map(|id| id.to_string()).collect(),
        Reply::Streams(streams) => {
            streams.iter().flat_map(|(_, l)| l.ids().map(|id| id.to_string())).collect()
        }
        Reply::Array(replies) => replies.iter().flat_map(ids).collect(),
        Reply::Id(id) => vec![id.to_string()],
        Reply::NilArray => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(error) => String::from_utf8(error.as_bytes().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn field<'r>(reply: &'r Reply, name: &str) -> &'r Reply {
    match reply {
        Reply::Map(fields) => {
            &fields.iter().find(|(field, _)| matches!(field, Reply::Text(text) if *text == name)).unwrap().1
        }
        Reply::Array(replies) => field(&replies[0], name),
        other => panic!("{other:?}"),
    }
}

const ROUGHLY: Exactness = Exactness::WholeNodes { limit: None };

/// Redis's own tests of node granularity (`tests/unit/type/stream.tcl`).
#[test]
fn rough_trims_leave_what_redis_leaves() {
    let mut bench = Bench::new();
    let keep = References::Keep;
    for _ in 0..1000 {
        let trim = Trim { until: TrimUntil::MaxLength(555), exactness: ROUGHLY, references: keep };
        bench.add("s", NewId::Auto, Some(trim));
    }
    assert_eq!(bench.len(), 600);
    bench.trim(TrimUntil::MaxLength(555), Exactness::Exact, keep);
    bench.trim(TrimUntil::MaxLength(444), ROUGHLY, keep);
    assert_eq!(bench.len(), 500);
    bench.trim(TrimUntil::MaxLength(400), ROUGHLY, keep);
    assert_eq!(bench.len(), 400);
}

#[test]
fn rough_trims_heed_limit_and_node_size() {
    let limits = |entries| Write::Key(KeyWrite::SetStreamNodeLimits { entries, bytes: 4096 });
    let keep = References::Keep;
    let mut bench = Bench::new();
    bench.write(limits(10));
    (0..100).for_each(|_| drop(bench.add("s", NewId::Auto, None)));
    for left in [71, 62] {
        let exactness = Exactness::WholeNodes { limit: Some(30) };
        let trim = Trim { until: TrimUntil::MaxLength(55), exactness, references: keep };
        bench.add("s", NewId::Auto, Some(trim));
        assert_eq!(bench.len(), left);
    }
    let mut bench = Bench::new();
    bench.write(limits(1));
    (0..102).for_each(|_| drop(bench.add("s", NewId::Auto, None)));
    bench.trim(TrimUntil::MaxLength(1), ROUGHLY, keep);
    assert_eq!(bench.len(), 2);
    let mut bench = Bench::new();
    bench.write(limits(2));
    (0..10).for_each(|_| drop(bench.add("s", NewId::Auto, None)));
    for (limit, deleted) in [(1, 0), (2, 2)] {
        let exactness = Exactness::WholeNodes { limit: Some(limit) };
        assert_eq!(bench.trim(TrimUntil::MaxLength(0), exactness, keep), Reply::Integer(deleted));
    }
}

/// KEEPREF, DELREF and ACKED as in Redis 8.2.
#[test]
fn acknowledged_trims_spare_what_is_referenced() {
    let mut bench = Bench::new();
    bench.write(Write::Key(KeyWrite::SetStreamNodeLimits { entries: 2, bytes: 4096 }));
    (1..=5).for_each(|ms| drop(bench.add_at(ms, 0)));
    bench.create("g");
    bench.read("c", None, GroupReadFrom::New);
    bench.acknowledge(&[(1, 0), (2, 0), (4, 0)]);
    let until = TrimUntil::MinId(EntryId::new(6, 0));
    assert_eq!(bench.trim(until, ROUGHLY, References::OnlyUnreferenced), Reply::Integer(3));
    let all = Range { key: b"s", start: EntryId::MIN, end: EntryId::MAX, count: None, reverse: false };
    assert_eq!(ids(&bench.query(Query::Stream(StreamQuery::Range(all)))), ["3-0", "5-0"]);
    let until = TrimUntil::MinId(EntryId::new(5, 0));
    assert_eq!(bench.trim(until, ROUGHLY, References::Delete), Reply::Integer(1));
    let pending = Query::Pending(PendingQuery { key: b"s", group: b"g", range: None });
    match bench.query(pending) {
        Reply::Array(summary) => assert_eq!(summary[0], Reply::Integer(1)),
        other => panic!("{other:?}"),
    }
    bench.machine.check();
}

#[test]
fn an_acked_trim_of_an_add_keeps_the_new_entry() {
    let mut bench = Bench::new();
    (1..=5).for_each(|ms| drop(bench.add_at(ms, 0)));
    bench.create("g");
    let trim = |references| Trim { until: TrimUntil::MaxLength(1), exactness: Exactness::Exact, references };
    bench.add("s", NewId::Explicit(EntryId::new(6, 0)), Some(trim(References::OnlyUnreferenced)));
    assert_eq!(bench.len(), 6);
    bench.read("c", Some(1), GroupReadFrom::New);
    bench.acknowledge(&[(1, 0)]);
    bench.add("s", NewId::Explicit(EntryId::new(7, 0)), Some(trim(References::OnlyUnreferenced)));
    assert_eq!(bench.len(), 6);
}

/// Replies as recorded in tests/recorded/errors.txt.
#[test]
fn new_ids_are_above_all_before() {
    let mut bench = Bench::new();
    let refused = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    assert_eq!(bench.add_at(5, 5), Reply::Id(EntryId::new(5, 5)));
    assert_eq!(error(&bench.add_at(5, 5)), refused);
    assert_eq!(error(&bench.add_at(5, 4)), refused);
    assert_eq!(bench.add("s", NewId::AutoSequence { ms: 5 }, None), Reply::Id(EntryId::new(5, 6)));
    assert_eq!(error(&bench.add("s", NewId::AutoSequence { ms: 4 }, None)), refused);
    assert_eq!(error(&bench.add_at(0, 0)), "ERR The ID specified in XADD must be greater than 0-0");
    assert_eq!(bench.add("s", NewId::Auto, None), Reply::Id(EntryId::new(1000, 0)));
    bench.at(900);
    assert_eq!(bench.add("s", NewId::Auto, None), Reply::Id(EntryId::new(1000, 1)), "time stands still");
    bench.add_at(u64::MAX, u64::MAX - 1);
    assert_eq!(bench.add("s", NewId::Auto, None), Reply::Id(EntryId::MAX));
    let exhausted = "ERR The stream has exhausted the last possible ID, unable to add more items";
    assert_eq!(error(&bench.add("s", NewId::Auto, None)), exhausted);
    bench.add("t", NewId::Explicit(EntryId::new(7, u64::MAX)), None);
    assert_eq!(bench.add("t", NewId::Auto, None), Reply::Id(EntryId::new(1000, 0)));
    assert_eq!(bench.add("u", NewId::AutoSequence { ms: 0 }, None), Reply::Id(EntryId::new(0, 1)));
}

/// Replies as recorded in tests/recorded/streams.txt for group `g`.
#[test]
fn a_group_lives_as_recorded() {
    let mut bench = Bench::new();
    bench.add_at(1, 1);
    bench.add_at(1, 2);
    bench.add_at(2, 0);
    assert_eq!(bench.create("g"), Reply::OK);
    assert_eq!(error(&bench.create("g")), "BUSYGROUP Consumer Group name already exists");
    assert_eq!(ids(&bench.read("c1", Some(2), GroupReadFrom::New)), ["1-1", "1-2"]);
    assert_eq!(ids(&bench.read("c1", None, GroupReadFrom::History(EntryId::MIN))), ["1-1", "1-2"]);
    assert_eq!(ids(&bench.read("c2", None, GroupReadFrom::New)), ["2-0"]);
    assert_eq!(bench.read("c1", None, GroupReadFrom::New), Reply::NilArray);
    assert!(ids(&bench.read("c9", None, GroupReadFrom::History(EntryId::MIN))).is_empty());
    let groups = bench.query(Query::Stream(StreamQuery::Groups { key: b"s" }));
    assert_eq!(field(&groups, "entries-read"), &Reply::Integer(3));
    assert_eq!(field(&groups, "lag"), &Reply::Integer(0));
    let claim = |ids: &[(u64, u64)], just_id, force| {
        Write::Claim(Claim {
            key: b"s",
            group: b"g",
            consumer: b"c2",
            min_idle_ms: 0,
            ids: ids.iter().map(|(ms, seq)| EntryId::new(*ms, *seq)).collect(),
            delivered: DeliveredAt::Now,
            retry_count: None,
            force,
            just_id,
            last_id: None,
        })
    };
    assert_eq!(ids(&bench.write(claim(&[(1, 1)], false, false))), ["1-1"]);
    assert_eq!(ids(&bench.write(claim(&[(1, 2)], true, false))), ["1-2"]);
    let auto = |count, just_id| {
        Write::AutoClaim(AutoClaim {
            key: b"s",
            group: b"g",
            consumer: b"c3",
            min_idle_ms: 0,
            start: EntryId::MIN,
            count,
            just_id,
        })
    };
    assert_eq!(ids(&bench.write(auto(1, false))), ["1-2", "1-1"]);
    assert_eq!(ids(&bench.write(auto(100, true))), ["0-0", "1-1", "1-2", "2-0"]);
    assert_eq!(bench.delete(&[(1, 1)]), Reply::Integer(1));
    match bench.read("c3", None, GroupReadFrom::History(EntryId::MIN)) {
        Reply::Streams(streams) => {
            let shown: Vec<bool> = streams[0].1.iter().map(|(_, body)| body.is_some()).collect();
            assert_eq!(shown, [false, true, true]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ids(&bench.write(auto(100, false))), ["0-0", "1-2", "2-0", "1-1"]);
    assert_eq!(bench.acknowledge(&[(1, 2), (1, 2), (9, 9)]), Reply::Integer(1));
    bench.write(Write::GroupChange(GroupChange::SetId {
        key: b"s",
        group: b"g",
        from: GroupStart::Id(EntryId::new(1, 0)),
        entries_read: None,
    }));
    let groups = bench.query(Query::Stream(StreamQuery::Groups { key: b"s" }));
    assert_eq!(field(&groups, "entries-read"), &Reply::Nil);
    assert_eq!(field(&groups, "lag"), &Reply::Integer(2));
    let info = bench.query(Query::Stream(StreamQuery::Info { key: b"s", full: None }));
    assert_eq!(field(&info, "max-deleted-entry-id"), &Reply::Id(EntryId::new(1, 1)));
    assert_eq!(field(&info, "recorded-first-entry-id"), &Reply::Id(EntryId::new(1, 2)));
    let gone =
        |consumer| Write::GroupChange(GroupChange::DeleteConsumer { key: b"s", group: b"g", consumer });
    assert_eq!(bench.write(gone(b"c3")), Reply::Integer(1));
    let destroy = || Write::GroupChange(GroupChange::Destroy { key: b"s", group: b"g" });
    assert_eq!(bench.write(destroy()), Reply::Integer(1));
    assert_eq!(bench.write(destroy()), Reply::Integer(0));
    assert_eq!(
        error(&bench.write(claim(&[(1, 1)], false, false))),
        "NOGROUP No such key 's' or consumer group 'g'"
    );
    let refused = bench.read("c", None, GroupReadFrom::New);
    let text = "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    assert_eq!(error(&refused), text);
    assert_eq!(error(&bench.read("c", None, GroupReadFrom::Refused(b'$'))), text);
    assert_eq!(bench.acknowledge(&[(1, 1)]), Reply::Integer(0));
    bench.machine.check();
}

#[test]
fn a_group_read_is_refused_before_it_changes_anything() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    let read = GroupRead {
        group: b"g",
        consumer: b"c",
        limits: ReadLimits::default(),
        claim: None,
        no_ack: false,
        streams: vec![(b"s", GroupReadFrom::New), (b"nope", GroupReadFrom::New)],
    };
    assert!(bench.machine.would_change(0, TimeMs(1000), &read, false), "a refusal is answered by applying");
    let before = image(&bench.machine);
    bench.write(Write::GroupRead(read));
    let mut after = bench.machine.clone();
    after.changes -= 1;
    assert_eq!(image(&after), before);
}

#[test]
fn only_reads_that_find_something_need_the_log() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    let read = |from| GroupRead {
        group: b"g",
        consumer: b"c",
        limits: ReadLimits { count: Some(1), ..ReadLimits::default() },
        claim: None,
        no_ack: false,
        streams: vec![(b"s", from)],
    };
    let now = TimeMs(1000);
    assert!(bench.machine.would_change(0, now, &read(GroupReadFrom::New), false));
    bench.read("c", None, GroupReadFrom::New);
    assert!(!bench.machine.would_change(0, now, &read(GroupReadFrom::New), false));
    assert!(bench.machine.would_change(0, now, &read(GroupReadFrom::History(EntryId::MIN)), false));
    bench.add_at(2, 0);
    assert!(bench.machine.would_change(0, now, &read(GroupReadFrom::New), false));
    bench.delete(&[(2, 0)]);
    assert!(!bench.machine.would_change(0, now, &read(GroupReadFrom::New), false), "the new entry is gone");
}

#[test]
fn a_read_that_makes_a_consumer_needs_the_log_though_it_finds_nothing() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    bench.read("c", None, GroupReadFrom::New);
    let read = |consumer| GroupRead {
        group: b"g",
        consumer,
        limits: ReadLimits::default(),
        claim: None,
        no_ack: false,
        streams: vec![(b"s", GroupReadFrom::New)],
    };
    assert!(bench.machine.would_change(0, TimeMs(1000), &read(b"other"), false));
    assert!(!bench.machine.would_change(0, TimeMs(1000), &read(b"c"), false));
    assert_eq!(bench.write(Write::GroupRead(read(b"other"))), Reply::NilArray);
    let Reply::Array(consumers) =
        bench.query(Query::Stream(StreamQuery::Consumers { key: b"s", group: b"g" }))
    else {
        panic!("a list of consumers")
    };
    assert_eq!(consumers.len(), 2);
}

#[test]
fn a_read_that_claims_knows_when_it_will_find_something() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    let read = GroupRead {
        group: b"g",
        consumer: b"d",
        limits: ReadLimits::default(),
        claim: Some(50),
        no_ack: false,
        streams: vec![(b"s", GroupReadFrom::New)],
    };
    bench.read("c", None, GroupReadFrom::New);
    bench.at(1010);
    assert_eq!(bench.machine.next_claimable_at(0, TimeMs(1010), &read), None, "the order is not made yet");
    assert!(bench.machine.would_change(0, TimeMs(1010), &read, false), "so it has to be applied");
    assert_eq!(bench.write(Write::GroupRead(read.clone())), Reply::NilArray);
    assert!(!bench.machine.would_change(0, TimeMs(1049), &read, false));
    assert_eq!(bench.machine.next_claimable_at(0, TimeMs(1049), &read), Some(TimeMs(1050)));
    assert!(bench.machine.would_change(0, TimeMs(1050), &read, false));
    bench.at(1050);
    assert_ne!(bench.write(Write::GroupRead(read.clone())), Reply::NilArray);
    assert_eq!(bench.machine.next_claimable_at(0, TimeMs(1050), &read), Some(TimeMs(1100)));
    bench.acknowledge(&[(1, 0)]);
    assert_eq!(bench.machine.next_claimable_at(0, TimeMs(1050), &read), None);
    assert!(!bench.machine.would_change(0, TimeMs(1050), &read, false));
}

#[test]
fn events_come_in_the_order_of_redis() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    let trim =
        Trim { until: TrimUntil::MaxLength(1), exactness: Exactness::Exact, references: References::Keep };
    bench.add("s", NewId::Explicit(EntryId::new(2, 0)), Some(trim));
    bench.create("g");
    bench.read("c", None, GroupReadFrom::New);
    bench.acknowledge(&[(2, 0)]);
    bench.delete(&[(2, 0), (3, 0)]);
    bench.set("str", "x", Expiry::At(Deadline::InMs(5)));
    bench.at(2000);
    bench.set("str", "x", Expiry::None);
    let expected = [
        KeyEvent::New,
        KeyEvent::Add,
        KeyEvent::Add,
        KeyEvent::Trim,
        KeyEvent::GroupCreate,
        KeyEvent::ConsumerCreate,
        KeyEvent::DeleteEntries,
        KeyEvent::New,
        KeyEvent::Set,
        KeyEvent::Expire,
        KeyEvent::Expired,
        KeyEvent::New,
        KeyEvent::Set,
    ];
    assert_eq!(bench.events(), expected);
}

#[test]
fn strings_count_append_and_expire() {
    let mut bench = Bench::new();
    let increment = |by| Write::String(StringWrite::Increment { key: b"n", by });
    assert_eq!(bench.write(increment(5)), Reply::Integer(5));
    assert_eq!(error(&bench.write(increment(i64::MAX))), "ERR increment or decrement would overflow");
    bench.set("n", "10.50", Expiry::None);
    assert_eq!(error(&bench.write(increment(1))), "ERR value is not an integer or out of range");
    let float = Write::String(StringWrite::IncrementFloat { key: b"n", by: b"0.1" });
    assert_eq!(bench.write(float), Reply::bulk("10.6"));
    let encoding = |bench: &Bench, key: &'static str| {
        bench.query(Query::Key(KeyQuery::Object { key: key.as_bytes(), aspect: ObjectAspect::Encoding }))
    };
    bench.set("e", "12", Expiry::None);
    assert_eq!(encoding(&bench, "e"), Reply::Text("int"));
    bench.write(Write::String(StringWrite::Append { key: b"e", value: b"3" }));
    assert_eq!((bench.get("e"), encoding(&bench, "e")), (Reply::bulk("123"), Reply::Text("raw")));
    bench.set("t", "x", Expiry::At(Deadline::InMs(100)));
    bench.at(1099);
    assert_eq!(bench.get("t"), Reply::bulk("x"));
    assert_eq!(bench.machine.next_deadline(), Some(TimeMs(1100)));
    bench.at(1100);
    assert_eq!(bench.get("t"), Reply::Nil);
    assert_eq!(bench.write(Write::Key(KeyWrite::DeleteExpired { limit: 9 })), Reply::Integer(1));
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn a_transaction_runs_only_if_what_it_watches_stayed() {
    let mut bench = Bench::new();
    bench.set("k", "1", Expiry::At(Deadline::InMs(50)));
    let exec = |bench: &mut Bench, key: &str, version| {
        let watched = vec![Watched { database: 0, key: key.as_bytes(), version: KeyVersion(version) }];
        let commands = [
            (0, Data::Write(Write::String(StringWrite::Increment { key: b"n", by: 1 }))),
            (0, Data::Query(Query::String(StringQuery::Get { key: b"n" }))),
        ];
        let (transaction, queries) = Transaction::of_commands(watched.clone(), commands);
        let (machine, mut effects) = (&mut bench.machine, Effects::unwanted());
        let read = machine.query_transaction(&watched, &queries, machine.time(), &mut effects);
        let done = machine.apply_transaction(&transaction, &queries, &mut effects);
        assert_eq!(read == Answer::Aborted, done == Answer::Aborted, "what only reads is as careful");
        Reply::from(done)
    };
    let version = bench.version("k");
    assert_eq!(exec(&mut bench, "k", version), Reply::Array(vec![Reply::Integer(1), Reply::bulk("1")]));
    bench.at(1100);
    assert_eq!(exec(&mut bench, "k", version), Reply::NilArray, "it has expired since");
    let version = bench.version("k");
    bench.write(Write::Key(KeyWrite::DeleteExpired { limit: 1 }));
    assert_ne!(exec(&mut bench, "k", version), Reply::NilArray, "it was expired already");
    bench.add_at(1, 0);
    let version = bench.version("s");
    bench.add_at(2, 0);
    assert_eq!(exec(&mut bench, "s", version), Reply::NilArray);

    assert_eq!(bench.version("none"), 0);
    type Way = fn(&mut Bench);
    let ways: [(&str, Way); 5] = [
        ("taken", |bench| drop(bench.write(Write::String(StringWrite::GetDelete { key: b"x" })))),
        ("flushed", |bench| drop(bench.write(Write::Key(KeyWrite::FlushAll)))),
        ("moved", |bench| drop(bench.write(Write::Key(KeyWrite::Move { key: b"x", database: 1 })))),
        ("due", |bench| bench.at(bench.machine.time().0 + 100)),
        ("expired", |bench| {
            bench.at(bench.machine.time().0 + 100);
            bench.write(Write::Key(KeyWrite::DeleteExpired { limit: 1 }));
        }),
    ];
    for (how, goes) in ways {
        let version = bench.version("x");
        assert_ne!(exec(&mut bench, "x", version), Reply::NilArray, "{how}: nothing has happened");
        bench.set("x", "1", Expiry::At(Deadline::InMs(50)));
        goes(&mut bench);
        assert_eq!(exec(&mut bench, "x", version), Reply::NilArray, "it has come, and {how}");
        bench.machine.check();
    }
}

#[test]
fn a_copy_has_groups_of_its_own() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    bench.read("c", None, GroupReadFrom::New);
    let copy = KeyWrite::Copy { from: b"s", to: b"t", database: None, replace: false };
    assert_eq!(bench.write(Write::Key(copy)), Reply::Integer(1));
    bench.acknowledge(&[(1, 0)]);
    let groups = bench.query(Query::Stream(StreamQuery::Groups { key: b"t" }));
    assert_eq!(field(&groups, "pending"), &Reply::Integer(1));
    let rename = KeyWrite::Rename { from: b"t", to: b"s", only_if_absent: false };
    assert_eq!(bench.write(Write::Key(rename)), Reply::OK);
    let groups = bench.query(Query::Stream(StreamQuery::Groups { key: b"s" }));
    assert_eq!(field(&groups, "pending"), &Reply::Integer(1));
    bench.machine.check();
}

#[test]
fn an_idempotent_id_lives_by_the_log_and_not_by_its_entry() {
    let mut bench = Bench::new();
    let add = |bench: &mut Bench, key: &str, value: &str| {
        let fields: OwnedArgs = [&b"f"[..], value.as_bytes()].into_iter().collect();
        bench.write(Write::Add(Add {
            key: key.as_bytes(),
            make_stream: true,
            id: NewId::Auto,
            trim: None,
            idempotency: Some(Idempotency::Given { producer: b"p", id: b"i" }),
            fields: ArgList::Args(fields.as_args()),
        }))
    };
    bench.write(Write::Key(KeyWrite::SetIdempotencyLimits { duration_s: 2, ids: 10 }));
    // Entry ids far ahead of the clock.
    bench.add("s", NewId::Explicit(EntryId::new(900_000, 0)), None);
    let first = add(&mut bench, "s", "1");
    assert_eq!(first, Reply::Id(EntryId::new(900_000, 1)));
    bench.at(2_999);
    assert_eq!(add(&mut bench, "s", "2"), first);
    assert_eq!(bench.machine.next_forgetting(), Some(TimeMs(3_000)));
    // Copies and renames keep the remembered ids.
    let copy = KeyWrite::Copy { from: b"s", to: b"t", database: Some(3), replace: false };
    bench.write(Write::Key(copy));
    bench.write(Write::Key(KeyWrite::Rename { from: b"s", to: b"r", only_if_absent: false }));
    assert_eq!(add(&mut bench, "r", "3"), first);
    bench.machine.check();
    bench.at(3_000);
    assert_ne!(add(&mut bench, "r", "4"), first);
    assert_eq!(bench.machine.next_forgetting(), Some(TimeMs(3_000)), "the copy has not forgotten");
    bench.write(Write::Key(KeyWrite::ForgetIds { limit: 10 }));
    assert_eq!(bench.machine.next_forgetting(), Some(TimeMs(5_000)));
    bench.machine.check();
    bench.write(Write::Key(KeyWrite::FlushAll));
    assert_eq!(bench.machine.next_forgetting(), None);
    bench.machine.check();
}

#[test]
fn a_scan_meets_every_key_that_stays() {
    let mut bench = Bench::new();
    (0..50).for_each(|n| drop(bench.set(&format!("k{n}"), "v", Expiry::None)));
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        let scan = Scan { cursor, pattern: Some(b"k*"), count: 7, of_type: None };
        let Reply::Array(reply) = bench.query(Query::Key(KeyQuery::Scan(scan))) else { panic!() };
        let (Reply::Bulk(next), Reply::Array(keys)) = (&reply[0], &reply[1]) else { panic!() };
        seen.extend(keys.iter().map(|key| format!("{key:?}")));
        cursor = std::str::from_utf8(next).unwrap().parse().unwrap();
        if cursor == 0 {
            break;
        }
        // Keys come and go during the scan.
        bench.set(&format!("other{cursor}"), "v", Expiry::None);
        let keys: OwnedArgs = [&b"k49"[..]].into_iter().collect();
        bench.write(Write::Key(KeyWrite::Delete { keys: ArgList::Args(keys.as_args()) }));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 49);
}

#[test]
fn effects_tell_what_happened_in_order() {
    use KeyEvent::{Add, CopyTo, Due, Expired, Flush, GroupCreate, Miss, New, Overwritten, Set, TypeChanged};
    let mut bench = Bench::new();
    bench.effects = Effects::wanted_with_misses();
    bench.add_at(1, 0);
    assert_eq!(bench.events(), [New, Add]);
    bench.set("s", "1", Expiry::At(Deadline::InMs(5)));
    assert_eq!(bench.events(), [Overwritten, TypeChanged, Set, KeyEvent::Expire]);
    bench.at(1005);
    bench.machine.note_misses(
        0,
        TimeMs(1005),
        &Query::String(StringQuery::Get { key: b"s" }),
        &mut bench.effects,
    );
    assert_eq!(bench.events(), [Due, Miss]);
    bench.write(Write::Key(KeyWrite::DeleteIfDue { key: b"s" }));
    bench.write(Write::Key(KeyWrite::DeleteIfDue { key: b"s" }));
    assert_eq!(bench.events(), [Expired]);
    let copy = KeyWrite::Copy { from: b"s", to: b"t", database: Some(3), replace: false };
    bench.write(Write::Key(copy));
    assert_eq!(bench.events(), [Miss]);
    bench.write(Write::GroupChange(GroupChange::Create {
        key: b"s",
        group: b"g",
        from: GroupStart::Last,
        make_stream: true,
        entries_read: None,
    }));
    assert_eq!(bench.events(), [New, KeyEvent::Made, GroupCreate]);
    bench.write(Write::Key(copy));
    bench.write(Write::Key(KeyWrite::FlushAll));
    let copied = bench.effects.take();
    assert_eq!(copied.iter().map(|it| it.event).collect::<Vec<_>>(), [New, CopyTo, Flush, Flush]);
    assert_eq!((copied[0].database, &copied[0].key[..]), (3, &b"t"[..]));
}

#[test]
fn effects_of_a_transaction_know_their_command() {
    let mut bench = Bench::new();
    bench.effects = Effects::wanted_with_misses();
    let commands = vec![
        (0, Data::Query(Query::String(StringQuery::Get { key: b"n" }))),
        (0, Data::Write(Write::String(StringWrite::Increment { key: b"n", by: 1 }))),
        (0, Data::Query(Query::String(StringQuery::Get { key: b"n" }))),
        (1, Data::Write(Write::String(StringWrite::Increment { key: b"n", by: 1 }))),
    ];
    let (transaction, queries) = Transaction::of_commands(Vec::new(), commands);
    let mut follower = bench.machine.clone();
    let (none, one, two) = (Answer::Nil, Answer::Integer(1), Answer::Bulk("1".into()));
    let answer = bench.machine.apply_transaction(&transaction, &queries, &mut bench.effects);
    assert_eq!(answer, Answer::Transaction(vec![none, one.clone(), two, one.clone()]));
    assert_eq!(bench.effects.take_lookups(), Lookups { hits: 1, misses: 1 });
    let answer = follower.apply(&Op::Transaction(transaction), &mut Effects::unwanted());
    assert_eq!(answer, Answer::Transaction(vec![one.clone(), one]), "a follower has no queries");
    assert_eq!(image(&follower), image(&bench.machine));
    let told: Vec<_> = bench.effects.take().iter().map(|it| (it.step, it.database, it.event)).collect();
    let expected = [
        (0, 0, KeyEvent::Miss),
        (1, 0, KeyEvent::New),
        (1, 0, KeyEvent::Increment),
        (3, 1, KeyEvent::New),
        (3, 1, KeyEvent::Increment),
    ];
    assert_eq!(told, expected);
    bench.set("k", "1", Expiry::None);
    assert_eq!(bench.effects.take()[0].step, 0, "steps begin anew");
}
