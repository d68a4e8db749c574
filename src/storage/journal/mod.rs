//! The Raft log of all partitions of an engine: one write and one sync for everything pending.
//!
//! Files `journal/0000000000000001.journal` and up hold records back to back. Each file is zeroed ahead of
//! its records, so that a sync commits no file-system metadata and zeros mark the end of the records.
//!
//! Read in this order: [`record`] (format), [`file`] (header, preallocation), [`options`], [`reader`], [`index`]
//! (entry positions), [`recovery`], [`torn`] (the end of the records), [`spare`] (the next file, prepared in the
//! background), [`tail`] (entries kept in memory), [`direct`] (writes that are durable when they return),
//! [`pending`] (what is not written), [`journal`] (the owner: append, write, flush, purge).

pub mod direct;
pub mod error;
pub mod file;
pub mod file_name;
pub mod index;
#[expect(clippy::module_inception, reason = "the noun of the room is the room's name")]
pub mod journal;
pub mod options;
pub mod pending;
pub mod reader;
pub mod record;
pub mod recovery;
pub mod spare;
pub mod tail;
pub mod torn;

#[cfg(test)]
mod format_tests;
