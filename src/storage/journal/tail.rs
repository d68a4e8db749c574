//! Entries kept in memory beside the files.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::log::{LogId, LogIndex, PartitionId};
use crate::storage::journal::journal::LogRecord;
use crate::storage::journal::record::RecordKind;

/// The newest entries of each partition, for readers close to the end.
#[derive(Debug)]
pub struct Tail {
    bytes_max: usize,
    bytes: usize,
    /// Per partition, consecutive, up to its last entry.
    logs: Vec<VecDeque<LogRecord>>,
    records: usize,
    /// Entries oldest first; may list entries that have since been truncated or purged.
    order: VecDeque<(PartitionId, LogIndex)>,
}

impl Tail {
    pub fn new(partitions: usize, bytes_max: usize) -> Tail {
        Tail {
            bytes_max,
            bytes: 0,
            logs: vec![VecDeque::new(); partitions],
            records: 0,
            order: VecDeque::new(),
        }
    }

    /// `payload` is called only if entries are kept at all.
    pub fn push(
        &mut self,
        partition: PartitionId,
        log_id: LogId,
        kind: RecordKind,
        payload: impl FnOnce() -> Bytes,
    ) {
        if self.bytes_max == 0 {
            return;
        }
        let record = LogRecord { log_id, kind, payload: payload() };
        self.bytes += Self::cost(&record);
        self.records += 1;
        self.logs[usize::from(partition.0)].push_back(record);
        self.order.push_back((partition, log_id.index));
        while self.bytes > self.bytes_max
            && let Some((partition, index)) = self.order.pop_front()
        {
            self.purge(partition, index);
        }
        if self.order.len() > 2 * self.records + 64 {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|&(partition, index)| self.get(partition, index).is_some());
            self.order = order;
        }
    }

    pub fn get(&self, partition: PartitionId, index: LogIndex) -> Option<&LogRecord> {
        let log = &self.logs[usize::from(partition.0)];
        let at = index.0.checked_sub(log.front()?.log_id.index.0)?;
        log.get(usize::try_from(at).ok()?)
    }

    pub fn truncate_after(&mut self, partition: PartitionId, index: LogIndex) {
        let log = &mut self.logs[usize::from(partition.0)];
        while let Some(record) = log.back().filter(|last| last.log_id.index > index) {
            self.bytes -= Self::cost(record);
            self.records -= 1;
            log.pop_back();
        }
    }

    pub fn purge(&mut self, partition: PartitionId, upto: LogIndex) {
        let log = &mut self.logs[usize::from(partition.0)];
        while let Some(record) = log.front().filter(|first| first.log_id.index <= upto) {
            self.bytes -= Self::cost(record);
            self.records -= 1;
            log.pop_front();
        }
    }

    /// Estimated bytes of keeping the record.
    fn cost(record: &LogRecord) -> usize {
        record.payload.len() + size_of::<LogRecord>()
    }
}
