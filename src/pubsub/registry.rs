//! The registry of subscriptions to channels, patterns and shard channels.
//!
//! It keeps both directions, so a leaving subscriber costs only its own subscriptions. The server limits
//! their number. A message reaches the subscribers of a channel in order of subscription.

use crate::base::glob;
use ahash::{AHashMap, AHashSet};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Identifies a subscriber: its connection's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(pub u64);

/// The kind of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Channel,
    Pattern,
    Shard,
}

/// The subscription by which a message reaches a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery<'a> {
    Message,
    PatternMessage { pattern: &'a Bytes },
}

/// All subscriptions of a frontend.
#[derive(Debug, Default)]
pub struct Registry {
    channels: AHashMap<Bytes, Vec<SubscriberId>>,
    shards: AHashMap<Bytes, Vec<SubscriberId>>,
    /// By an ascending number, hence in order of first subscription: PUBLISH iterates over all of them.
    patterns: BTreeMap<u64, (Bytes, Vec<SubscriberId>)>,
    pattern_numbers: AHashMap<Bytes, u64>,
    next_pattern: u64,
    subscribers: AHashMap<SubscriberId, Subscriptions>,
}

/// Estimated bytes of a subscription besides its name.
const SUBSCRIPTION_BYTES: usize = 100;

/// Estimated bytes of a maker; names and users are shared.
const MAKER_BYTES: usize = 80;

#[derive(Debug, Default)]
struct Subscriptions {
    /// Estimated bytes of its subscriptions; a shared name counts for each subscriber.
    bytes: usize,
    channels: AHashSet<Bytes>,
    patterns: AHashSet<Bytes>,
    shards: AHashSet<Bytes>,
    /// The users who made subscriptions, by name, if the connection has become another user since. Usually
    /// empty.
    makers: AHashMap<(Kind, Bytes), Bytes>,
}

impl Subscriptions {
    fn of(&self, kind: Kind) -> &AHashSet<Bytes> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut AHashSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}

impl Registry {
    /// Returns whether the subscription is new.
    pub fn subscribe(&mut self, id: SubscriberId, kind: Kind, name: &[u8]) -> bool {
        let own = self.subscribers.entry(id).or_default().of_mut(kind);
        if own.contains(name) {
            return false;
        }
        // All subscribers share one copy of a name.
        let known = match kind {
            Kind::Channel => self.channels.get_key_value(name).map(|(name, _)| name.clone()),
            Kind::Shard => self.shards.get_key_value(name).map(|(name, _)| name.clone()),
            Kind::Pattern => self.pattern_numbers.get_key_value(name).map(|(name, _)| name.clone()),
        };
        let name = known.unwrap_or_else(|| Bytes::copy_from_slice(name));
        own.insert(name.clone());
        if let Some(subscriptions) = self.subscribers.get_mut(&id) {
            subscriptions.bytes += SUBSCRIPTION_BYTES + name.len();
        }
        match kind {
            Kind::Channel => self.channels.entry(name).or_default().push(id),
            Kind::Shard => self.shards.entry(name).or_default().push(id),
            Kind::Pattern => {
                let number = *self.pattern_numbers.entry(name.clone()).or_insert_with(|| {
                    self.next_pattern += 1;
                    self.next_pattern
                });
                self.patterns.entry(number).or_insert_with(|| (name, Vec::new())).1.push(id);
            }
        }
        true
    }

    /// Returns whether the subscription existed.
    pub fn unsubscribe(&mut self, id: SubscriberId, kind: Kind, name: &[u8]) -> bool {
        let Some(subscriptions) = self.subscribers.get_mut(&id) else { return false };
        if !subscriptions.of_mut(kind).remove(name) {
            return false;
        }
        subscriptions.bytes -= SUBSCRIPTION_BYTES + name.len();
        if !subscriptions.makers.is_empty() {
            subscriptions.makers.remove(&(kind, Bytes::copy_from_slice(name)));
        }
        if [Kind::Channel, Kind::Pattern, Kind::Shard].iter().all(|&kind| subscriptions.of(kind).is_empty()) {
            self.subscribers.remove(&id);
        }
        self.unlink(id, kind, name);
        true
    }

    /// The subscriber becomes another user: the subscriptions that it has made as `user` stay that user's.
    pub fn leave_to(&mut self, id: SubscriberId, user: &[u8]) {
        let Some(subscriptions) = self.subscribers.get_mut(&id) else { return };
        let user = Bytes::copy_from_slice(user);
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in subscriptions.of(kind).clone() {
                subscriptions.makers.entry((kind, name)).or_insert_with(|| user.clone());
            }
        }
    }

    /// The earlier users of a subscriber who made some of its subscriptions.
    pub fn makers(&self, id: SubscriberId) -> BTreeSet<Bytes> {
        self.subscribers.get(&id).map(|all| all.makers.values().cloned().collect()).unwrap_or_default()
    }

    /// The subscriptions that an earlier user of the subscriber made, or, without a name, its present one.
    pub fn made_by<'r>(
        &'r self,
        id: SubscriberId,
        maker: Option<&'r [u8]>,
    ) -> impl Iterator<Item = (Kind, &'r Bytes)> {
        let all = self.subscribers.get(&id).into_iter();
        all.flat_map(move |all| {
            let kinds = [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter();
            let each = kinds.flat_map(|kind| all.of(kind).iter().map(move |name| (kind, name)));
            each.filter(move |(kind, name)| {
                let known =
                    if all.makers.is_empty() { None } else { all.makers.get(&(*kind, (*name).clone())) };
                known.map(|user| &user[..]) == maker
            })
        })
    }

    /// Ends all subscriptions of a subscriber.
    pub fn drop_subscriber(&mut self, id: SubscriberId) {
        let Some(subscriptions) = self.subscribers.remove(&id) else { return };
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in subscriptions.of(kind) {
                self.unlink(id, kind, name);
            }
        }
    }

    fn unlink(&mut self, id: SubscriberId, kind: Kind, name: &[u8]) {
        let map = match kind {
            Kind::Channel => &mut self.channels,
            Kind::Shard => &mut self.shards,
            Kind::Pattern => {
                let number = self.pattern_numbers[name];
                let ids = &mut self.patterns.get_mut(&number).expect("a pattern has subscribers").1;
                ids.retain(|&other| other != id);
                if ids.is_empty() {
                    self.patterns.remove(&number);
                    self.pattern_numbers.remove(name);
                }
                return;
            }
        };
        let ids = map.get_mut(name).expect("both directions agree");
        ids.retain(|&other| other != id);
        if ids.is_empty() {
            map.remove(name);
        }
    }

    /// A subscriber's names of one kind, sorted: UNSUBSCRIBE without arguments iterates over them.
    pub fn names(&self, id: SubscriberId, kind: Kind) -> Vec<Bytes> {
        let mut names: Vec<_> =
            self.subscribers.get(&id).into_iter().flat_map(|s| s.of(kind).iter().cloned()).collect();
        names.sort_unstable();
        names
    }

    /// Number of a subscriber's subscriptions of one kind.
    pub fn count(&self, id: SubscriberId, kind: Kind) -> usize {
        self.subscribers.get(&id).map_or(0, |s| s.of(kind).len())
    }

    /// Channels plus patterns, the number that SUBSCRIBE and PSUBSCRIBE confirm. Shard channels are counted
    /// apart.
    pub fn count_plain(&self, id: SubscriberId) -> usize {
        self.count(id, Kind::Channel) + self.count(id, Kind::Pattern)
    }

    /// Estimated bytes of a subscriber's subscriptions.
    pub fn bytes(&self, id: SubscriberId) -> usize {
        self.subscribers.get(&id).map_or(0, |all| all.bytes + all.makers.len() * MAKER_BYTES)
    }

    /// Whether a subscriber has any subscription.
    #[cfg(test)]
    pub fn is_subscribed(&self, id: SubscriberId) -> bool {
        self.subscribers.contains_key(&id)
    }

    /// The recipients of a PUBLISH: subscribers of the channel, then of matching patterns, pattern by
    /// pattern. A subscriber with several matching subscriptions occurs several times.
    pub fn publish<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = (SubscriberId, Delivery<'a>)> {
        let direct = self.channels.get(channel).into_iter().flatten().map(|&id| (id, Delivery::Message));
        let matching = self.patterns.values().filter(move |(pattern, _)| glob::matches(pattern, channel));
        let by_pattern = matching
            .flat_map(|(pattern, ids)| ids.iter().map(move |&id| (id, Delivery::PatternMessage { pattern })));
        direct.chain(by_pattern)
    }

    /// The recipients of an SPUBLISH.
    pub fn publish_shard(&self, channel: &[u8]) -> &[SubscriberId] {
        self.shards.get(channel).map_or(&[], Vec::as_slice)
    }

    /// PUBSUB CHANNELS and SHARDCHANNELS: active channels, sorted; all of them without a pattern.
    pub fn channels(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let matches = |name: &&Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        let mut names: Vec<Bytes> = match kind {
            Kind::Channel => self.channels.keys().filter(matches).cloned().collect(),
            Kind::Shard => self.shards.keys().filter(matches).cloned().collect(),
            Kind::Pattern => self.pattern_numbers.keys().filter(matches).cloned().collect(),
        };
        names.sort_unstable();
        names
    }

    /// PUBSUB NUMSUB and SHARDNUMSUB.
    pub fn subscribers_of(&self, kind: Kind, name: &[u8]) -> usize {
        match kind {
            Kind::Channel => self.channels.get(name).map_or(0, Vec::len),
            Kind::Shard => self.shards.get(name).map_or(0, Vec::len),
            Kind::Pattern => self.pattern_numbers.get(name).map_or(0, |number| self.patterns[number].1.len()),
        }
    }

    /// Number of active names of a kind. For patterns this is PUBSUB NUMPAT: each counts once, however many
    /// subscribers it has.
    pub fn total(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.channels.len(),
            Kind::Shard => self.shards.len(),
            Kind::Pattern => self.patterns.len(),
        }
    }

    /// Number of connections with any subscription (INFO pubsub_clients).
    pub fn subscribers(&self) -> usize {
        self.subscribers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANN: SubscriberId = SubscriberId(1);
    const BOB: SubscriberId = SubscriberId(2);

    #[test]
    fn subscriptions_take_memory_until_they_end() {
        let mut registry = Registry::default();
        for name in [&b"a"[..], b"a", &[b'x'; 1000]] {
            registry.subscribe(ANN, Kind::Channel, name);
        }
        assert_eq!(registry.bytes(ANN), 2 * SUBSCRIPTION_BYTES + 1001);
        assert_eq!(registry.bytes(BOB), 0);
        registry.unsubscribe(ANN, Kind::Channel, &[b'x'; 1000]);
        registry.unsubscribe(ANN, Kind::Channel, b"other");
        assert_eq!(registry.bytes(ANN), SUBSCRIPTION_BYTES + 1);
        registry.unsubscribe(ANN, Kind::Channel, b"a");
        assert_eq!(registry.bytes(ANN), 0);
    }

    #[test]
    fn publish_reaches_channels_then_patterns_in_order() {
        let mut registry = Registry::default();
        assert!(registry.subscribe(BOB, Kind::Channel, b"news"));
        assert!(!registry.subscribe(BOB, Kind::Channel, b"news"));
        registry.subscribe(ANN, Kind::Channel, b"news");
        registry.subscribe(ANN, Kind::Pattern, b"n*");
        registry.subscribe(BOB, Kind::Pattern, b"x*");
        registry.subscribe(ANN, Kind::Shard, b"news");
        let pattern = Bytes::from_static(b"n*");
        let reached: Vec<_> = registry.publish(b"news").collect();
        let expected = [
            (BOB, Delivery::Message),
            (ANN, Delivery::Message),
            (ANN, Delivery::PatternMessage { pattern: &pattern }),
        ];
        assert_eq!(reached, expected);
        assert_eq!(registry.publish_shard(b"news"), [ANN]);
        assert_eq!((registry.count_plain(ANN), registry.count(ANN, Kind::Shard)), (2, 1));
        registry.drop_subscriber(ANN);
        assert_eq!(registry.publish(b"news").count(), 1);
        assert!(
            registry.unsubscribe(BOB, Kind::Channel, b"news")
                && !registry.unsubscribe(BOB, Kind::Channel, b"news")
        );
        assert_eq!((registry.total(Kind::Channel), registry.total(Kind::Pattern)), (0, 1));
        registry.drop_subscriber(BOB);
        assert_eq!((registry.total(Kind::Pattern), registry.subscribers()), (0, 0));
    }

    proptest! {
        /// Both directions agree with a plain list of subscriptions.
        #[test]
        fn agrees_with_a_list(steps in proptest::collection::vec((0u64..3, 0usize..3, 0u8..3, 0u8..8), 0..60)) {
            let mut registry = Registry::default();
            let mut list: Vec<(SubscriberId, Kind, u8)> = Vec::new();
            for (id, kind, name, step) in steps {
                let (id, kind) = (SubscriberId(id), [Kind::Channel, Kind::Pattern, Kind::Shard][kind]);
                let row = (id, kind, name);
                match step {
                    0 => {
                        registry.drop_subscriber(id);
                        list.retain(|(other, ..)| *other != id);
                    }
                    1..4 => {
                        prop_assert_eq!(registry.unsubscribe(id, kind, &[name]), list.contains(&row));
                        list.retain(|other| *other != row);
                    }
                    _ => {
                        prop_assert_eq!(registry.subscribe(id, kind, &[name]), !list.contains(&row));
                        if !list.contains(&row) { list.push(row); }
                    }
                }
                let of = list.iter().filter(|(_, k, n)| (*k, *n) == (kind, name)).count();
                prop_assert_eq!(registry.subscribers_of(kind, &[name]), of);
                prop_assert_eq!(registry.count(id, kind), list.iter().filter(|(i, k, _)| (*i, *k) == (id, kind)).count());
                prop_assert_eq!(registry.names(id, kind).len(), registry.count(id, kind));
                prop_assert_eq!(registry.is_subscribed(id), list.iter().any(|(i, ..)| *i == id));
                let reached = list.iter().filter(|(_, k, n)| *k != Kind::Shard && *n == name).count();
                prop_assert_eq!(registry.publish(&[name]).count(), reached);
            }
        }
    }
}
