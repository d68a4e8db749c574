//! The tag numbers of the log. A number is never reused for another meaning.

use crate::base::wire::{Malformed, Reader};

/// An enum whose variants are bytes of the log.
macro_rules! tags {
    ($(#[$about:meta])* $name:ident, $unknown:literal, { $($(#[$note:meta])* $tag:ident = $number:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$note])* $tag = $number,)+
        }

        impl $name {
            #[cfg(test)]
            const ALL: &[$name] = &[$($name::$tag),+];

            /// Reads a tag from the front.
            pub fn read(reader: &mut Reader<'_>) -> Result<$name, Malformed> {
                let byte = reader.u8()?;
                $name::try_from(byte).map_err(|UnknownTag| reader.malformed($unknown))
            }
        }

        impl From<$name> for u8 {
            fn from(tag: $name) -> u8 {
                tag as u8
            }
        }

        impl TryFrom<u8> for $name {
            type Error = UnknownTag;

            fn try_from(byte: u8) -> Result<$name, UnknownTag> {
                match byte {
                    $($number => Ok($name::$tag),)+
                    _ => Err(UnknownTag),
                }
            }
        }
    };
}

/// A byte without a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTag;

tags!(
    /// An op of a batch.
    OpTag, "unknown kind of op", {
        Write = 0,
        /// XADD has its own tag because it is the most frequent op.
        Add = 1,
        /// The old form of a transaction, with queries among its commands. Read, not written.
        TransactionWithQueries = 2,
        Transaction = 3,
        BlockingRead = 4,
    }
);

tags!(
    /// A command where both writes and queries may occur.
    DataTag, "unknown kind of command", {
        Write = 0,
        Query = 1,
    }
);

tags!(
    /// A write.
    WriteTag, "unknown kind of write", {
        Add = 0,
        Trim = 1,
        DeleteEntries = 2,
        SetLastId = 3,
        GroupRead = 4,
        Acknowledge = 5,
        CreateGroup = 6,
        SetGroupId = 7,
        DestroyGroup = 8,
        CreateConsumer = 9,
        DeleteConsumer = 10,
        Claim = 11,
        AutoClaim = 12,
        DeleteEach = 15,
        AcknowledgeAndDelete = 16,
        NegativeAcknowledge = 17,
        Delete = 20,
        Expire = 21,
        Persist = 22,
        Rename = 23,
        Copy = 24,
        FlushDatabase = 25,
        FlushAll = 26,
        DeleteExpired = 27,
        SetStreamNodeLimits = 28,
        DeleteIfDue = 29,
        Set = 40,
        SetIfAbsent = 41,
        GetDelete = 42,
        GetExpire = 43,
        SetMany = 44,
        SetManyIfAbsent = 45,
        Append = 46,
        Increment = 47,
        IncrementFloat = 48,
        ConfigureStream = 60,
        RecordId = 61,
        SetIdempotencyLimits = 70,
        ForgetIds = 71,
        Move = 72,
        Restore = 73,
        SwapDatabases = 74,
    }
);

tags!(
    /// A query. Queries have their own numbers: a batch carries them beside the log.
    QueryTag, "unknown kind of query", {
        Length = 0,
        Range = 1,
        Read = 2,
        Info = 3,
        Groups = 4,
        Consumers = 5,
        Pending = 6,
        /// [`QueryTag::Read`] of a client that was blocked: it skips keys of other types.
        ReadPassingOthers = 7,
        Exists = 20,
        Touch = 21,
        Type = 22,
        TimeToLive = 23,
        Random = 24,
        Matching = 25,
        Scan = 26,
        Object = 27,
        Count = 28,
        Get = 40,
        GetMany = 41,
        StringLength = 42,
        Refused = 50,
        Dump = 70,
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// Every tag decodes from its byte, and every other byte is refused.
    fn check<T: Copy + Debug + PartialEq + TryFrom<u8>>(all: &[T], byte_of: impl Fn(T) -> u8) {
        let mut named = [false; 256];
        for tag in all {
            let byte = byte_of(*tag);
            assert!(!named[usize::from(byte)], "{byte} names {tag:?} and another one");
            named[usize::from(byte)] = true;
            assert_eq!(T::try_from(byte).ok(), Some(*tag));
        }
        let read = (0..=255).filter(|byte| T::try_from(*byte).is_ok()).count();
        assert_eq!(read, all.len(), "no other byte is read");
    }

    #[test]
    fn tags_are_distinct_and_come_back() {
        check(OpTag::ALL, u8::from);
        check(DataTag::ALL, u8::from);
        check(WriteTag::ALL, u8::from);
        check(QueryTag::ALL, u8::from);
    }

    #[test]
    fn the_log_of_today_is_the_log_of_yesterday() {
        let bytes = |tags: &[WriteTag]| tags.iter().map(|tag| u8::from(*tag)).collect::<Vec<_>>();
        let expected: Vec<u8> =
            (0..=12).chain(15..=17).chain(20..=29).chain(40..=48).chain(60..=61).chain(70..=74).collect();
        assert_eq!(bytes(WriteTag::ALL), expected);
    }
}
