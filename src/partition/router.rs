//! The router from a key to its partition.

use crate::model::log::PartitionId;
use crate::model::reply::ReplyError;
use crate::model::slot::Slot;

#[derive(Debug, Clone, Copy)]
pub struct Router {
    partitions: u16,
}

impl Router {
    pub fn new(partitions: u16) -> Self {
        assert!(partitions > 0, "a node has at least one partition");
        Router { partitions }
    }

    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    pub fn of_key(&self, key: &[u8]) -> PartitionId {
        if self.partitions == 1 { PartitionId(0) } else { Slot::of(key).partition(self.partitions) }
    }

    /// The partition of all keys. With several partitions the keys of one command must share a hash slot, as
    /// in Redis Cluster, even if their slots share a partition. With one partition any keys are allowed.
    pub fn of_keys<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<PartitionId>, ReplyError> {
        let mut slot = None;
        for key in keys {
            if self.partitions == 1 {
                return Ok(Some(PartitionId(0)));
            }
            let this = Slot::of(key);
            if *slot.get_or_insert(this) != this {
                return Err(ReplyError::CROSS_SLOT);
            }
        }
        Ok(slot.map(|slot| slot.partition(self.partitions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'a>(keys: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
        keys.iter().map(|key| key.as_bytes())
    }

    #[test]
    fn one_partition_takes_any_keys() {
        assert_eq!(Router::new(1).of_keys(keys(&["a", "b", "c"])), Ok(Some(PartitionId(0))));
        assert_eq!(Router::new(1).of_keys(keys(&[])), Ok(None));
    }

    #[test]
    fn several_partitions_want_one_slot() {
        let router = Router::new(4);
        assert_eq!(router.of_keys(keys(&["a", "b"])), Err(ReplyError::CROSS_SLOT));
        let tagged = router.of_keys(keys(&["{t}a", "{t}b"]));
        assert_eq!(tagged, Ok(Some(router.of_key(b"t"))));
    }
}
