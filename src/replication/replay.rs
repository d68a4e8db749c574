//! Applies committed entries to a machine without a waiting client: at recovery, and in tests.

use crate::base::wire::Malformed;
use crate::model::log::LogIndex;
use crate::state::effects::Effects;
use crate::state::machine::Machine;
use crate::state::op::batch::BatchReader;

/// Applies the entry at `index`, which must be the next one.
pub fn apply(machine: &mut Machine, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
    let mut ops = BatchReader::new(entry)?;
    machine.begin(index, ops.time());
    let mut effects = Effects::unwanted();
    while let Some(op) = ops.next()? {
        machine.apply(&op, &mut effects);
    }
    Ok(())
}
