//! Applies committed entries to a machine when no client waits for the outcome: at recovery, and in tests.

use crate::base::wire::Malformed;
use crate::model::log::LogIndex;
use crate::state::machine::Machine;

/// Applies the entry at `index`, which is the next one. The blocked reads that it carries are served as they were when it was
/// committed: what they were given is theirs.
pub fn apply(machine: &mut Machine, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
    machine.apply_entry(index, entry)
}
