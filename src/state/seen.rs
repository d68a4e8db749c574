//! When consumers were seen without an op.
//!
//! A read that finds nothing is logged at most once a second, so the state may be that late about its
//! consumer. The owner of a machine may know better; the machine asks it when a query tells of consumers. No op
//! asks.

use crate::model::time::TimeMs;

/// A consumer by names.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerPath<'n> {
    pub database: u32,
    pub key: &'n [u8],
    pub group: &'n [u8],
    pub consumer: &'n [u8],
}

/// What is known of reads that are not in the log.
pub trait SeenTimes {
    /// When the consumer was last seen; `logged`: according to the log.
    fn seen_at(&self, consumer: ConsumerPath<'_>, logged: TimeMs) -> TimeMs;
}

/// Knows the log alone.
pub struct LoggedOnly;

impl SeenTimes for LoggedOnly {
    fn seen_at(&self, _consumer: ConsumerPath<'_>, logged: TimeMs) -> TimeMs {
        logged
    }
}

/// The consumers of one stream, for who tells of them.
#[derive(Clone, Copy)]
pub struct StreamSeen<'s> {
    pub times: &'s dyn SeenTimes,
    pub database: u32,
    pub key: &'s [u8],
}

impl StreamSeen<'_> {
    pub const LOGGED_ONLY: StreamSeen<'static> = StreamSeen { times: &LoggedOnly, database: 0, key: b"" };

    /// See [`SeenTimes::seen_at`].
    pub fn at(&self, group: &[u8], consumer: &[u8], logged: TimeMs) -> TimeMs {
        let StreamSeen { times, database, key } = *self;
        times.seen_at(ConsumerPath { database, key, group, consumer }, logged)
    }
}
