//! The pending entries of a group: by id, and in claim order.

use crate::model::entry_id::EntryId;
use crate::model::time::TimeMs;
use crate::state::group::ConsumerNumber;
use crate::state::id_map::IdMap;

/// An entry delivered but not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// `None`: unowned (XNACK).
    pub owner: Option<ConsumerNumber>,
    /// 0 for an unowned entry.
    pub delivered_at: TimeMs,
    pub deliveries: u64,
}

impl Pending {
    pub fn of_nobody(deliveries: u64) -> Pending {
        Pending { owner: None, delivered_at: TimeMs(0), deliveries }
    }

    /// Milliseconds since the delivery. An unowned entry counts as idle for longer than any request can ask.
    pub fn idle_ms(&self, now: TimeMs) -> u64 {
        if self.owner.is_some() { now.since(self.delivered_at) } else { u64::MAX }
    }

    /// The idle time that clients see: −1 for an unowned entry.
    pub fn idle_shown(&self, now: TimeMs) -> i64 {
        if self.owner.is_some() { now.since(self.delivered_at) as i64 } else { -1 }
    }
}

/// Invariants: `zone` holds exactly the unowned entries; `by_time`, once built, exactly the others.
#[derive(Debug, Clone, Default)]
pub struct PendingList {
    entries: IdMap<Pending>,
    zone: NackZone,
    /// Built on first use, so that groups without CLAIM reads pay nothing. It follows from the entries and is
    /// not part of a checkpoint.
    by_time: Option<IdMap<(), (TimeMs, EntryId)>>,
}

impl PendingList {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, id: EntryId) -> Option<&Pending> {
        self.entries.get(id)
    }

    pub fn range(&self, from: EntryId) -> impl Iterator<Item = (EntryId, &Pending)> {
        self.entries.range(from)
    }

    /// The smallest and the greatest id.
    pub fn ends(&self) -> Option<(EntryId, EntryId)> {
        Some((self.entries.first()?.0, self.entries.last()?.0))
    }

    /// Number of unowned entries.
    pub fn nacked_len(&self) -> usize {
        self.zone.len()
    }

    /// Unowned entries, first in, first out.
    pub fn nacked(&self) -> impl Iterator<Item = EntryId> {
        self.zone.iter()
    }

    /// Inserts an entry and returns the previous one. An unowned entry goes behind all other unowned ones.
    pub fn insert(&mut self, id: EntryId, pending: Pending) -> Option<Pending> {
        let before = self.entries.insert(id, pending);
        if let Some(before) = &before {
            self.unlink(id, before);
        }
        match (pending.owner, &mut self.by_time) {
            (None, _) => self.zone.push(id),
            (Some(_), Some(by_time)) => {
                by_time.insert((pending.delivered_at, id), ());
            }
            (Some(_), None) => {}
        }
        before
    }

    pub fn remove(&mut self, id: EntryId) -> Option<Pending> {
        let pending = self.entries.remove(id)?;
        self.unlink(id, &pending);
        Some(pending)
    }

    fn unlink(&mut self, id: EntryId, pending: &Pending) {
        match (pending.owner, &mut self.by_time) {
            (None, _) => self.zone.remove(id),
            (Some(_), Some(by_time)) => {
                let removed = by_time.remove((pending.delivered_at, id));
                assert!(removed.is_some(), "{id} is in the order of time");
            }
            (Some(_), None) => {}
        }
    }

    /// Prepares [`PendingList::claimable`]. The first call costs time in proportion to the number of entries.
    pub fn order_by_time(&mut self) {
        if self.by_time.is_some() {
            return;
        }
        let owned = self.entries.iter().filter(|(_, pending)| pending.owner.is_some());
        let mut times: Vec<_> = owned.map(|(id, pending)| (pending.delivered_at, id)).collect();
        times.sort_unstable();
        let mut by_time = IdMap::default();
        for time in times {
            by_time.insert(time, ());
        }
        self.by_time = Some(by_time);
    }

    /// Entries idle for at least `min_idle_ms`: first the unowned ones, first in, first out; then the others
    /// by delivery time and id. Requires [`PendingList::order_by_time`] before.
    pub fn claimable(&self, now: TimeMs, min_idle_ms: u64) -> impl Iterator<Item = (EntryId, &Pending)> {
        let by_time = self.by_time.as_ref().expect("the order was made before it is asked for");
        let idle =
            by_time.iter().map(|(key, ())| key).take_while(move |(at, _)| now.since(*at) >= min_idle_ms);
        let ids = self.zone.iter().chain(idle.map(|(_, id)| id));
        ids.map(|id| (id, self.entries.get(id).expect("the orders hold pending ids")))
    }

    /// Whether an entry is claimable; also true if unknown, because the order is not built yet.
    pub fn may_be_claimable(&self, now: TimeMs, min_idle_ms: u64) -> bool {
        match &self.by_time {
            None => !self.is_empty(),
            Some(_) => self.claimable(now, min_idle_ms).next().is_some(),
        }
    }

    /// The time at which the first owned entry becomes claimable if nothing changes; `None` if there is none,
    /// or if it is unknown.
    pub fn next_claimable_at(&self, min_idle_ms: u64) -> Option<TimeMs> {
        let ((at, _), ()) = self.by_time.as_ref()?.first()?;
        Some(TimeMs(at.0.saturating_add(min_idle_ms)))
    }

    /// Estimated bytes of entries and orders; each owned entry also stands in its owner's list.
    pub fn memory(&self) -> usize {
        let entry = size_of::<Pending>() + 2 * size_of::<EntryId>();
        let place = 2 * (size_of::<u64>() + size_of::<EntryId>());
        let ordered = self.by_time.as_ref().map_or(0, IdMap::len) * size_of::<(TimeMs, EntryId)>();
        self.len() * entry + self.nacked_len() * place + ordered
    }

    /// Nodes of the tree of entries that the list does not share with another.
    #[cfg(test)]
    pub fn unshared(&self, other: &PendingList) -> usize {
        self.entries.unshared(&other.entries)
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        self.entries.check();
        self.zone.check();
        let is_nobodys = |id| self.entries.get(id).is_some_and(|pending| pending.owner.is_none());
        assert!(self.zone.iter().all(is_nobodys), "what is in the zone is nobody's");
        let nobodys = self.entries.iter().filter(|(_, pending)| pending.owner.is_none());
        let timeless =
            nobodys.map(|(_, pending)| assert_eq!(pending.delivered_at, TimeMs(0), "it has no time"));
        let nobodys = timeless.count();
        assert_eq!(nobodys, self.zone.len(), "what is nobody's is in the zone");
        if let Some(by_time) = &self.by_time {
            by_time.check();
            assert_eq!(by_time.len() + nobodys, self.entries.len(), "each entry is in one of the orders");
            let agrees = |((at, id), ()): ((TimeMs, EntryId), &())| {
                self.entries
                    .get(id)
                    .is_some_and(|pending| pending.owner.is_some() && pending.delivered_at == at)
            };
            assert!(by_time.iter().all(agrees), "the order of time is that of the entries");
        }
    }
}

/// Ids in order of arrival.
///
/// Invariants: `places` and `by_place` are each other's inverse; `next` is above every place.
#[derive(Debug, Clone, Default)]
struct NackZone {
    by_place: IdMap<EntryId, u64>,
    places: IdMap<u64>,
    next: u64,
}

impl NackZone {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn iter(&self) -> impl Iterator<Item = EntryId> {
        self.by_place.iter().map(|(_, id)| *id)
    }

    /// Appends an id that is not in the zone yet.
    fn push(&mut self, id: EntryId) {
        self.by_place.insert(self.next, id);
        let before = self.places.insert(id, self.next);
        assert!(before.is_none(), "{id} is in the zone already");
        self.next += 1;
    }

    fn remove(&mut self, id: EntryId) {
        let place = self.places.remove(id).expect("what is nobody's is in the zone");
        self.by_place.remove(place);
    }

    fn check(&self) {
        self.by_place.check();
        self.places.check();
        assert_eq!(self.by_place.len(), self.places.len(), "each id has one place");
        for (place, id) in self.by_place.iter() {
            assert_eq!(self.places.get(*id), Some(&place), "{id} knows its place");
            assert!(place < self.next, "places are given in order");
        }
    }
}
