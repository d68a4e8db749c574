//! What an op did besides its answer: what waiters, watchers and notifications need to hear.

use bytes::Bytes;

/// Something that happened to a key, in the words of Redis's keyspace events (`notify.c`, Redis 8.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    pub database: u32,
    pub key: Bytes,
    pub event: KeyEvent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEvent {
    Add,
    Trim,
    DeleteEntries,
    SetId,
    GroupCreate,
    GroupSetId,
    GroupDestroy,
    ConsumerCreate,
    ConsumerDelete,
    /// A pending entry can be claimed earlier than by the passing of time (XNACK, XCLAIM IDLE). Redis has no event for it.
    Claimable,
    Set,
    Append,
    Increment,
    IncrementFloat,
    Delete,
    Expire,
    Persist,
    /// The key was due and is gone.
    Expired,
    RenameFrom,
    RenameTo,
    CopyTo,
    MoveFrom,
    MoveTo,
    Restore,
    /// The database holds what another one held (SWAPDB); the key is empty.
    Swap,
    /// Everything in the database is gone; the key is empty.
    Flush,
}

/// Collects effects in the order in which they happened. Nobody listening is the common case, and then nothing is
/// kept: whether effects are wanted is local knowledge and never changes what the machine does.
#[derive(Debug, Default)]
pub struct Effects {
    wanted: bool,
    list: Vec<Effect>,
}

impl Effects {
    pub fn wanted() -> Self {
        Effects { wanted: true, list: Vec::new() }
    }

    pub fn unwanted() -> Self {
        Effects::default()
    }

    pub fn push(&mut self, database: u32, key: &[u8], event: KeyEvent) {
        if self.wanted {
            self.list.push(Effect { database, key: Bytes::copy_from_slice(key), event });
        }
    }

    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.list.drain(..)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
