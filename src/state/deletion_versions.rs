//! Removed keys, for WATCH: an absent key may have come and gone since it was watched.
//!
//! Key names hash into buckets; each bucket keeps the version of its last removal. A transaction is therefore
//! sometimes refused because another key was removed. WATCH allows that: the client tries again.

use crate::base::crc;
use crate::base::wire::{Malformed, Reader, Writer};
use crate::state::keyspace::KeyVersion;

/// Part of the replicated state: every machine must decide alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeletionVersions {
    /// Empty, or one version per bucket; 0: nothing was removed.
    versions: Vec<u64>,
}

impl DeletionVersions {
    /// 128 KiB after the first removal. Two keys share a bucket with probability 1/16,384.
    pub const BUCKETS: usize = 16 * 1024;

    /// Records the removal of so many keys that there is hardly a bucket without one.
    pub fn note_all(&mut self, version: KeyVersion) {
        self.versions.clear();
        self.versions.resize(Self::BUCKETS, version.0);
    }

    /// Records a removal by the write with this version. For a due key, pass the key's own version, so that
    /// the moment of its deletion makes no difference.
    pub fn note(&mut self, database: u32, key: &[u8], version: KeyVersion) {
        if self.versions.is_empty() {
            self.versions.resize(Self::BUCKETS, 0);
        }
        let last = &mut self.versions[bucket(database, key)];
        *last = version.0.max(*last);
    }

    /// The version of an absent key. It changes when the key, or another key of its bucket, comes and goes.
    pub fn version(&self, database: u32, key: &[u8]) -> KeyVersion {
        KeyVersion::absent_since(self.versions.get(bucket(database, key)).copied().unwrap_or(0))
    }

    /// The version of a due key that is not deleted yet.
    pub fn version_when_gone(&self, database: u32, key: &[u8], version: KeyVersion) -> KeyVersion {
        self.version(database, key).max(KeyVersion::absent_since(version.0))
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        let noted = self.versions.iter().enumerate().filter(|(_, version)| **version > 0);
        writer.varint(noted.clone().count() as u64);
        for (bucket, version) in noted {
            writer.u16(bucket as u16);
            writer.varint(*version);
        }
    }

    /// `changes`: an upper bound of all versions.
    pub fn decode(reader: &mut Reader<'_>, changes: u64) -> Result<DeletionVersions, Malformed> {
        let mut deletions = DeletionVersions::default();
        let mut next = 0;
        for _ in 0..reader.count()? {
            let bucket = usize::from(reader.u16()?);
            if !(next..Self::BUCKETS).contains(&bucket) {
                return Err(reader.malformed("removals are not in order"));
            }
            next = bucket + 1;
            let version = reader.varint()?;
            if !(1..=changes).contains(&version) {
                return Err(reader.malformed("version of a removal that was never given"));
            }
            deletions.versions.resize(Self::BUCKETS, 0);
            deletions.versions[bucket] = version;
        }
        Ok(deletions)
    }
}

fn bucket(database: u32, key: &[u8]) -> usize {
    crc::extend(crc::crc32c(&database.to_le_bytes()), key) as usize % DeletionVersions::BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_seen_and_survives_a_checkpoint() {
        let mut deletions = DeletionVersions::default();
        let before = deletions.version(0, b"k");
        assert_eq!(before, KeyVersion(0));
        deletions.note(0, b"k", KeyVersion(7));
        let after = deletions.version(0, b"k");
        assert!(after != before && after != KeyVersion(7), "a version that no key has");
        assert_eq!(deletions.version(1, b"k"), before, "in another database");
        deletions.note(0, b"k", KeyVersion(6));
        assert_eq!(deletions.version(0, b"k"), after);
        let mut bytes = Vec::new();
        deletions.encode(&mut Writer::new(&mut bytes));
        assert_eq!(DeletionVersions::decode(&mut Reader::new(&bytes), 7).unwrap(), deletions);
        assert!(DeletionVersions::decode(&mut Reader::new(&bytes), 6).is_err());
    }

    #[test]
    fn many_removals_are_recorded_as_one() {
        let mut deletions = DeletionVersions::default();
        deletions.note(0, b"k", KeyVersion(7));
        let before = [b"k", b"l"].map(|key| deletions.version(0, key));
        deletions.note_all(KeyVersion(9));
        assert!([b"k", b"l"].iter().zip(before).all(|(key, before)| deletions.version(0, *key) > before));
    }

    #[test]
    fn a_due_key_is_gone_whether_it_was_deleted_or_not() {
        let mut deletions = DeletionVersions::default();
        let due = deletions.version_when_gone(0, b"k", KeyVersion(3));
        deletions.note(0, b"k", KeyVersion(3));
        assert_eq!(deletions.version(0, b"k"), due);
    }
}
