//! What the machine tells of its ops: key events in Redis's order, and the lookups of reads.

use crate::command::value::group::*;
use crate::command::value::key::*;
use crate::command::value::stream::*;
use crate::command::value::string::*;
use crate::command::value::{Data, Query, Write};
use crate::model::entry_id::EntryId;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::checkpoint;
use crate::state::effects::{Effects, EventKind, Lookups};
use crate::state::machine::Queries;
use crate::state::machine_bench::Bench;
use crate::state::machine_property_tests::image;
use crate::state::op::{Op, Transaction};
use crate::state::seen::LoggedOnly;

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
        EventKind::New,
        EventKind::Add,
        EventKind::Add,
        EventKind::Trim,
        EventKind::GroupCreate,
        EventKind::ConsumerCreate,
        EventKind::DeleteEntries,
        EventKind::New,
        EventKind::Set,
        EventKind::Expire,
        EventKind::Expired,
        EventKind::New,
        EventKind::Set,
    ];
    assert_eq!(bench.events(), expected);
}

#[test]
fn effects_tell_what_happened_in_order() {
    use EventKind::{
        Add, CopyTo, Due, Expired, Flush, GroupCreate, Miss, New, Overwritten, Set, TypeChanged,
    };
    let mut bench = Bench::new();
    bench.effects = Effects::wanted_with_misses();
    bench.add_at(1, 0);
    assert_eq!(bench.events(), [New, Add]);
    bench.set("s", "1", Expiry::At(Deadline::InMs(5)));
    assert_eq!(bench.events(), [Overwritten, TypeChanged, Set, EventKind::Expire]);
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
    assert_eq!(bench.events(), [New, EventKind::Made, GroupCreate]);
    bench.write(Write::Key(copy));
    bench.write(Write::Key(KeyWrite::FlushAll));
    let copied = bench.effects.take();
    assert_eq!(copied.iter().map(|it| it.kind).collect::<Vec<_>>(), [New, CopyTo, Flush, Flush]);
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
    let mut follower = checkpoint::decode(&image(&bench.machine)).unwrap();
    let (none, one, two) = (Answer::Nil, Answer::Integer(1), Answer::Bulk("1".into()));
    let answer = bench.machine.apply_transaction(
        &transaction,
        Queries { steps: &queries, seen: &LoggedOnly },
        &mut bench.effects,
    );
    assert_eq!(answer, Answer::Transaction(vec![none, one.clone(), two, one.clone()]));
    assert_eq!(bench.effects.take_lookups(), Lookups { hits: 1, misses: 1 });
    let answer = follower.apply(&Op::Transaction(transaction), &mut Effects::unwanted());
    assert_eq!(answer, Answer::Transaction(vec![one.clone(), one]), "a follower has no queries");
    assert_eq!(image(&follower), image(&bench.machine));
    let told: Vec<_> = bench.effects.take().iter().map(|it| (it.step, it.database, it.kind)).collect();
    let expected = [
        (0, 0, EventKind::Miss),
        (1, 0, EventKind::New),
        (1, 0, EventKind::Increment),
        (3, 1, EventKind::New),
        (3, 1, EventKind::Increment),
    ];
    assert_eq!(told, expected);
    bench.set("k", "1", Expiry::None);
    assert_eq!(bench.effects.take()[0].step, 0, "steps begin anew");
}
