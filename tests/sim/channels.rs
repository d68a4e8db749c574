//! What subscribers hear: every message of a channel in its order, from their subscription on.

use super::knowledge::ensure;
use std::collections::{BTreeMap, BTreeSet};

pub const CHANNELS: usize = 2;

/// Each channel has one publisher, which numbers its messages from 1.
#[derive(Default)]
pub struct Channels {
    published: [u64; CHANNELS],
    /// Numbers of messages whose PUBLISH was answered.
    answered: [BTreeSet<u64>; CHANNELS],
    subscriptions: BTreeMap<(u64, usize), Subscription>,
    pub heard: u64,
}

/// A channel of a connection, from the time when its subscription was confirmed.
struct Subscription {
    /// What was sent by then may have come before it.
    after: u64,
    heard: BTreeSet<u64>,
}

impl Channels {
    pub fn next_number(&mut self, channel: usize) -> u64 {
        self.published[channel] += 1;
        self.published[channel]
    }

    pub fn published(&mut self, channel: usize, number: u64) {
        self.answered[channel].insert(number);
    }

    pub fn subscribed(&mut self, connection: u64, name: &str) -> Result<(), String> {
        let channel = channel_of(name)?;
        let subscription = Subscription { after: self.published[channel], heard: BTreeSet::new() };
        let before = self.subscriptions.insert((connection, channel), subscription);
        ensure!(before.is_none(), "a subscription to {name} was confirmed twice");
        Ok(())
    }

    pub fn heard(&mut self, connection: u64, name: &str, text: &str) -> Result<(), String> {
        let channel = channel_of(name)?;
        let number: u64 = text.parse().map_err(|_| format!("a message {text}"))?;
        ensure!(number <= self.published[channel], "message {number} was never published");
        let subscription = self.subscriptions.get_mut(&(connection, channel));
        let subscription = subscription.ok_or(format!("message {number} came before its subscription"))?;
        let before = subscription.heard.last();
        ensure!(before.is_none_or(|before| *before < number), "message {number} came behind {before:?}");
        subscription.heard.insert(number);
        self.heard += 1;
        Ok(())
    }

    /// The connection has read everything that the server had for it: it has missed nothing.
    pub fn verify(&self, connection: u64) -> Result<(), String> {
        for ((_, channel), subscription) in self.subscriptions.range((connection, 0)..=(connection, CHANNELS))
        {
            let after = subscription.after + 1;
            let missed =
                self.answered[*channel].range(after..).find(|number| !subscription.heard.contains(number));
            ensure!(
                missed.is_none(),
                "connection {connection} has missed message {missed:?} of channel {channel}"
            );
        }
        Ok(())
    }

    pub fn disconnected(&mut self, connection: u64) {
        self.subscriptions.retain(|(its, _), _| *its != connection);
    }
}

fn channel_of(name: &str) -> Result<usize, String> {
    name.trim_start_matches("channel").parse().map_err(|_| format!("a channel {name}"))
}
