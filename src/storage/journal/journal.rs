//! The journal: the only writer of its directory.
//!
//! Three frontiers, asserted where they move: `durable ≤ written ≤ appended`. [`Journal::append`] moves the
//! last, [`Journal::write`] the middle, [`Journal::sync`] (or a [`SyncHandle`] run elsewhere) the first. Only
//! durable records may be acknowledged. After a failed write or sync the journal stops for good (S2).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::env::fs::{File, Fs};
use crate::model::log::{LogId, LogIndex, PartitionId};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{END_BYTES, HEADER_BYTES, JournalFile};
use crate::storage::journal::index::{PartitionLog, Position};
use crate::storage::journal::options::JournalOptions;
use crate::storage::journal::reader::{Found, JournalReader};
use crate::storage::journal::record::{self, Layout, Place, RecordFields, RecordHead, RecordKind};
use crate::storage::journal::recovery::{self, Recovered};
use crate::storage::journal::spare::Spare;
use crate::storage::journal::tail::Tail;

/// An entry as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub log_id: LogId,
    pub kind: RecordKind,
    pub payload: Bytes,
}

#[derive(Debug)]
pub struct Journal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: JournalOptions,
    /// The files on disk; their numbers have no gap.
    files: BTreeMap<u64, JournalFile>,
    logs: Vec<PartitionLog>,
    /// Records appended but not written: one batch per file. Appends go to the last one; never empty.
    batches: VecDeque<Batch>,
    appended: Position,
    written: Position,
    durable: Position,
    /// The end of the carried-over votes and frontiers in the newest file.
    carried: Position,
    /// The newest file whose carried-over votes and frontiers are durable: older files may be removed.
    carrier: u64,
    /// The end of the newest purge record, while it is not durable and files await removal.
    purge_mark: Option<Position>,
    bytes_appended: u64,
    /// The file after the current one.
    spare: Option<Spare>,
    tail: Tail,
    stopped: Option<String>,
}

#[derive(Debug)]
struct Batch {
    sequence: u64,
    start: u64,
    bytes: Vec<u8>,
    /// The record that ends the file before, once it was made: a second try writes the same bytes.
    continued: Vec<u8>,
}

impl Batch {
    fn new(sequence: u64, start: u64) -> Batch {
        Batch { sequence, start, bytes: Vec::new(), continued: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Makes the first file of a journal. Returns whether there are no records: a journal without any may have been
/// left by a creation that was interrupted.
pub fn make(fs: &Arc<dyn Fs>, dir: &Path, options: &JournalOptions) -> Result<bool, JournalError> {
    recovery::remove_unused_of_another_salt(fs, dir, options.salt)?;
    if let Some(found) = recovery::recover(fs, dir, options.partitions, None, options.zero_ahead_bytes)? {
        return Ok(found.recovered.records == 0);
    }
    options.create_file(&**fs, dir, 1, HEADER_BYTES)?;
    Ok(true)
}

impl Journal {
    /// Reads the directory, which must exist, and continues at its end.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: JournalOptions,
    ) -> Result<(Journal, Recovered), JournalError> {
        let JournalOptions { partitions, zero_ahead_bytes, .. } = options;
        if options.create {
            recovery::remove_unused_of_another_salt(&fs, dir, options.salt)?;
        }
        let salt = (!options.create).then_some(options.salt);
        let recover = || recovery::recover(&fs, dir, partitions, salt, zero_ahead_bytes);
        let recovery = match recover()? {
            Some(recovery) => recovery,
            None if options.create => {
                options.create_file(&*fs, dir, 1, HEADER_BYTES)?;
                recover()?.expect("the file that was just made is there")
            }
            None => return Err(JournalError::damaged(dir, 0, "the journal files are missing")),
        };
        let end = recovery.end;
        let mut journal = Journal {
            fs,
            dir: dir.to_owned(),
            tail: Tail::new(usize::from(options.partitions), options.tail_bytes_max),
            options,
            files: recovery.files,
            logs: recovery.logs,
            batches: VecDeque::from([Batch::new(end.sequence, end.offset)]),
            appended: end,
            written: end,
            durable: end,
            carried: end,
            // The last file's carry-over may be torn. The file before it was complete when the last was
            // created.
            carrier: end.sequence - 1,
            purge_mark: None,
            bytes_appended: recovery.recovered.bytes,
            spare: None,
            stopped: None,
        };
        if end.offset == HEADER_BYTES || !recovery.is_carried {
            // A crash came between the creation of the file and its first records, or tore them.
            journal.carry_over();
        }
        Ok((journal, recovery.recovered))
    }

    /// The index of a partition's log, including entries that are not durable yet.
    pub fn log(&self, partition: PartitionId) -> &PartitionLog {
        &self.logs[usize::from(partition.0)]
    }

    pub fn partitions(&self) -> u16 {
        self.options.partitions
    }

    /// Bytes of records ever appended, including those found by recovery. Only differences are meaningful.
    pub fn bytes_appended(&self) -> u64 {
        self.bytes_appended
    }

    /// The end of the appended records; they are durable once [`Journal::durable`] reaches it.
    pub fn appended(&self) -> Position {
        self.appended
    }

    pub fn written(&self) -> Position {
        self.written
    }

    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Appends the next entry of a partition. It is readable at once and durable after a sync.
    pub fn append(&mut self, partition: PartitionId, log_id: LogId, kind: RecordKind, payload: &[u8]) {
        self.append_entry(partition, log_id, kind, payload);
        self.tail.push(partition, log_id, kind, || Bytes::copy_from_slice(payload));
    }

    /// The same; the copy in memory shares the payload.
    pub fn append_shared(
        &mut self,
        partition: PartitionId,
        log_id: LogId,
        kind: RecordKind,
        payload: &Bytes,
    ) {
        self.append_entry(partition, log_id, kind, payload);
        self.tail.push(partition, log_id, kind, || payload.clone());
    }

    fn append_entry(&mut self, partition: PartitionId, log_id: LogId, kind: RecordKind, payload: &[u8]) {
        assert!(kind.is_entry(), "{kind:?} is not an entry");
        let position = self.push(partition, log_id, kind, payload);
        let log = &mut self.logs[usize::from(partition.0)];
        log.push(log_id, position);
        if kind == RecordKind::Membership {
            log.note_membership();
        }
    }

    /// Appends a vote. It must be durable before it is answered (S9): call [`Journal::flush`] next.
    pub fn append_vote(&mut self, partition: PartitionId, vote: &[u8]) {
        self.push(partition, LogId::default(), RecordKind::Vote, vote);
        self.logs[usize::from(partition.0)].set_vote(vote);
    }

    /// Appends the committed frontier. Losing this record does no harm.
    pub fn append_committed(&mut self, partition: PartitionId, committed: LogId) {
        self.push(partition, committed, RecordKind::Committed, &[]);
        self.logs[usize::from(partition.0)].set_committed(committed);
    }

    /// Drops the entries of a partition above `index` by a record in log order, so that a crash cannot bring
    /// them back behind newer ones.
    pub fn truncate_after(&mut self, partition: PartitionId, index: LogIndex) {
        let log = self.log(partition);
        if index >= log.last().index {
            return;
        }
        assert!(index >= log.purged().index, "purged entries are not truncated");
        let keep = log.log_id(index).unwrap_or_default();
        self.push(partition, LogId { term: keep.term, index }, RecordKind::Truncate, &[]);
        self.logs[usize::from(partition.0)].truncate_after(index);
        self.tail.truncate_after(partition, index);
    }

    /// Drops the entries of a partition up to `upto`, which a durable checkpoint covers. Later entries stay
    /// only if the log holds exactly the entry `upto`; otherwise they belong to another history, and the
    /// whole log is dropped. Once the record is durable, files that no partition needs are removed.
    pub fn purge(&mut self, partition: PartitionId, upto: LogId) {
        let log = self.log(partition);
        if upto.index <= log.purged().index {
            return;
        }
        let goes_on = log.holds(upto);
        let kind = if goes_on { RecordKind::Purge } else { RecordKind::Reset };
        self.push(partition, upto, kind, &[]);
        let log = &mut self.logs[usize::from(partition.0)];
        if goes_on {
            log.purge(upto);
            self.tail.purge(partition, upto.index);
        } else {
            log.reset(upto);
            self.tail.truncate_after(partition, LogIndex::default());
        }
        self.purge_mark = Some(self.appended);
    }

    /// This node leaves the group of a partition: vote and entries are void, and what is appended from here on
    /// belongs to its next incarnation.
    pub fn drop_group(&mut self, partition: PartitionId) {
        let incarnation = self.log(partition).incarnation();
        self.begin_file_if_needed(0);
        self.encode_of(incarnation, partition, LogId::default(), RecordKind::Drop, &[]);
        self.logs[usize::from(partition.0)].drop_group(incarnation);
        self.tail.truncate_after(partition, LogIndex::default());
        self.purge_mark = Some(self.appended);
    }

    /// Makes everything durable, and then a record that says so: after it, damage is never taken for a torn
    /// write. For an orderly stop.
    pub fn close(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.begin_file_if_needed(0);
        let fields = RecordFields::of_file(RecordKind::CleanStop, self.synced_before(self.appended));
        self.encode_fields(fields, &[]);
        self.flush()
    }

    /// Hands everything appended to the operating system: one write, unless a file ends in between. On a full
    /// disk it uses the reserve; after [`JournalError::NoSpace`] nothing is lost, and a later call goes on.
    pub fn write(&mut self) -> Result<(), JournalError> {
        self.check()?;
        let mut result = self.write_batches();
        if result.as_ref().is_err_and(JournalError::is_no_space) && self.options.space.release_reserve() {
            result = self.write_batches();
        }
        self.stop_on_error(result)
    }

    /// Makes everything written durable.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.check()?;
        match self.sync_handle() {
            Some(handle) => {
                let result = handle.run();
                self.complete_sync(handle, result)
            }
            None => Ok(()),
        }
    }

    /// [`Journal::write`], then [`Journal::sync`].
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.write()?;
        self.sync()
    }

    /// A handle that lets another thread sync everything written so far; `None` if all of it is durable.
    /// Appends and writes may continue meanwhile. Pass the result to [`Journal::complete_sync`].
    pub fn sync_handle(&self) -> Option<SyncHandle> {
        if self.durable == self.written {
            return None;
        }
        let file = &self.files[&self.written.sequence];
        Some(SyncHandle { file: Arc::clone(&file.file), path: file.path.clone(), upto: self.written })
    }

    pub fn complete_sync(
        &mut self,
        handle: SyncHandle,
        result: Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        self.check()?;
        let result = result.and_then(|()| {
            // A change of files may have synced further meanwhile.
            self.advance_durable(handle.upto);
            assert!(self.durable <= self.written && self.written <= self.appended, "{self:?}");
            self.remove_purged_files()
        });
        self.stop_on_error(result)
    }

    /// The entries of a range of indexes, except purged and absent ones: at least one if there is one,
    /// further ones while their payloads stay within `bytes_max`.
    pub fn read(
        &self,
        partition: PartitionId,
        range: Range<LogIndex>,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, JournalError> {
        self.check()?;
        let log = self.log(partition);
        let first = range.start.max(log.purged().index.next());
        let end = range.end.min(log.last().index.next());
        let mut records: Vec<LogRecord> = Vec::new();
        let mut bytes = 0;
        let mut reader: Option<JournalReader<'_>> = None;
        let mut index = first;
        while index < end {
            let record = match self.tail.get(partition, index) {
                Some(record) => record.clone(),
                None => {
                    let position = log.position(index).expect("the index holds every entry of the log");
                    self.read_at(partition, index, position, &mut reader)?
                }
            };
            bytes += record.payload.len();
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record);
            index = index.next();
        }
        Ok(records)
    }

    fn read_at<'s>(
        &'s self,
        partition: PartitionId,
        index: LogIndex,
        position: Position,
        reader: &mut Option<JournalReader<'s>>,
    ) -> Result<LogRecord, JournalError> {
        let record = |head: &RecordHead, payload: &[u8]| {
            assert_eq!(
                (head.partition, head.log_id.index),
                (partition, index),
                "the index names another record"
            );
            LogRecord { log_id: head.log_id, kind: head.kind, payload: Bytes::copy_from_slice(payload) }
        };
        if position >= self.written {
            let batch = self.batches.iter().find(|batch| batch.sequence == position.sequence);
            let batch = batch.expect("what is not written is pending");
            let bytes = &batch.bytes[(position.offset - batch.start) as usize..];
            let place = self.place(position);
            let head = RecordHead::decode(bytes, place).expect("a pending record is whole");
            let mut payload = bytes[place.layout.head_bytes()..][..head.payload_bytes as usize].to_vec();
            place.mask(&mut payload);
            return Ok(record(&head, &payload));
        }
        let file = &self.files[&position.sequence];
        if reader.as_ref().is_none_or(|reader| reader.file().sequence != position.sequence) {
            *reader = Some(JournalReader::new(file));
        }
        match reader.as_mut().expect("just made").record_at(position.offset)? {
            Found::Record(head, payload) => Ok(record(&head, payload)),
            Found::Nothing(_) => Err(JournalError::damaged(
                &file.path,
                position.offset,
                "a record that was valid is not any more",
            )),
        }
    }

    fn place(&self, position: Position) -> Place {
        let Position { sequence, offset } = position;
        match self.files.get(&sequence) {
            Some(file) => file.place(offset),
            // It is made when it is written to.
            None => Place { layout: Layout::Masked, salt: self.options.salt, sequence, offset },
        }
    }

    fn push(&mut self, partition: PartitionId, log_id: LogId, kind: RecordKind, payload: &[u8]) -> Position {
        assert!(partition.0 < self.options.partitions, "there is no partition {}", partition.0);
        self.begin_file_if_needed(payload.len());
        self.encode(partition, log_id, kind, payload)
    }

    fn begin_file_if_needed(&mut self, payload_bytes: usize) {
        let layout = self.place(self.appended).layout;
        let bytes = layout.record_bytes(payload_bytes);
        let capacity = self.options.capacity(self.appended.sequence);
        // The last record is followed by the one that announces the next file.
        let is_full = self.appended.offset + bytes + CONTINUED_BYTES + END_BYTES > capacity;
        // A file that holds only its carry-over accepts any record; otherwise new files would never end.
        let has_more = self.appended != self.carried && self.appended.offset > HEADER_BYTES;
        if is_full && has_more || layout == Layout::Plain {
            self.begin_file();
        }
    }

    fn encode(
        &mut self,
        partition: PartitionId,
        log_id: LogId,
        kind: RecordKind,
        payload: &[u8],
    ) -> Position {
        let incarnation = self.log(partition).incarnation();
        self.encode_of(incarnation, partition, log_id, kind, payload)
    }

    fn encode_of(
        &mut self,
        incarnation: u32,
        partition: PartitionId,
        log_id: LogId,
        kind: RecordKind,
        payload: &[u8],
    ) -> Position {
        let synced = self.synced_before(self.appended);
        self.encode_fields(RecordFields { kind, partition, incarnation, log_id, synced }, payload)
    }

    fn encode_fields(&mut self, fields: RecordFields, payload: &[u8]) -> Position {
        let position = self.appended;
        let place = self.place(position);
        let batch = self.batches.back_mut().expect("there is always a batch to append to");
        assert_eq!((batch.sequence, batch.end()), (position.sequence, position.offset));
        record::encode(&mut batch.bytes, place, fields, payload);
        self.bytes_appended += batch.end() - position.offset;
        self.appended.offset = batch.end();
        position
    }

    /// How far the file of a position is known to be synced.
    fn synced_before(&self, position: Position) -> u64 {
        if self.durable.sequence == position.sequence { self.durable.offset } else { 0 }
    }

    /// Starts the next file for appends, with the state that must outlive older files.
    fn begin_file(&mut self) {
        let sequence = self.appended.sequence + 1;
        self.batches.push_back(Batch::new(sequence, HEADER_BYTES));
        self.appended = Position { sequence, offset: HEADER_BYTES };
        self.carry_over();
    }

    /// Starts an empty file with what must outlive the files before.
    fn carry_over(&mut self) {
        // An empty file of an earlier format is left at once.
        let is_plain = self.place(self.appended).layout == Layout::Plain;
        for partition in 0..self.options.partitions {
            let log = &self.logs[usize::from(partition)];
            let (vote, purged, last, committed) =
                (log.vote().map(<[u8]>::to_vec), log.purged(), log.last(), log.committed());
            let dropped = log.incarnation() - 1;
            let partition = PartitionId(partition);
            if dropped > 0 && !is_plain {
                self.encode_of(dropped, partition, LogId::default(), RecordKind::Drop, &[]);
            }
            if let Some(vote) = &vote {
                self.encode(partition, LogId::default(), RecordKind::Vote, vote);
            }
            if purged.index.0 > 0 {
                self.encode(partition, purged, RecordKind::Purge, &[]);
            }
            if last.index > purged.index && !is_plain {
                self.encode(partition, last, RecordKind::Last, &[]);
            }
            if committed.index > purged.index {
                self.encode(partition, committed, RecordKind::Committed, &[]);
            }
        }
        self.carried = self.appended;
    }

    fn write_batches(&mut self) -> Result<(), JournalError> {
        loop {
            let batch = self.batches.front_mut().expect("there is always a batch to append to");
            let bytes = std::mem::take(&mut batch.bytes);
            let (sequence, start) = (batch.sequence, batch.start);
            if !bytes.is_empty() {
                let written = self.write_batch(sequence, start, &bytes);
                let batch = self.batches.front_mut().expect("it was there above");
                if written.is_err() {
                    // If only space is missing, the same bytes are written once more.
                    batch.bytes = bytes;
                    return written;
                }
                batch.start += bytes.len() as u64;
            }
            if self.batches.len() == 1 {
                // Reuses the vector, unless that would pin the memory of one huge batch.
                const KEEP_BYTES: usize = 4 << 20;
                if bytes.capacity() <= KEEP_BYTES {
                    let batch = self.batches.front_mut().expect("it was there above");
                    batch.bytes = bytes;
                    batch.bytes.clear();
                }
                assert_eq!(self.written, self.appended, "everything was written");
                return Ok(());
            }
            self.batches.pop_front();
        }
    }

    fn write_batch(&mut self, sequence: u64, start: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let end = start + bytes.len() as u64;
        if sequence != self.written.sequence {
            assert_eq!(
                (sequence, start),
                (self.written.sequence + 1, HEADER_BYTES),
                "files follow each other"
            );
            self.change_files(sequence, end)?;
        }
        assert_eq!(self.written, Position { sequence, offset: start }, "writes follow each other");
        self.make_room(sequence, end)?;
        let file = &self.files[&sequence];
        file.file.write_at(bytes, start).map_err(JournalError::unwritten(&file.path, start, "write"))?;
        self.written.offset = end;
        if let Some(threads) = &self.options.prepare_next
            && self.spare.is_none()
            && !self.options.space.is_low()
            && self.options.space.has_room_for(self.options.capacity(sequence + 1))
        {
            let (fs, dir) = (Arc::clone(&self.fs), self.dir.clone());
            let len = self.options.capacity(sequence + 1);
            self.spare = Spare::begin(&**threads, fs, dir, sequence + 1, self.options.salt, len);
        }
        Ok(())
    }

    /// Continues in a new file, in the order that recovery relies on: the new file is durable under its name;
    /// then the current file ends in a `Continued` record; then that record is durable; only then is the new
    /// file written to. So a file with a `Continued` record has a next one (S7), and a file may end in a torn
    /// write only if the next one is empty.
    ///
    /// Without space it may end at any of these steps, and a second call goes on there. `first_end` is the end
    /// of the first records of the new file.
    fn change_files(&mut self, sequence: u64, first_end: u64) -> Result<(), JournalError> {
        if !self.files.contains_key(&sequence) {
            let spare = self.spare.take().filter(|spare| spare.sequence() == sequence).and_then(Spare::take);
            let file = match spare {
                Some(file) => file.name(&*self.fs, &self.dir)?,
                None => self.options.create_file(&*self.fs, &self.dir, sequence, first_end)?,
            };
            self.files.insert(sequence, file);
        }
        let end = self.written;
        let (synced, place) = (self.synced_before(end), self.place(end));
        let batch = self.batches.front_mut().expect("the new file has records");
        if batch.continued.is_empty() {
            let fields = RecordFields::of_file(RecordKind::Continued, synced);
            record::encode(&mut batch.continued, place, fields, &[]);
        }
        let bytes = batch.continued.clone();
        self.make_room(end.sequence, end.offset + bytes.len() as u64)?;
        let last = &self.files[&end.sequence];
        last.file
            .write_at(&bytes, end.offset)
            .map_err(JournalError::unwritten(&last.path, end.offset, "write"))?;
        self.written.offset += bytes.len() as u64;
        self.bytes_appended += bytes.len() as u64;
        if let Some(handle) = self.sync_handle() {
            handle.run()?;
            self.advance_durable(handle.upto);
        }
        if let Some(last) = self.files.get_mut(&end.sequence) {
            last.release(&self.fs);
        }
        self.written = Position { sequence, offset: HEADER_BYTES };
        self.durable = self.written;
        Ok(())
    }

    /// Zeros the current file to beyond `end`.
    fn make_room(&mut self, sequence: u64, end: u64) -> Result<(), JournalError> {
        let file = self.files.get_mut(&sequence).expect("the file that is written to is open");
        if file.own_len >= end + END_BYTES {
            return Ok(());
        }
        let step = self.options.space.journal_step(self.options.zero_ahead_bytes);
        let ahead = (file.own_len + step).min(self.options.capacity(sequence));
        match file.extend(ahead.max(end + END_BYTES)) {
            Err(error) if error.is_no_space() => file.extend(end + END_BYTES)?,
            result => result?,
        }
        // Zeros are durable before records overwrite them: a sync of records then changes no metadata,
        // and a file whose records reach its end was cut by something else.
        file.file.sync_data().map_err(JournalError::io(&file.path, end, "sync zeros"))?;
        self.advance_durable(self.written);
        Ok(())
    }

    fn advance_durable(&mut self, upto: Position) {
        let before = self.durable;
        self.durable = self.durable.max(upto);
        // A file's first write contains its carry-over. A file that this journal created starts at its
        // header.
        if before.offset == HEADER_BYTES
            && self.durable.offset > HEADER_BYTES
            && self.durable.sequence > self.carrier
        {
            self.carrier = self.durable.sequence;
        }
    }

    /// Removes files that hold only purged entries and whose votes and frontiers a durable newer file
    /// carries.
    fn remove_purged_files(&mut self) -> Result<(), JournalError> {
        let Some(mark) = self.purge_mark else { return Ok(()) };
        if self.durable < mark {
            return Ok(());
        }
        self.purge_mark = None;
        let needed = self.logs.iter().filter_map(PartitionLog::oldest_sequence).min();
        let keep_from = needed.map_or(self.carrier, |needed| needed.min(self.carrier));
        while let Some(file) = self.files.first_entry().filter(|file| *file.key() < keep_from) {
            let path = &file.get().path;
            if let Err(error) = self.fs.remove_file(path) {
                // It costs space and nothing else; the next purge tries again.
                tracing::warn!(file = %path.display(), %error, "cannot remove a journal file that a checkpoint covers");
                return Ok(());
            }
            // One after the other: a power failure may undo any of the removals that are not durable, and a
            // gap in the numbers is a lost file.
            self.fs.sync_dir(&self.dir).map_err(JournalError::io(&self.dir, 0, "sync the directory"))?;
            tracing::debug!(file = %path.display(), "removed a journal file: a checkpoint covers it");
            file.remove();
        }
        self.options.space.look_again();
        Ok(())
    }

    fn check(&self) -> Result<(), JournalError> {
        match &self.stopped {
            Some(reason) => Err(JournalError::Stopped { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn stop_on_error(&mut self, result: Result<(), JournalError>) -> Result<(), JournalError> {
        result.inspect_err(|error| {
            if !error.is_no_space() {
                self.stopped = Some(error.to_string());
            }
        })
    }
}

const CONTINUED_BYTES: u64 = Layout::Masked.record_bytes(0);

/// A pending sync, possibly for another thread.
#[derive(Debug)]
pub struct SyncHandle {
    file: Arc<dyn File>,
    path: PathBuf,
    upto: Position,
}

impl SyncHandle {
    /// Call it once: after an error a second call would falsely succeed (S2).
    pub fn run(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(JournalError::io(&self.path, self.upto.offset, "sync"))
    }

    /// The position that is durable after success.
    pub fn upto(&self) -> Position {
        self.upto
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
