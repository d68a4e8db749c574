//! A group that is read with NOACK: an entry is delivered once, or is gone with the reply that held it.

use super::client::Id;
use super::knowledge::ensure;
use super::leases::LEASED;
use super::value::Value;
use std::collections::BTreeSet;

/// Of the group `n` of [`LEASED`].
#[derive(Default)]
pub struct Unacknowledged {
    delivered: BTreeSet<Id>,
    /// Reads that were never answered.
    lost: u64,
}

impl Unacknowledged {
    pub fn delivered(&mut self, id: Id) -> Result<(), String> {
        ensure!(
            self.delivered.insert(id),
            "{LEASED}: {id} was delivered twice to the group without pending entries"
        );
        Ok(())
    }

    pub fn never_answered(&mut self) {
        self.lost += 1;
    }

    /// Compares the group with XINFO GROUPS and XPENDING, while nothing is under way. `ids`: of the stream.
    pub fn verify(
        &mut self,
        ids: &[Id],
        last_delivered: Id,
        rows: &Value,
        has_lost: bool,
    ) -> Result<(), String> {
        ensure!(rows.elements().is_empty(), "{LEASED}: read with NOACK, and there is pending {rows}");
        let passed: BTreeSet<Id> = ids.iter().filter(|id| **id <= last_delivered).copied().collect();
        if !has_lost {
            let early = self.delivered.difference(&passed).next();
            ensure!(
                early.is_none(),
                "{LEASED}: {early:?} was delivered, and the group is at {last_delivered}"
            );
            let nobodys = passed.difference(&self.delivered).next().filter(|_| self.lost == 0);
            ensure!(nobodys.is_none(), "{LEASED}: the group has passed {nobodys:?}, and nobody has got it");
        }
        self.delivered = passed;
        self.lost = 0;
        Ok(())
    }
}
