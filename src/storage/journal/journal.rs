//! The journal: the only writer of its directory.
//!
//! Three frontiers, asserted where they move: `durable ≤ written ≤ appended`. [`Journal::append`] moves the
//! last, [`Journal::write`] the middle, a [`SyncHandle`] the first, and with direct writes the middle too. Only
//! durable records may be acknowledged. After a failed write or sync the journal stops for good (S2).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::env::fs::{File, Fs};
use crate::model::log::{LogId, LogIndex, PartitionId};
use crate::storage::journal::direct::{self, DirectWrite};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{END_BYTES, HEADER_BYTES, JournalFile};
use crate::storage::journal::index::{PartitionLog, Position};
use crate::storage::journal::options::JournalOptions;
use crate::storage::journal::pending::Pending;
use crate::storage::journal::reader::{Found, JournalReader};
use crate::storage::journal::record::{Layout, Place, RecordFields, RecordHead, RecordKind};
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
    pending: Pending,
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
            pending: Pending::new(end),
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

    /// From now on [`Journal::flush_handle`] makes direct writes, which the file system must have
    /// ([`direct::is_quicker`]). [`Journal::write`] may not be called beside them.
    pub fn write_directly(&mut self) {
        self.pending.write_directly();
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
        self.encode(partition, LogId::default(), RecordKind::Drop, &[]);
        self.logs[usize::from(partition.0)].drop_group(incarnation);
        self.tail.truncate_after(partition, LogIndex::default());
        self.purge_mark = Some(self.appended);
    }

    /// Makes everything durable, and then a record that says so: after it, damage is never taken for a torn
    /// write. For an orderly stop.
    pub fn close(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.begin_file_if_needed(0);
        let fields = RecordFields::of_file(RecordKind::CleanStop, synced_before(self.durable, self.appended));
        self.encode_fields(fields, &[]);
        self.flush()
    }

    /// Hands everything appended to the operating system: one write, unless a file ends in between. On a full
    /// disk it uses the reserve; after [`JournalError::NoSpace`] nothing is lost, and a later call goes on.
    pub fn write(&mut self) -> Result<(), JournalError> {
        self.with_reserve(Journal::write_batches)
    }

    /// Makes everything appended durable.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        match self.flush_handle()? {
            Some(handle) => {
                let result = handle.run();
                self.complete_sync(handle, result)
            }
            None => Ok(()),
        }
    }

    /// A handle that makes everything appended so far durable: a direct write, or a sync of what this call has
    /// written. `None` if nothing is left to do. Only appends may come before [`Journal::complete_sync`].
    /// Without space as [`Journal::write`].
    pub fn flush_handle(&mut self) -> Result<Option<SyncHandle>, JournalError> {
        self.with_reserve(|journal| match journal.begin_direct_write()? {
            Some(handle) => Ok(Some(handle)),
            None => journal.write_batches().map(|()| journal.sync_handle()),
        })
    }

    /// Writes; on a full disk, once more with the reserve.
    fn with_reserve<T>(
        &mut self,
        write: impl Fn(&mut Journal) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.check()?;
        let mut result = write(self);
        if result.as_ref().is_err_and(JournalError::is_no_space) && self.options.space.release_reserve() {
            result = write(self);
        }
        self.stop_on_error(result)
    }

    /// A handle that lets another thread sync everything written so far; `None` if all of it is durable.
    /// Appends and writes may continue meanwhile. Pass the result to [`Journal::complete_sync`].
    pub fn sync_handle(&self) -> Option<SyncHandle> {
        if self.durable == self.written {
            return None;
        }
        let file = &self.files[&self.written.sequence];
        let (path, upto) = (file.path.clone(), self.written);
        Some(SyncHandle { file: Arc::clone(&file.file), path, upto, write: None })
    }

    pub fn complete_sync(
        &mut self,
        handle: SyncHandle,
        result: Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        self.check()?;
        if let Some(write) = handle.write {
            self.pending.end_direct_write(write);
            if result.is_ok() {
                self.written = handle.upto;
            }
        }
        let result = result.and_then(|()| {
            // A change of files may have synced further meanwhile.
            self.advance_durable(handle.upto);
            assert!(self.durable <= self.written && self.written <= self.appended, "{self:?}");
            remove_purged_files(self)
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
            let bytes = self.pending.bytes_at(position);
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
        let (incarnation, synced) =
            (self.log(partition).incarnation(), synced_before(self.durable, self.appended));
        self.encode_fields(RecordFields { kind, partition, incarnation, log_id, synced }, payload)
    }

    fn encode_fields(&mut self, fields: RecordFields, payload: &[u8]) -> Position {
        let position = self.appended;
        self.appended = self.pending.encode(self.place(position), fields, payload);
        self.bytes_appended += self.appended.offset - position.offset;
        position
    }

    /// Starts the next file for appends, with the state that must outlive older files.
    fn begin_file(&mut self) {
        self.appended = self.pending.begin_file(self.appended.sequence + 1);
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
                let (log_id, synced) = (LogId::default(), synced_before(self.durable, self.appended));
                let kind = RecordKind::Drop;
                self.encode_fields(
                    RecordFields { kind, partition, incarnation: dropped, log_id, synced },
                    &[],
                );
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

    /// The direct write of everything appended, if one can do it: everything before is durable, and the file
    /// does not end in between.
    fn begin_direct_write(&mut self) -> Result<Option<SyncHandle>, JournalError> {
        let Some(upto) = self.pending.direct_end(self.durable) else { return Ok(None) };
        assert_eq!(self.written, self.durable, "{self:?}");
        self.make_room(upto.sequence, direct::block_end(upto.offset).max(upto.offset + END_BYTES))?;
        let file = &self.files[&upto.sequence];
        let write = self.pending.begin_direct_write(&*self.fs, file)?;
        let (file, path) = (Arc::clone(&file.file), file.path.clone());
        prepare_next(self, upto.sequence);
        Ok(Some(SyncHandle { file, path, upto, write: Some(write) }))
    }

    fn write_batches(&mut self) -> Result<(), JournalError> {
        loop {
            let (start, bytes) = self.pending.take();
            if !bytes.is_empty()
                && let Err(error) = self.write_batch(start.sequence, start.offset, &bytes)
            {
                // If only space is missing, the same bytes are written once more.
                self.pending.put_back(bytes);
                return Err(error);
            }
            if self.pending.end_batch(bytes) {
                assert_eq!(self.written, self.appended, "everything was written");
                return Ok(());
            }
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
        self.make_room(sequence, end + END_BYTES)?;
        let file = &self.files[&sequence];
        file.file.write_at(bytes, start).map_err(JournalError::unwritten(&file.path, start, "write"))?;
        self.written.offset = end;
        prepare_next(self, sequence);
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
        let fields = RecordFields::of_file(RecordKind::Continued, synced_before(self.durable, end));
        let bytes = self.pending.continued(self.place(end), fields);
        self.make_room(end.sequence, end.offset + bytes.len() as u64 + END_BYTES)?;
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

    /// Zeros the current file up to `len` at least.
    fn make_room(&mut self, sequence: u64, len: u64) -> Result<(), JournalError> {
        let file = self.files.get_mut(&sequence).expect("the file that is written to is open");
        if file.own_len >= len {
            return Ok(());
        }
        let step = self.options.space.journal_step(self.options.zero_ahead_bytes);
        let ahead = (file.own_len + step).min(self.options.capacity(sequence));
        match file.extend(ahead.max(len)) {
            Err(error) if error.is_no_space() => file.extend(len)?,
            result => result?,
        }
        // Zeros are durable before records overwrite them: a sync of records then changes no metadata,
        // and a file whose records reach its end was cut by something else.
        file.file.sync_data().map_err(JournalError::io(&file.path, len, "sync zeros"))?;
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

    fn check(&self) -> Result<(), JournalError> {
        match &self.stopped {
            Some(reason) => Err(JournalError::Stopped { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn stop_on_error<T>(&mut self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        result.inspect_err(|error| {
            if !error.is_no_space() {
                self.stopped = Some(error.to_string());
            }
        })
    }
}

/// Begins to prepare the file after `sequence`, the current one, where that is wanted and has space.
fn prepare_next(journal: &mut Journal, sequence: u64) {
    if let Some(threads) = &journal.options.prepare_next
        && journal.spare.is_none()
        && !journal.options.space.is_low()
        && journal.options.space.has_room_for(journal.options.capacity(sequence + 1))
    {
        let (fs, dir) = (Arc::clone(&journal.fs), journal.dir.clone());
        let len = journal.options.capacity(sequence + 1);
        journal.spare = Spare::begin(&**threads, fs, dir, sequence + 1, journal.options.salt, len);
    }
}

/// Removes files that hold only purged entries and whose votes and frontiers a durable newer file
/// carries.
fn remove_purged_files(journal: &mut Journal) -> Result<(), JournalError> {
    let Some(mark) = journal.purge_mark else { return Ok(()) };
    if journal.durable < mark {
        return Ok(());
    }
    journal.purge_mark = None;
    let needed = journal.logs.iter().filter_map(PartitionLog::oldest_sequence).min();
    let keep_from = needed.map_or(journal.carrier, |needed| needed.min(journal.carrier));
    while let Some(file) = journal.files.first_entry().filter(|file| *file.key() < keep_from) {
        let path = &file.get().path;
        if let Err(error) = journal.fs.remove_file(path) {
            // It costs space and nothing else; the next purge tries again.
            tracing::warn!(file = %path.display(), %error, "cannot remove a journal file that a checkpoint covers");
            return Ok(());
        }
        // One after the other: a power failure may undo any of the removals that are not durable, and a
        // gap in the numbers is a lost file.
        journal.fs.sync_dir(&journal.dir).map_err(JournalError::io(&journal.dir, 0, "sync the directory"))?;
        tracing::debug!(file = %path.display(), "removed a journal file: a checkpoint covers it");
        file.remove();
    }
    journal.options.space.look_again();
    Ok(())
}

/// How far the file of a position is known to be synced.
fn synced_before(durable: Position, position: Position) -> u64 {
    if durable.sequence == position.sequence { durable.offset } else { 0 }
}

const CONTINUED_BYTES: u64 = Layout::Masked.record_bytes(0);

/// A pending sync, possibly for another thread.
#[derive(Debug)]
pub struct SyncHandle {
    file: Arc<dyn File>,
    path: PathBuf,
    upto: Position,
    /// Write and sync in one.
    write: Option<DirectWrite>,
}

impl SyncHandle {
    /// Call it once: after an error a second call would falsely succeed (S2).
    pub fn run(&self) -> Result<(), JournalError> {
        match &self.write {
            Some(write) => {
                write.run().map_err(JournalError::io(&self.path, write.offset(), "write and sync"))
            }
            None => self.file.sync_data().map_err(JournalError::io(&self.path, self.upto.offset, "sync")),
        }
    }

    /// The position that is durable after success.
    pub fn upto(&self) -> Position {
        self.upto
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
