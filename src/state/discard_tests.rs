//! What takes long to free is handed out, by whatever command it goes.

use crate::command::value::Write;
use crate::command::value::group::{GroupChange, GroupReadFrom};
use crate::command::value::key::{Deadline, ExpireCondition, KeyWrite};
use crate::command::value::stream::{Exactness, References, StreamWrite, Trim, TrimUntil};
use crate::command::value::string::Expiry;
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::reply::Reply;
use crate::state::effects::Discarded;
use crate::state::machine_bench::Bench;

/// A stream `s` of so many entries, all pending in the group `g`.
fn large(entries: u64) -> Bench {
    let mut bench = Bench::new();
    fill(&mut bench, entries);
    bench
}

fn fill(bench: &mut Bench, entries: u64) {
    (1..=entries).for_each(|ms| {
        bench.add_at(ms, 0);
    });
    bench.create("g");
    bench.read("c", None, GroupReadFrom::New);
    bench.effects.take_discarded();
}

fn discarded(bench: &mut Bench) -> Vec<&'static str> {
    let kind = |discarded: &Discarded| match discarded {
        Discarded::Keys(_) => "keys",
        Discarded::Value(_) => "value",
        Discarded::Group(_) => "group",
        Discarded::Nodes(_) => "nodes",
    };
    bench.effects.take_discarded().iter().map(kind).collect()
}

fn key(write: KeyWrite<'_>) -> Write<'_> {
    Write::Key(write)
}

#[test]
fn a_large_stream_is_handed_out_by_every_command_that_ends_it() {
    let args: OwnedArgs = [&b"s"[..]].into_iter().collect();
    let delete = key(KeyWrite::Delete { keys: ArgList::Args(args.as_args()) });
    let rename = key(KeyWrite::Rename { from: b"k", to: b"s", only_if_absent: false });
    let copy = key(KeyWrite::Copy { from: b"k", to: b"s", database: None, replace: true });
    for entries in [10_000, 100] {
        let expected = if entries < 10_000 { vec![] } else { vec!["value"] };
        for write in [&delete, &rename, &copy] {
            let mut bench = large(entries);
            bench.set("k", "v", Expiry::None);
            bench.write(write.clone());
            assert_eq!(discarded(&mut bench), expected, "{write:?}");
        }
        let mut bench = large(entries);
        bench.set("s", "v", Expiry::None);
        assert_eq!(discarded(&mut bench), expected, "SET");
    }
    let mut bench = large(10_000);
    bench.write(key(KeyWrite::FlushAll));
    assert_eq!(discarded(&mut bench), ["keys"]);
}

#[test]
fn a_due_stream_is_handed_out() {
    let expire = |ms| {
        key(KeyWrite::Expire { key: b"s", at: Deadline::InMs(ms), condition: ExpireCondition::default() })
    };
    let mut bench = large(10_000);
    bench.write(expire(-1));
    assert_eq!(discarded(&mut bench), ["value"]);
    let mut bench = large(10_000);
    bench.write(expire(10));
    bench.at(100_000);
    bench.write(key(KeyWrite::DeleteExpired { limit: 10 }));
    assert_eq!(discarded(&mut bench), ["value"]);
}

#[test]
fn trimmed_nodes_and_destroyed_groups_are_handed_out() {
    let trim = |max| Trim {
        until: TrimUntil::MaxLength(max),
        exactness: Exactness::Exact,
        references: References::Keep,
    };
    let mut bench = Bench::new();
    bench.machine.limits.entries = 1;
    fill(&mut bench, 20_000);
    assert_eq!(
        bench.write(Write::Stream(StreamWrite::Trim { key: b"s", trim: trim(19_950) })),
        Reply::Integer(50)
    );
    assert_eq!(discarded(&mut bench), [] as [&str; 0], "few nodes");
    bench.write(Write::Stream(StreamWrite::Trim { key: b"s", trim: trim(50) }));
    assert_eq!(discarded(&mut bench), ["nodes"]);
    bench.write(Write::GroupChange(GroupChange::Destroy { key: b"s", group: b"g" }));
    assert_eq!(discarded(&mut bench), ["group"]);
    bench.machine.check();
}
