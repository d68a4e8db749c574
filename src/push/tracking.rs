//! CLIENT TRACKING: which client may have cached which key (`tracking.c`, Redis 8.0).
//!
//! This file holds the table and its rules; [`crate::push::invalidation`] applies it to connections.
//! Invariants: a key in the table has readers; `order` and `table` hold the same keys; `items` counts readers
//! over all keys; a client has prefixes if and only if it tracks by broadcast. A reader may have disconnected
//! or stopped tracking: it is skipped when the key changes.

use crate::command::value::connection::TrackingOptions;
use crate::model::reply::ReplyError;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The id of the client's connection.
pub type ClientId = u64;

/// Which reads of a client are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrackingMode {
    #[default]
    All,
    /// Only reads right after CLIENT CACHING YES.
    OptIn,
    /// All reads except those right after CLIENT CACHING NO.
    OptOut,
    /// No reads: the client receives changes of all keys with one of its prefixes.
    Broadcast,
}

/// A tracking client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracker {
    pub mode: TrackingMode,
    /// The client's own changes are not sent to it.
    pub no_loop: bool,
    /// The client that receives the invalidations instead.
    pub redirect: Option<ClientId>,
    /// The redirection target was gone when there was an invalidation to send.
    pub is_redirect_broken: bool,
    /// CLIENT CACHING applies to the next command.
    pub caching: bool,
    pub prefixes: BTreeSet<Bytes>,
}

#[derive(Debug, Default)]
pub struct Tracking {
    trackers: BTreeMap<ClientId, Tracker>,
    table: AHashMap<Bytes, Readers>,
    /// Keys in order of their first read: the oldest is evicted when there are too many.
    order: BTreeMap<u64, Bytes>,
    next_place: u64,
    items: usize,
    prefixes: BTreeMap<Bytes, Prefix>,
}

#[derive(Debug)]
struct Readers {
    place: u64,
    /// Sorted.
    clients: Vec<ClientId>,
}

#[derive(Debug, Default)]
struct Prefix {
    clients: BTreeSet<ClientId>,
    /// Keys changed since the last broadcast, with the client that changed each first.
    changed: BTreeMap<Bytes, Option<ClientId>>,
}

/// The changes for the clients of one prefix.
#[derive(Debug, PartialEq, Eq)]
pub struct Broadcast {
    pub clients: BTreeSet<ClientId>,
    pub changed: BTreeMap<Bytes, Option<ClientId>>,
}

const PREFIX_WITHOUT_BROADCAST: ReplyError =
    ReplyError::new("ERR PREFIX option requires BCAST mode to be enabled");
const BROADCAST_SWITCHED: ReplyError = ReplyError::new(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);
const BROADCAST_IS_NO_OPTION: ReplyError =
    ReplyError::new("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH_OPTIONS: ReplyError = ReplyError::new("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OPTION_SWITCHED: ReplyError = ReplyError::new(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);
const CACHING_WITHOUT_OPTION: ReplyError = ReplyError::new(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const CACHING_YES: ReplyError =
    ReplyError::new("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const CACHING_NO: ReplyError =
    ReplyError::new("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

impl Tracking {
    /// No client tracks.
    pub fn is_off(&self) -> bool {
        self.trackers.is_empty()
    }

    pub fn tracker(&self, client: ClientId) -> Option<&Tracker> {
        self.trackers.get(&client)
    }

    pub fn trackers(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.trackers.keys().copied()
    }

    /// CLIENT TRACKING ON, also for a client that already tracks (`clientCommand`).
    pub fn enable(&mut self, client: ClientId, options: &TrackingOptions<'_>) -> Result<(), ReplyError> {
        if !options.broadcast && !options.prefixes.is_empty() {
            return Err(PREFIX_WITHOUT_BROADCAST);
        }
        let before = self.trackers.get(&client);
        let had = |mode| before.is_some_and(|before| before.mode == mode);
        if before.is_some() && options.broadcast != had(TrackingMode::Broadcast) {
            return Err(BROADCAST_SWITCHED);
        }
        if options.broadcast && (options.opt_in || options.opt_out) {
            return Err(BROADCAST_IS_NO_OPTION);
        }
        if options.opt_in && options.opt_out {
            return Err(BOTH_OPTIONS);
        }
        if (options.opt_in && had(TrackingMode::OptOut)) || (options.opt_out && had(TrackingMode::OptIn)) {
            return Err(OPTION_SWITCHED);
        }
        let mut prefixes = before.map(|before| before.prefixes.clone()).unwrap_or_default();
        check_prefixes(&options.prefixes, &prefixes)?;
        if options.broadcast {
            let nothing: &[&[u8]] = &[b""];
            let added = if options.prefixes.is_empty() { nothing } else { &options.prefixes };
            for prefix in added {
                let prefix = Bytes::copy_from_slice(prefix);
                self.prefixes.entry(prefix.clone()).or_default().clients.insert(client);
                prefixes.insert(prefix);
            }
        }
        let mode = match options {
            TrackingOptions { broadcast: true, .. } => TrackingMode::Broadcast,
            TrackingOptions { opt_in: true, .. } => TrackingMode::OptIn,
            TrackingOptions { opt_out: true, .. } => TrackingMode::OptOut,
            _ => TrackingMode::All,
        };
        let (no_loop, redirect) = (options.no_loop, options.redirect);
        let tracker =
            Tracker { mode, no_loop, redirect, is_redirect_broken: false, caching: false, prefixes };
        self.trackers.insert(client, tracker);
        Ok(())
    }

    /// Also for a client that does not track. The last client takes the table with it.
    pub fn disable(&mut self, client: ClientId) {
        let Some(tracker) = self.trackers.remove(&client) else { return };
        for name in &tracker.prefixes {
            let prefix = self.prefixes.get_mut(name).expect("a client's prefixes are known");
            prefix.clients.remove(&client);
            if prefix.clients.is_empty() {
                self.prefixes.remove(name);
            }
        }
        if self.is_off() {
            self.forget_all();
        }
    }

    /// CLIENT CACHING YES, NO.
    pub fn set_caching(&mut self, client: ClientId, yes: bool) -> Result<(), ReplyError> {
        let Some(tracker) = self.trackers.get_mut(&client) else { return Err(CACHING_WITHOUT_OPTION) };
        match (yes, tracker.mode) {
            (true, TrackingMode::OptIn) | (false, TrackingMode::OptOut) => tracker.caching = true,
            (true, _) => return Err(CACHING_YES),
            (false, _) => return Err(CACHING_NO),
        }
        Ok(())
    }

    /// The command that CLIENT CACHING applied to has ended.
    pub fn end_caching(&mut self, client: ClientId) {
        if let Some(tracker) = self.trackers.get_mut(&client) {
            tracker.caching = false;
        }
    }

    /// Whether the client tracks some or all of its reads.
    pub fn tracks_reads(&self, client: ClientId) -> bool {
        self.trackers.get(&client).is_some_and(|tracker| tracker.mode != TrackingMode::Broadcast)
    }

    /// Whether the client's current reads are remembered.
    pub fn remembers(&self, client: ClientId) -> bool {
        self.trackers.get(&client).is_some_and(|tracker| match tracker.mode {
            TrackingMode::All => true,
            TrackingMode::OptIn => tracker.caching,
            TrackingMode::OptOut => !tracker.caching,
            TrackingMode::Broadcast => false,
        })
    }

    /// The client has read the key. Databases are not distinguished, as in Redis.
    pub fn remember(&mut self, client: ClientId, key: &[u8]) {
        let readers = match self.table.get_mut(key) {
            Some(readers) => readers,
            None => {
                let key = Bytes::copy_from_slice(key);
                let place = self.next_place;
                self.next_place += 1;
                self.order.insert(place, key.clone());
                self.table.entry(key).or_insert(Readers { place, clients: Vec::new() })
            }
        };
        if let Err(at) = readers.clients.binary_search(&client) {
            readers.clients.insert(at, client);
            self.items += 1;
        }
    }

    /// While there are more keys than `keys_max` (0: no bound): the oldest key of the table, to be
    /// invalidated as if it had changed.
    pub fn overdue(&self, keys_max: u64) -> Option<Bytes> {
        let is_over = keys_max > 0 && self.table.len() as u64 > keys_max;
        if is_over { self.order.first_key_value().map(|(_, key)| key.clone()) } else { None }
    }

    /// The key has changed or is evicted: returns the clients to notify. Each is notified once, and again
    /// only after it has read the key again.
    pub fn invalidate(&mut self, key: &[u8], by: Option<ClientId>) -> Vec<ClientId> {
        let Some(readers) = self.table.remove(key) else { return Vec::new() };
        self.order.remove(&readers.place);
        self.items -= readers.clients.len();
        let is_told = |client: &ClientId| {
            self.trackers.get(client).is_some_and(|tracker| {
                tracker.mode != TrackingMode::Broadcast && !(tracker.no_loop && by == Some(*client))
            })
        };
        readers.clients.into_iter().filter(is_told).collect()
    }

    /// Keeps the key for the next broadcast.
    pub fn note_change(&mut self, key: &Bytes, by: Option<ClientId>) {
        for (name, prefix) in &mut self.prefixes {
            if key.starts_with(name) {
                prefix.changed.entry(key.clone()).or_insert(by);
            }
        }
    }

    /// The changes since the last call, prefix by prefix.
    pub fn take_broadcasts(&mut self) -> Vec<Broadcast> {
        let prefixes = self.prefixes.values_mut().filter(|prefix| !prefix.changed.is_empty());
        prefixes
            .map(|prefix| Broadcast {
                clients: prefix.clients.clone(),
                changed: std::mem::take(&mut prefix.changed),
            })
            .collect()
    }

    /// All keys are deleted (FLUSHALL): returns all tracking clients, and forgets their reads.
    pub fn forget_all(&mut self) {
        self.table = AHashMap::new();
        self.order.clear();
        self.items = 0;
    }

    /// The redirection target of the client is gone.
    pub fn break_redirect(&mut self, client: ClientId) {
        if let Some(tracker) = self.trackers.get_mut(&client) {
            tracker.is_redirect_broken = true;
        }
    }

    /// For INFO: clients, keys, readers over all keys, prefixes.
    pub fn totals(&self) -> [usize; 4] {
        [self.trackers.len(), self.table.len(), self.items, self.prefixes.len()]
    }
}

/// The prefixes of a client must not contain each other; otherwise it would be notified twice.
fn check_prefixes(given: &[&[u8]], known: &BTreeSet<Bytes>) -> Result<(), ReplyError> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let refusal = |one: &[u8], which: &str, other: &[u8]| {
        let which = [b"' overlaps with ", which.as_bytes(), b" prefix '"].concat();
        let end = b"'. Prefixes for a single client must not overlap.";
        ReplyError::owned([b"ERR Prefix '", one, &which[..], other, &end[..]].concat())
    };
    for (at, one) in given.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| overlap(one, other)) {
            return Err(refusal(one, "an existing", other));
        }
        if let Some(other) = given[at + 1..].iter().find(|other| overlap(one, other)) {
            return Err(refusal(one, "another provided", other));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ClientId = 1;
    const BOB: ClientId = 2;

    fn tracking(options: &TrackingOptions<'_>) -> Tracking {
        let mut tracking = Tracking::default();
        tracking.enable(ANN, options).unwrap();
        tracking
    }

    fn check(tracking: &Tracking) {
        assert_eq!(tracking.table.len(), tracking.order.len());
        assert_eq!(
            tracking.items,
            tracking.table.values().map(|readers| readers.clients.len()).sum::<usize>()
        );
        assert!(tracking.table.values().all(|readers| !readers.clients.is_empty()));
        for (place, key) in &tracking.order {
            assert_eq!(tracking.table[key].place, *place);
        }
        for (name, prefix) in &tracking.prefixes {
            assert!(prefix.clients.iter().all(|id| tracking.trackers[id].prefixes.contains(name)));
        }
    }

    #[test]
    fn a_reader_is_told_once() {
        let mut tracking = tracking(&TrackingOptions::default());
        tracking.enable(BOB, &TrackingOptions { no_loop: true, ..Default::default() }).unwrap();
        for (client, key) in [(BOB, "a"), (ANN, "a"), (ANN, "a"), (ANN, "b")] {
            tracking.remember(client, key.as_bytes());
        }
        assert_eq!(tracking.totals(), [2, 2, 3, 0]);
        check(&tracking);
        assert_eq!(tracking.invalidate(b"a", Some(BOB)), [ANN], "Bob asked not to be told of himself");
        assert_eq!(tracking.invalidate(b"a", None), []);
        tracking.remember(BOB, b"a");
        assert_eq!(tracking.invalidate(b"a", Some(ANN)), [BOB]);
        tracking.disable(ANN);
        assert_eq!(tracking.invalidate(b"b", None), [], "she tracks no more");
        tracking.remember(BOB, b"c");
        tracking.disable(BOB);
        assert_eq!((tracking.is_off(), tracking.totals()), (true, [0; 4]));
        check(&tracking);
    }

    #[test]
    fn the_oldest_key_goes_when_there_are_too_many() {
        let mut tracking = tracking(&TrackingOptions::default());
        for key in ["a", "b", "c", "a"] {
            tracking.remember(ANN, key.as_bytes());
        }
        assert_eq!(tracking.overdue(0), None);
        assert_eq!(tracking.overdue(3), None);
        assert_eq!(tracking.overdue(2).unwrap(), "a");
        assert_eq!(tracking.invalidate(b"a", None), [ANN]);
        assert_eq!(tracking.overdue(2), None);
        check(&tracking);
    }

    #[test]
    fn options_say_what_is_remembered() {
        let mut by_choice = tracking(&TrackingOptions { opt_in: true, ..Default::default() });
        assert!(!by_choice.remembers(ANN) && !by_choice.remembers(BOB));
        by_choice.set_caching(ANN, true).unwrap();
        assert!(by_choice.remembers(ANN));
        by_choice.end_caching(ANN);
        assert!(!by_choice.remembers(ANN));
        assert_eq!(by_choice.set_caching(ANN, false), Err(CACHING_NO));
        assert_eq!(by_choice.set_caching(BOB, true), Err(CACHING_WITHOUT_OPTION));
        let mut unless = tracking(&TrackingOptions { opt_out: true, ..Default::default() });
        assert!(unless.remembers(ANN));
        unless.set_caching(ANN, false).unwrap();
        assert!(!unless.remembers(ANN));
        assert_eq!(unless.set_caching(ANN, true), Err(CACHING_YES));
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        let with = |set: fn(&mut TrackingOptions<'_>)| {
            let mut options = TrackingOptions::default();
            set(&mut options);
            options
        };
        let mut none = Tracking::default();
        assert_eq!(none.enable(ANN, &with(|o| o.prefixes = vec![b"a"])), Err(PREFIX_WITHOUT_BROADCAST));
        assert_eq!(none.enable(ANN, &with(|o| (o.opt_in, o.opt_out) = (true, true))), Err(BOTH_OPTIONS));
        let both = with(|o| (o.broadcast, o.opt_in) = (true, true));
        assert_eq!(none.enable(ANN, &both), Err(BROADCAST_IS_NO_OPTION));
        let mut some = tracking(&with(|o| o.opt_in = true));
        assert_eq!(some.enable(ANN, &with(|o| o.broadcast = true)), Err(BROADCAST_SWITCHED));
        assert_eq!(some.enable(ANN, &with(|o| o.opt_out = true)), Err(OPTION_SWITCHED));
        some.enable(ANN, &with(|_| ())).unwrap();
        assert_eq!(some.tracker(ANN).unwrap().mode, TrackingMode::All, "and to all reads it may go");
        let overlapping = with(|o| (o.broadcast, o.prefixes) = (true, vec![&b"a"[..], b"ab"]));
        let text = none.enable(ANN, &overlapping).unwrap_err();
        assert!(text.as_bytes().starts_with(b"ERR Prefix 'a' overlaps with another provided prefix 'ab'."));
        assert!(none.is_off() && none.prefixes.is_empty(), "what is refused has no effect");
    }

    #[test]
    fn a_broadcast_tells_each_key_once() {
        let broadcast = |prefixes| TrackingOptions { broadcast: true, prefixes, ..Default::default() };
        let mut tracking = tracking(&broadcast(vec![b"a", b"b"]));
        tracking.enable(BOB, &broadcast(Vec::new())).unwrap();
        for (key, by) in [("a2", Some(ANN)), ("a1", None), ("a2", Some(BOB)), ("c", None)] {
            tracking.note_change(&Bytes::from_static(key.as_bytes()), by);
        }
        let told = tracking.take_broadcasts();
        let keys = |broadcast: &Broadcast| broadcast.changed.clone().into_iter().collect::<Vec<_>>();
        let (a1, a2, c) =
            ((Bytes::from("a1"), None), (Bytes::from("a2"), Some(ANN)), (Bytes::from("c"), None));
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].clients.clone(), keys(&told[0])),
            ([BOB].into(), vec![a1.clone(), a2.clone(), c])
        );
        assert_eq!((told[1].clients.clone(), keys(&told[1])), ([ANN].into(), vec![a1, a2]));
        assert_eq!(tracking.take_broadcasts(), []);
        assert!(!tracking.remembers(ANN));
        let again = tracking.enable(ANN, &broadcast(vec![b"b1"])).unwrap_err();
        assert!(again.as_bytes().starts_with(b"ERR Prefix 'b1' overlaps with an existing prefix 'b'."));
        tracking.enable(ANN, &broadcast(vec![b"d"])).unwrap();
        assert_eq!(tracking.totals(), [2, 0, 0, 4]);
        check(&tracking);
        tracking.disable(ANN);
        assert_eq!(tracking.totals(), [1, 0, 0, 1]);
    }
}
