//! Trimming: by length or by id, exactly or by whole nodes (`streamTrim` of Redis 7.2, reference policies of
//! 8.2).

use crate::command::value::stream::{Exactness, References, Trim, TrimUntil};
use crate::model::entry_id::EntryId;
use crate::state::stream::Stream;
use crate::state::stream::log::{Log, NodeLimits};
use std::sync::Arc;

impl Stream {
    /// Trims; returns the number of removed entries.
    pub fn trim(&mut self, trim: &Trim, limits: NodeLimits) -> u64 {
        let limit = match trim.exactness {
            Exactness::Exact => None,
            Exactness::WholeNodes { limit: None } => Some(limit_default(limits)),
            Exactness::WholeNodes { limit: Some(0) } => None,
            Exactness::WholeNodes { limit: Some(limit) } => Some(limit),
        };
        match trim.references {
            References::Keep => {
                let whole_nodes = matches!(trim.exactness, Exactness::WholeNodes { .. });
                self.log.trim(trim.until, whole_nodes, limit)
            }
            References::Delete => {
                let ids = self.trim_candidates(trim.until, limit, |_| true);
                self.remove_all(&ids);
                // Also drops pending entries whose entries in this range were deleted earlier (Redis #15581).
                let was_cut_short = limit.is_some_and(|limit| ids.len() as u64 >= limit);
                let range_end = match trim.until {
                    TrimUntil::MinId(min) if !was_cut_short => min.previous(),
                    _ => ids.last().copied(),
                };
                if let Some(end) = range_end {
                    self.forget_pending_up_to(end);
                }
                ids.len() as u64
            }
            References::OnlyUnreferenced => {
                let ids = self.trim_candidates(trim.until, limit, |id| !self.is_referenced(id));
                self.remove_all(&ids);
                ids.len() as u64
            }
        }
    }

    fn trim_candidates(
        &self,
        until: TrimUntil,
        limit: Option<u64>,
        goes: impl Fn(EntryId) -> bool,
    ) -> Vec<EntryId> {
        let (end, most) = match until {
            TrimUntil::MaxLength(max) => (EntryId::MAX, self.log.len().saturating_sub(max)),
            TrimUntil::MinId(min) => match min.previous() {
                Some(end) => (end, u64::MAX),
                None => return Vec::new(),
            },
        };
        let most = usize::try_from(most.min(limit.unwrap_or(u64::MAX))).unwrap_or(usize::MAX);
        self.log.range(EntryId::MIN, end).map(|entry| entry.id).filter(|id| goes(*id)).take(most).collect()
    }

    fn remove_all(&mut self, ids: &[EntryId]) {
        for id in ids {
            let removed = self.log.remove(*id);
            assert!(removed, "{id} was seen and is gone");
        }
    }
}

impl Log {
    fn trim(&mut self, until: TrimUntil, whole_nodes: bool, limit: Option<u64>) -> u64 {
        let mut deleted = 0;
        while let Some((key, node)) = self.nodes.first() {
            if matches!(until, TrimUntil::MaxLength(max) if self.length <= max) {
                break;
            }
            let live = node.live();
            if limit.is_some_and(|limit| deleted + live > limit) {
                break;
            }
            let whole = match until {
                TrimUntil::MaxLength(max) => self.length - live.min(self.length) >= max,
                TrimUntil::MinId(min) => node.last() < min,
            };
            if whole {
                self.nodes.remove(key);
                self.length -= live;
                deleted += live;
                continue;
            }
            if !whole_nodes {
                deleted += self.trim_inside_first(until);
            }
            break;
        }
        if deleted > 0 {
            self.refresh_first_id();
        }
        deleted
    }

    /// Deletes the head of the first node, which keeps at least one entry.
    fn trim_inside_first(&mut self, until: TrimUntil) -> u64 {
        let (key, node) = self.nodes.first().expect("the caller has seen it");
        let stop_at = |slot: usize, deleted: u64| match until {
            TrimUntil::MaxLength(max) => self.length - deleted <= max,
            TrimUntil::MinId(min) => node.id(slot) >= min,
        };
        let mut slots = Vec::new();
        for slot in (0..node.slots()).filter(|slot| node.is_live(*slot)) {
            if stop_at(slot, slots.len() as u64) {
                break;
            }
            slots.push(slot);
        }
        if slots.is_empty() {
            return 0;
        }
        if slots.len() as u64 == node.live() {
            // Only deleted entries of the node are left above MINID; Redis keeps such a node, without live
            // entries.
            self.nodes.remove(key);
        } else {
            let node = Arc::make_mut(self.nodes.get_mut(key).expect("just found"));
            slots.iter().for_each(|slot| node.delete(*slot));
        }
        self.length -= slots.len() as u64;
        slots.len() as u64
    }
}

/// Most entries that `~` removes without LIMIT (`streamParseAddOrTrimArgsOrReply`, Redis 7.2).
fn limit_default(limits: NodeLimits) -> u64 {
    match u64::from(limits.entries) * 100 {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}
