//! The bytes that MAXSIZE counts for the result of a read.
//!
//! These sizes decide which entries a consumer gets, so the rule is part of the log. It equals the output of
//! `resp::writer`, computed from lengths alone. If the writer ever changes, that is a new rule, and an old
//! log keeps the rule that it names.

use crate::model::entries::{DeliveredBefore, EntryList};
use crate::model::entry_id::EntryId;

/// The protocol of the reading client, and the version of its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SizeRule {
    #[default]
    Resp2V1,
    Resp3V1,
}

impl SizeRule {
    /// One stream of `Reply::Streams`.
    pub fn stream_bytes(self, key_len: usize, list: &EntryList) -> usize {
        let entries = list.iter().enumerate().map(|(at, (id, body))| {
            self.entry_bytes(id, body.map(|body| body.map(<[u8]>::len)), list.before(at))
        });
        self.stream_head_bytes(key_len) + header_bytes(list.len()) + entries.sum::<usize>()
    }

    /// One stream of `Reply::Streams` before its first entry, except for the number of entries, which is
    /// unknown before the last one.
    pub fn stream_head_bytes(self, key_len: usize) -> usize {
        let pair = match self {
            SizeRule::Resp2V1 => header_bytes(2),
            SizeRule::Resp3V1 => 0,
        };
        pair + bulk_bytes(key_len)
    }

    /// The entry that was pushed last.
    pub fn last_entry_bytes(self, list: &EntryList) -> usize {
        let (id, body) = list.last().expect("the list is not empty");
        self.entry_bytes(id, body.map(|body| body.map(<[u8]>::len)), list.before(list.len() - 1))
    }

    /// One entry; `strings` are the lengths of its fields and values, `None` if the entry is deleted.
    pub fn entry_bytes(
        self,
        id: EntryId,
        strings: Option<impl ExactSizeIterator<Item = usize>>,
        before: Option<DeliveredBefore>,
    ) -> usize {
        let body = match (strings, self) {
            (Some(strings), _) => header_bytes(strings.len()) + strings.map(bulk_bytes).sum::<usize>(),
            (None, SizeRule::Resp2V1) => b"*-1\r\n".len(),
            (None, SizeRule::Resp3V1) => b"_\r\n".len(),
        };
        let before = before.map_or(0, |it| integer_bytes(it.idle_ms) + integer_bytes(it.deliveries as i64));
        let id = bulk_bytes(digits(id.ms) + b"-".len() + digits(id.seq));
        header_bytes(2) + id + body + before
    }
}

/// The head of an aggregate, or of a bulk string.
pub fn header_bytes(len: usize) -> usize {
    b"*\r\n".len() + digits(len as u64)
}

fn bulk_bytes(len: usize) -> usize {
    header_bytes(len) + len + b"\r\n".len()
}

fn integer_bytes(value: i64) -> usize {
    b":\r\n".len() + usize::from(value < 0) + digits(value.unsigned_abs())
}

/// Decimal digits.
fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |power| power as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_are_written() {
        let around = (0..20).flat_map(|power| {
            let ten = 10u64.pow(power);
            [ten - 1, ten, ten + 1]
        });
        for value in around.chain([u64::MAX]) {
            assert_eq!(digits(value), value.to_string().len());
            assert_eq!(integer_bytes(value as i64), 3 + (value as i64).to_string().len());
        }
    }

    /// Version 1 never changes: logs name it.
    #[test]
    fn sizes_of_version_1() {
        let mut list = EntryList::default();
        list.push_entry(EntryId::new(1, 20));
        ["field", "0123456789"].iter().for_each(|string| list.push_string(string.as_bytes()));
        list.push_deleted(EntryId::new(3, 0));
        let entries =
            b"*2\r\n*2\r\n$4\r\n1-20\r\n*2\r\n$5\r\nfield\r\n$10\r\n0123456789\r\n*2\r\n$3\r\n3-0\r\n".len();
        let (resp2, resp3) = (b"*2\r\n$3\r\nkey\r\n*-1\r\n".len(), b"$3\r\nkey\r\n_\r\n".len());
        assert_eq!(SizeRule::Resp2V1.stream_bytes(3, &list), entries + resp2);
        assert_eq!(SizeRule::Resp3V1.stream_bytes(3, &list), entries + resp3);
    }
}
