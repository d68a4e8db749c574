//! The idempotent ids of a stream's producers: XADD … IDMP and IDMPAUTO (Redis 8.6).
//!
//! Each producer has its ids in order of arrival. An id is forgotten when its age reaches the stream's
//! duration, or when its producer has as many newer ids as the stream's limit. Age counts from the log time
//! of the id's arrival, not from the entry id's milliseconds, which may run ahead of the clock (Redis
//! #15836).

use crate::base::wire::{Malformed, Reader, Writer};
use crate::model::entry_id::EntryId;
use crate::model::limits::{IDEMPOTENCY_DURATION_S_MAX, IDEMPOTENCY_IDS_MAX};
use crate::model::time::TimeMs;
use crate::state::id_map::IdMap;
use crate::state::shared_map::SharedMap;
use bytes::Bytes;
use std::sync::Arc;

/// Duration and number of remembered ids: of a stream, or the defaults for new streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyLimits {
    /// Seconds for which an id is remembered: from 1 to [`IDEMPOTENCY_DURATION_S_MAX`].
    pub duration_s: u32,
    /// Ids per producer: from 1 to [`IDEMPOTENCY_IDS_MAX`].
    pub ids: u32,
}

impl IdempotencyLimits {
    pub fn are_valid(&self) -> bool {
        (1..=IDEMPOTENCY_DURATION_S_MAX).contains(&self.duration_s)
            && (1..=IDEMPOTENCY_IDS_MAX).contains(&self.ids)
    }

    fn duration_ms(&self) -> u64 {
        u64::from(self.duration_s) * 1000
    }
}

/// The producers of a stream. A stream without producers pays for the limits and two counters.
///
/// Invariants: a producer has at least one id and at most the limit; its ids differ, and their times never
/// decrease; `by_age` has each producer once, with the time of its oldest id.
#[derive(Debug, Clone)]
pub struct ProducerTable {
    limits: IdempotencyLimits,
    /// Entries ever added with an id.
    pub added: u64,
    /// Requests that repeated a remembered id.
    pub duplicates: u64,
    producers: SharedMap<Bytes, Arc<Producer>>,
    by_age: SharedMap<(TimeMs, Bytes), ()>,
}

#[derive(Debug, Clone, Default)]
struct Producer {
    /// By their places, counted from the producer's first id ever.
    ids: IdMap<Remembered, u64>,
    places: SharedMap<Bytes, u64>,
    next_place: u64,
}

/// A producer's id, and the entry that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub id: Bytes,
    pub entry: EntryId,
    /// Log time of its arrival.
    pub at: TimeMs,
}

impl Producer {
    fn find(&self, id: &[u8]) -> Option<&Remembered> {
        self.ids.get(*self.places.get(id)?)
    }

    fn push(&mut self, remembered: Remembered) {
        self.places.insert(remembered.id.clone(), self.next_place);
        self.ids.insert(self.next_place, remembered);
        self.next_place += 1;
    }

    fn pop_oldest(&mut self) {
        let (place, _) = self.ids.first().expect("a producer has an id");
        let oldest = self.ids.remove(place).expect("just seen");
        self.places.remove(&oldest.id);
    }

    fn oldest(&self) -> TimeMs {
        self.ids.first().expect("a producer has an id").1.at
    }

    /// Ids with their places, oldest first.
    fn ids(&self) -> impl Iterator<Item = &Remembered> {
        self.ids.iter().map(|(_, id)| id)
    }
}

impl ProducerTable {
    pub fn new(limits: IdempotencyLimits) -> ProducerTable {
        ProducerTable {
            limits,
            added: 0,
            duplicates: 0,
            producers: SharedMap::default(),
            by_age: SharedMap::default(),
        }
    }

    pub fn limits(&self) -> IdempotencyLimits {
        self.limits
    }

    /// Whether no id is remembered.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Whether the table is as it was created with these limits.
    pub fn is_untouched(&self, limits: IdempotencyLimits) -> bool {
        self.is_empty() && self.added == 0 && self.duplicates == 0 && self.limits == limits
    }

    /// The entry of this producer's id, if the id is remembered at `now`.
    pub fn find(&self, producer: &[u8], id: &[u8], now: TimeMs) -> Option<EntryId> {
        let found = self.producers.get(producer)?.find(id)?;
        (!self.is_due(found.at, now)).then_some(found.entry)
    }

    /// Remembers an id that is absent or due.
    pub fn remember(&mut self, producer: &[u8], id: &[u8], entry: EntryId, now: TimeMs) {
        self.forget_due_of(producer, now);
        let limit = self.limits.ids as usize;
        let (name, before) = match self.producers.get_pair(producer) {
            Some((name, known)) => (name.clone(), Some(known.oldest())),
            None => (Bytes::copy_from_slice(producer), None),
        };
        let known = self.producer(&name);
        if known.ids.len() >= limit {
            known.pop_oldest();
        }
        assert!(known.ids.last().is_none_or(|(_, last)| last.at <= now), "time does not go back");
        let id = Bytes::copy_from_slice(id);
        assert!(!known.places.contains(&id), "{id:?} is remembered already");
        known.push(Remembered { id, entry, at: now });
        let oldest = known.oldest();
        self.added = self.added.saturating_add(1);
        self.move_age(name, before, Some(oldest));
    }

    /// Forgets at most `limit` due ids, oldest producers first; returns their number.
    pub fn forget_due(&mut self, now: TimeMs, limit: usize) -> usize {
        let mut forgotten = 0;
        while let Some(((oldest, name), ())) = self.by_age.first()
            && forgotten < limit
            && self.is_due(*oldest, now)
        {
            let name = name.clone();
            forgotten += self.forget_of(&name, now, limit - forgotten);
        }
        forgotten
    }

    /// The time at which the next id is due.
    pub fn next_due(&self) -> Option<TimeMs> {
        let ((oldest, _), ()) = self.by_age.first()?;
        Some(TimeMs(oldest.0.saturating_add(self.limits.duration_ms())))
    }

    /// Sets the limits. A change forgets all ids, as in Redis.
    pub fn set_limits(&mut self, limits: IdempotencyLimits) {
        if self.limits != limits {
            self.limits = limits;
            self.producers = SharedMap::default();
            self.by_age = SharedMap::default();
        }
    }

    /// Number of producers and number of all their ids that are remembered at `now`.
    pub fn tracked(&self, now: TimeMs) -> (usize, usize) {
        let live = |producer: &Producer| {
            producer.ids.len() - producer.ids().take_while(|id| self.is_due(id.at, now)).count()
        };
        let counts = self.producers.values().map(|producer| live(producer)).filter(|count| *count > 0);
        counts.fold((0, 0), |(producers, ids), count| (producers + 1, ids + count))
    }

    /// Producers by name, each with its ids, oldest first; due ids included.
    pub fn producers(&self) -> impl Iterator<Item = (&Bytes, usize, impl Iterator<Item = &Remembered>)> {
        self.producers.iter().map(|(name, producer)| (name, producer.ids.len(), producer.ids()))
    }

    pub fn producers_len(&self) -> usize {
        self.producers.len()
    }

    /// Estimated bytes; an id stands in two tables.
    pub fn memory(&self) -> usize {
        let ids = |producer: &Producer| -> usize {
            producer.ids().map(|id| id.id.len() + 2 * size_of::<Remembered>()).sum()
        };
        self.producers.iter().map(|(name, producer)| 2 * name.len() + ids(producer)).sum()
    }

    fn is_due(&self, at: TimeMs, now: TimeMs) -> bool {
        now.since(at) >= self.limits.duration_ms()
    }

    fn forget_due_of(&mut self, producer: &[u8], now: TimeMs) {
        if self.producers.get(producer).is_some_and(|producer| self.is_due(producer.oldest(), now)) {
            self.forget_of(producer, now, usize::MAX);
        }
    }

    /// Forgets due ids of an existing producer.
    fn forget_of(&mut self, name: &[u8], now: TimeMs, limit: usize) -> usize {
        let duration_ms = self.limits.duration_ms();
        let producer = Arc::make_mut(self.producers.get_mut(name).expect("looked up before"));
        let before = producer.oldest();
        let due = producer.ids().take(limit).take_while(|id| now.since(id.at) >= duration_ms).count();
        (0..due).for_each(|_| producer.pop_oldest());
        let after = producer.ids.first().map(|(_, id)| id.at);
        let (name, _) = self.producers.get_pair(name).expect("looked up before");
        let name = name.clone();
        if after.is_none() {
            self.producers.remove(&name);
        }
        self.move_age(name, Some(before), after);
        due
    }

    fn move_age(&mut self, name: Bytes, before: Option<TimeMs>, after: Option<TimeMs>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.by_age.remove(&(before, name.clone()));
        }
        if let Some(after) = after {
            self.by_age.insert((after, name), ());
        }
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.limits.duration_s);
        writer.u32(self.limits.ids);
        writer.varint(self.added);
        writer.varint(self.duplicates);
        writer.varint(self.producers.len() as u64);
        for (name, producer) in self.producers.iter() {
            writer.bytes(name);
            writer.varint(producer.ids.len() as u64);
            for remembered in producer.ids() {
                writer.bytes(&remembered.id);
                remembered.entry.encode(writer);
                writer.varint(remembered.at.0);
            }
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<ProducerTable, Malformed> {
        let limits = IdempotencyLimits { duration_s: reader.u32()?, ids: reader.u32()? };
        if !limits.are_valid() {
            return Err(reader.malformed("impossible limits of idempotent ids"));
        }
        let mut table = ProducerTable::new(limits);
        table.added = reader.varint()?;
        table.duplicates = reader.varint()?;
        for _ in 0..reader.count()? {
            let name = Bytes::copy_from_slice(reader.bytes()?);
            if table.producers.last().is_some_and(|(last, _)| *last >= name) {
                return Err(reader.malformed("producers of a stream are not in order"));
            }
            let ids = reader.count()?;
            if ids == 0 || ids > limits.ids as usize {
                return Err(reader.malformed("producer with too few or too many ids"));
            }
            for _ in 0..ids {
                let id = Bytes::copy_from_slice(reader.bytes()?);
                let entry = EntryId::decode(reader)?;
                let at = TimeMs(reader.varint()?);
                if !table.restore(&name, Remembered { id, entry, at }) {
                    return Err(reader.malformed("ids of a producer repeat or are not in order"));
                }
            }
        }
        Ok(table)
    }

    /// Appends an id to its producer without counting it; false if the id is present already, older than the
    /// previous one, or beyond the limit.
    pub fn restore(&mut self, producer: &Bytes, remembered: Remembered) -> bool {
        let limit = self.limits.ids as usize;
        let at = remembered.at;
        let known = self.producer(producer);
        if known.ids.len() >= limit
            || known.places.contains(&remembered.id)
            || known.ids.last().is_some_and(|(_, last)| last.at > at)
        {
            return false;
        }
        known.push(remembered);
        if known.ids.len() == 1 {
            self.by_age.insert((at, producer.clone()), ());
        }
        true
    }

    /// The producer of this name, made if it does not exist.
    fn producer(&mut self, name: &Bytes) -> &mut Producer {
        if !self.producers.contains(name) {
            self.producers.insert(name.clone(), Arc::default());
        }
        Arc::make_mut(self.producers.get_mut(name).expect("just made"))
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        assert!(self.limits.are_valid(), "limits are within their bounds");
        assert_eq!(self.by_age.len(), self.producers.len(), "each producer has one age");
        for (name, producer) in self.producers.iter() {
            let ids = producer.ids.len();
            assert!((1..=self.limits.ids as usize).contains(&ids), "a producer has ids, and not too many");
            assert_eq!(producer.places.len(), ids, "ids of a producer differ");
            for (place, remembered) in producer.ids.iter() {
                assert_eq!(producer.places.get(&remembered.id), Some(&place), "an id is found at its place");
            }
            assert!(producer.ids().is_sorted_by_key(|id| id.at), "times of a producer do not go back");
            assert!(
                self.by_age.contains(&(producer.oldest(), name.clone())),
                "its age is that of its oldest id"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::Random;

    fn entry(ms: u64) -> EntryId {
        EntryId::new(ms, 0)
    }

    fn table(duration_s: u32, ids: u32) -> ProducerTable {
        ProducerTable::new(IdempotencyLimits { duration_s, ids })
    }

    #[test]
    fn the_oldest_id_makes_room_and_a_due_one_goes() {
        let mut table = table(1, 2);
        table.remember(b"p", b"a", entry(1), TimeMs(1000));
        table.remember(b"p", b"b", entry(2), TimeMs(1500));
        table.remember(b"p", b"c", entry(3), TimeMs(1600));
        table.check();
        assert_eq!(table.find(b"p", b"a", TimeMs(1600)), None);
        assert_eq!(table.find(b"p", b"b", TimeMs(2499)), Some(entry(2)));
        assert_eq!(table.find(b"p", b"b", TimeMs(2500)), None);
        assert_eq!(table.next_due(), Some(TimeMs(2500)));
        assert_eq!(table.tracked(TimeMs(2500)), (1, 1));
        assert_eq!(table.forget_due(TimeMs(2599), 10), 1);
        assert_eq!(table.forget_due(TimeMs(2600), 10), 1);
        assert!(table.is_empty() && table.next_due().is_none());
        assert_eq!(table.added, 3);
    }

    #[test]
    fn other_limits_forget_everything_and_the_same_nothing() {
        let mut table = table(100, 100);
        table.remember(b"p", b"a", entry(1), TimeMs(1000));
        table.set_limits(table.limits());
        assert_eq!(table.tracked(TimeMs(1000)), (1, 1));
        table.set_limits(IdempotencyLimits { duration_s: 99, ids: 100 });
        table.check();
        assert_eq!((table.tracked(TimeMs(1000)), table.added), ((0, 0), 1));
    }

    /// Compares the table with a list of everything ever remembered.
    #[test]
    fn the_table_agrees_with_a_list() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut table = table(1 + random.below(3) as u32, 1 + random.below(4) as u32);
            let mut list: Vec<(u8, u8, EntryId, u64)> = Vec::new();
            let mut now = 1000;
            for n in 0..200 {
                now += random.below(700);
                let (producer, id) = (random.below(3) as u8, random.below(6) as u8);
                list.retain(|(_, _, _, at)| now - at < u64::from(table.limits().duration_s) * 1000);
                let known =
                    list.iter().find(|known| (known.0, known.1) == (producer, id)).map(|known| known.2);
                assert_eq!(table.find(&[producer], &[id], TimeMs(now)), known, "seed {seed}");
                match random.below(4) {
                    0 => {
                        table.forget_due(TimeMs(now), random.below(5) as usize);
                    }
                    _ if known.is_none() => {
                        table.remember(&[producer], &[id], entry(n), TimeMs(now));
                        if list.iter().filter(|known| known.0 == producer).count()
                            == table.limits().ids as usize
                        {
                            let oldest = list.iter().position(|known| known.0 == producer).unwrap();
                            list.remove(oldest);
                        }
                        list.push((producer, id, entry(n), now));
                    }
                    _ => {}
                }
                table.check();
                assert_eq!(table.tracked(TimeMs(now)).1, list.len(), "seed {seed}");
                let mut bytes = Vec::new();
                table.encode(&mut Writer::new(&mut bytes));
                let back = ProducerTable::decode(&mut Reader::new(&bytes)).unwrap();
                back.check();
                let mut again = Vec::new();
                back.encode(&mut Writer::new(&mut again));
                assert_eq!(again, bytes);
            }
        }
    }
}
