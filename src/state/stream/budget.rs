//! The remainder of MAXCOUNT and MAXSIZE for a reply in progress.

use crate::command::value::stream::{MaxSize, ReadLimits};
use crate::model::entries::EntryList;
use crate::model::reply_size;

/// Counts the entries of all streams of a read. Without a bound over all of them it counts nothing.
///
/// Bytes are those of the reply, except its first line and the current stream's number of entries: both are
/// unknown before the end. [`ReadLimits::after`] counts the same.
pub struct Budget {
    limits: ReadLimits,
    entries: u64,
    bytes: u64,
}

impl Budget {
    pub fn new(limits: ReadLimits) -> Budget {
        Budget { limits, entries: 0, bytes: 0 }
    }

    /// No more entries or streams may begin. Never before the first entry.
    pub fn is_spent(&self) -> bool {
        self.entries > 0
            && (self.limits.max_count.is_some_and(|max| self.entries >= max)
                || self.limits.max_size.is_some_and(|max| self.bytes >= max.bytes))
    }

    /// Whether another entry may follow these entries of a stream.
    pub fn admits(&self, list: &EntryList) -> bool {
        self.limits.count.is_none_or(|count| (list.len() as u64) < count) && !self.is_spent()
    }

    /// Maximum entries of one stream.
    pub fn most(&self) -> usize {
        let most = self.limits.count.unwrap_or(u64::MAX).min(self.limits.max_count.unwrap_or(u64::MAX));
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Counts the last entry of this stream's list.
    pub fn add(&mut self, key: &[u8], list: &EntryList) {
        self.entries += 1;
        if let Some(MaxSize { rule, .. }) = self.limits.max_size {
            if list.len() == 1 {
                self.bytes += rule.stream_head_bytes(key.len()) as u64;
            }
            self.bytes += rule.last_entry_bytes(list) as u64;
        }
    }

    /// Whether each entry must be measured.
    pub fn counts_bytes(&self) -> bool {
        self.limits.max_size.is_some()
    }

    /// Entries that this stream may still have, whatever their size.
    pub fn left(&self) -> u64 {
        let together = self.limits.max_count.map_or(u64::MAX, |max| max.saturating_sub(self.entries));
        self.limits.count.unwrap_or(u64::MAX).min(together)
    }

    /// Counts the entries that [`Budget::left`] allowed for a stream, when bytes are not counted.
    pub fn add_entries(&mut self, list: &EntryList) {
        if !self.counts_bytes() {
            self.entries += list.len() as u64;
        }
    }

    /// The stream's list is complete, and part of the reply.
    pub fn close(&mut self, key: &[u8], list: &EntryList) {
        if let Some(MaxSize { rule, .. }) = self.limits.max_size {
            if list.is_empty() {
                self.bytes += rule.stream_head_bytes(key.len()) as u64;
            }
            self.bytes += reply_size::header_bytes(list.len()) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry_id::EntryId;
    use crate::model::reply_size::SizeRule;
    use bytes::Bytes;

    /// Streams read one by one with the remaining budget give the same as streams read together.
    #[test]
    fn a_budget_counts_what_limits_count() {
        let streams = [("a", 3usize), ("long key", 0), ("b", 12), ("c", 2)];
        for rule in [SizeRule::Resp2V1, SizeRule::Resp3V1] {
            for bytes in 1..700 {
                let max_size = Some(MaxSize { bytes, rule });
                for max_count in [None, Some(1), Some(4), Some(100)] {
                    let limits = ReadLimits { count: Some(10), max_count, max_size };
                    let together = read(limits, &streams);
                    let mut apart: Vec<(Bytes, EntryList)> = Vec::new();
                    for stream in &streams {
                        let Some(left) = limits.after(&apart) else { break };
                        apart.extend(read(left, &[*stream]));
                    }
                    assert_eq!(apart, together, "{limits:?}");
                    let entries: usize = together.iter().map(|(_, list)| list.len()).sum();
                    assert!(entries > 0 && max_count.is_none_or(|max| entries as u64 <= max));
                }
            }
        }
    }

    fn read(limits: ReadLimits, streams: &[(&'static str, usize)]) -> Vec<(Bytes, EntryList)> {
        let mut budget = Budget::new(limits);
        let mut found = Vec::new();
        for (key, entries) in streams {
            if budget.is_spent() {
                break;
            }
            let mut list = EntryList::default();
            for n in 0..*entries {
                if !budget.admits(&list) {
                    break;
                }
                list.push_entry(EntryId::new(n as u64, 1));
                list.push_string(&vec![b'x'; n]);
                budget.add(key.as_bytes(), &list);
            }
            budget.close(key.as_bytes(), &list);
            found.push((Bytes::from_static(key.as_bytes()), list));
        }
        found
    }
}
