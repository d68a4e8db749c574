//! Blocked reads, scenario by scenario. Every connection is a number; `-` is a request that has not been answered.

use crate::engine::blocked_reads::BlockedState;
use crate::engine::submission::{Ending, NOT_COMMITTED, UNKNOWN};
use crate::engine::testing::Bench;
use crate::env::sim_fs::SimFs;
use crate::model::log::PartitionId;
use crate::model::request::RequestId;
use crate::partition::touched::CARRIED_READS_MAX;
use crate::replication::testing::image;

const P: PartitionId = PartitionId(0);

/// One partition, with streams that have a group `g` from their beginning on.
fn bench(streams: &[&str]) -> Bench {
    let mut bench = Bench::scripted(1);
    for stream in streams {
        bench.run(1, &format!("XGROUP CREATE {stream} g 0 MKSTREAM"));
    }
    bench
}

/// A consumer of `g` waits on the streams, one command of its own connection.
fn wait(bench: &mut Bench, connection: u64, options: &str, streams: &str) -> RequestId {
    let marks = streams.split(' ').map(|_| ">").collect::<Vec<_>>().join(" ");
    let options = if options.is_empty() { String::new() } else { format!("{options} ") };
    let command = format!("XREADGROUP GROUP g c{connection} {options}BLOCK 0 STREAMS {streams} {marks}");
    let request = bench.send(connection, &command);
    bench.settle();
    request
}

fn told(bench: &Bench, requests: &[RequestId]) -> Vec<String> {
    requests.iter().map(|request| bench.told(*request)).collect()
}

#[test]
fn an_entry_is_read_in_the_commit_that_adds_it() {
    let mut bench = bench(&["s"]);
    let reader = wait(&mut bench, 2, "", "s");
    let entries = bench.entries(0);
    assert_eq!(bench.run(1, "XADD s 1-0 a 1"), "1-0");
    assert_eq!(bench.told(reader), "s[1-0]");
    assert_eq!(bench.entries(0), entries + 1);
    assert_eq!(bench.run(1, "XPENDING s g - + 9 c2").matches("PendingRow").count(), 0);
    assert_eq!(bench.run(1, "XLEN s"), "1");
}

#[test]
fn what_a_blocked_reader_was_given_is_pending_after_a_restart() {
    let fs = SimFs::new(1);
    let mut bench = Bench::local(&fs, 2);
    bench.run(1, "XGROUP CREATE s g 0 MKSTREAM");
    let reader = wait(&mut bench, 2, "", "s");
    bench.run(1, "XADD s 1-0 a 1");
    assert_eq!(bench.told(reader), "s[1-0]");
    let before = [0, 1].map(|id| image(bench.engine.partition(PartitionId(id)).read()));
    drop(bench);
    let mut bench = Bench::local(&fs.process(), 2);
    let after = [0, 1].map(|id| image(bench.engine.partition(PartitionId(id)).read()));
    assert!(before == after);
    assert_eq!(bench.run(2, "XREADGROUP GROUP g c2 STREAMS s 0"), "s[1-0]");
}

#[test]
fn a_reader_of_several_keys_is_told_when_one_becomes_a_string() {
    let mut bench = bench(&["s", "t"]);
    let reader = wait(&mut bench, 2, "", "s t");
    let plain = bench.send(3, "XREAD BLOCK 0 STREAMS s t $ $");
    assert_eq!(bench.run(1, "SET t text"), "OK");
    assert!(bench.told(reader).starts_with("WRONGTYPE"), "{}", bench.told(reader));
    assert_eq!(bench.told(plain), "-");
    bench.run(1, "XADD s 1-0 a 1");
    assert_eq!(bench.told(plain), "s[1-0]");
}

#[test]
fn an_entry_below_the_last_id_of_the_group_wakes_no_reader() {
    let mut bench = bench(&["s"]);
    bench.run(1, "XGROUP SETID s g 5-0");
    let reader = wait(&mut bench, 2, "", "s");
    let entries = bench.entries(0);
    bench.run(1, "XADD s 3-0 a 1");
    bench.run(1, "XADD s 5-0 a 1");
    assert_eq!((bench.told(reader), bench.entries(0)), ("-".into(), entries + 2));
    bench.run(1, "XADD s 6-0 a 1");
    assert_eq!(bench.told(reader), "s[6-0]");
}

#[test]
fn several_entries_of_a_batch_go_to_several_readers() {
    let mut bench = bench(&["s"]);
    let readers: Vec<RequestId> = (2..6).map(|connection| wait(&mut bench, connection, "", "s")).collect();
    for id in 1..=3 {
        bench.send(1, &format!("XADD s {id}-0 a 1"));
    }
    let entries = bench.entries(0);
    bench.settle();
    assert_eq!(told(&bench, &readers), ["s[1-0]", "s[2-0]", "s[3-0]", "-"]);
    assert_eq!(bench.entries(0), entries + 1, "no read goes into the log in vain");
}

#[test]
fn a_transaction_serves_its_readers_when_it_is_done() {
    let mut bench = bench(&["s"]);
    let [first, second] = [2, 3].map(|connection| wait(&mut bench, connection, "COUNT 1", "s"));
    bench.exec(1, &["XADD s 1-0 a 1", "XADD s 2-0 a 1", "XDEL s 1-0"]);
    bench.settle();
    assert_eq!(told(&bench, &[first, second]), ["s[2-0]", "-"]);
}

#[test]
fn more_readers_than_an_entry_carries_are_served_in_order() {
    let mut bench = bench(&["s"]);
    let count = CARRIED_READS_MAX as u64 + 9;
    let readers: Vec<RequestId> =
        (2..2 + count).map(|connection| wait(&mut bench, connection, "COUNT 1", "s")).collect();
    for id in 1..=count {
        bench.send(1, &format!("XADD s {id}-0 a 1"));
    }
    bench.settle();
    let expected: Vec<String> = (1..=count).map(|id| format!("s[{id}-0]")).collect();
    assert_eq!(told(&bench, &readers), expected);
}

#[test]
fn more_bytes_than_an_entry_carries_are_served_in_order() {
    let mut bench = Bench::scripted(1);
    let long = |name: &str| format!("{name}{}", "x".repeat(100_000));
    bench.run(1, &format!("XGROUP CREATE s {} 0 MKSTREAM", long("g")));
    let readers: Vec<RequestId> = (2..8)
        .map(|connection| {
            let command = format!("XREADGROUP GROUP {} c{connection} COUNT 1 BLOCK 0 STREAMS s >", long("g"));
            let request = bench.send(connection, &command);
            bench.settle();
            request
        })
        .collect();
    for id in 1..=6 {
        bench.send(1, &format!("XADD s {id}-0 a 1"));
    }
    bench.settle();
    let expected: Vec<String> = (1..=6).map(|id| format!("s[{id}-0]")).collect();
    assert_eq!(told(&bench, &readers), expected);
}

#[test]
fn a_reader_whose_own_read_is_in_the_log_is_served_before_those_that_came_later() {
    let mut bench = bench(&["s"]);
    let later = wait(&mut bench, 3, "", "s");
    bench.unblock(later, Ending::TimedOut);
    // The consumer of the first reader is new, so its read goes into the log; that of the second one is known.
    let first = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
    let later = bench.send(3, "XREADGROUP GROUP g c3 BLOCK 0 STREAMS s >");
    bench.send(1, "XADD s 1-0 a 1");
    bench.settle();
    assert_eq!(told(&bench, &[first, later]), ["s[1-0]", "-"]);
}

/// The entry in flight was sealed before the first reader came, and the second one is an op of the next.
#[test]
fn a_reader_is_not_overtaken_by_a_later_one_while_an_entry_is_in_flight() {
    let mut bench = bench(&["s"]);
    let known = wait(&mut bench, 2, "", "s");
    bench.unblock(known, Ending::TimedOut);
    bench.send(1, "XADD s 1-0 a 1");
    bench.propose();
    let first = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
    let later = bench.send(3, "XREADGROUP GROUP g c3 BLOCK 0 STREAMS s >");
    bench.settle();
    assert_eq!(told(&bench, &[first, later]), ["s[1-0]", "-"]);
    // The same with the later read sealed before the entry is applied.
    bench.send(1, "XADD s 2-0 a 1");
    bench.propose();
    let first = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
    let last = bench.send(4, "XREADGROUP GROUP g c4 BLOCK 0 STREAMS s >");
    bench.propose();
    bench.settle();
    assert_eq!(told(&bench, &[later, first, last]), ["s[2-0]", "-", "-"]);
}

/// The first reader is in an entry that does not serve it when the entry for the next one is sealed.
#[test]
fn a_reader_is_not_overtaken_by_a_later_one_when_its_entry_is_in_vain() {
    for is_refused in [true, false] {
        let mut bench = bench(&["s"]);
        bench.run(1, "XSETID s 1-0");
        let readers = [2, 3].map(|connection| wait(&mut bench, connection, "", "s"));
        if is_refused {
            bench.script().refuse(P, 1);
        }
        bench.send(1, if is_refused { "XADD s 1-1 a 1" } else { "XADD s 1-0 a 1" });
        bench.propose();
        bench.send(1, "XADD s 2-0 a 1");
        bench.propose();
        bench.settle();
        assert_eq!(told(&bench, &readers), ["s[2-0]", "-"], "refused: {is_refused}");
        bench.run(1, "XADD s 3-0 a 1");
        assert_eq!(bench.told(readers[1]), "s[3-0]");
    }
}

/// The first reader, which is known, is carried with the second one, which finds nothing any more.
#[test]
fn a_reader_that_comes_too_late_shows_its_consumer_all_the_same() {
    let mut bench = bench(&["s"]);
    bench.run(2, "XGROUP CREATECONSUMER s g c2");
    bench.run(1, "XADD s 1-0 a 1");
    let entries = bench.entries(0);
    let first = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
    let second = bench.send(3, "XREADGROUP GROUP g c3 BLOCK 0 STREAMS s >");
    bench.settle();
    assert_eq!(told(&bench, &[first, second]), ["s[1-0]", "-"]);
    assert_eq!(bench.entries(0), entries + 2, "one for both, and one for the consumer");
    assert!(bench.run(1, "XINFO CONSUMERS s g").contains("c3"));
    bench.run(1, "XADD s 2-0 a 1");
    assert_eq!(bench.told(second), "s[2-0]");
}

#[test]
fn a_read_that_finds_something_at_once_is_one_entry_with_the_ops_of_its_round() {
    let mut bench = bench(&["s"]);
    for id in 1..=3 {
        bench.run(1, &format!("XADD s {id}-0 a 1"));
    }
    let entries = bench.entries(0);
    let reads = [2, 3].map(|connection| {
        let command = format!("XREADGROUP GROUP g c{connection} COUNT 1 BLOCK 0 STREAMS s >");
        bench.send(connection, &command)
    });
    let add = bench.send(1, "XADD s 4-0 a 1");
    let plain = bench.send(4, "XREADGROUP GROUP g c4 STREAMS s >");
    bench.settle();
    assert_eq!(told(&bench, &reads), ["s[1-0]", "s[2-0]"]);
    assert_eq!(told(&bench, &[add, plain]), ["4-0", "s[3-0 4-0]"]);
    assert_eq!(bench.entries(0), entries + 1);
}

#[test]
fn a_read_that_asks_may_still_end_otherwise() {
    for ending in [Some(Ending::TimedOut), Some(Ending::Unblocked), None] {
        let mut bench = bench(&["s"]);
        bench.run(1, "XADD s 1-0 a 1");
        let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
        assert!(bench.engine.has_open_work());
        match ending {
            Some(ending) => bench.unblock(reader, ending),
            None => bench.forbid(reader),
        }
        bench.take_delivery();
        assert!(!bench.engine.has_open_work() && bench.engine.blocked.is_empty());
        let expected = match ending {
            Some(Ending::Unblocked) => "UNBLOCKED",
            Some(_) => "nil array",
            None => "Forbidden",
        };
        assert!(bench.told(reader).starts_with(expected), "{}", bench.told(reader));
        assert_eq!(bench.run(1, "XREADGROUP GROUP g c1 STREAMS s >"), "s[1-0]", "nothing was delivered");
    }
}

#[test]
fn a_read_that_asks_hears_what_happens_to_its_stream_first() {
    for (command, error) in
        [("DEL s", "NOGROUP"), ("XGROUP DESTROY s g", "NOGROUP"), ("SET s a", "WRONGTYPE")]
    {
        let mut bench = bench(&["s"]);
        bench.send(1, command);
        bench.propose();
        let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
        bench.settle();
        assert!(bench.told(reader).starts_with(error), "{command}: {}", bench.told(reader));
    }
    // It goes with the entry that removes its stream, and is tried before.
    let mut bench = bench(&["s"]);
    bench.run(1, "XADD s 1-0 a 1");
    let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
    bench.send(1, "DEL s");
    bench.settle();
    assert_eq!(bench.told(reader), "s[1-0]");
}

#[test]
fn setting_the_id_of_a_group_wakes_no_reader() {
    let mut bench = bench(&["s"]);
    bench.run(1, "XADD s 1-0 a 1");
    bench.run(1, "XGROUP SETID s g $");
    let reader = wait(&mut bench, 2, "", "s");
    bench.run(1, "XGROUP SETID s g 0");
    assert_eq!(bench.told(reader), "-");
    bench.run(1, "XADD s 2-0 a 1");
    assert_eq!(bench.told(reader), "s[1-0 2-0]");
}

#[test]
fn a_reader_hears_that_its_stream_or_group_is_gone() {
    let gone = [
        "DEL s",
        "UNLINK s",
        "RENAME s other",
        "MOVE s 3",
        "SWAPDB 0 3",
        "FLUSHALL",
        "FLUSHDB",
        "XGROUP DESTROY s g",
        "PEXPIREAT s 1",
        "RENAME other s",
        "COPY other s REPLACE",
    ];
    for command in gone {
        let mut bench = bench(&["s"]);
        bench.run(1, "XADD other 1-0 a 1");
        let reader = wait(&mut bench, 2, "", "s");
        let plain = bench.send(3, "XREAD BLOCK 0 STREAMS s 9-9");
        let answer = bench.run(1, command);
        assert!(["OK", "1"].contains(&&answer[..]), "{command}: {answer}");
        assert!(bench.told(reader).starts_with("NOGROUP"), "{command}: {}", bench.told(reader));
        assert_eq!(bench.told(plain), "-", "{command}");
    }
    let mut bench = bench(&["s"]);
    let reader = wait(&mut bench, 2, "", "s");
    bench.run(1, "SET s text");
    assert!(bench.told(reader).starts_with("WRONGTYPE"));
}

#[test]
fn a_reader_hears_that_its_stream_has_expired() {
    let mut bench = bench(&["s"]);
    bench.run(1, "PEXPIRE s 50");
    let reader = wait(&mut bench, 2, "", "s");
    bench.advance(49);
    bench.settle();
    assert_eq!(bench.told(reader), "-");
    bench.advance(1);
    bench.settle();
    assert!(bench.told(reader).starts_with("NOGROUP"), "{}", bench.told(reader));
}

#[test]
fn a_stream_that_comes_under_the_name_serves_its_readers() {
    for command in ["RENAME other s", "COPY other s REPLACE", "SWAPDB 0 3"] {
        let mut bench = bench(&["s", "other"]);
        bench.run(1, "XADD other 1-0 a 1");
        for setup in ["XGROUP CREATE s g 0 MKSTREAM", "XADD s 1-0 a 1"] {
            bench.send_to(1, 3, setup);
            bench.settle();
        }
        let reader = wait(&mut bench, 2, "", "s");
        let plain = bench.send(3, "XREAD BLOCK 0 STREAMS s 0");
        assert_eq!(bench.run(1, command).len(), if command.starts_with("COPY") { 1 } else { 2 });
        assert_eq!(told(&bench, &[reader, plain]), ["s[1-0]", "s[1-0]"], "{command}");
    }
}

#[test]
fn a_read_whose_entry_is_refused_is_served_by_the_next_one() {
    let mut bench = bench(&["s"]);
    let reader = wait(&mut bench, 2, "", "s");
    bench.script().refuse(P, 1);
    let refused = bench.run(1, "XADD s 1-0 a 1");
    assert!(refused.starts_with("NOQUORUM"), "{refused}");
    assert_eq!(bench.told(reader), "-");
    bench.run(1, "XADD s 2-0 a 1");
    assert_eq!(bench.told(reader), "s[2-0]");
}

#[test]
fn a_read_that_was_refused_itself_goes_into_the_log_again() {
    let mut bench = bench(&["s"]);
    bench.script().refuse(P, 1);
    let reader = wait(&mut bench, 2, "", "s");
    assert!(!bench.run(1, "XINFO CONSUMERS s g").contains("c2"));
    bench.advance(100);
    bench.settle();
    assert!(bench.run(1, "XINFO CONSUMERS s g").contains("c2"));
    assert_eq!(bench.told(reader), "-");
}

#[test]
fn a_read_whose_entry_is_unknown_ends_as_unknown() {
    let mut bench = bench(&["s"]);
    let reader = wait(&mut bench, 2, "", "s");
    let add = bench.send(1, "XADD s 1-0 a 1");
    bench.propose();
    bench.script().lose_leadership(P);
    bench.take_events();
    for request in [reader, add] {
        assert!(bench.told(request).starts_with("UNKNOWN"), "{}", bench.told(request));
    }
    // The entry is committed after all, and with it the delivery.
    bench.script().lead(P);
    bench.settle();
    assert!(bench.run(2, "XREADGROUP GROUP g c2 STREAMS s 0").ends_with("s[1-0]"));
}

#[test]
fn an_entry_of_another_leader_serves_who_waits() {
    let mut bench = bench(&["s", "t"]);
    let reader = wait(&mut bench, 2, "", "s t");
    let add = bench.send(1, "XADD t 1-0 a 1");
    bench.unblock(reader, Ending::TimedOut);
    bench.propose();
    bench.script().lose_leadership(P);
    bench.take_events();
    assert!(bench.told(add).starts_with("UNKNOWN"));
    let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s t > >");
    let plain = bench.send(3, "XREAD BLOCK 0 STREAMS s t $ $");
    // While this node leads again, the reader goes with an entry that has nothing for it.
    bench.script().lead(P);
    bench.send(4, "XTRIM s MAXLEN 9");
    bench.settle();
    assert_eq!(told(&bench, &[reader, plain]), ["t[1-0]", "t[1-0]"]);
}

#[test]
fn a_snapshot_serves_who_waits() {
    let mut bench = bench(&["s"]);
    let plain = bench.send(3, "XREAD BLOCK 0 STREAMS s $");
    bench.send(1, "XADD s 1-0 a 1");
    bench.propose();
    bench.script().lose_leadership(P);
    bench.take_events();
    let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 0 STREAMS s >");
    bench.propose();
    bench.take_events();
    bench.script().install_snapshot(P);
    bench.script().lead(P);
    // Proposed before the engine hears of the snapshot.
    let add = bench.send(4, "XADD s 2-0 a 1");
    bench.settle();
    assert_eq!(told(&bench, &[plain, add]), ["s[1-0]", "2-0"]);
    bench.advance(100);
    bench.settle();
    assert_eq!(bench.told(reader), "s[1-0 2-0]");
}

#[test]
fn a_time_that_is_over_ends_a_wait() {
    let mut bench = bench(&["s"]);
    let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 50 STREAMS s >");
    let plain = bench.send(3, "XREAD BLOCK 30 STREAMS s $");
    bench.settle();
    bench.advance(29);
    assert_eq!(told(&bench, &[reader, plain]), ["-", "-"]);
    bench.advance(1);
    assert_eq!(told(&bench, &[reader, plain]), ["-", "nil array"]);
    bench.advance(20);
    assert_eq!(bench.told(reader), "nil array");
    assert!(bench.engine.blocked.is_empty());
}

#[test]
fn a_read_in_flight_brings_what_it_was_given_although_its_wait_has_ended() {
    for ending in [Ending::TimedOut, Ending::Unblocked, Ending::Disconnected] {
        let mut bench = bench(&["s"]);
        let [first, second] = [2, 3].map(|connection| wait(&mut bench, connection, "", "s"));
        bench.send(1, "XADD s 1-0 a 1");
        bench.send(1, "XADD s 0-1 a 1");
        bench.propose();
        for reader in [first, second] {
            bench.unblock(reader, ending);
            assert_eq!(bench.told(reader), "-", "an entry carries it");
        }
        bench.settle();
        assert_eq!(bench.told(first), "s[1-0]");
        let nothing = if ending == Ending::Unblocked { "UNBLOCKED" } else { "nil array" };
        assert!(bench.told(second).starts_with(nothing), "{}", bench.told(second));
        assert!(bench.engine.blocked.is_empty());
    }
}

#[test]
fn a_wait_that_has_ended_ends_when_its_entry_is_refused() {
    let mut bench = bench(&["s"]);
    let reader = bench.send(2, "XREADGROUP GROUP g c2 BLOCK 50 STREAMS s >");
    bench.settle();
    bench.script().refuse(P, 1);
    bench.send(1, "XADD s 1-0 a 1");
    bench.propose();
    bench.advance(50);
    assert_eq!(bench.told(reader), "-");
    bench.settle();
    assert_eq!(bench.told(reader), "nil array");
}

#[test]
fn a_reader_that_has_lost_its_right_is_told_so_when_there_is_something() {
    let mut bench = bench(&["s"]);
    let reader = wait(&mut bench, 2, "", "s");
    let plain = bench.send(3, "XREAD BLOCK 0 STREAMS s $");
    for request in [reader, plain] {
        bench.forbid(request);
        assert_eq!(bench.told(request), "-");
    }
    bench.run(1, "XADD s 1-0 a 1");
    assert_eq!(told(&bench, &[reader, plain]), ["Forbidden", "Forbidden"]);
    assert_eq!(bench.run(1, "XREADGROUP GROUP g c1 STREAMS s >"), "s[1-0]", "nothing was delivered");
}

#[test]
fn a_reader_with_claim_is_woken_by_time() {
    let mut bench = bench(&["s"]);
    bench.run(1, "XADD s 1-0 a 1");
    bench.run(1, "XREADGROUP GROUP g c1 STREAMS s >");
    let reader = wait(&mut bench, 2, "CLAIM 500", "s");
    assert_eq!(bench.told(reader), "-");
    bench.advance(499);
    bench.settle();
    assert_eq!(bench.told(reader), "-");
    bench.advance(1);
    bench.settle();
    assert_eq!(bench.told(reader), "s[1-0]");
}

#[test]
fn a_reader_with_claim_is_woken_by_what_another_gives_back() {
    let mut bench = bench(&["s"]);
    bench.run(1, "XADD s 1-0 a 1");
    bench.run(1, "XREADGROUP GROUP g c1 STREAMS s >");
    let reader = wait(&mut bench, 2, "CLAIM 100000", "s");
    let without = wait(&mut bench, 3, "", "s");
    assert_eq!(bench.run(1, "XNACK s g SILENT IDS 1 1-0"), "1");
    assert_eq!(told(&bench, &[reader, without]), ["s[1-0]", "-"]);
}

#[test]
fn a_reader_that_waits_in_vain_is_not_logged_again_and_again() {
    let mut bench = bench(&["s"]);
    let readers: Vec<RequestId> = (2..12).map(|connection| wait(&mut bench, connection, "", "s")).collect();
    bench.advance(60_000);
    bench.settle();
    let entries = bench.entries(0);
    bench.run(1, "XADD s 1-0 a 1");
    bench.run(1, "XTRIM s MAXLEN 0");
    bench.run(1, "XGROUP DESTROY s other");
    bench.run(1, "XADD s 0-1 a 1");
    assert_eq!(bench.entries(0), entries + 4);
    let served = readers.iter().filter(|reader| bench.told(**reader) != "-").count();
    assert_eq!(served, 1);
}

// Several partitions.

/// Four partitions, and two streams with the group `g` that live in different ones.
fn spread() -> (Bench, [&'static str; 2]) {
    let mut bench = Bench::scripted(4);
    let names = ["a", "b", "c", "d", "e", "f"];
    let home = |name: &str| bench.engine.router.of_key(name.as_bytes());
    let other = names.into_iter().find(|name| home(name) != home("a")).expect("keys are spread");
    for name in ["a", other] {
        bench.run(1, &format!("XGROUP CREATE {name} g 0 MKSTREAM"));
    }
    (bench, ["a", other])
}

#[test]
fn a_reader_of_several_partitions_is_served_by_any_of_them() {
    for at in 0..2 {
        for options in ["", "MAXCOUNT 5"] {
            let (mut bench, [one, other]) = spread();
            let reader = wait(&mut bench, 2, options, &format!("{one} {other}"));
            let plain = bench.send(3, &format!("XREAD BLOCK 0 STREAMS {one} {other} $ $"));
            assert_eq!(bench.told(reader), "-");
            let name = [one, other][at];
            bench.run(1, &format!("XADD {name} 1-0 a 1"));
            let found = format!("{name}[1-0]");
            assert_eq!(told(&bench, &[reader, plain]), [found.clone(), found]);
        }
    }
}

#[test]
fn a_reader_of_several_partitions_stays_blocked_when_they_refuse() {
    for options in ["", "MAXCOUNT 5"] {
        let (mut bench, [one, other]) = spread();
        let reader = wait(&mut bench, 2, options, &format!("{one} {other}"));
        let home = bench.engine.router.of_key(one.as_bytes());
        bench.send(1, &format!("XADD {one} 1-0 a 1"));
        bench.propose();
        bench.script().refuse(home, 1);
        bench.settle();
        assert_eq!(bench.told(reader), "-", "{options}");
        bench.advance(100);
        bench.settle();
        assert_eq!(bench.told(reader), format!("{one}[1-0]"));
    }
}

#[test]
fn a_write_that_reached_some_partitions_alone_is_unknown() {
    let (mut bench, [one, _]) = spread();
    let home = bench.engine.router.of_key(one.as_bytes());
    bench.script().refuse(home, 1);
    assert!(bench.run(1, "FLUSHALL").starts_with("UNKNOWN"));
    for partition in 0..4 {
        bench.script().refuse(PartitionId(partition), 1);
    }
    assert!(bench.run(1, "FLUSHALL").starts_with("NOQUORUM"));
    assert_eq!(bench.run(1, "FLUSHALL"), "OK");
}

#[test]
fn a_partition_without_leader_stops_only_itself() {
    let (mut bench, [one, other]) = spread();
    let home = bench.engine.router.of_key(one.as_bytes());
    bench.script().lose_leadership(home);
    assert!(bench.run(1, &format!("XADD {one} 1-0 a 1")).starts_with("NOQUORUM"));
    assert_eq!(bench.run(1, &format!("XADD {other} 1-0 a 1")), "1-0");
}

#[test]
fn everything_that_is_in_flight_ends_when_the_log_fails() {
    let mut bench = bench(&["s", "t"]);
    bench.run(1, "XADD t 1-0 a 1");
    let reader = wait(&mut bench, 2, "", "s");
    let add = bench.send(1, "XADD s 1-0 a 1");
    let length = bench.send(1, "XLEN s");
    bench.propose();
    let open = bench.send(3, "XADD s 2-0 a 1");
    let asks = bench.send(4, "XREADGROUP GROUP g c4 BLOCK 0 STREAMS t >");
    let carried = bench.engine.blocked.of_request(reader).and_then(|id| bench.engine.blocked.get(id));
    assert!(carried.unwrap().state == BlockedState::Carried);
    bench.engine.fail_everything(&UNKNOWN);
    bench.take_delivery();
    for request in [reader, add, length, open, asks] {
        assert!(bench.told(request).starts_with("UNKNOWN"), "{}", bench.told(request));
    }
    assert!(bench.engine.is_idle());
    assert_ne!(UNKNOWN, NOT_COMMITTED);
}
