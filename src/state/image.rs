//! Images of a machine: what a checkpoint writes beside traffic, and what has changed since an earlier one.
//!
//! An image shares all values and the pages of keys with its machine. It copies one pointer for 4,096 keys,
//! and none of the orders that follow from the keys. Free it on another thread than the engine's: what was
//! changed meanwhile is its own.

use crate::model::log::LogIndex;
use crate::model::time::TimeMs;
use crate::state::deletion_versions::DeletionVersions;
use crate::state::key_table::{KeyName, KeySequence};
use crate::state::keyspace::{KeyEntry, Keyspace, KeyspaceImage};
use crate::state::machine::Machine;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::log::NodeLimits;
use std::collections::VecDeque;

/// A machine as it was between two log entries.
#[derive(Debug, Clone)]
pub struct MachineImage {
    pub(in crate::state) applied: LogIndex,
    pub(in crate::state) time: TimeMs,
    pub(in crate::state) changes: u64,
    pub(in crate::state) limits: NodeLimits,
    pub(in crate::state) idempotency: IdempotencyLimits,
    /// In order of their numbers.
    pub(in crate::state) databases: Vec<(u32, KeyspaceImage)>,
    pub(in crate::state) deletions: DeletionVersions,
    pub(in crate::state) moments: Moments,
}

impl MachineImage {
    /// The machine as it is now. A checkpoint that others are to follow with what has changed needs
    /// [`MachineImage::take`].
    pub fn of(machine: &Machine) -> MachineImage {
        MachineImage {
            applied: machine.applied,
            time: machine.time,
            changes: machine.changes,
            limits: machine.limits,
            idempotency: machine.idempotency,
            databases: machine.databases.iter().map(|(database, keys)| (*database, keys.image())).collect(),
            deletions: machine.deletions.clone(),
            moments: machine.moments.clone(),
        }
    }

    /// The same; the machine remembers it, and later images can tell what has changed since.
    pub fn take(machine: &mut Machine) -> MachineImage {
        let image = MachineImage::of(machine);
        remember(machine);
        image
    }

    /// The last log entry in the image.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// What has changed since the image of this machine that held the entries up to `since`, or since it was
    /// decoded there: all databases, in order. `None`: not known any more, because later images were asked
    /// about or too much was removed; then only the whole image tells.
    ///
    /// What is not in a database is part of every checkpoint: times, limits, counters, deletion versions.
    pub fn changes_after(&self, since: LogIndex) -> Option<Vec<DatabaseChanges<'_>>> {
        let moment = self.moments.0.iter().find(|moment| moment.index == since)?;
        let changes = self.databases.iter().map(|(database, image)| {
            let removed = image.removed_after(since, moment.next_sequence(*database))?;
            Some(DatabaseChanges { database: *database, since, removed, image })
        });
        changes.collect()
    }
}

/// An image, or a checkpoint, holds the machine as it is now.
pub(in crate::state) fn remember(machine: &mut Machine) {
    let next = machine.databases.iter().map(|(database, keys)| (*database, keys.next_sequence()));
    machine.moments.add(machine.applied, next.collect());
    machine.databases.values_mut().for_each(Keyspace::note_image);
}

/// A checkpoint up to this entry is durable: nobody asks for changes since earlier images.
pub fn forget_before(machine: &mut Machine, index: LogIndex) {
    let oldest = machine.moments.forget_before(index).unwrap_or(index);
    machine.databases.values_mut().for_each(|keys| keys.forget_removals(oldest));
}

/// What has changed in a database since an image.
#[derive(Debug)]
pub struct DatabaseChanges<'i> {
    pub database: u32,
    /// Keys of the earlier image that exist no more, in order of creation; none if the database was replaced.
    pub removed: Vec<KeySequence>,
    since: LogIndex,
    image: &'i KeyspaceImage,
}

impl<'i> DatabaseChanges<'i> {
    /// No key of the earlier image is left: the database was emptied, or exchanged for another.
    pub fn is_replaced(&self) -> bool {
        self.image.is_replaced_after(self.since)
    }

    /// The position of the next new key.
    pub fn next_sequence(&self) -> KeySequence {
        self.image.next_sequence()
    }

    /// The keys that were changed or created, in order of creation: all whose bytes in a checkpoint differ, and
    /// some more. A key of the earlier image has the same name at its position. All keys, if the database was
    /// replaced.
    pub fn touched(&self) -> impl Iterator<Item = (&'i KeyName, &'i KeyEntry)> + use<'i> {
        self.image.touched_after(self.since)
    }
}

/// Images that are remembered: each may be the base of a later checkpoint.
const MOMENTS_MAX: usize = 8;

/// The images after which changes are known, in order.
#[derive(Debug, Clone, Default)]
pub(in crate::state) struct Moments(VecDeque<Moment>);

/// An image that was taken.
#[derive(Debug, Clone)]
struct Moment {
    index: LogIndex,
    /// The position of each database's next key.
    next_sequences: Vec<(u32, KeySequence)>,
}

impl Moment {
    /// 0 for a database that did not exist.
    fn next_sequence(&self, database: u32) -> KeySequence {
        let found = self.next_sequences.iter().find(|(number, _)| *number == database);
        found.map_or(KeySequence(0), |(_, next)| *next)
    }
}

impl Moments {
    /// Remembers an image; the oldest is forgotten if there are many.
    pub fn add(&mut self, index: LogIndex, next_sequences: Vec<(u32, KeySequence)>) {
        self.0.retain(|moment| moment.index != index);
        if self.0.len() == MOMENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Moment { index, next_sequences });
    }

    /// Forgets the images before this entry. Gives the oldest one left.
    pub fn forget_before(&mut self, index: LogIndex) -> Option<LogIndex> {
        self.0.retain(|moment| moment.index >= index);
        self.0.front().map(|moment| moment.index)
    }
}
