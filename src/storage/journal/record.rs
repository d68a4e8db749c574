//! The record: the framed unit of the journal.
//!
//! ```text
//!  0 u32  payload length in bytes
//!  4 u8   kind
//!  5 u8   0
//!  6 u16  partition
//!  8 u32  how far this file was known to be synced when the record was made, in units of 4 bytes
//! 12 u32  CRC32C of place and payload
//! 16 u64  term
//! 24 u64  index
//! 32 u32  CRC32C of place and the 32 bytes before
//! 36      payload, then zeros up to a multiple of 4 bytes
//! ```
//!
//! *Place* is the file's salt and sequence number and the record's offset. A stale, copied or misdirected
//! record has valid bytes in a wrong place and never parses (S5, S16). The head has its own checksum, so that
//! the length is trustworthy before the payload is read (S15), and so that searching for records behind a
//! damaged one costs a head each. The checksum stands last: a head that was cut short ends in zeros.
//!
//! The *synced* field distinguishes a torn write from damage. One write carries many records, and a power
//! failure may keep any of its sectors. A later record that says "the unreadable place was synced when I was
//! made" proves damage.

use crate::base::crc;
use crate::model::log::{LogId, LogIndex, PartitionId, Term};

pub const HEAD_BYTES: usize = 36;

/// Records start at multiples of this.
pub const ALIGNMENT: u64 = 4;

/// Far above any batch; below the bounds of the length field and of the record's own arithmetic.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 31;

/// The kind of a record. 0 is no kind, so zeros are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// A batch of commands.
    Entry = 1,
    /// A change of the partition's Raft membership; the bytes belong to the replication room.
    Membership = 2,
    /// A Raft entry without content: a new leader's first.
    Blank = 3,
    /// The partition's vote, opaque; no log id.
    Vote = 4,
    /// Entries above this log id are gone.
    Truncate = 5,
    /// Entries up to this log id are covered by a durable checkpoint.
    Purge = 6,
    /// Entries up to this log id were committed.
    Committed = 7,
    /// All records of the partition before this one are void; its log continues after this log id, which a
    /// durable checkpoint covers. Since format 2.
    Reset = 8,
    /// The last record of a file: the next file exists. No partition, no log id. Since format 2.
    Continued = 9,
}

impl RecordKind {
    pub fn from_u8(byte: u8) -> Option<RecordKind> {
        Some(match byte {
            1 => RecordKind::Entry,
            2 => RecordKind::Membership,
            3 => RecordKind::Blank,
            4 => RecordKind::Vote,
            5 => RecordKind::Truncate,
            6 => RecordKind::Purge,
            7 => RecordKind::Committed,
            8 => RecordKind::Reset,
            9 => RecordKind::Continued,
            _ => return None,
        })
    }

    /// Whether the record is a log entry, which takes the next index.
    pub fn is_entry(self) -> bool {
        matches!(self, RecordKind::Entry | RecordKind::Membership | RecordKind::Blank)
    }
}

/// The place of a record, bound into its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub salt: u64,
    pub sequence: u64,
    pub offset: u64,
}

impl Place {
    fn crc(self) -> u32 {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.salt.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..].copy_from_slice(&self.offset.to_le_bytes());
        crc::crc32c(&bytes)
    }
}

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    pub partition: PartitionId,
    pub log_id: LogId,
    pub kind: RecordKind,
    pub payload_bytes: u32,
    /// How far the file was known to be synced when the record was made; at most the record's own offset.
    pub synced: u64,
    payload_crc: u32,
}

impl RecordHead {
    /// Bytes of the whole record in the file, padding included.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.payload_bytes as usize)
    }

    /// Decodes the head at the start of `bytes`, if its checksum holds at this place. `None` gives no reason.
    pub fn decode(bytes: &[u8], place: Place) -> Option<RecordHead> {
        let head: &[u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let kind = RecordKind::from_u8(head[4])?;
        if head[5] != 0 || u32_at(0) as usize > PAYLOAD_BYTES_MAX {
            return None;
        }
        let synced = u64::from(u32_at(8)) * ALIGNMENT;
        if synced > place.offset || u32_at(32) != crc::extend(place.crc(), &head[..32]) {
            return None;
        }
        Some(RecordHead {
            partition: PartitionId(u16::from_le_bytes([head[6], head[7]])),
            log_id: LogId { term: Term(u64_at(16)), index: LogIndex(u64_at(24)) },
            kind,
            payload_bytes: u32_at(0),
            synced,
            payload_crc: u32_at(12),
        })
    }

    /// Whether the head was made for this payload.
    pub fn fits(&self, payload: &[u8], place: Place) -> bool {
        payload.len() == self.payload_bytes as usize && crc::extend(place.crc(), payload) == self.payload_crc
    }
}

/// Bytes of a record with a payload of this length, padding included.
pub const fn record_bytes(payload_bytes: usize) -> u64 {
    ((HEAD_BYTES + payload_bytes) as u64).next_multiple_of(ALIGNMENT)
}

/// Appends the last record of a file to `out`.
pub fn encode_continued(out: &mut Vec<u8>, place: Place, synced: u64) {
    encode(out, place, synced, PartitionId(0), LogId::default(), RecordKind::Continued, &[]);
}

/// Appends a record to `out`. The payload has at most [`PAYLOAD_BYTES_MAX`] bytes.
pub fn encode(
    out: &mut Vec<u8>,
    place: Place,
    synced: u64,
    partition: PartitionId,
    log_id: LogId,
    kind: RecordKind,
    payload: &[u8],
) {
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload of {} bytes is over the limit", payload.len());
    assert!(place.offset.is_multiple_of(ALIGNMENT) && synced.is_multiple_of(ALIGNMENT));
    assert!(synced <= place.offset, "nothing behind a record is synced before it");
    let synced_units = u32::try_from(synced / ALIGNMENT).expect("a journal file is smaller than 16 GiB");
    let place_crc = place.crc();
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4] = kind as u8;
    head[6..8].copy_from_slice(&partition.0.to_le_bytes());
    head[8..12].copy_from_slice(&synced_units.to_le_bytes());
    head[12..16].copy_from_slice(&crc::extend(place_crc, payload).to_le_bytes());
    head[16..24].copy_from_slice(&log_id.term.0.to_le_bytes());
    head[24..32].copy_from_slice(&log_id.index.0.to_le_bytes());
    let head_crc = crc::extend(place_crc, &head[..32]);
    head[32..].copy_from_slice(&head_crc.to_le_bytes());
    let padding = record_bytes(payload.len()) as usize - HEAD_BYTES - payload.len();
    out.reserve(HEAD_BYTES + payload.len() + padding);
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out.extend_from_slice(&[0; ALIGNMENT as usize][..padding]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place = Place { salt: 7, sequence: 3, offset: 4096 };

    fn sample(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let log_id = LogId { term: Term(2), index: LogIndex(9) };
        encode(&mut out, PLACE, 1024, PartitionId(5), log_id, RecordKind::Entry, payload);
        out
    }

    fn parse(bytes: &[u8], place: Place) -> Option<(RecordHead, Vec<u8>)> {
        let head = RecordHead::decode(bytes, place)?;
        let payload = bytes.get(HEAD_BYTES..HEAD_BYTES + head.payload_bytes as usize)?;
        head.fits(payload, place).then(|| (head, payload.to_vec()))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload: Vec<u8>) {
            let bytes = sample(&payload);
            prop_assert_eq!(bytes.len() as u64, record_bytes(payload.len()));
            let (head, read) = parse(&bytes, PLACE).unwrap();
            prop_assert_eq!(read, payload);
            prop_assert_eq!(head.partition, PartitionId(5));
            prop_assert_eq!(head.log_id, LogId { term: Term(2), index: LogIndex(9) });
            prop_assert_eq!(head.synced, 1024);
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes, PLACE).is_none());
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        let bytes = sample(b"payload!");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged, PLACE).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_in_another_place_does_not_parse() {
        let bytes = sample(b"payload");
        assert!(parse(&bytes, PLACE).is_some());
        assert!(parse(&bytes, Place { salt: 8, ..PLACE }).is_none());
        assert!(parse(&bytes, Place { sequence: 4, ..PLACE }).is_none());
        assert!(parse(&bytes, Place { offset: 8192, ..PLACE }).is_none());
    }

    #[test]
    fn zeros_are_no_record() {
        assert!(RecordHead::decode(&[0; 64], Place { salt: 0, sequence: 0, offset: 0 }).is_none());
    }
}
