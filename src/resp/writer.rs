//! The reply writer: RESP2 or RESP3.

use crate::model::entries::{EntryBody, EntryList};
use crate::model::entry_id::EntryId;
use crate::model::reply::Reply;

/// The protocol version of a connection (HELLO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Appends `reply` to `out`.
pub fn write(out: &mut Vec<u8>, protocol: Protocol, reply: &Reply) {
    let resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Status(text) => line(out, b'+', text.as_bytes()),
        Reply::Integer(value) => integer(out, *value),
        Reply::Double(value) if resp3 => line(out, b',', value.to_string().as_bytes()),
        Reply::Double(value) => bulk(out, value.to_string().as_bytes()),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Text(text) => bulk(out, text.as_bytes()),
        Reply::Id(id) => entry_id(out, *id),
        Reply::Nil => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::NilArray => nil_array(out, resp3),
        Reply::Array(items) => list(out, b'*', protocol, items),
        Reply::Map(pairs) => {
            if resp3 {
                header(out, b'%', pairs.len());
            } else {
                header(out, b'*', pairs.len() * 2);
            }
            for (key, value) in pairs {
                write(out, protocol, key);
                write(out, protocol, value);
            }
        }
        Reply::Set(items) => list(out, if resp3 { b'~' } else { b'*' }, protocol, items),
        Reply::Push(items) => list(out, if resp3 { b'>' } else { b'*' }, protocol, items),
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
    if len < 10 {
        out.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']);
        return;
    }
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

fn list(out: &mut Vec<u8>, kind: u8, protocol: Protocol, items: &[Reply]) {
    header(out, kind, items.len());
    for item in items {
        write(out, protocol, item);
    }
}

fn entries(out: &mut Vec<u8>, resp3: bool, list: &EntryList) {
    // An entry's id, headers and line ends take about 50 bytes, each string about 8 more.
    out.reserve(list.body_bytes() * 2 + list.len() * 64);
    header(out, b'*', list.len());
    for (at, (id, body)) in list.iter().enumerate() {
        let before = list.before(at);
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
    }
}

/// Bytes of the last entry of a non-empty list in [`Reply::Streams`].
pub fn last_entry_bytes(protocol: Protocol, list: &EntryList) -> usize {
    entry_bytes(protocol, list, list.len() - 1, list.last().expect("the list is not empty"))
}

/// Bytes of one stream in [`Reply::Streams`] before its first entry, without the entry count, which is known
/// only after the last entry.
pub fn stream_head_bytes(protocol: Protocol, key: &[u8]) -> usize {
    let pair = if protocol == Protocol::Resp3 { 0 } else { header_bytes(2) };
    pair + bulk_bytes(key.len())
}

/// Bytes of one stream in [`Reply::Streams`].
pub fn stream_bytes(protocol: Protocol, key: &[u8], list: &EntryList) -> usize {
    let entries = list.iter().enumerate().map(|(at, entry)| entry_bytes(protocol, list, at, entry));
    stream_head_bytes(protocol, key) + header_bytes(list.len()) + entries.sum::<usize>()
}

fn entry_bytes(
    protocol: Protocol,
    list: &EntryList,
    at: usize,
    (id, body): (EntryId, Option<EntryBody<'_>>),
) -> usize {
    let body = match body {
        None if protocol == Protocol::Resp3 => b"_\r\n".len(),
        None => b"*-1\r\n".len(),
        Some(body) => header_bytes(body.len()) + body.map(|string| bulk_bytes(string.len())).sum::<usize>(),
    };
    let integer = |value: i64| b":\r\n".len() + itoa::Buffer::new().format(value).len();
    let before = list.before(at).map_or(0, |it| integer(it.idle_ms) + integer(it.deliveries as i64));
    header_bytes(2) + bulk_bytes(id.text().as_bytes().len()) + body + before
}

/// Bytes of the header of an aggregate or of a bulk string.
pub fn header_bytes(len: usize) -> usize {
    b"*\r\n".len() + itoa::Buffer::new().format(len).len()
}

fn bulk_bytes(len: usize) -> usize {
    header_bytes(len) + len + b"\r\n".len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entries::DeliveredBefore;
    use crate::model::reply::ReplyError;
    use bytes::Bytes;
    use proptest::prelude::*;

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
                Reply::Entries(entry_list()),
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
    fn bytes_are_told_before_they_are_written() {
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
                let told = stream_bytes(protocol, &key, &list);
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
            Just(Reply::Entries(entry_list())),
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
