//! The frames that subscribers get.

use crate::model::reply::Reply;
use crate::pubsub::registry::{Counts, SubscriptionKind};
use crate::resp::writer::{self, Protocol};
use bytes::Bytes;

/// One message on its way to many: each form of it is encoded once.
pub struct Frames<'a> {
    channel: &'a Bytes,
    message: &'a Bytes,
    sharded: bool,
    /// By protocol, for subscribers of the channel itself.
    direct: [Vec<u8>; 2],
    /// Of the pattern at hand: patterns come one after the other.
    matched: [Vec<u8>; 2],
    pattern: Option<Bytes>,
}

impl<'a> Frames<'a> {
    pub fn new(channel: &'a Bytes, message: &'a Bytes, sharded: bool) -> Self {
        Frames { channel, message, sharded, direct: Default::default(), matched: Default::default(), pattern: None }
    }

    /// `message`, `smessage`, or `pmessage` if it is for subscribers of a pattern.
    pub fn encode(&mut self, protocol: Protocol, pattern: Option<&Bytes>) -> &[u8] {
        let slot = usize::from(protocol == Protocol::Resp3);
        let Some(pattern) = pattern else {
            let kind = if self.sharded { "smessage" } else { "message" };
            if self.direct[slot].is_empty() {
                let parts = [Reply::Text(kind), Reply::Bulk(self.channel.clone()), Reply::Bulk(self.message.clone())];
                writer::write(&mut self.direct[slot], protocol, &Reply::Push(parts.into()));
            }
            return &self.direct[slot];
        };
        if self.pattern.as_ref() != Some(pattern) {
            self.pattern = Some(pattern.clone());
            self.matched.iter_mut().for_each(Vec::clear);
        }
        if self.matched[slot].is_empty() {
            let parts = [
                Reply::Text("pmessage"),
                Reply::Bulk(pattern.clone()),
                Reply::Bulk(self.channel.clone()),
                Reply::Bulk(self.message.clone()),
            ];
            writer::write(&mut self.matched[slot], protocol, &Reply::Push(parts.into()));
        }
        &self.matched[slot]
    }
}

/// What answers SUBSCRIBE and UNSUBSCRIBE, once per channel: the kind, the channel, and how many subscriptions are
/// left. Channels and patterns are counted together, shard channels apart.
pub struct Confirmation<'a> {
    kind: &'static str,
    name: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Confirmation<'a> {
    pub fn subscribed(kind: SubscriptionKind, name: &'a [u8], counts: Counts) -> Self {
        let word = match kind {
            SubscriptionKind::Channel => "subscribe",
            SubscriptionKind::Pattern => "psubscribe",
            SubscriptionKind::ShardChannel => "ssubscribe",
        };
        Confirmation { kind: word, name: Some(name), count: count(kind, counts) }
    }

    /// `name` is `None` for an UNSUBSCRIBE of someone who had no subscription.
    pub fn unsubscribed(kind: SubscriptionKind, name: Option<&'a [u8]>, counts: Counts) -> Self {
        let word = match kind {
            SubscriptionKind::Channel => "unsubscribe",
            SubscriptionKind::Pattern => "punsubscribe",
            SubscriptionKind::ShardChannel => "sunsubscribe",
        };
        Confirmation { kind: word, name, count: count(kind, counts) }
    }
}

fn count(kind: SubscriptionKind, counts: Counts) -> usize {
    match kind {
        SubscriptionKind::Channel | SubscriptionKind::Pattern => counts.channels + counts.patterns,
        SubscriptionKind::ShardChannel => counts.shard_channels,
    }
}

impl From<Confirmation<'_>> for Reply {
    fn from(confirmation: Confirmation<'_>) -> Reply {
        let name = confirmation.name.map_or(Reply::Nil, Reply::bulk);
        Reply::Push(vec![Reply::Text(confirmation.kind), name, Reply::count(confirmation.count)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_has_a_frame_of_its_own() {
        let (channel, message) = (Bytes::from_static(b"nx"), Bytes::from_static(b"m"));
        let mut frames = Frames::new(&channel, &message, false);
        assert_eq!(frames.encode(Protocol::Resp2, None), b"*3\r\n$7\r\nmessage\r\n$2\r\nnx\r\n$1\r\nm\r\n");
        assert_eq!(frames.encode(Protocol::Resp3, None), b">3\r\n$7\r\nmessage\r\n$2\r\nnx\r\n$1\r\nm\r\n");
        let (star, n) = (Bytes::from_static(b"*"), Bytes::from_static(b"n*"));
        assert!(frames.encode(Protocol::Resp2, Some(&star)).starts_with(b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n"));
        assert!(frames.encode(Protocol::Resp2, Some(&n)).starts_with(b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n"));
    }
}
