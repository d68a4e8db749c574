//! Streams in the machine, against recorded replies of Redis: ids, trims, idempotent ids.

use crate::command::value::group::*;
use crate::command::value::key::*;
use crate::command::value::stream::*;
use crate::command::value::{Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::entry_id::EntryId;
use crate::model::reply::Reply;
use crate::model::time::TimeMs;
use crate::state::machine_bench::{Bench, ROUGHLY, error, ids};

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
