//! What an engine does by the clock, and what it answers besides commands on keys.

use crate::command::value::server::CheckpointCommand;
use crate::engine::checkpoints;
use crate::engine::report::Report;
use crate::engine::submission::{CheckpointAnswer, EngineAnswer, Notice, Question};
use crate::engine::testing::Bench;
use crate::model::log::PartitionId;
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::replication::committer::CommitError;
use crate::state::image::MachineImage;
use std::borrow::Cow;

fn report(bench: &mut Bench, streams: bool) -> Report {
    let request = bench.ask(Question::Report { streams });
    match bench.outcome(request) {
        Some(EngineAnswer::Report(report)) => (**report).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_that_are_due_are_deleted_by_one_op() {
    let mut bench = Bench::scripted(1);
    for key in ["a", "b", "c"] {
        bench.run(1, &format!("SET {key} 1 PX 100"));
    }
    let entries = bench.entries(0);
    bench.advance(99);
    bench.settle();
    assert_eq!((bench.entries(0), report(&mut bench, false).keys), (entries, 3));
    bench.advance(1);
    bench.advance(1);
    bench.settle();
    let after = report(&mut bench, false);
    assert_eq!((bench.entries(0), after.keys, after.statistics.expired_keys), (entries + 1, 0, 3));
}

#[test]
fn many_keys_that_are_due_do_not_wait_for_the_next_tick() {
    let mut bench = Bench::scripted(1);
    for key in 0..2500 {
        bench.run(1, &format!("SET {key} 1 PX 100"));
    }
    bench.advance(101);
    bench.settle();
    let after = report(&mut bench, false);
    assert_eq!((after.keys, after.statistics.expired_keys), (0, 2500));
}

#[test]
fn nothing_expires_while_writes_are_paused_or_the_clock_is_held() {
    let switches: [(Notice, Notice); 3] = [
        (Notice::Paused(true), Notice::Paused(false)),
        (Notice::ExpiresActively(false), Notice::ExpiresActively(true)),
        (Notice::UpkeepPaused(true), Notice::UpkeepPaused(false)),
    ];
    for (off, on) in switches {
        let mut bench = Bench::scripted(1);
        bench.run(1, "SET a 1 PX 10");
        bench.engine.notice(off);
        bench.advance(10);
        bench.settle();
        assert_eq!(bench.run(1, "DBSIZE"), "1");
        assert_eq!(bench.run(1, "GET a"), "nil", "it is gone for who looks");
        bench.engine.notice(on);
        bench.advance(0);
        bench.settle();
        assert_eq!(bench.run(1, "DBSIZE"), "0");
    }
}

#[test]
fn a_refused_deletion_is_tried_again() {
    let mut bench = Bench::scripted(1);
    bench.run(1, "SET a 1 PX 10");
    bench.script().refuse(PartitionId(0), 1);
    bench.advance(10);
    bench.settle();
    assert_eq!(bench.run(1, "DBSIZE"), "1");
    bench.advance(1);
    bench.settle();
    assert_eq!(bench.run(1, "DBSIZE"), "0");
}

#[test]
fn idempotent_ids_are_forgotten_a_second_after_they_are_due() {
    let mut bench = Bench::scripted(1);
    bench.run(1, "XADD s IDMP p i * a 1");
    let entries = bench.entries(0);
    bench.advance(100_999);
    bench.settle();
    assert_eq!(bench.entries(0), entries);
    bench.advance(1);
    bench.settle();
    assert_eq!(bench.entries(0), entries + 1);
    bench.advance(5000);
    bench.settle();
    assert_eq!(bench.entries(0), entries + 1);
}

#[test]
fn settings_of_streams_are_logged_where_they_differ() {
    let mut bench = Bench::scripted(2);
    bench.settle();
    assert_eq!((bench.entries(0), bench.entries(1)), (0, 0));
    bench.engine.context.config.borrow_mut().stream_node_max_entries = 7;
    for _ in 0..2 {
        bench.engine.notice(Notice::StreamSettings);
        bench.settle();
        assert_eq!((bench.entries(0), bench.entries(1)), (1, 1));
    }
    assert_eq!(bench.engine.partition(PartitionId(1)).read().node_limits().entries, 7);
}

#[test]
fn nothing_is_written_once_the_log_has_stopped() {
    let mut bench = Bench::scripted(1);
    bench.run(1, "SET a 1 PX 10");
    bench.engine.context.latch.trip("the disk is gone".into());
    for command in ["SET a 2", "XADD s * a 1"] {
        let request = bench.send(1, command);
        assert!(bench.told(request).starts_with("MISCONF"), "{}", bench.told(request));
    }
    bench.advance(10);
    assert!(bench.engine.is_idle());
}

#[test]
fn who_saves_waits_for_a_checkpoint_that_begins_after_it() {
    let mut bench = Bench::scripted(1);
    bench.run(1, "SET a 1");
    let first = bench.ask(Question::Save);
    checkpoints::note_begin(&mut bench.engine);
    let second = bench.ask(Question::Save);
    let begun = |bench: &mut Bench, command| {
        let request = bench.ask(Question::BeginCheckpoint(command));
        match bench.outcome(request) {
            Some(EngineAnswer::Checkpoint(answer)) => *answer,
            other => panic!("{other:?}"),
        }
    };
    let save = CheckpointCommand::BackgroundSave { schedule: false };
    let scheduled = CheckpointCommand::BackgroundSave { schedule: true };
    assert_eq!(begun(&mut bench, save), CheckpointAnswer::AlreadyRunning);
    assert_eq!(begun(&mut bench, scheduled), CheckpointAnswer::Scheduled);
    bench.clock.advance(3000);
    let now_ms = bench.engine.context.clock.monotonic_ms();
    assert_eq!(report(&mut bench, false).checkpoints.running_seconds(now_ms), 3);
    checkpoints::note_end(&mut bench.engine, &Ok(()));
    bench.take_delivery();
    assert_eq!((bench.told(first), bench.told(second)), ("OK".into(), "-".into()));
    let log = report(&mut bench, false).checkpoints;
    assert_eq!((log.last_seconds(), log.changes, log.failed), (3, 1, false));

    checkpoints::note_begin(&mut bench.engine);
    checkpoints::note_end(&mut bench.engine, &Err(CommitError::Stopped { reason: "no room".into() }));
    bench.take_delivery();
    assert_eq!(bench.told(second), "ERR checkpoint failed: no room");
    assert!(report(&mut bench, false).checkpoints.failed);
    let third = bench.ask(Question::Save);
    bench.engine.fail_everything(&ReplyError::SYNTAX);
    bench.take_delivery();
    assert_eq!(bench.told(third), "ERR syntax error");
}

/// What was removed before a durable checkpoint takes no memory.
#[test]
fn a_durable_checkpoint_ends_what_is_remembered_for_earlier_ones() {
    let mut bench = Bench::scripted(1);
    let id = PartitionId(0);
    let mut taken = Vec::new();
    for key in ["a", "b"] {
        bench.run(1, &format!("SET {key} 1"));
        taken.push(MachineImage::take(bench.engine.partition_mut(id).machine_mut()).applied());
        bench.run(1, &format!("DEL {key}"));
    }
    let removed_since = |bench: &Bench| {
        let image = MachineImage::of(bench.engine.partition(id).read());
        let removed = |index| image.changes_after(index).map(|databases| databases[0].removed.len());
        [removed(taken[0]), removed(taken[1])]
    };
    assert_eq!(removed_since(&bench), [Some(1), Some(1)]);
    checkpoints::note_durable(&mut bench.engine, &[(id, taken[1])]);
    assert_eq!(removed_since(&bench), [None, Some(1)]);
}

#[test]
fn a_report_tells_of_the_largest_streams() {
    let mut bench = Bench::scripted(3);
    for (key, entries) in [("a", 1), ("b", 40), ("c", 20)] {
        for _ in 0..entries {
            bench.run(1, &format!("XADD {key} * field value"));
        }
    }
    bench.run(1, "SET text value");
    bench.run(1, "XGROUP CREATE b g 0");
    bench.run(1, "XREADGROUP GROUP g c COUNT 3 STREAMS b >");
    let told = report(&mut bench, true);
    let names: Vec<&[u8]> = told.streams.largest.iter().map(|stream| &stream.key[..]).collect();
    assert_eq!(names, [&b"b"[..], b"c", b"a"]);
    let group = &told.streams.largest[0].groups[0];
    assert_eq!((group.pending, group.lag, group.consumers), (3, Some(37), 1));
    assert_eq!((told.keys, told.streams.keys_looked_at, told.databases[&0].keys), (4, 4, 4));
    assert_eq!(told.applied, (0..3).map(|partition| bench.entries(partition) as u64).sum::<u64>());
}

#[test]
fn questions_are_answered_from_what_is_applied() {
    let mut bench = Bench::scripted(2);
    let digest = |bench: &mut Bench| {
        let request = bench.ask(Question::Digest);
        match bench.outcome(request) {
            Some(EngineAnswer::Digest(digest)) => *digest,
            other => panic!("{other:?}"),
        }
    };
    let told =
        |bench: &Bench, request: RequestId| format!("{:?}", bench.outcome(request).expect("told at once"));
    let empty = digest(&mut bench);
    let request = bench.send(1, "SET a text PX 90");
    assert_eq!(digest(&mut bench), empty);
    bench.settle();
    assert_eq!(bench.told(request), "OK");
    assert_ne!(digest(&mut bench), empty);
    let size = bench.ask(Question::MemoryUsage { database: 0, key: Cow::Borrowed(b"none"), samples: 0 });
    assert_eq!(told(&bench, size), "Size(None)");
    let object = bench.ask(Question::Object { database: 0, key: Cow::Borrowed(b"a") });
    assert!(told(&bench, object).contains("embstr"));
    let digests = bench.ask(Question::DigestValues { database: 0, keys: vec![Cow::Borrowed(b"none")] });
    assert_eq!(told(&bench, digests), "Digests([0])");
    let table = bench.ask(Question::TableStatistics { database: 0 });
    assert!(told(&bench, table).contains("keys: 1") && told(&bench, table).contains("expiring: 1"));
    let synced = bench.ask(Question::Sync { timeout_ms: 5 });
    assert_eq!(told(&bench, synced), "Synced(true)", "every commit syncs");
}

#[test]
fn a_reload_waits_until_nothing_is_in_flight() {
    let mut bench = Bench::scripted(1);
    bench.run(1, "SET a 1");
    bench.send(1, "SET a 2");
    let now = bench.ask(Question::ReloadNow);
    assert!(bench.told(now).starts_with("ERR DEBUG RELOAD"), "{}", bench.told(now));
    bench.settle();
    let now = bench.ask(Question::ReloadNow);
    assert_eq!((bench.told(now), bench.run(1, "GET a")), ("OK".into(), "2".into()));
}

#[test]
fn a_read_over_partitions_has_one_bound_for_all() {
    let mut bench = Bench::scripted(4);
    for key in ["a", "b", "c"] {
        bench.run(1, &format!("XGROUP CREATE {key} g 0 MKSTREAM"));
        bench.run(1, &format!("XADD {key} 1-0 f v"));
        bench.run(1, &format!("XADD {key} 2-0 f v"));
    }
    let read = "XREADGROUP GROUP g c MAXCOUNT 3 STREAMS a b c > > >";
    assert_eq!(bench.run(2, read), "a[1-0 2-0] b[1-0]");
    assert_eq!(bench.run(2, read), "b[2-0] c[1-0 2-0]");
    assert_eq!(bench.run(2, read), "nil array");
    assert_eq!(bench.run(2, "XREAD MAXCOUNT 3 STREAMS a b c 0 0 0"), "a[1-0 2-0] b[1-0]");
}

#[test]
fn a_read_over_partitions_keeps_what_it_was_given_when_the_next_one_refuses() {
    let mut bench = Bench::scripted(4);
    let home = |bench: &Bench, key: &str| bench.engine.router.of_key(key.as_bytes());
    let names = ["b", "c", "d", "e"];
    let other =
        names.into_iter().find(|name| home(&bench, name) != home(&bench, "a")).expect("keys are spread");
    for key in ["a", other] {
        bench.run(1, &format!("XGROUP CREATE {key} g 0 MKSTREAM"));
        bench.run(1, &format!("XADD {key} 1-0 f v"));
    }
    for options in ["MAXCOUNT 5 ", ""] {
        bench.run(1, "XGROUP SETID a g 0");
        let partition = home(&bench, other);
        bench.script().refuse(partition, 1);
        let read = format!("XREADGROUP GROUP g c {options}STREAMS a {other} > >");
        assert_eq!(bench.run(2, &read), "a[1-0]");
    }
    assert_eq!(bench.run(2, &format!("XREADGROUP GROUP g c STREAMS {other} >")), format!("{other}[1-0]"));
}
