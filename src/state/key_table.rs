//! A table of keys in order of creation, in pieces that are copied on write.
//!
//! Entries stand in pages, in order of creation; pages stand in segments. Both are behind `Arc`s. An image
//! copies one pointer for each segment, that is for 4,096 keys; the first write to a page after that copies
//! the page and the pointers of its segment. The index by name and the order of the pages follow from the
//! pages, and an image does without them.

use crate::model::log::LogIndex;
use crate::state::key_index::{KeyIndex, SlotNumber};
use ahash::RandomState;
use std::array;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A key's position in the order of creation; SCAN's cursor counts these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct KeySequence(pub u64);

/// What stands in a table beside its key.
pub trait Sequenced: Clone {
    fn sequence(&self) -> KeySequence;
}

/// A key's name. Cheap to clone.
pub type KeyName = Arc<[u8]>;

/// Slots of a page: what a write copies at most, once after an image.
const PAGE_SLOTS: usize = 64;

/// Pages of a segment.
const SEGMENT_PAGES: usize = 64;

/// Two neighbours with fewer entries together become one page.
const MERGED_LEN_MAX: usize = 48;

/// Bytes of a key's cell in the index; a table of cells is three eighths to three quarters full.
const INDEX_BYTES: usize = 14;

#[derive(Debug, Clone)]
struct Slot<E> {
    name: KeyName,
    /// The log entry that changed it last.
    touched: LogIndex,
    entry: E,
}

/// Invariants: entries ascend; `live` counts them; slots from `used` on were never taken; `touched` is not
/// below any entry's.
#[derive(Debug, Clone)]
struct Page<E> {
    /// Not above the first entry.
    base: KeySequence,
    touched: LogIndex,
    used: usize,
    live: usize,
    slots: [Option<Slot<E>>; PAGE_SLOTS],
}

type Segment<E> = [Option<Arc<Page<E>>>; SEGMENT_PAGES];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PageNumber(usize);

/// Invariants: `order` has each page by its base, and no page is empty; all entries of a page lie below the
/// base of the next one; `index` has each entry once, by the hash of its name. The index is never iterated.
#[derive(Debug)]
pub struct KeyTable<E> {
    segments: Vec<Arc<Segment<E>>>,
    order: BTreeMap<KeySequence, PageNumber>,
    /// Numbers without a page, below those that were never given.
    free: Vec<PageNumber>,
    index: KeyIndex,
    hasher: RandomState,
    len: usize,
}

impl<E> Default for KeyTable<E> {
    fn default() -> Self {
        KeyTable {
            segments: Vec::new(),
            order: BTreeMap::new(),
            free: Vec::new(),
            index: KeyIndex::default(),
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<E> Page<E> {
    fn new(base: KeySequence) -> Page<E> {
        Page { base, touched: LogIndex(0), used: 0, live: 0, slots: array::from_fn(|_| None) }
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = &Slot<E>> {
        self.slots[..self.used].iter().flatten()
    }
}

impl<E: Sequenced> Page<E> {
    /// Takes the next slot.
    fn push(&mut self, slot: Slot<E>) -> usize {
        let at = self.used;
        assert!(slot.entry.sequence() >= self.base, "an entry belongs to its page");
        self.touched = self.touched.max(slot.touched);
        self.slots[at] = Some(slot);
        self.used += 1;
        self.live += 1;
        at
    }
}

impl SlotNumber {
    fn new(PageNumber(page): PageNumber, at: usize) -> SlotNumber {
        let number = page * PAGE_SLOTS + at;
        SlotNumber(u32::try_from(number).expect("a table has fewer than 2^32 slots"))
    }

    fn page(self) -> PageNumber {
        PageNumber(self.0 as usize / PAGE_SLOTS)
    }

    fn at(self) -> usize {
        self.0 as usize % PAGE_SLOTS
    }
}

impl<E: Sequenced> KeyTable<E> {
    /// Bytes of the table for each key, without the names' and the values' own.
    pub const BYTES_PER_KEY: usize = size_of::<Option<Slot<E>>>() + INDEX_BYTES;

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keys that fit before the index grows, about.
    pub fn capacity(&self) -> usize {
        self.index.capacity()
    }

    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<SlotNumber> {
        self.find_with(name, |number, _| number)
    }

    #[inline]
    fn find_with<'t, T>(&'t self, name: &[u8], give: impl Fn(SlotNumber, &'t Slot<E>) -> T) -> Option<T> {
        let look = |number| {
            let slot = self.slot(number).filter(|slot| *slot.name == *name)?;
            Some(give(number, slot))
        };
        self.index.find(self.hasher.hash_one(name), look)
    }

    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&E> {
        self.find_with(name, |_, slot| &slot.entry)
    }

    /// The entry at a slot that [`KeyTable::find`] has just given.
    #[inline]
    pub fn entry(&self, number: SlotNumber) -> &E {
        &self.slot(number).expect("a slot of the index is taken").entry
    }

    /// The same, to be changed by the log entry at `index`.
    #[inline]
    pub fn entry_mut(&mut self, number: SlotNumber, index: LogIndex) -> &mut E {
        let page = self.page_mut(number.page());
        page.touched = index;
        let slot = page.slots[number.at()].as_mut().expect("a slot of the index is taken");
        slot.touched = index;
        &mut slot.entry
    }

    /// The same for a change that no checkpoint shows.
    pub fn entry_mut_untouched(&mut self, number: SlotNumber) -> &mut E {
        let page = self.page_mut(number.page());
        &mut page.slots[number.at()].as_mut().expect("a slot of the index is taken").entry
    }

    /// Adds a key that is absent, behind all others.
    pub fn insert_last(&mut self, name: &[u8], entry: E, index: LogIndex) -> SlotNumber {
        let base = entry.sequence();
        let last = self.order.last_key_value().map(|(_, number)| *number);
        let number = match last.filter(|number| self.page(*number).used < PAGE_SLOTS) {
            Some(number) => number,
            None => self.add_page(Page::new(base)),
        };
        let hash = self.hasher.hash_one(name);
        let page = self.page_mut(number);
        let before = page.entries().next_back().map(|slot| slot.entry.sequence());
        assert!(before < Some(base), "{base:?} comes behind {before:?}");
        let at = page.push(Slot { name: name.into(), touched: index, entry });
        let number = SlotNumber::new(number, at);
        self.index.insert(hash, number);
        self.len += 1;
        number
    }

    /// Removes the entry at a slot that [`KeyTable::find`] has just given.
    pub fn remove(&mut self, number: SlotNumber) -> E {
        let page_number = number.page();
        let page = self.page_mut(page_number);
        let slot = page.slots[number.at()].take().expect("a slot of the index is taken");
        page.live -= 1;
        let (base, live) = (page.base, page.live);
        self.index.remove(self.hasher.hash_one(&slot.name[..]), number);
        self.len -= 1;
        if live == 0 {
            self.remove_page(base);
        } else if live <= MERGED_LEN_MAX / 2 {
            self.merge_around(base);
        }
        slot.entry
    }

    /// The key at a position in the order of creation.
    pub fn at(&self, sequence: KeySequence) -> Option<(&KeyName, &E)> {
        self.from(sequence).next().filter(|(_, entry)| entry.sequence() == sequence)
    }

    /// The keys from a position on, in order.
    pub fn from(&self, from: KeySequence) -> impl Iterator<Item = (&KeyName, &E)> {
        let base = self.order.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let pages = self.order.range(base..).map(|(_, number)| self.page(*number));
        pages
            .flat_map(Page::entries)
            .skip_while(move |slot| slot.entry.sequence() < from)
            .map(|slot| (&slot.name, &slot.entry))
    }

    pub fn image(&self) -> TableImage<E> {
        TableImage { segments: self.segments.clone(), len: self.len }
    }

    #[inline]
    fn slot(&self, number: SlotNumber) -> Option<&Slot<E>> {
        self.page(number.page()).slots[number.at()].as_ref()
    }

    #[inline]
    fn page(&self, PageNumber(number): PageNumber) -> &Page<E> {
        let page = &self.segments[number / SEGMENT_PAGES][number % SEGMENT_PAGES];
        page.as_ref().expect("a number in use has a page")
    }

    #[inline]
    fn page_place(&mut self, PageNumber(number): PageNumber) -> &mut Option<Arc<Page<E>>> {
        &mut Arc::make_mut(&mut self.segments[number / SEGMENT_PAGES])[number % SEGMENT_PAGES]
    }

    #[inline]
    fn page_mut(&mut self, number: PageNumber) -> &mut Page<E> {
        Arc::make_mut(self.page_place(number).as_mut().expect("a number in use has a page"))
    }

    fn add_page(&mut self, page: Page<E>) -> PageNumber {
        let number = self.free.pop().unwrap_or(PageNumber(self.order.len()));
        if number.0 / SEGMENT_PAGES == self.segments.len() {
            self.segments.push(Arc::new(array::from_fn(|_| None)));
        }
        self.order.insert(page.base, number);
        *self.page_place(number) = Some(Arc::new(page));
        number
    }

    fn remove_page(&mut self, base: KeySequence) -> Page<E> {
        let number = self.order.remove(&base).expect("the order has each page");
        let page = self.page_place(number).take().expect("a number in use has a page");
        self.free.push(number);
        Arc::unwrap_or_clone(page)
    }

    /// Merges the page with one of its neighbours, if both are nearly empty.
    fn merge_around(&mut self, base: KeySequence) {
        let before = self.order.range(..base).next_back().map(|(before, _)| *before);
        let after = self.order.range(base..).nth(1).map(|(after, _)| *after);
        let pairs = [before.map(|before| (before, base)), after.map(|after| (base, after))];
        let live = |base: KeySequence| self.page(self.order[&base]).live;
        let pair = pairs.into_iter().flatten().find(|(a, b)| live(*a) + live(*b) <= MERGED_LEN_MAX);
        let Some((lower, upper)) = pair else { return };
        let mut moved = Vec::with_capacity(MERGED_LEN_MAX);
        for base in [lower, upper] {
            let number = self.order[&base];
            for (at, slot) in self.remove_page(base).slots.into_iter().enumerate() {
                moved.extend(slot.map(|slot| (SlotNumber::new(number, at), slot)));
            }
        }
        let number = self.add_page(Page::new(lower));
        for (from, slot) in moved {
            let hash = self.hasher.hash_one(&slot.name[..]);
            let at = self.page_mut(number).push(slot);
            self.index.replace(hash, from, SlotNumber::new(number, at));
        }
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        let mut next = KeySequence(0);
        let mut len = 0;
        for (base, number) in &self.order {
            let page = self.page(*number);
            assert_eq!(page.base, *base, "the order has pages by their base");
            assert!(*base >= next, "pages do not overlap");
            assert_eq!(page.entries().count(), page.live, "a page counts its entries");
            assert!(page.live > 0, "no page is empty");
            assert!(page.slots[page.used..].iter().all(Option::is_none), "slots are taken in order");
            for slot in page.entries() {
                assert!(slot.entry.sequence() >= next.max(*base), "entries ascend");
                assert!(slot.touched <= page.touched, "a page was touched when an entry of it was");
                next = KeySequence(slot.entry.sequence().0 + 1);
                let found = self.find(&slot.name).map(|number| self.entry(number).sequence());
                assert_eq!(found, Some(slot.entry.sequence()), "the index finds the key");
            }
            len += page.live;
        }
        assert_eq!(self.len, len, "len counts the entries");
        self.index.check(len);
        let pages = self.segments.iter().flat_map(|segment| segment.iter()).flatten().count();
        assert_eq!(pages, self.order.len(), "the order has each page");
    }
}

/// A table as it was at one moment. Freeing it takes time in proportion to what was changed since.
#[derive(Debug, Clone)]
pub struct TableImage<E> {
    segments: Vec<Arc<Segment<E>>>,
    len: usize,
}

impl<E: Sequenced> TableImage<E> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All keys, in order of creation.
    pub fn entries(&self) -> impl Iterator<Item = (&KeyName, &E)> {
        self.pages(|_| true).into_iter().flat_map(Page::entries).map(|slot| (&slot.name, &slot.entry))
    }

    /// The keys that a log entry after `since` has changed or created, in order of creation.
    pub fn touched_after(&self, since: LogIndex) -> impl Iterator<Item = (&KeyName, &E)> {
        let pages = self.pages(|page| page.touched > since);
        let slots = pages.into_iter().flat_map(Page::entries).filter(move |slot| slot.touched > since);
        slots.map(|slot| (&slot.name, &slot.entry))
    }

    fn pages(&self, is_wanted: impl Fn(&Page<E>) -> bool) -> Vec<&Page<E>> {
        let pages = self.segments.iter().flat_map(|segment| segment.iter().flatten()).map(|page| &**page);
        let mut pages: Vec<&Page<E>> = pages.filter(|page| is_wanted(page)).collect();
        pages.sort_unstable_by_key(|page| page.base);
        pages
    }

    /// Segments, and pages, that the table shares no more.
    #[cfg(test)]
    pub fn unshared(&self, table: &KeyTable<E>) -> (usize, usize) {
        let segments = || self.segments.iter().zip(&table.segments).filter(|(a, b)| !Arc::ptr_eq(a, b));
        let pages = segments().flat_map(|(a, b)| a.iter().zip(b.iter()));
        let pages = pages.filter(|(a, b)| a.as_ref().map(Arc::as_ptr) != b.as_ref().map(Arc::as_ptr)).count();
        (segments().count(), pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Numbered(u64, u32);

    impl Sequenced for Numbered {
        fn sequence(&self) -> KeySequence {
            KeySequence(self.0)
        }
    }

    fn name(number: u16) -> Vec<u8> {
        number.to_string().into_bytes()
    }

    type Model = BTreeMap<u64, (Vec<u8>, u32, u64)>;

    fn listed<'t>(entries: impl Iterator<Item = (&'t KeyName, &'t Numbered)>) -> Vec<(u64, Vec<u8>, u32)> {
        entries.map(|(name, entry)| (entry.0, name.to_vec(), entry.1)).collect()
    }

    fn expected(model: &Model, from: u64, since: u64) -> Vec<(u64, Vec<u8>, u32)> {
        let entries = model.range(from..).filter(|(_, (_, _, touched))| *touched > since);
        entries.map(|(sequence, (name, value, _))| (*sequence, name.clone(), *value)).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order_of_creation(
            ops in proptest::collection::vec((0u8..10, 0u16..700), 0..4000),
            keeps in 0u8..10,
        ) {
            let (mut table, mut model) = (KeyTable::default(), Model::new());
            let mut image = None;
            for (n, (op, number)) in ops.iter().enumerate() {
                let (sequence, index) = (n as u64, LogIndex(n as u64 + 1));
                let name = name(*number);
                match table.find(&name) {
                    None => {
                        table.insert_last(&name, Numbered(sequence, n as u32), index);
                        model.insert(sequence, (name, n as u32, index.0));
                    }
                    Some(found) if *op < keeps => {
                        table.entry_mut(found, index).1 += 1;
                        let (_, value, touched) = model.get_mut(&table.entry(found).0).unwrap();
                        (*value, *touched) = (*value + 1, index.0);
                    }
                    Some(found) => {
                        let removed = table.remove(found);
                        prop_assert_eq!(model.remove(&removed.0).map(|(_, value, _)| value), Some(removed.1));
                        prop_assert_eq!(table.get(&name), None);
                    }
                }
                if n == ops.len() / 2 {
                    image = Some((table.image(), model.clone()));
                }
            }
            table.check();
            for from in (0..ops.len() as u64).step_by(97) {
                prop_assert_eq!(listed(table.from(KeySequence(from))), expected(&model, from, 0));
                let found = table.at(KeySequence(from)).map(|(name, _)| name.to_vec());
                prop_assert_eq!(found, model.get(&from).map(|(name, ..)| name.clone()));
            }
            for (image, model) in image.into_iter().chain([(table.image(), model)]) {
                prop_assert_eq!(image.len(), model.len());
                prop_assert_eq!(listed(image.entries()), expected(&model, 0, 0));
                for since in (0..ops.len() as u64).step_by(131) {
                    let touched = listed(image.touched_after(LogIndex(since)));
                    prop_assert_eq!(touched, expected(&model, 0, since));
                }
            }
        }
    }

    fn filled(keys: u16) -> KeyTable<Numbered> {
        let mut table = KeyTable::default();
        (0..keys).for_each(|n| {
            table.insert_last(&name(n), Numbered(u64::from(n), 0), LogIndex(1));
        });
        table
    }

    #[test]
    fn a_write_copies_one_page_once_after_an_image() {
        let mut table = filled(20_000);
        let image = table.image();
        assert_eq!(image.segments.len(), 5, "an image copies one pointer for 4,096 keys");
        assert_eq!(image.unshared(&table), (0, 0));
        for _ in 0..3 {
            for key in [5, 6, 70] {
                let found = table.find(&name(key)).unwrap();
                table.entry_mut(found, LogIndex(2)).1 += 1;
            }
        }
        assert_eq!(image.unshared(&table), (1, 2));
        table.insert_last(b"new", Numbered(20_000, 0), LogIndex(2));
        table.remove(table.find(&name(19_990)).unwrap());
        assert_eq!(image.unshared(&table), (2, 3));
    }

    #[test]
    fn pages_of_removed_keys_are_merged_and_used_again() {
        let mut table = filled(20_000);
        for n in (0..20_000).filter(|n| n % 10 != 0) {
            table.remove(table.find(&name(n)).unwrap());
        }
        table.check();
        assert_eq!(table.len(), 2000);
        assert!(table.order.len() < 2000 / 20, "{} pages", table.order.len());
        let pages = table.order.len();
        for n in 20_000..30_000 {
            table.insert_last(&name(n), Numbered(u64::from(n), 0), LogIndex(1));
        }
        table.check();
        assert!(table.segments.len() <= 20_000 / 4096 + 1 && table.order.len() < pages + 10_000 / 64 + 2);
    }
}
