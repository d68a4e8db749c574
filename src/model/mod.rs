//! The nouns that every room uses: arguments, entries and their ids, key events, slots, log ids, times,
//! limits, replies.

pub mod args;
pub mod entries;
pub mod entry_id;
pub mod key_events;
pub mod limits;
pub mod log;
pub mod reply;
pub mod request;
pub mod reply_size;
pub mod slot;
pub mod time;
