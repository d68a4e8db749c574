//! Values as Redis writes them (`rdb.c`, Redis 5.0 to 8.8): what DUMP gives and RESTORE takes.
//!
//! Strings are RDB type 0; streams are types 15, 19, 21, 26 and 27, each of which adds to the one before. All of them are
//! read. A payload comes from anywhere: everything in it is checked before a value is made of it, and no number in it
//! sizes anything.

pub mod listpack;
pub mod payload;
pub mod reader;
mod stream_reader;
mod stream_writer;
pub mod writer;

use crate::state::stream::Stream;

/// The newest version of the format that is read (Redis 8.8).
pub const VERSION_MAX: u16 = 14;

/// The version that introduced what strings and the oldest streams need (Redis 5.0).
pub const VERSION_MIN: u16 = 9;

const TYPE_STRING: u8 = 0;

/// The encodings of a stream, oldest first: each has all that those before it have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StreamType {
    /// Redis 5.0: entries, groups, pending entries.
    Listpacks,
    /// Redis 7.0: entries-added, max-deleted-id, entries-read.
    Counters,
    /// Redis 7.2: when a consumer was last active.
    ActiveTimes,
    /// Redis 8.6: idempotent producers.
    Producers,
    /// Redis 8.8: pending entries without a consumer (XNACK).
    Unowned,
}

impl StreamType {
    const ALL: [StreamType; 5] = [
        StreamType::Listpacks,
        StreamType::Counters,
        StreamType::ActiveTimes,
        StreamType::Producers,
        StreamType::Unowned,
    ];

    fn byte(self) -> u8 {
        match self {
            StreamType::Listpacks => 15,
            StreamType::Counters => 19,
            StreamType::ActiveTimes => 21,
            StreamType::Producers => 26,
            StreamType::Unowned => 27,
        }
    }

    fn of_byte(byte: u8) -> Option<StreamType> {
        StreamType::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// The version of the format that brought it.
    fn version(self) -> u16 {
        match self {
            StreamType::Listpacks => 9,
            StreamType::Counters => 10,
            StreamType::ActiveTimes => 11,
            StreamType::Producers => 13,
            StreamType::Unowned => 14,
        }
    }

    /// The oldest type from 21 on that holds all of the stream, so that the oldest server that can read it does; an older
    /// one, which leaves out what it does not know, if `version_max` does not allow that.
    fn to_write(stream: &Stream, version_max: u16) -> StreamType {
        let wanted = if stream.groups.values().any(|group| group.nacked_len() > 0) {
            StreamType::Unowned
        } else if !stream.producers.is_untouched(stream_writer::PRODUCERS_OF_REDIS) {
            StreamType::Producers
        } else {
            StreamType::ActiveTimes
        };
        let allowed = StreamType::ALL.into_iter().rfind(|kind| kind.version() <= version_max);
        allowed.map_or(StreamType::Listpacks, |newest| newest.min(wanted))
    }
}
