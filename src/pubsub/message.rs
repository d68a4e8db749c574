//! Frames for subscribers. A message is encoded once per protocol and pattern; its subscribers share the
//! bytes.

use crate::model::reply::Reply;
use crate::pubsub::registry::{Delivery, Kind};
use crate::resp::writer::{self, Protocol};
use bytes::Bytes;

/// One published message, encoded on first use.
pub struct Message<'a> {
    channel: &'a [u8],
    payload: &'a [u8],
    sharded: bool,
    /// RESP2, RESP3.
    plain: [Option<Bytes>; 2],
    /// Frames of the current pattern; the registry iterates pattern by pattern.
    pattern: Option<Bytes>,
    by_pattern: [Option<Bytes>; 2],
}

impl<'a> Message<'a> {
    /// A message of PUBLISH.
    pub fn new(channel: &'a [u8], payload: &'a [u8]) -> Self {
        Message {
            channel,
            payload,
            sharded: false,
            plain: [None, None],
            pattern: None,
            by_pattern: [None, None],
        }
    }

    /// A message of SPUBLISH.
    pub fn sharded(channel: &'a [u8], payload: &'a [u8]) -> Self {
        Message { sharded: true, ..Message::new(channel, payload) }
    }

    /// The frame for a subscriber; shared by all subscribers with the same frame.
    pub fn frame(&mut self, protocol: Protocol, delivery: Delivery<'_>) -> &Bytes {
        let slot = usize::from(protocol == Protocol::Resp3);
        match delivery {
            Delivery::Message => {
                let kind: &[u8] = if self.sharded { b"smessage" } else { b"message" };
                let (channel, payload) = (self.channel, self.payload);
                self.plain[slot].get_or_insert_with(|| encode(protocol, &[kind, channel, payload]))
            }
            Delivery::PatternMessage { pattern } => {
                if self.pattern.as_ref() != Some(pattern) {
                    self.pattern = Some(pattern.clone());
                    self.by_pattern = [None, None];
                }
                let parts = [b"pmessage", &pattern[..], self.channel, self.payload];
                self.by_pattern[slot].get_or_insert_with(|| encode(protocol, &parts))
            }
        }
    }
}

fn encode(protocol: Protocol, parts: &[&[u8]]) -> Bytes {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 16).sum::<usize>() + 8);
    writer::header(&mut out, if protocol == Protocol::Resp3 { b'>' } else { b'*' }, parts.len());
    for part in parts {
        writer::bulk(&mut out, part);
    }
    out.into()
}

/// Confirms a subscription. `count` is the subscriber's new total: channels and patterns, or shard channels.
pub fn subscribed(kind: Kind, name: &[u8], count: usize) -> Reply {
    let verb = match kind {
        Kind::Channel => "subscribe",
        Kind::Pattern => "psubscribe",
        Kind::Shard => "ssubscribe",
    };
    Reply::Push(vec![Reply::Text(verb), Reply::bulk(name), Reply::count(count)])
}

/// Confirms the end of a subscription; `None` if there was nothing to end.
pub fn unsubscribed(kind: Kind, name: Option<&[u8]>, count: usize) -> Reply {
    let verb = match kind {
        Kind::Channel => "unsubscribe",
        Kind::Pattern => "punsubscribe",
        Kind::Shard => "sunsubscribe",
    };
    Reply::Push(vec![Reply::Text(verb), name.map_or(Reply::Nil, Reply::bulk), Reply::count(count)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_encoded_once_per_protocol_and_pattern() {
        let mut message = Message::new(b"ch", b"hi");
        let first = message.frame(Protocol::Resp2, Delivery::Message).clone();
        assert_eq!(first, "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n");
        assert_eq!(first.as_ptr(), message.frame(Protocol::Resp2, Delivery::Message).as_ptr());
        let pattern = Bytes::from_static(b"c*");
        let delivery = Delivery::PatternMessage { pattern: &pattern };
        let expected = ">4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nch\r\n$2\r\nhi\r\n";
        assert_eq!(message.frame(Protocol::Resp3, delivery), expected);
        let other = Bytes::from_static(b"*");
        let frame = message.frame(Protocol::Resp3, Delivery::PatternMessage { pattern: &other });
        assert_eq!(frame, ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\n$2\r\nhi\r\n");
        let mut sharded = Message::sharded(b"c", b"");
        assert_eq!(
            sharded.frame(Protocol::Resp3, Delivery::Message),
            ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$0\r\n\r\n"
        );
    }

    #[test]
    fn confirmations_are_as_redis_sends_them() {
        let mut out = Vec::new();
        writer::write(&mut out, Protocol::Resp2, &subscribed(Kind::Channel, b"a", 1));
        writer::write(&mut out, Protocol::Resp2, &unsubscribed(Kind::Pattern, None, 0));
        assert_eq!(
            out,
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n"
        );
    }
}
