//! The machine against a naive model: a stream is a list of entries, nodes are numbers, a group is a map. What the model
//! says in a line, the machine says with runs, nodes and shared copies.

use crate::command::value::group::*;
use crate::command::value::stream::*;
use crate::command::value::{Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::entry_id::EntryId;
use crate::model::log::LogIndex;
use crate::model::reply::Reply;
use crate::model::time::TimeMs;
use crate::state::effects::Effects;
use crate::state::machine::Machine;
use crate::state::op::Op;
use crate::state::testing::Random;
use std::collections::BTreeMap;

const NODE_ENTRIES: usize = 5;

#[derive(Clone)]
struct ModelEntry {
    id: EntryId,
    node: u64,
    fields: Vec<Vec<u8>>,
}

#[derive(Default)]
struct ModelGroup {
    last: EntryId,
    /// Id to consumer, delivery time, deliveries.
    pending: BTreeMap<EntryId, (u8, u64, u64)>,
}

#[derive(Default)]
struct Model {
    exists: bool,
    entries: Vec<ModelEntry>,
    last: EntryId,
    max_deleted: EntryId,
    /// The node that is open, and how many entries it has got, deleted ones too.
    node: u64,
    node_slots: usize,
    group: Option<ModelGroup>,
}

impl Model {
    fn add(&mut self, id: EntryId, fields: Vec<Vec<u8>>) -> bool {
        if id <= self.last {
            return false;
        }
        let open = self.entries.last().is_some_and(|last| last.node == self.node);
        if !open || self.node_slots == NODE_ENTRIES {
            self.node += 1;
            self.node_slots = 0;
        }
        self.node_slots += 1;
        self.entries.push(ModelEntry { id, node: self.node, fields });
        (self.exists, self.last) = (true, id);
        true
    }

    fn range(&self, start: EntryId, end: EntryId) -> Vec<ModelEntry> {
        self.entries.iter().filter(|entry| start <= entry.id && entry.id <= end).cloned().collect()
    }

    /// MAXLEN, one entry or one node at a time.
    fn trim(&mut self, max: usize, whole_nodes: bool) -> usize {
        let before = self.entries.len();
        while self.entries.len() > max {
            let first = self.entries[0].node;
            let count = self.entries.iter().filter(|entry| entry.node == first).count();
            if !whole_nodes {
                self.entries.remove(0);
            } else if self.entries.len() - count >= max {
                self.entries.retain(|entry| entry.node != first);
            } else {
                break;
            }
        }
        before - self.entries.len()
    }

    fn trim_below(&mut self, min: EntryId) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.id >= min);
        before - self.entries.len()
    }

    fn delete(&mut self, id: EntryId) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.id != id);
        let deleted = self.entries.len() < before;
        if deleted {
            self.max_deleted = self.max_deleted.max(id);
        }
        deleted
    }
}

type Shown = Vec<(EntryId, Option<Vec<Vec<u8>>>)>;

fn shown(reply: &Reply) -> Shown {
    let list = match reply {
        Reply::Entries(list) => list,
        Reply::Streams(streams) => &streams[0].1,
        Reply::NilArray => return Vec::new(),
        other => panic!("{other:?}"),
    };
    list.iter().map(|(id, body)| (id, body.map(|body| body.map(<[u8]>::to_vec).collect()))).collect()
}

fn expected<'e>(entries: impl IntoIterator<Item = &'e ModelEntry>) -> Shown {
    entries.into_iter().map(|entry| (entry.id, Some(entry.fields.clone()))).collect()
}

#[test]
fn the_machine_agrees_with_the_model() {
    for seed in 0..400 {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let (mut machine, mut model, mut now) = (Machine::new(), Model::default(), 1000);
    machine.limits.entries = NODE_ENTRIES as u32;
    let mut kept = Vec::new();
    for index in 1..=300 {
        now += random.below(3);
        machine.begin(LogIndex(index), TimeMs(now));
        if random.one_in(25) {
            // What a clone holds must not hold anybody up, or change.
            kept.push(machine.clone());
        }
        step(&mut random, &mut machine, &mut model, now);
        let start = EntryId::new(1000 + random.below(300), random.below(3));
        let end = EntryId::new(start.ms + random.below(200), random.below(3));
        for reverse in [false, true] {
            let range = Range { key: b"s", start, end, count: Some(1 + random.below(20)), reverse };
            let reply = machine.query(0, TimeMs(now), &Query::Stream(StreamQuery::Range(range)));
            let mut entries = model.range(start, end);
            if reverse {
                entries.reverse();
            }
            entries.truncate(range.count.unwrap() as usize);
            assert_eq!(shown(&reply), expected(&entries), "seed {seed}, {range:?}");
        }
        let length = machine.query(0, TimeMs(now), &Query::Stream(StreamQuery::Length { key: b"s" }));
        assert_eq!(length, Reply::count(model.entries.len()), "seed {seed}");
        assert_eq!(machine.last_id(0, TimeMs(now), b"s"), model.last);
    }
    machine.check();
    kept.iter().for_each(Machine::check);
}

fn step(random: &mut Random, machine: &mut Machine, model: &mut Model, now: u64) {
    let mut apply = |write| machine.apply(&Op::Write { database: 0, write }, &mut Effects::unwanted());
    let some_id = |random: &mut Random, model: &Model| match model.entries.len() {
        0 => EntryId::new(now, 0),
        len => model.entries[random.below(len as u64) as usize].id,
    };
    match random.below(14) {
        0..=5 => {
            let id = if random.flag() { EntryId::new(now, 0) } else { EntryId::new(now, random.below(9)) };
            let fields: Vec<Vec<u8>> = if random.flag() {
                vec![b"field".to_vec(), random.u64().to_string().into_bytes()]
            } else {
                (0..2 * (1 + random.below(3))).map(|n| vec![n as u8; random.below(9) as usize]).collect()
            };
            let args: OwnedArgs = fields.iter().map(|string| &string[..]).collect();
            let reply = apply(Write::Add(Add {
                key: b"s",
                make_stream: true,
                id: NewId::Explicit(id),
                trim: None,
                idempotency: None,
                fields: ArgList::Args(args.as_args()),
            }));
            assert_eq!(reply == Reply::Id(id), model.add(id, fields), "{reply:?}");
        }
        6 => {
            let max = random.below(40);
            let whole = random.flag();
            let exactness = if whole { Exactness::WholeNodes { limit: None } } else { Exactness::Exact };
            let trim = Trim { until: TrimUntil::MaxLength(max), exactness, references: References::Keep };
            let reply = apply(Write::Stream(StreamWrite::Trim { key: b"s", trim }));
            assert_eq!(reply, Reply::count(model.trim(max as usize, whole)));
        }
        7 => {
            let min = some_id(random, model);
            let until = TrimUntil::MinId(min);
            let trim = Trim { until, exactness: Exactness::Exact, references: References::Keep };
            // Rarely, or nothing would be left to read.
            if random.one_in(4) {
                let reply = apply(Write::Stream(StreamWrite::Trim { key: b"s", trim }));
                assert_eq!(reply, Reply::count(model.trim_below(min)));
            }
        }
        8 | 9 => {
            let id = some_id(random, model);
            let reply = apply(Write::Stream(StreamWrite::Delete { key: b"s", ids: vec![id, id] }));
            assert_eq!(reply, Reply::flag(model.delete(id)));
        }
        10 if model.exists && model.group.is_none() => {
            let from = GroupStart::Id(EntryId::MIN);
            let create =
                GroupChange::Create { key: b"s", group: b"g", from, make_stream: false, entries_read: None };
            assert_eq!(apply(Write::GroupChange(create)), Reply::OK);
            model.group = Some(ModelGroup::default());
        }
        10 | 11 => {
            let consumer = random.below(3) as u8;
            let count = 1 + random.below(6);
            let history = random.one_in(3);
            let Some(group) = &mut model.group else { return };
            let from = if history { GroupReadFrom::History(EntryId::MIN) } else { GroupReadFrom::New };
            let name = [b'0' + consumer];
            let streams = vec![(&b"s"[..], from)];
            let read = GroupRead { group: b"g", consumer: &name, count: Some(count), no_ack: false, streams };
            let reply = apply(Write::GroupRead(read));
            let mut wanted: Shown = Vec::new();
            if history {
                let mine = group.pending.iter_mut().filter(|(_, pending)| pending.0 == consumer);
                for (id, pending) in mine.take(count as usize) {
                    let entry = model.entries.iter().find(|entry| entry.id == *id);
                    wanted.push((*id, entry.map(|entry| entry.fields.clone())));
                    if entry.is_some() {
                        (pending.1, pending.2) = (now, pending.2 + 1);
                    }
                }
            } else {
                let last = group.last;
                for entry in model.entries.iter().filter(|entry| entry.id > last).take(count as usize) {
                    wanted.push((entry.id, Some(entry.fields.clone())));
                    group.pending.insert(entry.id, (consumer, now, 1));
                    group.last = entry.id;
                }
            }
            assert_eq!(shown(&reply), wanted);
        }
        12 => {
            let id = some_id(random, model);
            let acknowledge = GroupChange::Acknowledge { key: b"s", group: b"g", ids: vec![id] };
            let reply = apply(Write::GroupChange(acknowledge));
            let had = model.group.as_mut().is_some_and(|group| group.pending.remove(&id).is_some());
            assert_eq!(reply, Reply::flag(had));
        }
        _ => pending(machine, model, now),
    }
}

fn pending(machine: &Machine, model: &Model, now: u64) {
    let Some(group) = &model.group else { return };
    let range =
        PendingRange { min_idle_ms: 0, start: EntryId::MIN, end: EntryId::MAX, count: 1000, consumer: None };
    let query = PendingQuery { key: b"s", group: b"g", range: Some(range) };
    let rows = group.pending.iter().map(|(id, (consumer, at, deliveries))| {
        let owner = Reply::bulk([b'0' + consumer]);
        let (idle, deliveries) = (Reply::Integer((now - at) as i64), Reply::Integer(*deliveries as i64));
        Reply::Array(vec![Reply::Id(*id), owner, idle, deliveries])
    });
    assert_eq!(machine.query(0, TimeMs(now), &Query::Pending(query)), Reply::Array(rows.collect()));
}
