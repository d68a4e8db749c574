//! Recovery of a journal directory: every record of every file, the end of the last file, and a torn tail
//! there.
//!
//! The rule (S5): after a power failure, writes that were not synced may be present in any subset of their
//! sectors. So, at the first place of the last file without a valid record,
//!
//! * zeros up to the end of the file are the clean end;
//! * a later record that was made when this place was already synced proves damage, which is refused;
//! * bytes that may be a torn write are cut: a sector of the broken record never arrived, or the record ends
//!   before the end that its head announces. The record was never acknowledged;
//! * a broken record with all its bytes is damage, which is refused.
//!
//! Damage in any other file is refused. A cut is written as zeros and synced before the first append (S6).
//!
//! A file ends in a `Continued` record before the next one is written to, so that a missing newest file is
//! detected (S7). An empty newest file may have been created just before the crash: then the previous one
//! counts as the last file of the rule, and the journal continues in it unless it ends in a `Continued`
//! record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::env::fs::{Fs, SECTOR_BYTES};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{END_BYTES, HEADER_BYTES, JournalFile, VERSION_WITHOUT_CONTINUED};
use crate::storage::journal::file_name;
use crate::storage::journal::index::{PartitionLog, Position};
use crate::storage::journal::reader::{Found, JournalReader};
use crate::storage::journal::record::{ALIGNMENT, HEAD_BYTES, RecordHead, RecordKind};

/// The findings of recovery, for the log and the tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records read, and their bytes.
    pub records: u64,
    pub bytes: u64,
    /// The torn tail that was cut.
    pub cut: Option<Cut>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub file: PathBuf,
    pub offset: u64,
    /// From the offset to the last byte that was not zero.
    pub bytes: u64,
}

/// A recovered directory; `files` is not empty, and `end` is in the newest.
#[derive(Debug)]
pub struct Recovery {
    pub files: BTreeMap<u64, JournalFile>,
    pub logs: Vec<PartitionLog>,
    /// The position of the next record. Everything before it is durable.
    pub end: Position,
    pub recovered: Recovered,
}

/// `None` if the directory holds no journal file.
pub fn recover(fs: &dyn Fs, dir: &Path, partitions: u16) -> Result<Option<Recovery>, JournalError> {
    // A process that died within a change of names leaves them to the next one, which must not acknowledge
    // anything in a file whose name a power cut may take (S3).
    fs.sync_dir(dir).map_err(JournalError::io(dir, 0, "sync the directory"))?;
    let mut sequences = Vec::new();
    for name in fs.read_dir(dir).map_err(JournalError::io(dir, 0, "list the directory"))? {
        if let Some(sequence) = file_name::parse(&name) {
            sequences.push(sequence);
        } else if file_name::is_temporary(&name) {
            let path = dir.join(&name);
            if let Err(error) = fs.remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "cannot remove the leftover of an earlier process");
            }
        } else {
            tracing::warn!(file = %dir.join(&name).display(), "not a journal file; left alone");
        }
    }
    sequences.sort_unstable();
    for pair in sequences.windows(2) {
        if pair[0] + 1 != pair[1] {
            let missing = dir.join(file_name::format(pair[0] + 1));
            return Err(JournalError::damaged(&missing, 0, "the file is missing"));
        }
    }
    if sequences.is_empty() {
        return Ok(None);
    }
    let mut files = BTreeMap::new();
    for &sequence in &sequences {
        files.insert(sequence, JournalFile::open(fs, dir, sequence)?);
    }
    let unused = unused_file(&files)?;
    let mut walk = Walk {
        logs: vec![PartitionLog::default(); usize::from(partitions)],
        recovered: Recovered::default(),
    };
    let used = files.len() - usize::from(unused.is_some());
    let mut end = Position { sequence: sequences[used - 1], offset: HEADER_BYTES };
    let mut is_continued = false;
    for (&sequence, file) in files.iter_mut().take(used) {
        let stop = walk.file(file)?;
        let is_last = sequence == end.sequence;
        is_continued = stop.is_continued;
        if !is_last && !is_continued && file.version > VERSION_WITHOUT_CONTINUED {
            let reason = "the file does not say that it is continued, but the next one is in use";
            return Err(JournalError::damaged(&file.path, stop.offset, reason));
        }
        // No record was ever written after a `Continued` record.
        let torn = end_of_records(file, &stop, is_last && !is_continued)?;
        if is_last {
            end.offset = stop.offset;
            walk.check(file, stop.offset)?;
            make_durable(file, &stop, torn)?;
            if torn > 0 {
                let cut = Cut { file: file.path.clone(), offset: stop.offset, bytes: torn };
                tracing::warn!(file = %cut.file.display(), offset = cut.offset, bytes = cut.bytes,
                    "cut a torn write at the end of the journal; it was never acknowledged");
                walk.recovered.cut = Some(cut);
            }
        }
    }
    match unused {
        Some(sequence) if is_continued => end = Position { sequence, offset: HEADER_BYTES },
        Some(sequence) => {
            let file = files.remove(&sequence).expect("the unused file is one of the files");
            fs.remove_file(&file.path).map_err(JournalError::io(&file.path, 0, "remove an unused file"))?;
            fs.sync_dir(dir).map_err(JournalError::io(dir, 0, "sync the directory"))?;
        }
        None if is_continued => {
            let missing = dir.join(file_name::format(end.sequence + 1));
            let reason = "the file is missing: the one before says that it is continued";
            return Err(JournalError::damaged(&missing, 0, reason));
        }
        None => {}
    }
    Ok(Some(Recovery { files, logs: walk.logs, end, recovered: walk.recovered }))
}

/// The newest file, if it is empty and not the only one.
fn unused_file(files: &BTreeMap<u64, JournalFile>) -> Result<Option<u64>, JournalError> {
    let Some((&sequence, file)) = files.last_key_value().filter(|_| files.len() > 1) else { return Ok(None) };
    let is_unused = last_byte(&mut JournalReader::new(file), HEADER_BYTES)?.is_none();
    Ok(is_unused.then_some(sequence))
}

struct Walk {
    logs: Vec<PartitionLog>,
    recovered: Recovered,
}

/// The first place of a file without a valid record.
struct Stop {
    offset: u64,
    head: Option<RecordHead>,
    /// The last record proves that the file was synced up to here.
    synced: u64,
    /// The last record is `Continued`.
    is_continued: bool,
}

impl Walk {
    fn file(&mut self, file: &JournalFile) -> Result<Stop, JournalError> {
        let mut reader = JournalReader::new(file);
        let mut offset = HEADER_BYTES;
        let mut synced = HEADER_BYTES;
        loop {
            match reader.record_at(offset)? {
                Found::Record(head, payload) => {
                    let position = Position { sequence: file.sequence, offset };
                    self.record(&head, payload, position)
                        .map_err(|reason| JournalError::damaged(&file.path, offset, reason))?;
                    synced = synced.max(head.synced);
                    offset += head.record_bytes();
                    if head.kind == RecordKind::Continued {
                        return Ok(Stop { offset, head: None, synced, is_continued: true });
                    }
                }
                Found::Nothing(head) => return Ok(Stop { offset, head, synced, is_continued: false }),
            }
        }
    }

    fn record(&mut self, head: &RecordHead, payload: &[u8], position: Position) -> Result<(), String> {
        self.recovered.records += 1;
        self.recovered.bytes += head.record_bytes();
        let partitions = self.logs.len();
        let log = self.logs.get_mut(usize::from(head.partition.0)).ok_or_else(|| {
            format!("a record of partition {}, but there are {partitions} partitions", head.partition.0)
        })?;
        match head.kind {
            RecordKind::Entry | RecordKind::Blank => log.recover(head.log_id, position)?,
            RecordKind::Membership => {
                log.recover(head.log_id, position)?;
                log.note_membership();
            }
            RecordKind::Vote => log.set_vote(payload),
            RecordKind::Truncate => log.recover_truncation(head.log_id)?,
            RecordKind::Purge => log.purge(head.log_id),
            RecordKind::Committed => log.set_committed(head.log_id),
            RecordKind::Reset => log.recover_reset(head.log_id)?,
            RecordKind::Continued => {}
        }
        Ok(())
    }

    fn check(&self, file: &JournalFile, offset: u64) -> Result<(), JournalError> {
        for (partition, log) in self.logs.iter().enumerate() {
            log.finish_recovery().map_err(|reason| {
                JournalError::damaged(&file.path, offset, format!("partition {partition}: {reason}"))
            })?;
        }
        Ok(())
    }
}

/// Length of the torn write after the last valid record; 0 for a clean end. Damage is an error.
fn end_of_records(file: &JournalFile, stop: &Stop, is_last: bool) -> Result<u64, JournalError> {
    let damaged = |offset: u64, reason: String| Err(JournalError::damaged(&file.path, offset, reason));
    let cut_short = "the file was cut short: the zeros behind its last record are missing";
    if file.len < stop.offset + END_BYTES {
        return damaged(file.len, cut_short.into());
    }
    let mut reader = JournalReader::new(file);
    let Some(last_byte) = last_byte(&mut reader, stop.offset)? else { return Ok(0) };
    let announced = stop.head.map(|head| stop.offset + head.record_bytes());
    if last_byte + END_BYTES >= file.len || announced.is_some_and(|end| end > file.len - END_BYTES) {
        return damaged(stop.offset, cut_short.into());
    }
    if !is_last {
        return damaged(stop.offset, "no valid record here, and this is not the last journal file".into());
    }
    let mut next = None;
    let mut offset = stop.offset + ALIGNMENT;
    while offset <= last_byte {
        if let Some(head) = reader.head_at(offset)? {
            if head.synced > stop.offset {
                return damaged(
                    stop.offset,
                    format!(
                        "no valid record here, though it was synced before the record at byte {offset} was made"
                    ),
                );
            }
            next = next.or(Some(offset));
        }
        offset += ALIGNMENT;
    }
    let sector_is_missing =
        has_missing_sector(&mut reader, stop.offset, next.or(announced).unwrap_or(last_byte + 1))?;
    // An incomplete head ends in zeros, because its checksum stands last; so does a record with a complete
    // head and an incomplete payload.
    let payload_bytes = stop.head.map_or(0, |head| u64::from(head.payload_bytes));
    let is_short = next.is_none() && last_byte + 1 < stop.offset + HEAD_BYTES as u64 + payload_bytes;
    if !(sector_is_missing || is_short) {
        return damaged(
            stop.offset,
            "a record that was written whole does not match its checksum; this is no torn write".into(),
        );
    }
    Ok(last_byte + 1 - stop.offset)
}

/// The offset of the last non-zero byte from `from` on.
fn last_byte(reader: &mut JournalReader<'_>, from: u64) -> Result<Option<u64>, JournalError> {
    const PIECE: usize = 1 << 16;
    const ZEROS: [u8; PIECE] = [0; PIECE];
    let len = reader.file().len;
    let mut last = None;
    let mut offset = from;
    while offset < len {
        let bytes = reader.bytes(offset, PIECE)?;
        if bytes.is_empty() {
            break;
        }
        // A prepared file is zeros almost everywhere, and comparing is faster than looking at each byte.
        if *bytes != ZEROS[..bytes.len()]
            && let Some(at) = bytes.iter().rposition(|&byte| byte != 0)
        {
            last = Some(offset + at as u64);
        }
        offset += bytes.len() as u64;
    }
    Ok(last)
}

/// Whether a sector within `from..to` is zero from `from` on, as if it had never been written.
fn has_missing_sector(reader: &mut JournalReader<'_>, from: u64, to: u64) -> Result<bool, JournalError> {
    let mut sector = from - from % SECTOR_BYTES;
    while sector < to {
        let start = sector.max(from);
        let bytes = reader.bytes(start, (sector + SECTOR_BYTES - start) as usize)?;
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(true);
        }
        sector += SECTOR_BYTES;
    }
    Ok(false)
}

/// Makes everything that was read durable, and zeros the torn tail. Bytes that the previous process wrote but
/// did not sync exist in memory only, and after a failed sync even look clean (S2); so they are written
/// again, not just synced.
fn make_durable(file: &mut JournalFile, stop: &Stop, torn: u64) -> Result<(), JournalError> {
    let mut reader = JournalReader::new(file);
    let mut offset = stop.synced;
    while offset < stop.offset {
        let bytes = reader.bytes(offset, (stop.offset - offset).min(PIECE_BYTES) as usize)?;
        file.file.write_at(bytes, offset).map_err(JournalError::io(&file.path, offset, "write again"))?;
        offset += bytes.len() as u64;
    }
    if torn > 0 {
        // This may be cut short at any byte, and what is left must look like a torn write again. So the head
        // goes last, and its last byte before the others: a payload that is missing, and a head that ends
        // early, are proof.
        let end = stop.offset + torn;
        let head_end = end.min(stop.offset + HEAD_BYTES as u64);
        zero(file, head_end, end)?;
        // A power cut may keep a later write and lose an earlier one, in another sector.
        file.file.sync_data().map_err(JournalError::io(&file.path, stop.offset, "sync"))?;
        zero(file, head_end - 1, head_end)?;
        zero(file, stop.offset, head_end)?;
    }
    // The zeros behind are as little to be trusted. Up to the end of a sector, because a sector without a
    // byte is proof of a torn write should an earlier cut come back.
    file.own_len = (stop.offset + END_BYTES).next_multiple_of(SECTOR_BYTES).min(file.len);
    zero(file, stop.offset, file.own_len)?;
    file.file.sync_data().map_err(JournalError::io(&file.path, stop.offset, "sync"))
}

/// Zeros a part of a torn write, backwards.
fn zero(file: &JournalFile, from: u64, to: u64) -> Result<(), JournalError> {
    let mut left = to - from;
    while left > 0 {
        let piece = left.min(PIECE_BYTES);
        left -= piece;
        let zeros = vec![0; piece as usize];
        file.file.write_at(&zeros, from + left).map_err(JournalError::io(
            &file.path,
            from + left,
            "cut a torn write",
        ))?;
    }
    Ok(())
}

const PIECE_BYTES: u64 = 1 << 20;
