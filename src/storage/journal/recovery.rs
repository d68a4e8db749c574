//! Recovery of a journal directory: every record of every file, the end of the last file, and a torn tail
//! there.
//!
//! What follows the last valid record of the last file is the clean end, a torn write or damage: see [`torn`].
//! Damage in any other file is refused. A cut is written as zeros and synced before the first append (S6).
//!
//! A file ends in a `Continued` record before the next one is written to, so that a missing newest file is
//! detected (S7). An empty newest file may have been created just before the crash: then the previous one
//! counts as the last file of the rule, and the journal continues in it unless it ends in a `Continued`
//! record.
//!
//! Files that no partition needs are removed oldest first, but a power cut may undo some of the removals. So
//! older files in front of a gap in the numbers are leftovers, if the files behind it prove that they need
//! nothing from before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::fs::Fs;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{
    FIRST_MASKED_VERSION, HEADER_BYTES, JournalFile, VERSION_WITHOUT_CONTINUED,
};
use crate::storage::journal::file_name;
use crate::storage::journal::index::{PartitionLog, Position};
use crate::storage::journal::reader::{Found, JournalReader};
use crate::storage::journal::record::{RecordHead, RecordKind};
use crate::storage::journal::torn;

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

/// A recovered directory; `files` is not empty, and `end` is in the newest, which is open for writing.
#[derive(Debug)]
pub struct Recovery {
    pub files: BTreeMap<u64, JournalFile>,
    pub logs: Vec<PartitionLog>,
    /// The position of the next record. Everything before it is durable.
    pub end: Position,
    /// Whether the newest file has its first write as a whole, or needs none: files may be before it only if
    /// that is known.
    pub is_carried: bool,
    pub recovered: Recovered,
}

/// A directory without `meta` draws its salt again. A file without records that an interrupted creation has
/// left under an earlier salt gives way.
pub fn remove_unused_of_another_salt(fs: &Arc<dyn Fs>, dir: &Path, salt: u64) -> Result<(), JournalError> {
    let path = dir.join(file_name::format(1));
    let names = fs.read_dir(dir).map_err(JournalError::io(dir, 0, "list the directory"))?;
    let mut files = names.iter().filter_map(|name| file_name::parse(name));
    if (files.next(), files.next()) != (Some(1), None) {
        return Ok(());
    }
    let file = JournalFile::open(fs, dir, 1)?;
    if file.salt != salt && torn::last_byte(&mut JournalReader::new(&file), HEADER_BYTES)?.is_none() {
        fs.remove_file(&path).map_err(JournalError::io(&path, 0, "remove an unused file"))?;
        fs.sync_dir(dir).map_err(JournalError::io(dir, 0, "sync the directory"))?;
    }
    Ok(())
}

/// `None` if the directory holds no journal file. `zero_ahead_bytes` behind the end are made zeros once more.
/// `salt` is that of the data directory, unless it is a new one: then records of whatever salt are for the
/// caller to refuse.
pub fn recover(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    partitions: u16,
    salt: Option<u64>,
    zero_ahead_bytes: u64,
) -> Result<Option<Recovery>, JournalError> {
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
    let gap = sequences.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
    let leftovers: Vec<u64> = gap.map_or(Vec::new(), |at| sequences.drain(..=at).collect());
    if sequences.is_empty() {
        return Ok(None);
    }
    let mut found = match read_files(fs, dir, partitions, salt, &sequences) {
        Ok(found) if leftovers.is_empty() || found.needs_nothing_before => found,
        Err(error) if leftovers.is_empty() || matches!(error, JournalError::Io { .. }) => return Err(error),
        _ => {
            let missing = dir.join(file_name::format(sequences[0] - 1));
            return Err(JournalError::damaged(&missing, 0, "the file is missing"));
        }
    };
    // A start that is refused has changed nothing.
    for &sequence in &leftovers {
        let path = dir.join(file_name::format(sequence));
        tracing::warn!(file = %path.display(), "removing a journal file that was purged before");
        fs.remove_file(&path).map_err(JournalError::io(&path, 0, "remove a purged file"))?;
    }
    if !leftovers.is_empty() {
        fs.sync_dir(dir).map_err(JournalError::io(dir, 0, "sync the directory"))?;
    }
    found.settle(fs, dir, zero_ahead_bytes)?;
    Ok(Some(found.recovery))
}

/// What the files hold, before anything is changed.
struct Findings {
    recovery: Recovery,
    /// The last file of the rule, how far it was synced, its end, and the length of the torn write behind it.
    last: u64,
    synced: u64,
    stop: u64,
    torn: u64,
    /// The newest file, if it is to go.
    unused: Option<u64>,
    /// Whether the first file tells what the log held before it: nothing that is missing goes unnoticed.
    needs_nothing_before: bool,
}

impl Findings {
    /// Makes everything durable, and what is no record zeros.
    fn settle(&mut self, fs: &Arc<dyn Fs>, dir: &Path, zero_ahead_bytes: u64) -> Result<(), JournalError> {
        let recovery = &mut self.recovery;
        let file = recovery.files.get_mut(&self.last).expect("the last file is one of the files");
        file.hold(&**fs)?;
        torn::make_durable(file, self.synced, self.stop, self.torn, zero_ahead_bytes)?;
        if self.torn > 0 {
            let cut = Cut { file: file.path.clone(), offset: self.stop, bytes: self.torn };
            tracing::warn!(file = %cut.file.display(), offset = cut.offset, bytes = cut.bytes,
                "cut a torn write at the end of the journal; it was never acknowledged");
            recovery.recovered.cut = Some(cut);
        }
        if let Some(file) = self.unused.and_then(|sequence| recovery.files.remove(&sequence)) {
            fs.remove_file(&file.path).map_err(JournalError::io(&file.path, 0, "remove an unused file"))?;
            fs.sync_dir(dir).map_err(JournalError::io(dir, 0, "sync the directory"))?;
        }
        if recovery.end.sequence != self.last {
            // The journal continues in the unused file.
            for (&sequence, file) in &mut recovery.files {
                if sequence == self.last {
                    file.release(fs);
                } else if sequence == recovery.end.sequence {
                    file.hold(&**fs)?;
                }
            }
        }
        Ok(())
    }
}

/// Where the header of a file has its salt.
const SALT_AT: u64 = 24;

/// Of files without a gap in their numbers.
fn read_files(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    partitions: u16,
    salt: Option<u64>,
    sequences: &[u64],
) -> Result<Findings, JournalError> {
    let mut files = BTreeMap::new();
    for &sequence in sequences {
        let file = JournalFile::open(fs, dir, sequence)?;
        // Before this version an interrupted creation could leave the first file with a salt of its own.
        if salt.is_some_and(|salt| file.salt != salt) && file.version >= FIRST_MASKED_VERSION {
            return Err(JournalError::damaged(&file.path, SALT_AT, "the file is of another data directory"));
        }
        files.insert(sequence, file);
    }
    let unused = unused_file(&files)?;
    let mut walk = Walk {
        logs: vec![PartitionLog::default(); usize::from(partitions)],
        recovered: Recovered::default(),
    };
    let used = files.len() - usize::from(unused.is_some());
    let mut end = Position { sequence: sequences[used - 1], offset: HEADER_BYTES };
    let (mut is_continued, mut is_carried, mut needs_nothing_before) = (false, true, false);
    let (last, mut synced, mut torn) = (end.sequence, HEADER_BYTES, 0);
    for (&sequence, file) in files.iter().take(used) {
        let stop = walk.file(file)?;
        let is_last = sequence == end.sequence;
        is_continued = stop.is_continued;
        // Its first write, which says what the log held before it, is on disk.
        let is_whole = stop.is_continued || stop.synced > HEADER_BYTES;
        let is_first = sequence == sequences[0];
        is_carried = is_whole || is_first;
        needs_nothing_before |= is_first && is_whole && file.version >= FIRST_MASKED_VERSION;
        if is_first && sequence > 1 && stop.offset == HEADER_BYTES && file.version >= FIRST_MASKED_VERSION {
            // The first write of a file says what was before. Files are removed when it is durable.
            let missing = dir.join(file_name::format(sequence - 1));
            let reason = "the file is missing: the one after it does not say what was before";
            return Err(JournalError::damaged(&missing, 0, reason));
        }
        if !is_last && !is_continued && file.version > VERSION_WITHOUT_CONTINUED {
            let reason = "the file does not say that it is continued, but the next one is in use";
            return Err(JournalError::damaged(&file.path, stop.offset, reason));
        }
        // No record was ever written after a `Continued` record.
        torn = torn::torn_bytes(file, stop.offset, stop.head, is_last && !is_continued)?;
        if is_last {
            (end.offset, synced) = (stop.offset, stop.synced);
            walk.check(file, stop.offset)?;
        }
    }
    let stop = end.offset;
    match unused {
        Some(sequence) if is_continued => end = Position { sequence, offset: HEADER_BYTES },
        None if is_continued => {
            let missing = dir.join(file_name::format(end.sequence + 1));
            let reason = "the file is missing: the one before says that it is continued";
            return Err(JournalError::damaged(&missing, 0, reason));
        }
        _ => {}
    }
    let unused = unused.filter(|_| !is_continued);
    let recovery = Recovery { files, logs: walk.logs, end, is_carried, recovered: walk.recovered };
    Ok(Findings { recovery, last, synced, stop, torn, unused, needs_nothing_before })
}

/// The newest file, if it is empty and not the only one.
fn unused_file(files: &BTreeMap<u64, JournalFile>) -> Result<Option<u64>, JournalError> {
    let Some((&sequence, file)) = files.last_key_value().filter(|_| files.len() > 1) else { return Ok(None) };
    let is_unused = torn::last_byte(&mut JournalReader::new(file), HEADER_BYTES)?.is_none();
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
        if matches!(head.kind, RecordKind::Continued | RecordKind::CleanStop) {
            return Ok(());
        }
        if head.kind == RecordKind::Drop {
            return log.recover_drop(head.incarnation);
        }
        if head.incarnation != log.incarnation() {
            return Err(format!(
                "a record of incarnation {} in a log of incarnation {}",
                head.incarnation,
                log.incarnation()
            ));
        }
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
            RecordKind::Last => log.recover_last(head.log_id)?,
            RecordKind::Continued | RecordKind::CleanStop | RecordKind::Drop => {}
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
