//! Values in Redis's format (`rdb.c`, Redis 5.0 to 8.8): DUMP writes it, RESTORE reads it.
//!
//! Strings are RDB type 0; streams are types 15, 19, 21, 26 and 27, each of which extends the previous one.
//! All of them are readable. A payload may come from anywhere: all of it is checked before a value is built,
//! and no number in it sizes anything (docs/reliability.md P13).

pub mod listpack;
pub mod payload;
pub mod reader;
mod stream_reader;
mod stream_writer;
pub mod writer;

use crate::state::stream::Stream;

/// Newest readable version of the format (Redis 8.8).
pub const VERSION_MAX: u16 = 14;

/// The version that strings and the oldest streams need (Redis 5.0).
pub const VERSION_MIN: u16 = 9;

const TYPE_STRING: u8 = 0;

/// The encodings of a stream, oldest first; each contains everything of those before it.
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

    /// The version that introduced the type.
    fn version(self) -> u16 {
        match self {
            StreamType::Listpacks => 9,
            StreamType::Counters => 10,
            StreamType::ActiveTimes => 11,
            StreamType::Producers => 13,
            StreamType::Unowned => 14,
        }
    }

    /// The oldest type from 21 on that holds all of the stream, so that the oldest capable server can read
    /// it. If `version_max` forbids that type, an older one, which omits what it cannot express.
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
