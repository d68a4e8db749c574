//! Sequences for a server with several partitions: the part that it answers like a Redis without a cluster.

use super::generate::{How, Sequence, Step, words};
use crate::support::keys::{concerns_all_slots, key_places, name, tagged};
use std::collections::HashSet;

/// All keys in one slot: everything is allowed, except commands on all slots and shard channels of other
/// slots in a transaction.
pub fn in_one_slot(sequence: Sequence) -> Sequence {
    let has_transactions = sequence.steps.iter().any(|step| name(&step.command) == "MULTI");
    let steps = sequence.steps.into_iter().map(|step| {
        let is_sharded = ["SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE"].contains(&name(&step.command).as_str());
        let is_replaced = has_transactions && (concerns_all_slots(&step.command) || is_sharded);
        match is_replaced {
            true => Step { command: words("PING"), how: How::Plain, ..step },
            false => Step { command: tagged(&step.command), ..step },
        }
    });
    Sequence { steps: steps.collect() }
}

/// Keys in any slots: single-key commands, reads of several streams, commands on all slots.
pub fn in_many_slots(sequence: Sequence) -> Sequence {
    let mut steps = sequence.steps;
    steps.retain(|step| {
        let command = &step.command;
        let keys: HashSet<&Vec<u8>> = key_places(command).into_iter().map(|place| &command[place]).collect();
        match name(command).as_str() {
            "MULTI" | "EXEC" | "DISCARD" | "WATCH" => false,
            "XREAD" => true,
            _ => keys.len() < 2,
        }
    });
    Sequence { steps }
}
