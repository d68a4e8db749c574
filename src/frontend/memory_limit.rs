//! `maxmemory`: what is refused when the process uses too much memory.

use crate::env::allocator;
use crate::model::reply::ReplyError;
use std::cell::Cell;

pub const OUT_OF_MEMORY: ReplyError =
    ReplyError::new("OOM command not allowed when used memory > 'maxmemory'.");

/// A request is refused while the limit is exceeded, so one request may go beyond it. The growth is looked up
/// every few KiB of input, the allocator's count lags by at most 64 KiB for each thread.
///
/// Everything that the allocator has given out counts: data, buffers of clients, and ops on their way. As in
/// Redis, which excludes the buffers of replicas and of its log; neither exists here.
#[derive(Debug, Default)]
pub struct MemoryLimit {
    /// 0: none.
    max: Cell<u64>,
    /// What the data will grow by when everything in flight is applied.
    growth: Cell<u64>,
}

impl MemoryLimit {
    /// `setting`: `None` takes a share of the memory that there is.
    pub fn set(&self, setting: Option<u64>, memory_bytes: u64) {
        self.max.set(setting.unwrap_or(memory_bytes / 4 * 3));
    }

    pub fn max(&self) -> u64 {
        self.max.get()
    }

    pub fn set_growth(&self, bytes: usize) {
        self.growth.set(bytes as u64);
    }

    /// Asked before every request.
    #[inline]
    pub fn is_used_up(&self) -> bool {
        let max = self.max.get();
        max != 0 && allocator::allocated_bytes() + self.growth.get() > max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_counts_before_it_is_applied() {
        let limit = MemoryLimit::default();
        limit.set(None, 0);
        assert_eq!((limit.max(), limit.is_used_up()), (0, false));
        limit.set(Some(1), 1 << 30);
        assert!(limit.is_used_up());
        limit.set(None, 1 << 60);
        assert_eq!((limit.max(), limit.is_used_up()), (3 << 58, false));
        limit.set_growth(3 << 58);
        assert!(limit.is_used_up());
    }
}
