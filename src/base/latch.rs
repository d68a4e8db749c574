//! The fail-stop latch: after an irrecoverable failure nothing more is acknowledged.
//!
//! A failed write or flush of the journal trips it (docs/reliability.md S2: after a failed fsync Linux marks
//! the lost pages clean, so a second fsync "succeeds"). It is never reset; only a new process, which reads
//! the disk again, continues.

use std::sync::{Arc, OnceLock};

/// Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Latch {
    reason: Arc<OnceLock<String>>,
}

impl Latch {
    pub fn new() -> Latch {
        Latch::default()
    }

    pub fn is_tripped(&self) -> bool {
        self.reason.get().is_some()
    }

    /// Records the first reason; later ones are dropped.
    pub fn trip(&self, reason: String) {
        if self.reason.set(reason).is_ok() {
            tracing::error!(
                reason = self.reason.get().map(String::as_str),
                "stopped: nothing more is acknowledged"
            );
        }
    }

    pub fn reason(&self) -> Option<String> {
        self.reason.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_wins_and_every_clone_sees_it() {
        let latch = Latch::new();
        let clone = latch.clone();
        assert!(!clone.is_tripped());
        latch.trip("first".into());
        clone.trip("second".into());
        assert!(clone.is_tripped());
        assert_eq!(clone.reason().as_deref(), Some("first"));
    }
}
