//! What clients are told of a full disk. The code is the one of Redis, which clients know.

use crate::model::reply::ReplyError;

/// Less than `disk-reserve` is left.
pub const DISK_NEARLY_FULL: ReplyError = ReplyError::new(
    "MISCONF No space left on device: the disk is nearly full (disk-reserve). Commands that add data are refused; \
     reads, XACK, XDEL, XTRIM, DEL, EXPIRE and SAVE work.",
);

/// The journal waits for space.
pub const DISK_FULL: ReplyError = ReplyError::new(
    "MISCONF No space left on device: the disk is full and the journal waits. All writes are refused; reads work.",
);
