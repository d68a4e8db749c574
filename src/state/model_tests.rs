//! The machine against a naive model: a stream is a list of entries, nodes are numbers, a group is a map. The
//! model needs one line where the machine uses runs, nodes and shared copies.

use crate::command::value::group::*;
use crate::command::value::key::KeyWrite;
use crate::command::value::stream::*;
use crate::command::value::{Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::entries::{DeliveredBefore, EntryList};
use crate::model::entry_id::EntryId;
use crate::model::log::LogIndex;
use crate::model::reply::Reply;
use crate::model::reply_size::SizeRule;
use crate::model::time::TimeMs;
use crate::resp::writer::{self, Protocol};
use crate::state::checkpoint;
use crate::state::effects::Effects;
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::state::op::Op;
use crate::state::seen::LoggedOnly;
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
    pending: BTreeMap<EntryId, ModelPending>,
    /// Unowned ids, first in, first out.
    nacked: Vec<EntryId>,
}

#[derive(Clone, Copy)]
struct ModelPending {
    owner: Option<u8>,
    at: u64,
    deliveries: u64,
}

impl ModelGroup {
    fn forget(&mut self, id: EntryId) -> bool {
        self.nacked.retain(|nacked| *nacked != id);
        self.pending.remove(&id).is_some()
    }

    fn own(&mut self, id: EntryId, owner: u8, at: u64, deliveries: u64) {
        self.nacked.retain(|nacked| *nacked != id);
        self.pending.insert(id, ModelPending { owner: Some(owner), at, deliveries });
    }

    fn release(&mut self, id: EntryId, deliveries: u64) {
        self.nacked.retain(|nacked| *nacked != id);
        self.nacked.push(id);
        self.pending.insert(id, ModelPending { owner: None, at: 0, deliveries });
    }

    fn claimable(&self, now: u64, min_idle: u64) -> Vec<EntryId> {
        let owned = self.pending.iter().filter(|(_, pending)| pending.owner.is_some());
        let idle = owned.filter(|(_, pending)| now - pending.at >= min_idle);
        let mut by_time: Vec<_> = idle.map(|(id, pending)| (pending.at, *id)).collect();
        by_time.sort();
        self.nacked.iter().copied().chain(by_time.into_iter().map(|(_, id)| id)).collect()
    }
}

#[derive(Default)]
struct Model {
    exists: bool,
    entries: Vec<ModelEntry>,
    last: EntryId,
    max_deleted: EntryId,
    /// The open node, and the number of its entries, deleted ones included.
    node: u64,
    node_slots: usize,
    groups: BTreeMap<&'static [u8], ModelGroup>,
    /// Producer, id, entry, time of arrival.
    remembered: Vec<(u8, u8, EntryId, u64)>,
    duration_ms: u64,
    ids_max: usize,
    ids_added: i64,
    duplicates: i64,
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

    /// `*`
    fn next_id(&self, now: u64) -> EntryId {
        EntryId::new(now, 0).max(self.last.next().unwrap())
    }

    fn known(&mut self, producer: u8, id: u8, now: u64) -> Option<EntryId> {
        self.remembered.retain(|known| now - known.3 < self.duration_ms);
        self.remembered.iter().find(|known| (known.0, known.1) == (producer, id)).map(|known| known.2)
    }

    fn remember(&mut self, producer: u8, id: u8, entry: EntryId, now: u64) {
        if self.remembered.iter().filter(|known| known.0 == producer).count() == self.ids_max {
            let oldest = self.remembered.iter().position(|known| known.0 == producer).unwrap();
            self.remembered.remove(oldest);
        }
        self.remembered.push((producer, id, entry, now));
        self.ids_added += 1;
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

    fn find(&self, id: EntryId) -> Option<&ModelEntry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    fn is_referenced(&self, id: EntryId) -> bool {
        self.groups.values().any(|group| id > group.last || group.pending.contains_key(&id))
    }

    /// XDELEX of one entry.
    fn delete_each(&mut self, id: EntryId, references: References) -> i64 {
        if references == References::Delete {
            self.groups.values_mut().for_each(|group| {
                group.forget(id);
            });
        }
        let is_pending = self.groups.values().any(|group| group.pending.contains_key(&id));
        if references == References::OnlyUnreferenced && is_pending {
            return 2;
        }
        if self.find(id).is_none() {
            return -1;
        }
        if references == References::OnlyUnreferenced && self.is_referenced(id) {
            return 2;
        }
        self.delete(id);
        1
    }

    /// XTRIM with DELREF or ACKED, one entry at a time.
    fn trim_minding(&mut self, until: TrimUntil, references: References) -> usize {
        let ids: Vec<EntryId> = self.entries.iter().map(|entry| entry.id).collect();
        let mut gone = Vec::new();
        for id in ids {
            let stop = match until {
                TrimUntil::MaxLength(max) => self.entries.len() as u64 <= max,
                TrimUntil::MinId(min) => id >= min,
            };
            if stop {
                break;
            }
            if references == References::Delete || !self.is_referenced(id) {
                self.entries.retain(|entry| entry.id != id);
                gone.push(id);
            }
        }
        if references == References::Delete {
            let goes = |id: EntryId| match until {
                TrimUntil::MinId(min) => id < min,
                TrimUntil::MaxLength(_) => gone.last().is_some_and(|last| id <= *last),
            };
            for group in self.groups.values_mut() {
                group.pending.retain(|id, _| !goes(*id));
                group.nacked.retain(|id| !goes(*id));
            }
        }
        gone.len()
    }

    /// XREADGROUP of the stream, from `>` or from the consumer's history.
    fn read(&mut self, group: &[u8], read: &GroupRead<'_>, consumer: u8, now: u64) -> Shown {
        let entries = self.entries.clone();
        let body =
            |id: EntryId| entries.iter().find(|entry| entry.id == id).map(|entry| entry.fields.clone());
        let group = self.groups.get_mut(group).expect("looked up");
        let mut shown: Shown = Vec::new();
        if let GroupReadFrom::History(after) = read.streams[0].1 {
            let mine: Vec<EntryId> = group.pending.keys().copied().filter(|id| *id > after).collect();
            for id in mine {
                let pending = group.pending.get_mut(&id).unwrap();
                if pending.owner != Some(consumer) {
                    continue;
                }
                if is_full(&shown, &read.limits) {
                    break;
                }
                shown.push((id, body(id), None));
                if body(id).is_some() {
                    (pending.at, pending.deliveries) = (now, (pending.deliveries + 1).min(i64::MAX as u64));
                }
            }
            return shown;
        }
        if let Some(min_idle) = read.claim {
            for id in group.claimable(now, min_idle) {
                if is_full(&shown, &read.limits) {
                    break;
                }
                let pending = group.pending[&id];
                if body(id).is_none() {
                    group.forget(id);
                    continue;
                }
                let idle_ms = pending.owner.map_or(-1, |_| (now - pending.at) as i64);
                let deliveries = pending.deliveries;
                shown.push((id, body(id), Some(DeliveredBefore { idle_ms, deliveries })));
                group.own(id, consumer, now, (deliveries + 1).min(i64::MAX as u64));
            }
        }
        for entry in &entries {
            if entry.id <= group.last {
                continue;
            }
            if is_full(&shown, &read.limits) {
                break;
            }
            shown.push((entry.id, body(entry.id), read.claim.map(|_| DeliveredBefore::NEVER)));
            group.last = entry.id;
            if !read.no_ack {
                group.own(entry.id, consumer, now, 1);
            }
        }
        shown
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

type Shown = Vec<(EntryId, Option<Vec<Vec<u8>>>, Option<DeliveredBefore>)>;

fn shown(reply: &Reply) -> Shown {
    let list = match reply {
        Reply::Entries(list) => list,
        Reply::Streams(streams) => &streams[0].1,
        Reply::NilArray => return Vec::new(),
        other => panic!("{other:?}"),
    };
    let body = |(at, (id, body)): (usize, (EntryId, Option<crate::model::entries::EntryBody<'_>>))| {
        (id, body.map(|body| body.map(<[u8]>::to_vec).collect()), list.before(at))
    };
    list.iter().enumerate().map(body).collect()
}

fn expected<'e>(entries: impl IntoIterator<Item = &'e ModelEntry>) -> Shown {
    entries.into_iter().map(|entry| (entry.id, Some(entry.fields.clone()), None)).collect()
}

/// Whether the limits allow no further entry of a single stream, derived from the reply itself.
fn is_full(shown: &Shown, limits: &ReadLimits) -> bool {
    let entries = shown.len() as u64;
    if limits.count.is_some_and(|most| entries >= most)
        || limits.max_count.is_some_and(|most| entries >= most)
    {
        return true;
    }
    let Some(max) = limits.max_size.filter(|_| entries > 0) else { return false };
    let mut list = EntryList::default();
    for (id, body, before) in shown {
        match body {
            None => list.push_deleted(*id),
            Some(strings) => {
                list.push_entry(*id);
                strings.iter().for_each(|string| list.push_string(string));
            }
        }
        before.iter().for_each(|before| list.push_before(*before));
    }
    let mut out = Vec::new();
    let protocol = match max.rule {
        SizeRule::Resp2V1 => Protocol::Resp2,
        SizeRule::Resp3V1 => Protocol::Resp3,
    };
    writer::write(&mut out, protocol, &Reply::Streams(vec![(bytes::Bytes::from_static(b"s"), list)]));
    let not_known_yet = "*1\r\n".len() + format!("*{entries}\r\n").len();
    (out.len() - not_known_yet) as u64 >= max.bytes
}

#[test]
fn the_machine_agrees_with_the_model() {
    for seed in 0..200 {
        run(seed);
    }
}

fn bytes_of(image: &MachineImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    checkpoint::encode(image, &mut |piece| bytes.extend_from_slice(piece));
    bytes
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let (mut machine, mut now) = (Machine::new(), 1000);
    let mut model = Model { duration_ms: 100_000, ids_max: 100, ..Model::default() };
    machine.limits.entries = NODE_ENTRIES as u32;
    let mut kept = Vec::new();
    for index in 1..=300 {
        // Sometimes long enough for remembered ids to become due.
        now += if seed.is_multiple_of(4) && random.one_in(20) { 700 } else { random.below(3) };
        machine.begin(LogIndex(index), TimeMs(now));
        if random.one_in(25) {
            // An image must neither block the machine nor change with it.
            kept.push((MachineImage::of(&machine), bytes_of(&MachineImage::of(&machine))));
        }
        step(&mut random, &mut machine, &mut model, now);
        if random.one_in(30) {
            machine = checkpoint::decode(&bytes_of(&MachineImage::of(&machine))).unwrap();
        }
        for group in [&b"g"[..], b"h"] {
            pending(&machine, &model, group, now);
        }
        let start = EntryId::new(1000 + random.below(300), random.below(3));
        let end = EntryId::new(start.ms + random.below(200), random.below(3));
        for reverse in [false, true] {
            let range = Range { key: b"s", start, end, count: Some(1 + random.below(20)), reverse };
            let reply: Reply = machine
                .query(0, TimeMs(now), &Query::Stream(StreamQuery::Range(range)), &LoggedOnly)
                .answer
                .into();
            let mut entries = model.range(start, end);
            if reverse {
                entries.reverse();
            }
            entries.truncate(range.count.unwrap() as usize);
            assert_eq!(shown(&reply), expected(&entries), "seed {seed}, {range:?}");
        }
        let length: Reply = machine
            .query(0, TimeMs(now), &Query::Stream(StreamQuery::Length { key: b"s" }), &LoggedOnly)
            .answer
            .into();
        assert_eq!(length, Reply::count(model.entries.len()), "seed {seed}");
        assert_eq!(machine.last_id(0, TimeMs(now), b"s"), model.last);
        idempotency(&machine, &mut model, now);
    }
    machine.check();
    kept.iter().for_each(|(image, bytes)| assert!(bytes_of(image) == *bytes, "seed {seed}"));
}

fn step(random: &mut Random, machine: &mut Machine, model: &mut Model, now: u64) {
    let mut apply = |write: Write<'_>| {
        Reply::from(machine.apply(&Op::Write { database: 0, write }, &mut Effects::unwanted()))
    };
    let some_id = |random: &mut Random, model: &Model| match model.entries.len() {
        0 => EntryId::new(now, 0),
        len => model.entries[random.below(len as u64) as usize].id,
    };
    let group: &'static [u8] = *random.pick(&[b"g", b"h"]);
    let references = |random: &mut Random| {
        *random.pick(&[References::Keep, References::Delete, References::OnlyUnreferenced])
    };
    match random.below(26) {
        22 | 23 => {
            let (producer, name) = (random.below(2) as u8, random.below(5) as u8);
            let fields = vec![b"field".to_vec(), random.u64().to_string().into_bytes()];
            let args: OwnedArgs = fields.iter().map(|string| &string[..]).collect();
            let reply = apply(Write::Add(Add {
                key: b"s",
                make_stream: true,
                id: NewId::Auto,
                trim: None,
                idempotency: Some(Idempotency::Given { producer: &[producer], id: &[name] }),
                fields: ArgList::Args(args.as_args()),
            }));
            if let Some(entry) = model.known(producer, name, now) {
                assert_eq!(reply, Reply::Id(entry));
                model.duplicates += 1;
            } else {
                let entry = model.next_id(now);
                assert_eq!(reply, Reply::Id(entry));
                assert!(model.add(entry, fields));
                model.remember(producer, name, entry, now);
            }
        }
        24 if model.exists && random.one_in(4) => {
            let (duration_s, ids) = (1 + random.below(2) as u32, 1 + random.below(4) as u32);
            let configure =
                StreamWrite::Configure { key: b"s", duration_s: Some(duration_s), ids: Some(ids) };
            assert_eq!(apply(Write::Stream(configure)), Reply::OK);
            if (model.duration_ms, model.ids_max) != (u64::from(duration_s) * 1000, ids as usize) {
                model.remembered.clear();
            }
            (model.duration_ms, model.ids_max) = (u64::from(duration_s) * 1000, ids as usize);
        }
        25 => {
            apply(Write::Key(KeyWrite::ForgetIds { limit: random.below(4) as u32 }));
        }
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
            // Rarely; otherwise nothing would remain to be read.
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
        10 if model.exists && !model.groups.contains_key(group) => {
            let from = GroupStart::Id(EntryId::MIN);
            let create =
                GroupChange::Create { key: b"s", group, from, make_stream: false, entries_read: None };
            assert_eq!(apply(Write::GroupChange(create)), Reply::OK);
            model.groups.insert(group, ModelGroup::default());
        }
        10..=14 => {
            if !model.groups.contains_key(group) {
                return;
            }
            let consumer = random.below(3) as u8;
            let name = [b'0' + consumer];
            let history = random.one_in(3);
            let from = if history { GroupReadFrom::History(EntryId::MIN) } else { GroupReadFrom::New };
            let rule = *random.pick(&[SizeRule::Resp2V1, SizeRule::Resp3V1]);
            let limits = ReadLimits {
                count: Some(1 + random.below(6)),
                max_count: if random.one_in(4) { Some(1 + random.below(6)) } else { None },
                max_size: if random.one_in(3) {
                    Some(MaxSize { bytes: 1 + random.below(300), rule })
                } else {
                    None
                },
            };
            let claim = if random.flag() { Some(random.below(30)) } else { None };
            let no_ack = random.one_in(5);
            let read =
                GroupRead { group, consumer: &name, limits, claim, no_ack, streams: vec![(&b"s"[..], from)] };
            let would_change = machine.would_change(0, TimeMs(now), &read, false);
            let op = Op::Write { database: 0, write: Write::GroupRead(read.clone()) };
            let reply = Reply::from(machine.apply(&op, &mut Effects::unwanted()));
            let wanted = model.read(group, &read, consumer, now);
            assert!(would_change || wanted.is_empty(), "what would be found is applied");
            assert_eq!(shown(&reply), wanted, "{read:?}");
        }
        15 => {
            let id = some_id(random, model);
            let acknowledge = GroupChange::Acknowledge { key: b"s", group, ids: vec![id] };
            let reply = apply(Write::GroupChange(acknowledge));
            let had = model.groups.get_mut(group).is_some_and(|group| group.forget(id));
            assert_eq!(reply, Reply::flag(had));
        }
        16 => {
            let (id, references) = (some_id(random, model), references(random));
            let ids = vec![id, EntryId::new(1, 1), id];
            let reply =
                apply(Write::Stream(StreamWrite::DeleteEach { key: b"s", references, ids: ids.clone() }));
            let wanted = ids.iter().map(|id| Reply::Integer(model.delete_each(*id, references))).collect();
            assert_eq!(reply, Reply::Array(wanted), "{references:?}");
        }
        17 => {
            let (id, references) = (some_id(random, model), references(random));
            let change =
                GroupChange::AcknowledgeAndDelete { key: b"s", group, references, ids: vec![id, id] };
            let reply = apply(Write::GroupChange(change));
            let mut answer = || {
                if !model.groups.get_mut(group).is_some_and(|group| group.forget(id)) {
                    return Reply::Integer(-1);
                }
                Reply::Integer(model.delete_each(id, references).abs())
            };
            assert_eq!(reply, Reply::Array(vec![answer(), answer()]), "{references:?}");
        }
        18 | 19 => {
            let (first, second) = (some_id(random, model), some_id(random, model));
            let pending = model.groups.get(group).and_then(|group| group.pending.keys().nth(2).copied());
            let ids = vec![first, pending.unwrap_or(second), second];
            let mode = *random.pick(&[NackMode::Silent, NackMode::Fail, NackMode::Fatal]);
            let (force, retry_count) = (random.flag(), random.option(|random| random.below(5)));
            let change = GroupChange::NegativeAcknowledge {
                key: b"s",
                group,
                mode,
                ids: ids.clone(),
                retry_count,
                force,
            };
            let reply = apply(Write::GroupChange(change));
            let entries: Vec<EntryId> = model.entries.iter().map(|entry| entry.id).collect();
            let Some(group) = model.groups.get_mut(group) else { return };
            let mut released = 0;
            for id in ids {
                let before = match group.pending.get(&id) {
                    Some(pending) => pending.deliveries,
                    None if force && entries.contains(&id) => 0,
                    None => continue,
                };
                let by_mode = match mode {
                    NackMode::Silent => before.saturating_sub(1),
                    NackMode::Fail => before,
                    NackMode::Fatal => i64::MAX as u64,
                };
                group.release(id, retry_count.unwrap_or(by_mode));
                released += 1;
            }
            assert_eq!(reply, Reply::Integer(released));
        }
        20 => {
            let references = *random.pick(&[References::Delete, References::OnlyUnreferenced]);
            let until = if random.flag() {
                TrimUntil::MaxLength(10 + random.below(40))
            } else {
                TrimUntil::MinId(some_id(random, model).min(EntryId::new(now.saturating_sub(60), 0)))
            };
            let trim = Trim { until, exactness: Exactness::Exact, references };
            let reply = apply(Write::Stream(StreamWrite::Trim { key: b"s", trim }));
            assert_eq!(reply, Reply::count(model.trim_minding(until, references)), "{trim:?}");
        }
        _ => {
            let consumer = random.below(3) as u8;
            let name = [b'0' + consumer];
            if !model.groups.contains_key(group) {
                return;
            }
            if random.one_in(4) {
                let delete = GroupChange::DeleteConsumer { key: b"s", group, consumer: &name };
                let reply = apply(Write::GroupChange(delete));
                let pending = &mut model.groups.get_mut(group).expect("just seen").pending;
                let before = pending.len();
                pending.retain(|_, pending| pending.owner != Some(consumer));
                assert_eq!(reply, Reply::count(before - pending.len()));
                return;
            }
            let id = some_id(random, model);
            let (idle, min_idle_ms) = (random.below(40), random.below(20));
            let claim = Claim {
                key: b"s",
                group,
                consumer: &name,
                min_idle_ms,
                ids: vec![id],
                delivered: DeliveredAt::IdleMs(idle as i64),
                retry_count: None,
                force: false,
                just_id: false,
                last_id: None,
            };
            let reply = apply(Write::Claim(claim));
            let entry = model.find(id).cloned();
            let group = model.groups.get_mut(group).expect("just seen");
            let pending = group.pending.get(&id).copied();
            let is_idle = pending.is_some_and(|it| it.owner.is_none() || now - it.at >= min_idle_ms);
            let claimed = entry.filter(|_| is_idle);
            if let Some(entry) = &claimed {
                let deliveries = pending.expect("it is idle").deliveries;
                group.own(entry.id, consumer, now - idle, (deliveries + 1).min(i64::MAX as u64));
            }
            assert_eq!(shown(&reply), expected(&claimed));
        }
    }
}

/// Compares the producers in XINFO STREAM.
fn idempotency(machine: &Machine, model: &mut Model, now: u64) {
    if !model.exists {
        return;
    }
    let Reply::Map(fields) = machine
        .query(0, TimeMs(now), &Query::Stream(StreamQuery::Info { key: b"s", full: None }), &LoggedOnly)
        .answer
        .into()
    else {
        panic!("XINFO STREAM is a map")
    };
    let field = |name| match fields.iter().find(|(key, _)| *key == Reply::Text(name)) {
        Some((_, Reply::Integer(value))) => *value,
        other => panic!("{name} is {other:?}"),
    };
    model.known(0, 0, now);
    let producers: std::collections::BTreeSet<u8> = model.remembered.iter().map(|known| known.0).collect();
    assert_eq!(field("idmp-duration") * 1000, model.duration_ms as i64);
    assert_eq!(field("idmp-maxsize"), model.ids_max as i64);
    assert_eq!(field("pids-tracked"), producers.len() as i64);
    assert_eq!(field("iids-tracked"), model.remembered.len() as i64);
    assert_eq!(field("iids-added"), model.ids_added);
    assert_eq!(field("iids-duplicates"), model.duplicates);
}

fn pending(machine: &Machine, model: &Model, name: &[u8], now: u64) {
    let Some(group) = model.groups.get(name) else { return };
    let range =
        PendingRange { min_idle_ms: 0, start: EntryId::MIN, end: EntryId::MAX, count: 1000, consumer: None };
    let query = PendingQuery { key: b"s", group: name, range: Some(range) };
    let rows = group.pending.iter().map(|(id, pending)| {
        let owner = pending.owner.map_or(Reply::bulk(b""), |owner| Reply::bulk([b'0' + owner]));
        let idle = Reply::Integer(pending.owner.map_or(-1, |_| (now - pending.at) as i64));
        Reply::Array(vec![Reply::Id(*id), owner, idle, Reply::Integer(pending.deliveries as i64)])
    });
    assert_eq!(
        Reply::from(machine.query(0, TimeMs(now), &Query::Pending(query), &LoggedOnly).answer),
        Reply::Array(rows.collect())
    );
}
