//! The record: the framed unit of the journal.
//!
//! ```text
//!  0 u32  payload length in bytes
//!  4 u8   kind
//!  5 u8   0
//!  6 u16  partition
//!  8 u32  how far this file was known to be synced when the record was made, in units of 4 bytes
//! 12 u32  incarnation of the partition's group on this node
//! 16 u64  term
//! 24 u64  index
//! 32 u32  CRC32C of place and payload
//! 36 u32  CRC32C of place and the 36 bytes before
//! 40      payload, then zeros up to a multiple of 4 bytes
//! ```
//!
//! In the file every 4 bytes of it are masked: combined by exclusive or with the mask of the file, of which no
//! byte is zero.
//!
//! *Place* is the file's salt and sequence number and the record's offset. A stale, copied or misdirected
//! record has valid bytes in a wrong place and never parses (S5, S16). The head has its own checksum, so that
//! the length is trustworthy before the payload is read (S15), and so that searching for records behind a
//! damaged one costs a head each.
//!
//! The *synced* field and the mask distinguish a torn write from damage. One write carries many records, and
//! a power failure may keep any of its sectors. A later record that says "the unreadable place was synced
//! when I was made" proves damage. A sector that never arrived is zeros, and what was written to it is not,
//! whatever a client has sent.
//!
//! Formats 1 and 2 have no mask and no incarnation: [`Layout::Plain`].

use crate::base::crc;
use crate::model::log::{LogId, LogIndex, PartitionId, Term};

/// Of a record in [`Layout::Masked`], the longer one.
pub const HEAD_BYTES: usize = 40;
const PLAIN_HEAD_BYTES: usize = 36;

/// Records start at multiples of this.
pub const ALIGNMENT: u64 = 4;

/// Far above any batch; below the bounds of the length field and of the record's own arithmetic.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 31;

/// The kind of a record. 0 is no kind, so zeros are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The process has stopped in order: everything before was synced when this record was made. No
    /// partition, no log id. Since format 3.
    CleanStop = 10,
    /// The last entry of the log when this file began. Since format 3.
    Last = 11,
    /// This node has left the group: its vote and its entries are void, and what follows belongs to the next
    /// incarnation. Since format 3.
    Drop = 12,
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
            10 => RecordKind::CleanStop,
            11 => RecordKind::Last,
            12 => RecordKind::Drop,
            _ => return None,
        })
    }

    /// Whether the record is a log entry, which takes the next index.
    pub fn is_entry(self) -> bool {
        matches!(self, RecordKind::Entry | RecordKind::Membership | RecordKind::Blank)
    }
}

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Formats 1 and 2: a head of 36 bytes, which has its payload's checksum where the incarnation is now.
    Plain,
    /// Since format 3.
    Masked,
}

impl Layout {
    pub const fn head_bytes(self) -> usize {
        match self {
            Layout::Plain => PLAIN_HEAD_BYTES,
            Layout::Masked => HEAD_BYTES,
        }
    }

    /// Bytes of a record with a payload of this length, padding included.
    pub const fn record_bytes(self, payload_bytes: usize) -> u64 {
        ((self.head_bytes() + payload_bytes) as u64).next_multiple_of(ALIGNMENT)
    }
}

/// The place of a record, bound into its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub layout: Layout,
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

    /// Masks what stands in the file from here on, or takes its mask away. No byte of the mask is zero, so a
    /// zero is never written as a zero; clients cannot know it, as they do not know the salt.
    pub fn mask(self, bytes: &mut [u8]) {
        if self.layout == Layout::Plain {
            return;
        }
        let mixed = (self.salt ^ self.sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (mixed >> 32) as u32 | 0x0101_0101;
        let mut pieces = bytes.chunks_exact_mut(4);
        for piece in &mut pieces {
            let masked = u32::from_le_bytes([piece[0], piece[1], piece[2], piece[3]]) ^ word;
            piece.copy_from_slice(&masked.to_le_bytes());
        }
        for (byte, mask) in pieces.into_remainder().iter_mut().zip(word.to_le_bytes()) {
            *byte ^= mask;
        }
    }
}

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    pub partition: PartitionId,
    /// Of the partition's group on this node, from 1.
    pub incarnation: u32,
    pub log_id: LogId,
    pub kind: RecordKind,
    pub payload_bytes: u32,
    /// How far the file was known to be synced when the record was made; at most the record's own offset.
    pub synced: u64,
    layout: Layout,
    payload_crc: u32,
}

impl RecordHead {
    /// Bytes of the whole record in the file, padding included.
    pub fn record_bytes(&self) -> u64 {
        self.layout.record_bytes(self.payload_bytes as usize)
    }

    /// Decodes the head at the start of `bytes`, which are as they stand in the file, if its checksum holds
    /// at this place. `None` gives no reason.
    pub fn decode(bytes: &[u8], place: Place) -> Option<RecordHead> {
        let len = place.layout.head_bytes();
        let mut head = [0; HEAD_BYTES];
        head[..len].copy_from_slice(bytes.get(..len)?);
        place.mask(&mut head);
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let kind = RecordKind::from_u8(head[4])?;
        if head[5] != 0 || u32_at(0) as usize > PAYLOAD_BYTES_MAX {
            return None;
        }
        let synced = u64::from(u32_at(8)) * ALIGNMENT;
        if synced > place.offset || u32_at(len - 4) != crc::extend(place.crc(), &head[..len - 4]) {
            return None;
        }
        let (incarnation, payload_crc) = match place.layout {
            Layout::Plain => (1, u32_at(12)),
            Layout::Masked => (u32_at(12), u32_at(32)),
        };
        Some(RecordHead {
            partition: PartitionId(u16::from_le_bytes([head[6], head[7]])),
            incarnation,
            log_id: LogId { term: Term(u64_at(16)), index: LogIndex(u64_at(24)) },
            kind,
            payload_bytes: u32_at(0),
            synced,
            layout: place.layout,
            payload_crc,
        })
    }

    /// Whether the head was made for this payload, without its mask.
    pub fn fits(&self, payload: &[u8], place: Place) -> bool {
        payload.len() == self.payload_bytes as usize && crc::extend(place.crc(), payload) == self.payload_crc
    }
}

/// What a record says beside its payload.
#[derive(Debug, Clone, Copy)]
pub struct RecordFields {
    pub kind: RecordKind,
    pub partition: PartitionId,
    pub incarnation: u32,
    pub log_id: LogId,
    /// See [`RecordHead::synced`].
    pub synced: u64,
}

impl RecordFields {
    /// Of a record about the file, not about a partition.
    pub fn of_file(kind: RecordKind, synced: u64) -> RecordFields {
        RecordFields { kind, partition: PartitionId(0), incarnation: 1, log_id: LogId::default(), synced }
    }
}

/// Appends a record to `out`. The payload has at most [`PAYLOAD_BYTES_MAX`] bytes.
pub fn encode(out: &mut Vec<u8>, place: Place, fields: RecordFields, payload: &[u8]) {
    let RecordFields { kind, partition, incarnation, log_id, synced } = fields;
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload of {} bytes is over the limit", payload.len());
    assert!(place.offset.is_multiple_of(ALIGNMENT) && synced.is_multiple_of(ALIGNMENT));
    assert!(synced <= place.offset, "nothing behind a record is synced before it");
    let synced_units = u32::try_from(synced / ALIGNMENT).expect("a journal file is smaller than 16 GiB");
    let len = place.layout.head_bytes();
    let place_crc = place.crc();
    let payload_crc = crc::extend(place_crc, payload);
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4] = kind as u8;
    head[6..8].copy_from_slice(&partition.0.to_le_bytes());
    head[8..12].copy_from_slice(&synced_units.to_le_bytes());
    head[16..24].copy_from_slice(&log_id.term.0.to_le_bytes());
    head[24..32].copy_from_slice(&log_id.index.0.to_le_bytes());
    match place.layout {
        Layout::Plain => head[12..16].copy_from_slice(&payload_crc.to_le_bytes()),
        Layout::Masked => {
            head[12..16].copy_from_slice(&incarnation.to_le_bytes());
            head[32..36].copy_from_slice(&payload_crc.to_le_bytes());
        }
    }
    let head_crc = crc::extend(place_crc, &head[..len - 4]);
    head[len - 4..len].copy_from_slice(&head_crc.to_le_bytes());
    let padding = place.layout.record_bytes(payload.len()) as usize - len - payload.len();
    let start = out.len();
    out.reserve(len + payload.len() + padding);
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(payload);
    out.extend_from_slice(&[0; ALIGNMENT as usize][..padding]);
    place.mask(&mut out[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place = Place { layout: Layout::Masked, salt: 7, sequence: 3, offset: 4096 };
    const OLD_PLACE: Place = Place { layout: Layout::Plain, ..PLACE };

    fn sample(place: Place, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = RecordFields {
            kind: RecordKind::Entry,
            partition: PartitionId(5),
            incarnation: 1,
            log_id: LogId { term: Term(2), index: LogIndex(9) },
            synced: 1024,
        };
        encode(&mut out, place, fields, payload);
        out
    }

    fn parse(bytes: &[u8], place: Place) -> Option<(RecordHead, Vec<u8>)> {
        let head = RecordHead::decode(bytes, place)?;
        let mut bytes = bytes.to_vec();
        place.mask(&mut bytes);
        let start = place.layout.head_bytes();
        let payload = bytes.get(start..start + head.payload_bytes as usize)?;
        head.fits(payload, place).then(|| (head, payload.to_vec()))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload: Vec<u8>) {
            for place in [PLACE, OLD_PLACE] {
                let bytes = sample(place, &payload);
                prop_assert_eq!(bytes.len() as u64, place.layout.record_bytes(payload.len()));
                let (head, read) = parse(&bytes, place).unwrap();
                prop_assert_eq!(&read, &payload);
                prop_assert_eq!((head.partition, head.incarnation), (PartitionId(5), 1));
                prop_assert_eq!(head.log_id, LogId { term: Term(2), index: LogIndex(9) });
                prop_assert_eq!(head.synced, 1024);
            }
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes, PLACE).is_none());
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        for place in [PLACE, OLD_PLACE] {
            let bytes = sample(place, b"payload!");
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(parse(&damaged, place).is_none(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_in_another_place_does_not_parse() {
        let bytes = sample(PLACE, b"payload");
        assert!(parse(&bytes, PLACE).is_some());
        assert!(parse(&bytes, Place { salt: 8, ..PLACE }).is_none());
        assert!(parse(&bytes, Place { sequence: 4, ..PLACE }).is_none());
        assert!(parse(&bytes, Place { offset: 8192, ..PLACE }).is_none());
        assert!(parse(&bytes, OLD_PLACE).is_none());
    }

    #[test]
    fn zeros_are_no_record_and_no_record_has_zeros() {
        assert!(RecordHead::decode(&[0; 64], Place { salt: 0, sequence: 0, ..PLACE }).is_none());
        for sequence in 0..100 {
            let bytes = sample(Place { sequence, ..PLACE }, &[0; 4000]);
            assert!(bytes.chunks(4).all(|word| word != [0; 4]), "file {sequence}");
        }
    }
}
