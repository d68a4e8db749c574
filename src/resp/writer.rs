//! The reply writer: RESP2 or RESP3.

use crate::model::entries::{Entries, EntryList};
use crate::model::entry_id::EntryId;
use crate::model::reply::Reply;
use crate::model::reply_size::SizeRule;
use crate::resp::rope::{ReplyBuffer, SHARED_BYTES_MIN};

/// The protocol version of a connection (HELLO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Protocol {
    /// The size rule of [`write`]. The size of a reply must not change under this rule: another encoding
    /// needs another rule.
    pub fn size_rule(self) -> SizeRule {
        match self {
            Protocol::Resp2 => SizeRule::Resp2V1,
            Protocol::Resp3 => SizeRule::Resp3V1,
        }
    }
}

/// Appends `reply`. Bulk strings from [`SHARED_BYTES_MIN`] on are shared with the buffer; other bytes are
/// copied.
pub fn write<B: ReplyBuffer>(buffer: &mut B, protocol: Protocol, reply: &Reply) {
    let resp3 = protocol == Protocol::Resp3;
    let out = buffer.tail();
    match reply {
        Reply::Status(text) => line(out, b'+', text.as_bytes()),
        Reply::Integer(value) => integer(out, *value),
        Reply::Double(value) if resp3 => line(out, b',', value.to_string().as_bytes()),
        Reply::Double(value) => bulk(out, value.to_string().as_bytes()),
        Reply::Bulk(bytes) if bytes.len() < SHARED_BYTES_MIN => bulk(out, bytes),
        Reply::Bulk(bytes) => {
            header(out, b'$', bytes.len());
            buffer.share(bytes);
            buffer.tail().extend_from_slice(b"\r\n");
        }
        Reply::Text(text) => bulk(out, text.as_bytes()),
        Reply::Id(id) => entry_id(out, *id),
        Reply::Nil => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::NilArray => nil_array(out, resp3),
        Reply::Array(items) => list(buffer, b'*', protocol, items),
        Reply::Map(pairs) => {
            if resp3 {
                header(out, b'%', pairs.len());
            } else {
                header(out, b'*', pairs.len() * 2);
            }
            for (key, value) in pairs {
                write(buffer, protocol, key);
                write(buffer, protocol, value);
            }
        }
        Reply::Set(items) => list(buffer, if resp3 { b'~' } else { b'*' }, protocol, items),
        Reply::Push(items) => list(buffer, if resp3 { b'>' } else { b'*' }, protocol, items),
        Reply::Verbatim(text) if resp3 => {
            header(out, b'=', text.len() + 4);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Reply::Verbatim(text) => bulk(out, text.as_bytes()),
        Reply::Entries(list) => entries(out, resp3, list),
        Reply::Streams(streams) => {
            header(out, if resp3 { b'%' } else { b'*' }, streams.len());
            for (key, list) in streams {
                if !resp3 {
                    header(out, b'*', 2);
                }
                bulk(out, key);
                entries(out, resp3, list);
            }
        }
        Reply::Error(error) => line(out, b'-', error.as_bytes()),
    }
}

/// Appends a bulk string.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 16);
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the header of an aggregate (`*` `%` `~` `>`) or of a bulk string.
#[inline]
pub fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    let digit = |value: usize| b'0' + value as u8;
    if len < 10 {
        return out.extend_from_slice(&[kind, digit(len), b'\r', b'\n']);
    }
    if len < 100 {
        return out.extend_from_slice(&[kind, digit(len / 10), digit(len % 10), b'\r', b'\n']);
    }
    long_header(out, kind, len);
}

fn long_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn entry_id(out: &mut Vec<u8>, id: EntryId) {
    let text = id.text();
    bulk(out, text.as_bytes());
}

/// Line breaks in `text` would end the reply line, so they become blanks (docs/reliability.md P14; Redis does
/// the same).
fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if matches!(*byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn nil_array(out: &mut Vec<u8>, resp3: bool) {
    out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" });
}

fn list<B: ReplyBuffer>(buffer: &mut B, kind: u8, protocol: Protocol, items: &[Reply]) {
    header(buffer.tail(), kind, items.len());
    for item in items {
        write(buffer, protocol, item);
    }
}

fn entries(out: &mut Vec<u8>, resp3: bool, list: &EntryList) {
    // An entry's id, headers and line ends take about 50 bytes, each string about 8 more.
    out.reserve(list.body_bytes() * 2 + list.listed_len() * 64);
    header(out, b'*', list.len());
    let mut left = list.iter();
    while entry(out, resp3, &mut left) {}
}

/// Appends the next entry; false at the end.
#[inline]
pub(in crate::resp) fn entry(out: &mut Vec<u8>, resp3: bool, entries: &mut Entries<'_>) -> bool {
    let before = entries.next_before();
    let Some((id, body)) = entries.next() else { return false };
    header(out, b'*', if before.is_some() { 4 } else { 2 });
    entry_id(out, id);
    match body {
        None => nil_array(out, resp3),
        Some(body) => {
            header(out, b'*', body.len());
            for string in body {
                bulk(out, string);
            }
        }
    }
    if let Some(before) = before {
        integer(out, before.idle_ms);
        integer(out, before.deliveries as i64);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entries::DeliveredBefore;
    use crate::model::reply::ReplyError;
    use crate::model::reply_size::header_bytes;
    use crate::resp::rope::Rope;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::io::IoSlice;

    fn text(protocol: Protocol, reply: &Reply) -> String {
        let mut out = Vec::new();
        write(&mut out, protocol, reply);
        String::from_utf8(out).unwrap().replace("\r\n", " ")
    }

    fn entry_list() -> EntryList {
        let mut list = EntryList::default();
        list.push_entry(EntryId::new(1, 2));
        list.push_string(b"f");
        list.push_string(b"v");
        list.push_deleted(EntryId::new(3, 0));
        list
    }

    #[test]
    fn each_reply_in_both_protocols() {
        let pair = || vec![(Reply::Text("a"), Reply::Integer(-1))];
        for (reply, resp2, resp3) in [
            (Reply::OK, "+OK ", "+OK "),
            (Reply::Integer(i64::MIN), ":-9223372036854775808 ", ":-9223372036854775808 "),
            (Reply::bulk(b"hello world"), "$11 hello world ", "$11 hello world "),
            (
                Reply::Id(EntryId::MAX),
                "$41 18446744073709551615-18446744073709551615 ",
                "$41 18446744073709551615-18446744073709551615 ",
            ),
            (Reply::Nil, "$-1 ", "_ "),
            (Reply::NilArray, "*-1 ", "_ "),
            (Reply::Array(vec![Reply::Nil]), "*1 $-1 ", "*1 _ "),
            (Reply::Map(pair()), "*2 $1 a :-1 ", "%1 $1 a :-1 "),
            (Reply::Set(vec![]), "*0 ", "~0 "),
            (Reply::Push(vec![Reply::Text("a")]), "*1 $1 a ", ">1 $1 a "),
            (Reply::Double(1.5), "$3 1.5 ", ",1.5 "),
            (Reply::Verbatim("ab".into()), "$2 ab ", "=6 txt:ab "),
            (
                Reply::Entries(Box::new(entry_list())),
                "*2 *2 $3 1-2 *2 $1 f $1 v *2 $3 3-0 *-1 ",
                "*2 *2 $3 1-2 *2 $1 f $1 v *2 $3 3-0 _ ",
            ),
            (
                Reply::Streams(vec![(Bytes::from_static(b"k"), EntryList::default())]),
                "*1 *2 $1 k *0 ",
                "%1 $1 k *0 ",
            ),
        ] {
            assert_eq!(text(Protocol::Resp2, &reply), resp2);
            assert_eq!(text(Protocol::Resp3, &reply), resp3);
        }
    }

    #[test]
    fn entries_with_their_past_have_four_elements() {
        let mut list = EntryList::default();
        list.push_entry(EntryId::new(1, 2));
        list.push_string(b"f");
        list.push_string(b"v");
        list.push_before(DeliveredBefore { idle_ms: -1, deliveries: i64::MAX as u64 });
        list.push_entry(EntryId::new(3, 0));
        list.push_before(DeliveredBefore::NEVER);
        let reply = Reply::Streams(vec![(Bytes::from_static(b"k"), list)]);
        let entries = "*2 *4 $3 1-2 *2 $1 f $1 v :-1 :9223372036854775807 *4 $3 3-0 *0 :0 :0 ";
        assert_eq!(text(Protocol::Resp2, &reply), format!("*1 *2 $1 k {entries}"));
        assert_eq!(text(Protocol::Resp3, &reply), format!("%1 $1 k {entries}"));
    }

    #[test]
    fn the_rule_of_a_protocol_tells_what_is_written() {
        let mut list = entry_list();
        for len in [0, 9, 10, 99, 100, 1000] {
            list.push_entry(EntryId::new(len as u64, u64::MAX - len as u64));
            (0..len / 3).for_each(|_| list.push_string(&vec![b'x'; len]));
        }
        let mut past = EntryList::default();
        for deliveries in [0, 9, 10, i64::MAX as u64] {
            past.push_entry(EntryId::new(1, deliveries));
            past.push_before(DeliveredBefore { idle_ms: deliveries as i64 - 1, deliveries });
        }
        for list in [EntryList::default(), list, past] {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let key = Bytes::from_static(b"some key");
                let told = protocol.size_rule().stream_bytes(key.len(), &list);
                let mut out = Vec::new();
                write(&mut out, protocol, &Reply::Streams(vec![(key, list.clone())]));
                assert_eq!(header_bytes(1) + told, out.len());
            }
        }
    }

    #[test]
    fn p14_line_breaks_do_not_end_a_line_early() {
        let error = Reply::Error(ReplyError::owned("ERR a\r\n+OK\nb"));
        assert_eq!(text(Protocol::Resp2, &error), "-ERR a  +OK b ");
        assert_eq!(text(Protocol::Resp3, &Reply::Status("a\nb".into())), "+a b ");
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Reply::Integer),
            any::<Vec<u8>>().prop_map(|b| Reply::bulk(&b)),
            any::<Vec<u8>>().prop_map(|b| Reply::Error(ReplyError::owned(b))),
            Just(Reply::Nil),
            Just(Reply::NilArray),
            Just(Reply::Entries(Box::new(entry_list()))),
            ".{0,9}".prop_map(|s| Reply::Verbatim(s.replace('\r', ""))),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Reply::Array),
                proptest::collection::vec((any::<u8>(), inner), 0..4).prop_map(|pairs| Reply::Map(
                    pairs.into_iter().map(|(k, v)| (Reply::Integer(k.into()), v)).collect()
                )),
            ]
        })
    }

    proptest! {
        /// A rope receives the same bytes as a plain buffer, and shares the large strings.
        #[test]
        fn a_rope_holds_the_same_bytes(reply in replies(), large in SHARED_BYTES_MIN - 1..SHARED_BYTES_MIN + 2) {
            let large = Reply::Bulk(vec![b'x'; large].into());
            let reply = Reply::Array(vec![reply.clone(), large.clone(), Reply::Map(vec![(large, reply)])]);
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let (mut plain, mut rope) = (Vec::new(), Rope::default());
                write(&mut plain, protocol, &reply);
                write(&mut rope, protocol, &reply);
                prop_assert_eq!(rope.len(), plain.len());
                let mut slices = [IoSlice::new(b""); 8];
                let used = rope.as_slices(&mut slices);
                prop_assert_eq!(slices[..used].iter().map(|slice| &slice[..]).collect::<Vec<_>>().concat(), plain);
            }
        }

        /// redis-protocol reads the bytes of one reply as exactly one frame (errors only if they are text, as
        /// it requires).
        #[test]
        fn the_reference_reads_one_frame(reply in replies()) {
            let mut out = Vec::new();
            write(&mut out, Protocol::Resp2, &reply);
            if let Ok(frame) = redis_protocol::resp2::decode::decode(&out) {
                prop_assert_eq!(frame.expect("complete").1, out.len());
            } else {
                prop_assert!(std::str::from_utf8(&out).is_err());
            }
        }
    }
}
