//! Trimming: by length or by id, exactly or by whole nodes (`streamTrim` of Redis 7.2, reference policies of
//! 8.2).

use crate::command::value::stream::{Exactness, References, Trim, TrimUntil};
use crate::model::entry_id::EntryId;
use crate::state::id_map::IdMap;
use crate::state::stream::Stream;
use crate::state::stream::log::{Log, NodeLimits};
use crate::state::stream::node::Node;
use std::sync::Arc;

/// What a trim has removed.
#[derive(Debug, Default)]
pub struct Trimmed {
    pub entries: u64,
    /// Whole nodes, which may take long to free.
    pub nodes: IdMap<Arc<Node>>,
}

impl Trimmed {
    fn entries(entries: usize) -> Trimmed {
        Trimmed { entries: entries as u64, ..Trimmed::default() }
    }
}

impl Stream {
    pub fn trim(&mut self, trim: &Trim, limits: NodeLimits) -> Trimmed {
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
                Trimmed::entries(ids.len())
            }
            References::OnlyUnreferenced => {
                let ids = self.trim_candidates(trim.until, limit, |id| !self.is_referenced(id));
                self.remove_all(&ids);
                Trimmed::entries(ids.len())
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
    fn trim(&mut self, until: TrimUntil, whole_nodes: bool, limit: Option<u64>) -> Trimmed {
        let mut deleted = 0;
        // The node where the trim stops, and whether it may go in part.
        let mut stop = None;
        for (key, node) in self.nodes.iter() {
            let (length, live) = (self.length - deleted, node.live());
            if matches!(until, TrimUntil::MaxLength(max) if length <= max)
                || limit.is_some_and(|limit| deleted + live > limit)
            {
                stop = Some((key, false));
                break;
            }
            let is_whole = match until {
                TrimUntil::MaxLength(max) => length - live >= max,
                TrimUntil::MinId(min) => node.last() < min,
            };
            if !is_whole {
                stop = Some((key, !whole_nodes));
                break;
            }
            deleted += live;
        }
        let nodes = match stop {
            Some((key, _)) if deleted > 0 => self.nodes.split_off_front(key),
            Some(_) => IdMap::default(),
            None => std::mem::take(&mut self.nodes),
        };
        self.length -= deleted;
        if let Some((_, true)) = stop {
            deleted += self.trim_inside_first(until);
        }
        if deleted > 0 {
            self.refresh_first_id();
        }
        Trimmed { entries: deleted, nodes }
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
