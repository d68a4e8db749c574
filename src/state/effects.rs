//! The effects of ops besides their answers: key events, for blocked reads, client caches and notifications,
//! and the lookups of reads.

use crate::model::key_events::EventClasses;
use crate::state::group::Group;
use crate::state::id_map::IdMap;
use crate::state::keyspace::{Keyspace, Value};
use crate::state::stream::node::Node;
use bytes::Bytes;
use std::ops::{AddAssign, Deref};
use std::sync::Arc;

/// Something that happened to a key, in the terms of Redis's keyspace events (`notify.c`, Redis 8.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    pub database: u32,
    pub key: Bytes,
    pub kind: EventKind,
    /// The command of a transaction that caused it, from 0.
    pub step: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Add,
    Trim,
    DeleteEntries,
    SetId,
    GroupCreate,
    GroupSetId,
    GroupDestroy,
    ConsumerCreate,
    ConsumerDelete,
    /// A pending entry became claimable earlier than by the passing of time (XNACK, XCLAIM IDLE). Redis has
    /// no event for it.
    Claimable,
    Set,
    Append,
    Increment,
    IncrementFloat,
    Delete,
    Expire,
    Persist,
    /// The key was due and is deleted.
    Expired,
    RenameFrom,
    RenameTo,
    CopyTo,
    MoveFrom,
    MoveTo,
    Restore,
    /// The database has the content of another one (SWAPDB); the key is empty. Redis has no event for it.
    Swap,
    /// The key did not exist before.
    New,
    /// The whole value of the key was replaced; [`EventKind::TypeChanged`] follows if its type changed.
    Overwritten,
    TypeChanged,
    /// A group was created together with its stream. Redis has no event for it, but it changes the key.
    Made,
    /// A read did not find the key.
    Miss,
    /// A read found the key due: it is absent for all clients, and still to be deleted. Redis has no event
    /// for it.
    Due,
    /// All keys of the database are deleted; the key is empty. Redis has no event for it.
    Flush,
}

impl EventKind {
    /// Its name and its class in `notify-keyspace-events`; `None` if Redis has no such event.
    pub fn notification(self) -> Option<(&'static str, EventClasses)> {
        Some(match self {
            EventKind::Add => ("xadd", EventClasses::STREAM),
            EventKind::Trim => ("xtrim", EventClasses::STREAM),
            EventKind::DeleteEntries => ("xdel", EventClasses::STREAM),
            EventKind::SetId => ("xsetid", EventClasses::STREAM),
            EventKind::GroupCreate => ("xgroup-create", EventClasses::STREAM),
            EventKind::GroupSetId => ("xgroup-setid", EventClasses::STREAM),
            EventKind::GroupDestroy => ("xgroup-destroy", EventClasses::STREAM),
            EventKind::ConsumerCreate => ("xgroup-createconsumer", EventClasses::STREAM),
            EventKind::ConsumerDelete => ("xgroup-delconsumer", EventClasses::STREAM),
            EventKind::Set => ("set", EventClasses::STRING),
            EventKind::Append => ("append", EventClasses::STRING),
            EventKind::Increment => ("incrby", EventClasses::STRING),
            EventKind::IncrementFloat => ("incrbyfloat", EventClasses::STRING),
            EventKind::Delete => ("del", EventClasses::GENERIC),
            EventKind::Expire => ("expire", EventClasses::GENERIC),
            EventKind::Persist => ("persist", EventClasses::GENERIC),
            EventKind::Expired => ("expired", EventClasses::EXPIRED),
            EventKind::RenameFrom => ("rename_from", EventClasses::GENERIC),
            EventKind::RenameTo => ("rename_to", EventClasses::GENERIC),
            EventKind::CopyTo => ("copy_to", EventClasses::GENERIC),
            EventKind::MoveFrom => ("move_from", EventClasses::GENERIC),
            EventKind::MoveTo => ("move_to", EventClasses::GENERIC),
            EventKind::Restore => ("restore", EventClasses::GENERIC),
            EventKind::New => ("new", EventClasses::NEW),
            EventKind::Overwritten => ("overwritten", EventClasses::OVERWRITTEN),
            EventKind::TypeChanged => ("type_changed", EventClasses::TYPE_CHANGED),
            EventKind::Miss => ("keymiss", EventClasses::MISS),
            EventKind::Claimable | EventKind::Made | EventKind::Due | EventKind::Swap | EventKind::Flush => {
                return None;
            }
        })
    }

    /// Whether the event may end a blocked group read: there may be entries for it, or its stream is gone
    /// (Redis `signalKeyAsReady`, `signalDeletedKeyAsReady`). XGROUP SETID never does, whichever entries it
    /// makes available: Redis signals no key for it.
    pub fn signals(self) -> bool {
        matches!(
            self,
            EventKind::Delete
                | EventKind::Expired
                | EventKind::RenameFrom
                | EventKind::MoveFrom
                | EventKind::Set
                | EventKind::Flush
                | EventKind::GroupDestroy
                | EventKind::Claimable
        ) || self.makes_readable()
    }

    /// Whether the stream may hold new entries after the event: blocked reads are tried.
    pub fn makes_readable(self) -> bool {
        matches!(
            self,
            EventKind::Add
                | EventKind::RenameTo
                | EventKind::CopyTo
                | EventKind::MoveTo
                | EventKind::Restore
                | EventKind::Swap
        )
    }

    /// Whether the event concerns all keys of a database and names none.
    pub fn concerns_database(self) -> bool {
        matches!(self, EventKind::Flush | EventKind::Swap)
    }

    /// Whether a client's cached value of the key is stale: Redis's `signalModifiedKey`. Groups, consumers
    /// and the last id do not count. (A new or overwritten key is covered by a later event.)
    pub fn modifies(self) -> bool {
        match self {
            EventKind::SetId
            | EventKind::GroupCreate
            | EventKind::GroupSetId
            | EventKind::GroupDestroy
            | EventKind::ConsumerCreate
            | EventKind::ConsumerDelete
            | EventKind::Claimable
            | EventKind::New
            | EventKind::Overwritten
            | EventKind::TypeChanged
            | EventKind::Miss
            | EventKind::Due => false,
            EventKind::Add
            | EventKind::Trim
            | EventKind::DeleteEntries
            | EventKind::Set
            | EventKind::Append
            | EventKind::Increment
            | EventKind::IncrementFloat
            | EventKind::Delete
            | EventKind::Expire
            | EventKind::Persist
            | EventKind::Expired
            | EventKind::RenameFrom
            | EventKind::RenameTo
            | EventKind::CopyTo
            | EventKind::MoveFrom
            | EventKind::MoveTo
            | EventKind::Restore
            | EventKind::Swap
            | EventKind::Made
            | EventKind::Flush => true,
        }
    }
}

/// Hits and misses of reads, for INFO. Not part of the state: no checkpoint holds them, and no answer depends
/// on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lookups {
    pub hits: u64,
    pub misses: u64,
}

impl Lookups {
    pub fn note(&mut self, is_hit: bool) {
        *(if is_hit { &mut self.hits } else { &mut self.misses }) += 1;
    }
}

impl AddAssign for Lookups {
    fn add_assign(&mut self, more: Lookups) {
        self.hits += more.hits;
        self.misses += more.misses;
    }
}

/// What an op did, in order. Usually nothing that anybody wants to know, and then it costs nothing to pass on
/// and to drop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events(Option<Vec<KeyEvent>>);

impl Events {
    pub const NONE: Events = Events(None);

    /// Appends what came later.
    pub fn append(&mut self, later: Events) {
        match (&mut self.0, later.0) {
            (Some(list), Some(later)) => list.extend(later),
            (list @ None, later) => *list = later,
            (Some(_), None) => {}
        }
    }

    pub fn into_vec(self) -> Vec<KeyEvent> {
        self.0.unwrap_or_default()
    }
}

impl Deref for Events {
    type Target = [KeyEvent];

    #[inline]
    fn deref(&self) -> &[KeyEvent] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Collects key events in order. Usually there is no listener, and then none are kept: whether events are
/// wanted is local to a node and never changes the machine's behaviour.
#[derive(Debug, Default)]
pub struct Effects {
    wanted: bool,
    /// Whether misses of reads are wanted too.
    misses_wanted: bool,
    step: u32,
    list: Vec<KeyEvent>,
    /// Whether blocked reads need signals: the machine's own need, independent of other listeners.
    signals_wanted: bool,
    signals: Vec<KeyEvent>,
    /// Counted whether events are wanted or not; a replay drops the counts.
    lookups: Lookups,
    discarded: Vec<Discarded>,
}

/// What an op has removed and its machine need not free: the owner does that when it has time.
#[derive(Debug)]
pub enum Discarded {
    Keys(Box<Keyspace>),
    Value(Value),
    Group(Arc<Group>),
    Nodes(IdMap<Arc<Node>>),
}

/// What has fewer entries, pending entries or groups is freed at once.
const DISCARDED_MIN: usize = 10_000;

/// The same for trimmed nodes of a stream. These are freed in 5 ms at most, and then there is room at once for
/// the entry that a full memory has refused.
const DISCARDED_NODES_MIN: usize = 16 * 1024;

fn is_large(group: &Group) -> bool {
    group.pending_len() >= DISCARDED_MIN || group.consumers_len() >= DISCARDED_MIN
}

impl Effects {
    pub fn wanted() -> Self {
        Effects { wanted: true, ..Effects::default() }
    }

    /// Including events of reads: [`EventKind::Miss`] and [`EventKind::Due`].
    pub fn wanted_with_misses() -> Self {
        Effects { wanted: true, misses_wanted: true, ..Effects::default() }
    }

    pub fn unwanted() -> Self {
        Effects::default()
    }

    pub fn are_misses_wanted(&self) -> bool {
        self.misses_wanted
    }

    /// The following events belong to this command of a transaction.
    pub fn begin_step(&mut self, step: u32) {
        self.step = step;
    }

    pub fn discard_keys(&mut self, keys: Keyspace) {
        if !keys.is_empty() {
            self.discarded.push(Discarded::Keys(Box::new(keys)));
        }
    }

    /// Small values are dropped.
    pub fn discard_value(&mut self, value: Value) {
        if let Value::Stream(stream) = &value
            && (stream.log.len() >= DISCARDED_MIN as u64
                || stream.groups.len() >= DISCARDED_MIN
                || stream.groups.values().any(|group| is_large(group)))
        {
            self.discarded.push(Discarded::Value(value));
        }
    }

    /// Small groups are dropped.
    pub fn discard_group(&mut self, group: Arc<Group>) {
        if is_large(&group) {
            self.discarded.push(Discarded::Group(group));
        }
    }

    /// Few nodes are dropped.
    pub fn discard_nodes(&mut self, nodes: IdMap<Arc<Node>>) {
        if nodes.len() >= DISCARDED_NODES_MIN {
            self.discarded.push(Discarded::Nodes(nodes));
        }
    }

    #[inline]
    pub fn take_discarded(&mut self) -> Vec<Discarded> {
        std::mem::take(&mut self.discarded)
    }

    #[inline]
    pub fn push(&mut self, database: u32, key: &[u8], kind: EventKind) {
        if self.wanted || self.signals_wanted {
            self.push_wanted(database, key, kind);
        }
    }

    fn push_wanted(&mut self, database: u32, key: &[u8], kind: EventKind) {
        let event = KeyEvent { database, key: Bytes::copy_from_slice(key), kind, step: self.step };
        if self.signals_wanted && kind.signals() {
            self.signals.push(event.clone());
        }
        if self.wanted {
            self.list.push(event);
        }
    }

    /// Whether the next ops must leave signals for blocked reads.
    pub(in crate::state) fn want_signals(&mut self, wanted: bool) {
        self.signals_wanted = wanted;
    }

    pub(in crate::state) fn take_signals(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.signals)
    }

    /// The events since the previous call; steps count from 0 again.
    pub fn take(&mut self) -> Events {
        self.step = 0;
        if self.list.is_empty() { Events::NONE } else { Events(Some(std::mem::take(&mut self.list))) }
    }

    pub fn note_lookup(&mut self, is_hit: bool) {
        self.lookups.note(is_hit);
    }

    pub fn add_lookups(&mut self, lookups: Lookups) {
        self.lookups += lookups;
    }

    /// Hits and misses since the previous call.
    pub fn take_lookups(&mut self) -> Lookups {
        std::mem::take(&mut self.lookups)
    }

    pub fn drain(&mut self) -> std::vec::Drain<'_, KeyEvent> {
        self.list.drain(..)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
