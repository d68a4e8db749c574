//! What subscribers hear: every message of a channel once, from their subscription on, and those of one
//! publisher in order.

use super::knowledge::ensure;
use std::collections::{BTreeMap, BTreeSet};

pub const CHANNELS: usize = 2;

#[derive(Default)]
pub struct Channels {
    /// By channel and number, from 1: the connection that has published it.
    published: [Vec<u64>; CHANNELS],
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
    /// The number of a message that this connection publishes.
    pub fn next_number(&mut self, channel: usize, publisher: u64) -> u64 {
        self.published[channel].push(publisher);
        self.published[channel].len() as u64
    }

    pub fn published(&mut self, channel: usize, number: u64) {
        self.answered[channel].insert(number);
    }

    pub fn subscribed(&mut self, connection: u64, name: &str) -> Result<(), String> {
        let channel = channel_of(name)?;
        let subscription =
            Subscription { after: self.published[channel].len() as u64, heard: BTreeSet::new() };
        let before = self.subscriptions.insert((connection, channel), subscription);
        ensure!(before.is_none(), "a subscription to {name} was confirmed twice");
        Ok(())
    }

    pub fn heard(&mut self, connection: u64, name: &str, text: &str) -> Result<(), String> {
        let channel = channel_of(name)?;
        let number: u64 = text.parse().map_err(|_| format!("a message {text}"))?;
        let publisher = |number: u64| self.published[channel].get(number as usize - 1);
        ensure!(publisher(number).is_some(), "message {number} was never published");
        let subscription = self.subscriptions.get_mut(&(connection, channel));
        let subscription = subscription.ok_or(format!("message {number} came before its subscription"))?;
        let later = subscription.heard.range(number..).find(|later| publisher(**later) == publisher(number));
        ensure!(later.is_none(), "message {number} came behind {later:?} of the same publisher");
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
