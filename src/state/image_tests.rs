//! Images against a naive comparison: every key whose bytes differ between two images is marked, and what is
//! removed is told.

use crate::command::value::Write;
use crate::command::value::group::GroupReadFrom;
use crate::command::value::key::KeyWrite;
use crate::command::value::string::Expiry;
use crate::model::log::LogIndex;
use crate::model::time::TimeMs;
use crate::state::checkpoint;
use crate::state::effects::Effects;
use crate::state::image::{self, MachineImage};
use crate::state::key_table::{KeyName, KeySequence};
use crate::state::keyspace::{KeyEntry, Value};
use crate::state::machine::Machine;
use crate::state::machine_bench::Bench;
use crate::state::op::random::{pool, random_op};
use crate::state::stream::Stream;
use crate::state::testing::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A database's keys: the bytes of each in a checkpoint, by its position.
type Naive = BTreeMap<u32, BTreeMap<KeySequence, (Vec<u8>, Vec<u8>)>>;

fn bytes_of(entry: &KeyEntry) -> Vec<u8> {
    let mut bytes = format!("{:?} {:?} ", entry.version, entry.expires_at()).into_bytes();
    checkpoint::encode_value(&entry.value, &mut |piece| bytes.extend_from_slice(piece));
    bytes
}

fn naive(image: &MachineImage) -> Naive {
    let named = |(name, entry): (&KeyName, &KeyEntry)| (entry.sequence(), (name.to_vec(), bytes_of(entry)));
    image.databases.iter().map(|(number, keys)| (*number, keys.keys().map(named).collect())).collect()
}

/// An earlier image.
struct Kept {
    index: LogIndex,
    keys: Naive,
}

impl Kept {
    fn of(machine: &mut Machine) -> Kept {
        let image = MachineImage::take(machine);
        Kept { index: image.applied(), keys: naive(&image) }
    }
}

/// What the changes make of an earlier image; asserts that they are in order and tell of no removal twice.
fn changed(before: &Kept, image: &MachineImage) -> Option<Naive> {
    let mut after = Naive::new();
    for changes in image.changes_after(before.index)? {
        let mut keys = before.keys.get(&changes.database).cloned().unwrap_or_default();
        if changes.is_replaced() {
            assert_eq!(changes.removed, [], "a replaced database needs no list");
            keys.clear();
        }
        let mut last = None;
        for sequence in &changes.removed {
            assert!(last < Some(*sequence), "removals are in order");
            last = Some(*sequence);
            assert!(keys.remove(sequence).is_some(), "{sequence:?} was there");
        }
        let mut last = None;
        for (name, entry) in changes.touched() {
            let sequence = entry.sequence();
            assert!(last < Some(sequence) && sequence < changes.next_sequence(), "keys are in order");
            last = Some(sequence);
            let before = keys.insert(sequence, (name.to_vec(), bytes_of(entry)));
            assert!(before.is_none_or(|(before, _)| before == **name), "a position has one name");
        }
        after.insert(changes.database, keys);
    }
    Some(after)
}

#[test]
fn changes_since_an_image_make_the_next_one() {
    let pool = pool();
    let (mut told, mut untold) = (0, 0);
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let (mut machine, mut now) = (Machine::new(), 1000);
        let mut images = Vec::new();
        for index in 1..=250 {
            now += random.below(20);
            machine.begin(LogIndex(index), TimeMs(now));
            for _ in 0..random.below(4) {
                machine.apply(&random_op(&mut random, &pool), &mut Effects::unwanted());
            }
            match random.below(40) {
                0..=2 => images.push(Kept::of(&mut machine)),
                3 => {
                    let mut bytes = Vec::new();
                    checkpoint::encode(&MachineImage::of(&machine), &mut |piece| {
                        bytes.extend_from_slice(piece)
                    });
                    machine = checkpoint::decode(&bytes).unwrap();
                    images = vec![Kept::of(&mut machine)];
                }
                4 if images.len() > 1 => {
                    images.remove(0);
                    image::forget_before(&mut machine, images[0].index);
                }
                _ => {}
            }
            if random.one_in(10) {
                let image = MachineImage::of(&machine);
                let expected = naive(&image);
                let known = images.len().saturating_sub(8);
                for (n, before) in images.iter().enumerate() {
                    let changed = changed(before, &image);
                    assert!(changed.is_some() || n < known, "seed {seed}: a recent image is known");
                    assert!(changed.is_none_or(|changed| changed == expected), "seed {seed}, {index}");
                    *(if n < known { &mut untold } else { &mut told }) += 1;
                }
            }
        }
    }
    assert!(told > 5000 && untold > 100, "{told} {untold}");
}

#[test]
fn what_reads_or_finds_nothing_is_not_marked() {
    let mut bench = Bench::new();
    bench.add_at(1, 0);
    bench.create("g");
    bench.set("k", "v", Expiry::None);
    MachineImage::take(&mut bench.machine);
    let since = bench.machine.applied();
    bench.at(2000);
    bench.get("k");
    bench.len();
    let touched = |bench: &Bench| -> BTreeSet<Vec<u8>> {
        let image = MachineImage::of(&bench.machine);
        let changes = image.changes_after(since).unwrap();
        changes.iter().flat_map(|changes| changes.touched()).map(|(name, _)| name.to_vec()).collect()
    };
    bench.write(Write::Key(KeyWrite::Persist { key: b"k" }));
    assert_eq!(touched(&bench), BTreeSet::from([]));
    bench.read("c", None, GroupReadFrom::New);
    assert_eq!(touched(&bench), BTreeSet::from([b"s".to_vec()]));
}

#[test]
fn an_image_of_many_keys_copies_few_pieces_and_a_write_one() {
    let mut bench = Bench::new();
    (0..10_000).for_each(|n| {
        bench.set(&format!("k{n}"), "v", Expiry::None);
    });
    let image = MachineImage::take(&mut bench.machine);
    bench.at(2000);
    let unshared = |bench: &Bench| {
        let (_, keys) = bench.machine.databases().next().unwrap();
        image.databases[0].1.unshared(keys)
    };
    (0..10_000).for_each(|n| {
        bench.get(&format!("k{n}"));
    });
    assert_eq!(unshared(&bench), (0, 0), "a read copies nothing");
    for _ in 0..10 {
        bench.set("k17", "w", Expiry::None);
    }
    assert_eq!(unshared(&bench), (1, 1));
}

#[test]
fn a_write_after_an_image_copies_little_of_a_large_stream() {
    let mut bench = Bench::new();
    bench.machine.limits.entries = 2;
    (1..=20_000).for_each(|ms| {
        bench.add_at(ms, 0);
    });
    (0..10_000).for_each(|n| {
        bench.create(&format!("other{n}"));
    });
    bench.create("g");
    (0..1000).for_each(|n| {
        bench.read(&format!("c{n}"), Some(20), GroupReadFrom::New);
    });
    let before = MachineImage::take(&mut bench.machine);
    bench.at(20_001);
    bench.add_at(20_001, 0);
    bench.read("c5", Some(1), GroupReadFrom::New);
    bench.acknowledge(&[(500, 0)]);
    let after = MachineImage::of(&bench.machine);
    let stream = |image: &MachineImage| -> Arc<Stream> {
        let (_, entry) = image.databases[0].1.keys().next().unwrap();
        match &entry.value {
            Value::Stream(stream) => Arc::clone(stream),
            Value::String(_) => panic!("a stream"),
        }
    };
    let (before, after) = (stream(&before), stream(&after));
    let group = |stream: &Stream| stream.group(b"g").unwrap().clone();
    let copied = [
        after.log.unshared_nodes(&before.log),
        after.groups.unshared(&before.groups),
        group(&after).unshared(&group(&before)),
    ];
    assert!(copied.iter().all(|copied| (1..=14).contains(copied)), "{copied:?} nodes of trees");
}
