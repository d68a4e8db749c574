//! Hash slots, as in Redis Cluster: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384.

use crate::model::log::PartitionId;

pub const SLOTS: u16 = 16384;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// Hashes only the part between the first `{` and the next `}`, if that part is not empty (Redis Cluster
    /// specification, "Hash tags").
    pub fn of(key: &[u8]) -> Slot {
        let tag = key.iter().position(|&b| b == b'{').and_then(|open| {
            let rest = &key[open + 1..];
            rest.iter().position(|&b| b == b'}').filter(|&len| len > 0).map(|len| &rest[..len])
        });
        Slot(crc16(tag.unwrap_or(key)) % SLOTS)
    }

    /// Partitions own contiguous, near-equal runs of slots.
    pub fn partition(self, partitions: u16) -> PartitionId {
        PartitionId((u32::from(self.0) * u32::from(partitions) / u32::from(SLOTS)) as u16)
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// Polynomial 0x1021, most significant bit first.
const CRC16_TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // The check value of CRC16/XMODEM, and slots as CLUSTER KEYSLOT of Redis 7.0 returns them.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Slot::of(b"foo"), Slot(12182));
        assert_eq!(Slot::of(b"{foo}.bar"), Slot::of(b"foo"));
        assert_eq!(Slot::of(b"{}foo"), Slot(crc16(b"{}foo") % SLOTS));
        assert_eq!(Slot::of(b"a{b"), Slot(crc16(b"a{b") % SLOTS));
        assert_eq!(Slot::of(b"x{{y}}z"), Slot::of(b"{y"));
    }

    #[test]
    fn every_slot_has_a_partition_and_every_partition_slots() {
        for partitions in [1, 2, 3, 4, 7, 64] {
            let mut seen = vec![0; usize::from(partitions)];
            for slot in 0..SLOTS {
                seen[usize::from(Slot(slot).partition(partitions).0)] += 1;
            }
            assert!(seen.iter().all(|&n| n >= SLOTS / partitions), "{partitions}: {seen:?}");
        }
    }
}
