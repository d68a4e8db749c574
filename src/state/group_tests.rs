//! Groups in the machine, against recorded replies of Redis: reads, claims, and which reads need the log.

use crate::command::value::group::*;
use crate::command::value::key::*;
use crate::command::value::stream::*;
use crate::command::value::{Query, Write};
use crate::model::entry_id::EntryId;
use crate::model::reply::Reply;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::machine_bench::{Bench, error, field, ids};
use crate::state::machine_property_tests::image;
use crate::state::seen::{ConsumerPath, LoggedOnly, SeenTimes};

/// All consumers of `s` were seen at this time.
struct SeenAt(TimeMs);

impl SeenTimes for SeenAt {
    fn seen_at(&self, consumer: ConsumerPath<'_>, _logged: TimeMs) -> TimeMs {
        assert_eq!((consumer.database, consumer.key, consumer.group), (0, &b"s"[..], &b"g"[..]));
        self.0
    }
}

/// XINFO and DUMP tell of reads that are not in the log, and the state does not know them.
#[test]
fn what_is_known_beside_the_state_is_told() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    bench.read("c", None, GroupReadFrom::New);
    let before = image(&bench.machine);
    let ask = |query, seen: &dyn SeenTimes| bench.machine.query(0, TimeMs(1700), &query, seen).answer;
    let idle = |seen: &dyn SeenTimes| match ask(
        Query::Stream(StreamQuery::Consumers { key: b"s", group: b"g" }),
        seen,
    ) {
        Answer::Consumers(consumers) => consumers[0].idle_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!(idle(&SeenAt(TimeMs(1500))), 200);
    assert_eq!(idle(&LoggedOnly), 700, "the time of the last logged read");
    let dump = |seen: &dyn SeenTimes| ask(Query::Key(KeyQuery::Dump { key: b"s", rdb_version: 11 }), seen);
    assert_ne!(dump(&SeenAt(TimeMs(1500))), dump(&LoggedOnly));
    assert_eq!(dump(&SeenAt(TimeMs(1000))), dump(&LoggedOnly));
    let path = |key, consumer| ConsumerPath { database: 0, key, group: b"g", consumer };
    let logged = |path| bench.machine.seen_at(TimeMs(1700), path);
    assert_eq!(logged(path(b"s", b"c")), Some(TimeMs(1000)));
    assert_eq!((logged(path(b"s", b"d")), logged(path(b"none", b"c"))), (None, None));
    assert_eq!(image(&bench.machine), before);
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
    bench.machine.changes -= 1;
    assert_eq!(image(&bench.machine), before);
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
