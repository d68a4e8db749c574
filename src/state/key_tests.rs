//! Strings, transactions and scans in the machine, against recorded replies of Redis.

use crate::command::value::key::*;
use crate::command::value::string::*;
use crate::command::value::{Data, Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::reply::Reply;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::effects::Effects;
use crate::state::keyspace::KeyVersion;
use crate::state::machine::Queries;
use crate::state::machine_bench::{Bench, error};
use crate::state::op::{Transaction, Watched};
use crate::state::seen::LoggedOnly;
use crate::state::testing::Random;
use std::collections::BTreeMap;

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
        let queries = Queries { steps: &queries, seen: &LoggedOnly };
        let (machine, mut effects) = (&mut bench.machine, Effects::unwanted());
        let read = machine.query_transaction(&watched, queries, machine.time(), &mut effects);
        let done = machine.apply_transaction(&transaction, queries, &mut effects);
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

/// `isWatchedKeyExpired` and `touchAllWatchedKeysInDb` of Redis 7.0: the deletion of what was due is no change.
#[test]
fn a_swap_does_not_touch_watched_keys_that_were_due() {
    let swap = || Write::Key(KeyWrite::SwapDatabases { first: 0, second: 1 });
    let mut bench = Bench::new();
    bench.set("due", "1", Expiry::At(Deadline::InMs(50)));
    bench.set("moves", "1", Expiry::At(Deadline::InMs(5000)));
    bench.at(1100);
    let version = |bench: &Bench, database, key: &str| {
        bench.machine.version(database, bench.machine.time(), key.as_bytes())
    };
    let before = [(0, "due"), (1, "due"), (0, "moves"), (1, "moves")].map(|(d, k)| version(&bench, d, k));
    bench.write(swap());
    let after = [(0, "due"), (1, "due"), (0, "moves"), (1, "moves")].map(|(d, k)| version(&bench, d, k));
    assert_eq!(before[..2], after[..2], "absent before and after, in both databases");
    assert!(before[2] != after[2] && before[3] != after[3]);
    bench.machine.check();
}

#[test]
fn a_random_key_may_be_any_with_the_same_probability() {
    let counts = |bench: &Bench, draws: usize| {
        let (mut counts, mut random) = (BTreeMap::new(), Random::new(7));
        for _ in 0..draws {
            let random = Query::Key(KeyQuery::Random { chance: random.u64() });
            let Reply::Bulk(key) = bench.query(random) else { panic!("there are keys") };
            *counts.entry(key).or_insert(0) += 1;
        }
        counts
    };
    let mut bench = Bench::new();
    let delete = |bench: &mut Bench, key: String| {
        let keys: OwnedArgs = [key.as_bytes()].into_iter().collect();
        bench.write(Write::Key(KeyWrite::Delete { keys: ArgList::Args(keys.as_args()) }));
    };
    bench.set("first", "v", Expiry::None);
    for n in 0..100 {
        bench.set(&format!("gone{n}"), "v", Expiry::None);
        delete(&mut bench, format!("gone{n}"));
    }
    bench.set("last", "v", Expiry::None);
    let two = counts(&bench, 1000);
    assert!(two.len() == 2 && two.values().all(|count| (400..600).contains(count)), "{two:?}");

    // Half of many keys behind a long gap.
    (0..1000).for_each(|n| drop(bench.set(&format!("a{n}"), "v", Expiry::None)));
    for n in 0..20_000 {
        bench.set(&format!("gone{n}"), "v", Expiry::None);
        delete(&mut bench, format!("gone{n}"));
    }
    (0..1000).for_each(|n| drop(bench.set(&format!("b{n}"), "v", Expiry::None)));
    let many = counts(&bench, 8000);
    assert!(many.values().all(|count| *count < 25), "one key is not preferred");
    let behind: i32 = many.iter().filter(|(key, _)| key.starts_with(b"b")).map(|(_, count)| count).sum();
    assert!((3500..4500).contains(&behind), "{behind} of 8000");
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
