//! Sequences for a server with several partitions: what of them it answers as a Redis that is no cluster does.

use super::generate::{Sequence, words};
use crate::support::keys::{concerns_all_slots, key_places, name, tagged};
use std::collections::HashSet;

/// All keys in one slot: everything is allowed, but no command on all slots in a transaction.
pub fn in_one_slot(sequence: Sequence) -> Sequence {
    let has_transactions = sequence.commands.iter().any(|(_, command)| name(command) == "MULTI");
    let commands = sequence.commands.into_iter().map(|(connection, command)| {
        let is_replaced = has_transactions && concerns_all_slots(&command);
        (connection, if is_replaced { words("PING") } else { tagged(&command) })
    });
    Sequence { commands: commands.collect() }
}

/// Keys in any slots: commands on one key each, reads of several streams, commands on all slots.
pub fn in_many_slots(sequence: Sequence) -> Sequence {
    let mut commands = sequence.commands;
    commands.retain(|(_, command)| {
        let keys: HashSet<&Vec<u8>> = key_places(command).into_iter().map(|place| &command[place]).collect();
        match name(command).as_str() {
            "MULTI" | "EXEC" | "DISCARD" | "WATCH" => false,
            "XREAD" => true,
            _ => keys.len() < 2,
        }
    });
    Sequence { commands }
}
