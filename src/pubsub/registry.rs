//! Who listens to what.

use crate::base::glob;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::BTreeSet;

/// A connection, as a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionKind {
    Channel,
    Pattern,
    ShardChannel,
}

/// Subscriptions of one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub channels: usize,
    pub patterns: usize,
    pub shard_channels: usize,
}

impl Counts {
    pub fn total(&self) -> usize {
        self.channels + self.patterns + self.shard_channels
    }
}

/// Invariant: a subscriber stands in the table of a name exactly if the name stands in the subscriber's list; a name
/// without subscribers and a subscriber without names are not kept.
#[derive(Debug, Default)]
pub struct Registry {
    channels: Names,
    patterns: Names,
    shard_channels: Names,
    by_subscriber: AHashMap<SubscriberId, Subscriptions>,
}

/// Subscribers of each name. Ids ascend with the age of connections, so the order of delivery is a stable one.
type Names = AHashMap<Bytes, BTreeSet<SubscriberId>>;

/// In the order of subscribing: UNSUBSCRIBE without names answers in it.
#[derive(Debug, Default)]
struct Subscriptions {
    channels: OrderedNames,
    patterns: OrderedNames,
    shard_channels: OrderedNames,
}

/// Names by the order in which they came.
#[derive(Debug, Default)]
struct OrderedNames {
    next: u64,
    places: AHashMap<Bytes, u64>,
    names: std::collections::BTreeMap<u64, Bytes>,
}

impl OrderedNames {
    fn insert(&mut self, name: Bytes) {
        self.places.insert(name.clone(), self.next);
        self.names.insert(self.next, name);
        self.next += 1;
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let place = self.places.remove(name);
        place.is_some_and(|place| self.names.remove(&place).is_some())
    }
}

impl Registry {
    /// Returns whether the subscription is new.
    pub fn subscribe(&mut self, subscriber: SubscriberId, kind: SubscriptionKind, name: &[u8]) -> bool {
        let own = self.by_subscriber.entry(subscriber).or_default().of_mut(kind);
        if own.places.contains_key(name) {
            return false;
        }
        let names = match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::ShardChannel => &mut self.shard_channels,
        };
        // Both sides share the bytes of the name that is known already.
        let name = names.get_key_value(name).map_or_else(|| Bytes::copy_from_slice(name), |(name, _)| name.clone());
        own.insert(name.clone());
        names.entry(name).or_default().insert(subscriber);
        true
    }

    /// Returns whether there was such a subscription.
    pub fn unsubscribe(&mut self, subscriber: SubscriberId, kind: SubscriptionKind, name: &[u8]) -> bool {
        let Some(subscriptions) = self.by_subscriber.get_mut(&subscriber) else { return false };
        if !subscriptions.of_mut(kind).remove(name) {
            return false;
        }
        if subscriptions.counts().total() == 0 {
            self.by_subscriber.remove(&subscriber);
        }
        self.remove_from_name(subscriber, kind, name);
        true
    }

    /// The subscriber is gone, and all its subscriptions with it.
    pub fn drop_subscriber(&mut self, subscriber: SubscriberId) {
        let Some(subscriptions) = self.by_subscriber.remove(&subscriber) else { return };
        for kind in [SubscriptionKind::Channel, SubscriptionKind::Pattern, SubscriptionKind::ShardChannel] {
            for name in subscriptions.of(kind).names.values() {
                self.remove_from_name(subscriber, kind, name);
            }
        }
    }

    pub fn counts(&self, subscriber: SubscriberId) -> Counts {
        self.by_subscriber.get(&subscriber).map(Subscriptions::counts).unwrap_or_default()
    }

    /// The subscriber's names of a kind, oldest first.
    pub fn subscriptions(&self, subscriber: SubscriberId, kind: SubscriptionKind) -> Vec<Bytes> {
        let own = self.by_subscriber.get(&subscriber);
        own.map(|own| own.of(kind).names.values().cloned().collect()).unwrap_or_default()
    }

    /// Calls `visit` for each delivery: first the channel's subscribers, then those of each pattern that matches (with
    /// the pattern). A subscriber may be visited more than once, as in Redis.
    pub fn publish(&self, channel: &[u8], sharded: bool, visit: &mut dyn FnMut(SubscriberId, Option<&Bytes>)) {
        let names = if sharded { &self.shard_channels } else { &self.channels };
        for subscriber in names.get(channel).into_iter().flatten() {
            visit(*subscriber, None);
        }
        if sharded {
            return;
        }
        for (pattern, subscribers) in &self.patterns {
            if glob::matches(pattern, channel) {
                for subscriber in subscribers {
                    visit(*subscriber, Some(pattern));
                }
            }
        }
    }

    /// Names of a kind that have subscribers, those that match the pattern if one is given.
    pub fn names(&self, kind: SubscriptionKind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let names = self.table(kind).keys();
        names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).cloned().collect()
    }

    /// Subscribers of one name.
    pub fn subscribers(&self, kind: SubscriptionKind, name: &[u8]) -> usize {
        self.table(kind).get(name).map_or(0, BTreeSet::len)
    }

    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Different patterns, however many subscribers each has.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    pub fn shard_channels(&self) -> usize {
        self.shard_channels.len()
    }

    fn table(&self, kind: SubscriptionKind) -> &Names {
        match kind {
            SubscriptionKind::Channel => &self.channels,
            SubscriptionKind::Pattern => &self.patterns,
            SubscriptionKind::ShardChannel => &self.shard_channels,
        }
    }

    fn remove_from_name(&mut self, subscriber: SubscriberId, kind: SubscriptionKind, name: &[u8]) {
        let names = match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::ShardChannel => &mut self.shard_channels,
        };
        let subscribers = names.get_mut(name).expect("a subscriber's name is in the table of names");
        assert!(subscribers.remove(&subscriber), "{subscriber:?} is in the table of its names");
        if subscribers.is_empty() {
            names.remove(name);
        }
    }
}

impl Subscriptions {
    fn of(&self, kind: SubscriptionKind) -> &OrderedNames {
        match kind {
            SubscriptionKind::Channel => &self.channels,
            SubscriptionKind::Pattern => &self.patterns,
            SubscriptionKind::ShardChannel => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, kind: SubscriptionKind) -> &mut OrderedNames {
        match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::ShardChannel => &mut self.shard_channels,
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            channels: self.channels.places.len(),
            patterns: self.patterns.places.len(),
            shard_channels: self.shard_channels.places.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SubscriberId = SubscriberId(1);
    const B: SubscriberId = SubscriberId(2);

    fn reached(registry: &Registry, channel: &str, sharded: bool) -> Vec<(u64, Option<String>)> {
        let mut reached = Vec::new();
        registry.publish(channel.as_bytes(), sharded, &mut |subscriber, pattern| {
            let pattern = pattern.map(|pattern| String::from_utf8(pattern.to_vec()).unwrap());
            reached.push((subscriber.0, pattern));
        });
        reached
    }

    #[test]
    fn a_message_reaches_the_channel_and_every_pattern_that_matches() {
        let mut registry = Registry::default();
        assert!(registry.subscribe(A, SubscriptionKind::Channel, b"news"));
        assert!(!registry.subscribe(A, SubscriptionKind::Channel, b"news"));
        registry.subscribe(A, SubscriptionKind::Pattern, b"n*");
        registry.subscribe(B, SubscriptionKind::Channel, b"news");
        registry.subscribe(B, SubscriptionKind::ShardChannel, b"news");
        assert_eq!(reached(&registry, "news", false), [(1, None), (2, None), (1, Some("n*".into()))]);
        assert_eq!(reached(&registry, "news", true), [(2, None)]);
        assert_eq!(registry.counts(A), Counts { channels: 1, patterns: 1, shard_channels: 0 });
        assert_eq!(registry.subscribers(SubscriptionKind::Channel, b"news"), 2);
    }

    #[test]
    fn nothing_is_left_of_a_subscriber_that_is_gone() {
        let mut registry = Registry::default();
        for name in [&b"b"[..], b"a", b"c"] {
            registry.subscribe(A, SubscriptionKind::Channel, name);
            registry.subscribe(A, SubscriptionKind::Pattern, name);
            registry.subscribe(A, SubscriptionKind::ShardChannel, name);
        }
        assert_eq!(registry.subscriptions(A, SubscriptionKind::Channel), ["b", "a", "c"]);
        assert!(registry.unsubscribe(A, SubscriptionKind::Channel, b"a"));
        assert!(!registry.unsubscribe(A, SubscriptionKind::Channel, b"a"));
        assert_eq!(registry.subscriptions(A, SubscriptionKind::Channel), ["b", "c"]);
        registry.drop_subscriber(A);
        assert_eq!((registry.channels(), registry.patterns(), registry.shard_channels()), (0, 0, 0));
        assert!(registry.by_subscriber.is_empty());
    }
}
