//! The journal against a model.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::env::clock::SystemClock;
use crate::env::entropy::{Entropy, SeededEntropy};
use crate::env::sim_fs::{Faults, SimFs};
use crate::model::log::Term;
use crate::storage::journal::{file_name, record};
use crate::storage::space::DiskSpace;

#[path = "crash_tests.rs"]
mod crashes;
#[path = "damage_tests.rs"]
mod damage;
#[path = "lives_tests.rs"]
mod lives;

const PARTITIONS: u16 = 3;

const FIRST_FILE_BYTES: u64 = 8192;

fn dir() -> &'static Path {
    Path::new("/j")
}

fn options() -> JournalOptions {
    JournalOptions {
        partitions: PARTITIONS,
        file_bytes: 8192,
        first_file_bytes: FIRST_FILE_BYTES,
        zero_ahead_bytes: 2048,
        prepare_next: None,
        tail_bytes_max: 4096,
        salt: 77,
        create: true,
        space: Arc::default(),
    }
}

fn open_with(fs: &SimFs, first_file_bytes: u64) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(Arc::new(fs.clone()), dir(), JournalOptions { first_file_bytes, ..options() })
}

fn open(fs: &SimFs) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(Arc::new(fs.clone()), dir(), options())
}

fn new_disk(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    fs.create_dir_all(dir()).unwrap();
    fs
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: LogIndex(index) }
}

fn append(journal: &mut Journal, partition: u16, payload: &[u8]) -> LogId {
    let partition = PartitionId(partition);
    let log_id = id(journal.log(partition).last().term.0.max(1), journal.log(partition).last().index.0 + 1);
    journal.append(partition, log_id, RecordKind::Entry, payload);
    log_id
}

/// A partition's log as a reader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    /// Groups that were left before.
    dropped: u32,
    purged: LogId,
    last: LogId,
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    vote: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Op {
    Append(u16, LogId, Vec<u8>),
    Vote(u16, Vec<u8>),
    Truncate(u16, u64),
    Purge(u16, LogId),
    Drop(u16),
}

fn apply(models: &mut [Model], op: &Op) {
    match op {
        Op::Append(partition, log_id, payload) => {
            let model = &mut models[usize::from(*partition)];
            model.entries.insert(log_id.index.0, (log_id.term.0, payload.clone()));
            model.last = *log_id;
        }
        Op::Vote(partition, vote) => models[usize::from(*partition)].vote = Some(vote.clone()),
        Op::Truncate(partition, index) => {
            let model = &mut models[usize::from(*partition)];
            model.entries.retain(|at, _| at <= index);
            model.last =
                model.entries.last_key_value().map_or(model.purged, |(at, (term, _))| id(*term, *at));
        }
        Op::Purge(partition, upto) => {
            let model = &mut models[usize::from(*partition)];
            let held = model.entries.get(&upto.index.0).is_some_and(|(term, _)| *term == upto.term.0);
            model.entries.retain(|at, _| held && *at > upto.index.0);
            model.purged = *upto;
            model.last = if held { model.last.max(*upto) } else { *upto };
        }
        Op::Drop(partition) => {
            let model = &mut models[usize::from(*partition)];
            *model = Model { dropped: model.dropped + 1, ..Model::default() };
        }
    }
}

fn read_back(journal: &Journal) -> Result<Vec<Model>, JournalError> {
    (0..PARTITIONS)
        .map(|partition| {
            let partition = PartitionId(partition);
            let log = journal.log(partition);
            let records = journal.read(partition, LogIndex(0)..LogIndex(u64::MAX), usize::MAX)?;
            let entries = records
                .into_iter()
                .map(|record| (record.log_id.index.0, (record.log_id.term.0, record.payload.to_vec())))
                .collect();
            Ok(Model {
                dropped: log.incarnation() - 1,
                purged: log.purged(),
                last: log.last(),
                entries,
                vote: log.vote().map(<[u8]>::to_vec),
            })
        })
        .collect()
}

/// The ops of a workload until it ended or died, and how many of them were acknowledged.
struct History {
    ops: Vec<Op>,
    acknowledged: usize,
    died: bool,
}

fn work(journal: &mut Journal, entropy: &SeededEntropy, steps: usize, check_reads: bool) -> History {
    let mut history = History { ops: Vec::new(), acknowledged: 0, died: false };
    let mut models = read_back(journal).unwrap();
    let mut late: Option<(SyncHandle, usize)> = None;
    let mut written = 0;
    let is_direct = entropy.chance(50);
    if is_direct {
        journal.write_directly();
    }
    for _ in 0..steps {
        let partition = entropy.below(u64::from(PARTITIONS)) as u16;
        let model = &models[usize::from(partition)];
        let mut ops = Vec::new();
        let mut result = Ok(());
        match entropy.below(23) {
            0..8 => {
                let term = model.last.term.0.max(1) + u64::from(entropy.chance(5));
                let len = [3, 40, 500, 1400][entropy.below(4) as usize];
                let payload = vec![entropy.u64() as u8; entropy.below(len) as usize];
                let log_id = id(term, model.last.index.0 + 1);
                journal.append(PartitionId(partition), log_id, RecordKind::Entry, &payload);
                ops.push(Op::Append(partition, log_id, payload));
            }
            8 => {
                let vote = entropy.u64().to_le_bytes().to_vec();
                journal.append_vote(PartitionId(partition), &vote);
                ops.push(Op::Vote(partition, vote));
            }
            9 => {
                let live = model.last.index.0 - model.purged.index.0;
                let index = model.purged.index.0 + entropy.below(live + 1);
                journal.truncate_after(PartitionId(partition), LogIndex(index));
                ops.push(Op::Truncate(partition, index));
            }
            10..12 if !model.entries.is_empty() => {
                let at = entropy.below(model.entries.len() as u64) as usize;
                let (index, (term, _)) = model.entries.iter().nth(at).unwrap();
                let upto = id(*term, *index);
                journal.purge(PartitionId(partition), upto);
                ops.push(Op::Purge(partition, upto));
            }
            12 => journal.append_committed(PartitionId(partition), model.last),
            13 if is_direct => {
                if late.is_none() {
                    written = history.ops.len();
                    match journal.flush_handle() {
                        Ok(handle) => late = handle.map(|handle| (handle, written)),
                        Err(error) => result = Err(error),
                    }
                }
            }
            13 => {
                result = journal.write();
                if result.is_ok() {
                    written = history.ops.len();
                    late = journal.sync_handle().map(|handle| (handle, written));
                }
            }
            14..16 => {
                if let Some((handle, upto)) = late.take() {
                    let outcome = handle.run();
                    result = journal.complete_sync(handle, outcome);
                    if result.is_ok() {
                        history.acknowledged = history.acknowledged.max(upto);
                    }
                }
            }
            20 if entropy.chance(30) => {
                journal.drop_group(PartitionId(partition));
                ops.push(Op::Drop(partition));
            }
            21 if entropy.chance(50) => {
                // A checkpoint of another history.
                let upto = id(model.last.term.0 + 1, model.purged.index.0 + 1 + entropy.below(9));
                journal.purge(PartitionId(partition), upto);
                ops.push(Op::Purge(partition, upto));
            }
            at => {
                if let Some((handle, _)) = late.take_if(|_| is_direct) {
                    let outcome = handle.run();
                    result = journal.complete_sync(handle, outcome);
                }
                result = result.and_then(|()| if at == 22 { journal.close() } else { journal.flush() });
                if result.is_ok() {
                    written = history.ops.len();
                    history.acknowledged = written;
                }
            }
        }
        for op in ops {
            apply(&mut models, &op);
            history.ops.push(op);
        }
        if let Err(error) = result {
            // On a full disk the same may be tried again; here the process gives up.
            if !error.is_no_space() {
                assert!(matches!(journal.flush(), Err(JournalError::Stopped { .. })), "a failure is final");
            }
            history.died = true;
            return history;
        }
        if check_reads {
            assert_eq!(read_back(journal).unwrap(), models, "what is appended is read at once");
        }
    }
    if let Some((handle, upto)) = late.take_if(|_| is_direct) {
        let outcome = handle.run();
        history.died = journal.complete_sync(handle, outcome).is_err();
        history.acknowledged =
            if history.died { history.acknowledged } else { history.acknowledged.max(upto) };
    }
    assert!(written <= history.ops.len());
    history
}

/// Asserts that the recovered state equals a prefix of the ops, no shorter than the acknowledged ones.
fn assert_prefix(before: &[Model], history: &History, recovered: &[Model], context: &str) {
    let mut models = before.to_vec();
    for (at, op) in history.ops.iter().enumerate() {
        if at >= history.acknowledged && models == recovered {
            return;
        }
        apply(&mut models, op);
    }
    assert_eq!(
        recovered,
        models,
        "{context}: {} of {} acknowledged",
        history.acknowledged,
        history.ops.len()
    );
}

#[test]
fn what_is_appended_is_read_at_once_and_after_a_restart() {
    for seed in 0..20 {
        let fs = new_disk(seed);
        let entropy = SeededEntropy::new(seed);
        let mut before = vec![Model::default(); usize::from(PARTITIONS)];
        for _ in 0..4 {
            let (mut journal, recovered) = open(&fs).unwrap();
            assert_eq!(recovered.cut, None);
            assert_eq!(read_back(&journal).unwrap(), before);
            let history = work(&mut journal, &entropy, 60, true);
            journal.flush().unwrap();
            for op in &history.ops {
                apply(&mut before, op);
            }
        }
    }
}

/// Removals go oldest first, but earlier versions made them durable together, and so may others.
#[test]
fn a_purged_file_that_is_still_there_in_front_of_a_gap_is_removed() {
    let (fs, truth) = several_files();
    let files = fs.files();
    for kept in 0..files.len() - 2 {
        let copy = fs.fork(1);
        let (mut journal, _) = open(&copy).unwrap();
        let last = journal.log(PartitionId(0)).last();
        journal.purge(PartitionId(0), last);
        journal.flush().unwrap();
        append(&mut journal, 0, b"later");
        journal.flush().unwrap();
        let purged = read_back(&journal).unwrap();
        let bytes = fs.contents(&files[kept]).unwrap();
        copy.open(&files[kept], crate::env::fs::OpenMode::CreateNew).unwrap().write_at(&bytes, 0).unwrap();
        let (journal, _) = open(&copy).unwrap();
        assert_eq!(read_back(&journal).unwrap(), purged);
        let has_gap = !copy.exists(&files[kept + 1]).unwrap();
        assert_ne!(has_gap, copy.exists(&files[kept]).unwrap());
    }
    for missing in &files[..files.len() - 1] {
        let copy = fs.fork(1);
        copy.remove_file(missing).unwrap();
        // A torn write at the end, too: a start that is refused leaves it as it is.
        copy.damage(files.last().unwrap(), |bytes| {
            let end = bytes.len();
            bytes.resize(end + 1024, 0);
            bytes[end] = 1;
        });
        let before: Vec<_> = copy.files().iter().map(|path| copy.contents(path)).collect();
        assert!(open(&copy).unwrap_err().to_string().contains("missing"), "{}", missing.display());
        assert_eq!(copy.files().iter().map(|path| copy.contents(path)).collect::<Vec<_>>(), before);
    }
    assert_eq!(read_back(&open(&fs).unwrap().0).unwrap(), truth);
}

/// A partition whose entries all stand in the oldest files, while others go on.
#[test]
fn an_oldest_file_that_is_missing_is_noticed_by_who_needs_it() {
    let fs = new_disk(1);
    let options = JournalOptions { file_bytes: 1024, first_file_bytes: 1024, ..options() };
    let (mut journal, _) = Journal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    append(&mut journal, 1, b"the only one");
    for _ in 0..40 {
        append(&mut journal, 0, b"entry");
        journal.flush().unwrap();
    }
    let last = journal.log(PartitionId(0)).last();
    journal.purge(PartitionId(0), last);
    journal.flush().unwrap();
    let files = fs.files();
    for upto in 1..files.len() {
        let copy = fs.fork(1);
        for missing in &files[..upto] {
            copy.remove_file(missing).unwrap();
        }
        assert!(matches!(open(&copy), Err(JournalError::Damaged { .. })), "without {upto} files");
    }
}

#[test]
fn a_group_that_was_dropped_begins_again() {
    let fs = new_disk(1);
    let options = JournalOptions { file_bytes: 1024, first_file_bytes: 1024, ..options() };
    let reopen = || Journal::open(Arc::new(fs.clone()), dir(), options.clone()).unwrap().0;
    let mut journal = reopen();
    let partition = PartitionId(1);
    for incarnation in 1..4 {
        assert_eq!(journal.log(partition).incarnation(), incarnation);
        assert_eq!((journal.log(partition).last(), journal.log(partition).vote()), (LogId::default(), None));
        journal.append_vote(partition, b"vote");
        for _ in 0..30 {
            append(&mut journal, 1, b"of this incarnation");
        }
        append(&mut journal, 2, b"of another group");
        journal.flush().unwrap();
        let before = read_back(&journal).unwrap();
        journal = reopen();
        assert_eq!(read_back(&journal).unwrap(), before);
        journal.drop_group(partition);
        journal.flush().unwrap();
        journal = reopen();
    }
    assert_eq!(journal.log(PartitionId(2)).last(), id(1, 3));
    for _ in 0..60 {
        let last = append(&mut journal, 0, b"entry");
        journal.purge(PartitionId(0), last);
        journal.flush().unwrap();
    }
    assert_eq!(reopen().log(partition).incarnation(), 4, "files carry it over");
}

#[test]
fn a_failed_sync_stops_the_journal_for_good() {
    for nth in 1..4 {
        let fs = new_disk(nth);
        let (mut journal, _) = open(&fs).unwrap();
        fs.set_faults(Faults { fail_sync: Some(fs.syncs() + nth), ..Faults::default() });
        let mut acknowledged = 0;
        let error = loop {
            append(&mut journal, 0, b"entry");
            match journal.flush() {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, JournalError::Io { doing: "sync", .. }), "{error}");
        assert_eq!(acknowledged, nth - 1);
        assert!(matches!(journal.write(), Err(JournalError::Stopped { .. })));
        assert!(matches!(journal.flush(), Err(JournalError::Stopped { .. })));
        drop(journal);
        // The next process sees pages that look clean but are not on disk. It writes them again; otherwise a
        // crash would lose them.
        let (journal, _) = open(&fs).unwrap();
        let seen = journal.log(PartitionId(0)).last().index.0;
        assert_eq!(seen, acknowledged + 1);
        drop(journal);
        fs.crash();
        let (journal, _) = open(&fs).unwrap();
        assert_eq!(journal.log(PartitionId(0)).last().index.0, seen);
    }
}

/// A disk that is full at the nth write: whichever that is, nothing is lost, and with space the same journal
/// goes on.
#[test]
fn a_full_disk_stops_nothing_and_costs_no_record() {
    let mut met = BTreeSet::new();
    for nth in 1..40 {
        let fs = new_disk(nth);
        let (mut journal, _) = open(&fs).unwrap();
        fs.set_faults(Faults { full_at_write: Some(fs.writes() + nth), ..Faults::default() });
        let (mut acknowledged, mut failures) = (0, 0);
        for number in 0..60 {
            append(&mut journal, 0, &[number; 900]);
            match journal.flush() {
                Ok(()) => acknowledged = journal.log(PartitionId(0)).last().index.0,
                Err(JournalError::NoSpace { doing, .. }) => {
                    met.insert(doing);
                    failures += 1;
                    // What was written before is made durable meanwhile, or not.
                    if nth % 2 == 0
                        && let Some(handle) = journal.sync_handle()
                    {
                        let outcome = handle.run();
                        journal.complete_sync(handle, outcome).unwrap();
                    }
                    assert_eq!(read_back(&journal).unwrap()[0].entries.len(), usize::from(number) + 1);
                }
                Err(error) => panic!("write {nth}: {error}"),
            }
            if failures == 3 {
                break;
            }
        }
        assert_eq!(failures, 3, "write {nth}");
        let accepted = read_back(&journal).unwrap()[0].entries.len();
        fs.set_faults(Faults::default());
        if nth % 3 == 0 {
            drop(journal);
            fs.crash();
            let (journal, _) = open(&fs).unwrap_or_else(|error| panic!("write {nth}: {error}"));
            assert!(journal.log(PartitionId(0)).last().index.0 >= acknowledged, "write {nth}");
            continue;
        }
        journal.flush().unwrap();
        append(&mut journal, 0, b"after");
        journal.flush().unwrap();
        drop(journal);
        fs.crash();
        let (journal, _) = open(&fs).unwrap();
        let found = read_back(&journal).unwrap();
        assert_eq!(found[0].entries.len(), accepted + 1, "write {nth}");
    }
    assert_eq!(Vec::from_iter(met), ["write", "write zeros ahead"]);
}

#[test]
fn a_small_disk_is_used_to_its_end_and_the_reserve_lets_a_purge_through() {
    let fs = new_disk(1);
    fs.set_capacity(Some(64 << 10));
    let space = Arc::new(DiskSpace::open(Arc::new(fs.clone()), dir(), Some(16 << 10), 8192));
    space.make_reserve();
    let options = JournalOptions { space: Arc::clone(&space), ..options() };
    let (mut journal, _) = Journal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    let mut is_low_at = None;
    for number in 1.. {
        append(&mut journal, 0, &[1; 900]);
        match journal.flush() {
            Err(error) if error.is_no_space() => break,
            result => result.unwrap(),
        }
        if space.is_low() {
            is_low_at.get_or_insert(number);
        }
    }
    let full_at = journal.log(PartitionId(0)).last().index.0;
    // 12 KiB of the reserve were free, and 4 KiB held.
    let is_low_at = is_low_at.expect("it was low before it was full");
    assert!((10..18).contains(&(full_at - is_low_at)), "low at {is_low_at}, full at {full_at}");
    assert!(full_at > 55, "{full_at} records of 940 bytes on 64 KiB");
    assert!(!fs.files().iter().any(|path| path.ends_with("reserve")));
    fs.set_capacity(Some(66 << 10));
    journal.purge(PartitionId(0), id(1, full_at));
    journal.flush().unwrap();
    assert!(!space.is_low() && space.wants_reserve());
    assert!(fs.files().len() <= 2, "{:?}", fs.files());
}

#[test]
fn files_are_removed_when_no_partition_needs_them_and_the_vote_stays() {
    let fs = new_disk(1);
    let (mut journal, _) = open(&fs).unwrap();
    journal.append_vote(PartitionId(1), b"vote");
    append(&mut journal, 1, b"holds the first file");
    for _ in 0..40 {
        append(&mut journal, 0, &[1; 1000]);
        journal.flush().unwrap();
    }
    let files = fs.files().len();
    assert!(files > 4);
    let last = journal.log(PartitionId(0)).last();
    journal.purge(PartitionId(0), last);
    journal.flush().unwrap();
    assert_eq!(fs.files().len(), files, "partition 1 needs the first file");
    journal.purge(PartitionId(1), id(1, 1));
    assert_eq!(fs.files().len(), files, "the purge is not durable yet");
    journal.flush().unwrap();
    assert_eq!(fs.files().len(), 1);
    drop(journal);
    let (journal, _) = open(&fs).unwrap();
    assert_eq!(journal.log(PartitionId(1)).vote(), Some(&b"vote"[..]));
    assert_eq!(journal.log(PartitionId(0)).last(), last);
    assert_eq!(journal.log(PartitionId(1)).last(), id(1, 1));
}

#[test]
fn a_purged_file_that_cannot_be_removed_stays_until_it_can() {
    let (fs, _) = several_files();
    let (mut journal, _) = open(&fs).unwrap();
    let files = fs.files().len();
    fs.fail_removals(true);
    for partition in (0..PARTITIONS).map(PartitionId) {
        let last = journal.log(partition).last();
        journal.purge(partition, last);
    }
    journal.flush().unwrap();
    assert_eq!(fs.files().len(), files);
    fs.fail_removals(false);
    for partition in 0..PARTITIONS {
        let last = append(&mut journal, partition, b"later");
        journal.purge(PartitionId(partition), last);
    }
    journal.flush().unwrap();
    assert!(fs.files().len() < files);
}

#[test]
fn a_record_longer_than_a_file_gets_its_own() {
    let fs = new_disk(1);
    let (mut journal, _) = open(&fs).unwrap();
    append(&mut journal, 0, b"small");
    append(&mut journal, 0, &[9; 50_000]);
    append(&mut journal, 0, b"small again");
    journal.flush().unwrap();
    drop(journal);
    let (journal, _) = open(&fs).unwrap();
    let records = journal.read(PartitionId(0), LogIndex(1)..LogIndex(4), usize::MAX).unwrap();
    assert_eq!(records.iter().map(|record| record.payload.len()).collect::<Vec<_>>(), [5, 50_000, 11]);
    let bounded = journal.read(PartitionId(0), LogIndex(1)..LogIndex(4), 100).unwrap();
    assert_eq!(bounded.len(), 1, "the bound holds after the first");
}

#[test]
fn a_lost_journal_is_not_an_empty_one() {
    let fs = new_disk(1);
    let error =
        Journal::open(Arc::new(fs), dir(), JournalOptions { create: false, ..options() }).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn a_read_that_fails_is_an_error_not_an_end() {
    let (fs, _) = sample();
    for nth in 1..6 {
        let copy = fs.fork(1);
        copy.set_faults(Faults { fail_read: Some(nth), ..Faults::default() });
        if let Err(error) = open(&copy) {
            assert!(matches!(error, JournalError::Io { .. }), "{error}");
        }
    }
}

#[test]
fn the_files_of_the_operating_system_do_as_the_simulated_ones() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(crate::env::fs::RealFs);
    let mut expected = Vec::new();
    for round in 0..3u64 {
        let (mut journal, recovered) = Journal::open(Arc::clone(&fs), dir.path(), options()).unwrap();
        assert_eq!((recovered.cut, read_back(&journal).unwrap()[0].entries.len()), (None, expected.len()));
        // Some file systems have no direct writes.
        if round > 0 && direct::is_quicker(&*fs, dir.path(), &SystemClock::default()).is_ok() {
            journal.write_directly();
        }
        for number in 0..20 {
            let payload = vec![number; 700];
            append(&mut journal, 0, &payload);
            journal.flush().unwrap();
            expected.push(payload);
        }
        assert_eq!(journal.log(PartitionId(0)).last().index.0, (round + 1) * 20);
        let entries = &read_back(&journal).unwrap()[0].entries;
        assert!(entries.values().map(|(_, payload)| payload).eq(&expected));
    }
}

/// A journal of two files, everything acknowledged; the last flush holds three records.
fn sample() -> (SimFs, Vec<Model>) {
    let fs = new_disk(1);
    let mut options = options();
    options.file_bytes = 1024;
    options.zero_ahead_bytes = 512;
    let (mut journal, _) = Journal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    journal.append_vote(PartitionId(2), b"voted for 3");
    for round in 0..8 {
        for partition in 0..PARTITIONS {
            append(&mut journal, partition, format!("entry {round} of {partition}").as_bytes());
        }
        journal.flush().unwrap();
    }
    assert_eq!(fs.files().len(), 2);
    let models = read_back(&journal).unwrap();
    (fs, models)
}

/// A journal of several files; the newest holds more than its carry-over.
fn several_files() -> (SimFs, Vec<Model>) {
    let fs = new_disk(1);
    let options = JournalOptions { file_bytes: 1024, zero_ahead_bytes: 512, ..options() };
    let (mut journal, _) = Journal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    for _ in 0..60 {
        append(&mut journal, 0, b"entry");
        journal.flush().unwrap();
    }
    let truth = read_back(&journal).unwrap();
    (fs, truth)
}

#[test]
fn a_missing_newest_file_is_noticed_and_its_vote_not_forgotten() {
    let (fs, _) = several_files();
    let newest = fs.files().pop().unwrap();
    fs.remove_file(&newest).unwrap();
    let error = open(&fs).unwrap_err().to_string();
    assert!(error.contains("the one before says that it is continued"), "{error}");
    assert!(error.contains(&newest.display().to_string()), "{error}");
}

#[test]
fn an_unused_newest_file_may_be_missing_or_not() {
    let (fs, truth) = several_files();
    let newest = fs.files().pop().unwrap();
    let sequence = file_name::parse(newest.file_name().unwrap().to_str().unwrap()).unwrap();
    // The state after a crash between the creation of a file and the end of the previous one.
    JournalFile::create(&fs, dir(), sequence + 1, 77, 512).unwrap();
    let (mut journal, _) = open(&fs).unwrap();
    assert_eq!(read_back(&journal).unwrap(), truth);
    assert_eq!(journal.appended().sequence, sequence);
    for _ in 0..60 {
        append(&mut journal, 0, b"entry");
        journal.flush().unwrap();
    }
    let truth = read_back(&journal).unwrap();
    drop(journal);
    assert_eq!(read_back(&open(&fs).unwrap().0).unwrap(), truth);
}

/// Writes the files as an earlier version would have.
fn convert(fs: &SimFs, version: u32) {
    for path in fs.files() {
        let sequence = file_name::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        let file = JournalFile::open(&(Arc::new(fs.clone()) as Arc<dyn Fs>), dir(), sequence).unwrap();
        let mut reader = JournalReader::new(&file);
        let (mut offset, mut records) = (HEADER_BYTES, Vec::new());
        while let Found::Record(head, payload) = reader.record_at(offset).unwrap() {
            let place = Place { layout: Layout::Plain, ..file.place(HEADER_BYTES + records.len() as u64) };
            let RecordHead { kind, partition, incarnation, log_id, .. } = head;
            if kind <= if version == 1 { RecordKind::Committed } else { RecordKind::Continued } {
                let fields = RecordFields { kind, partition, incarnation, log_id, synced: 0 };
                record::encode(&mut records, place, fields, payload);
            }
            offset += head.record_bytes();
        }
        fs.damage(&path, |bytes| {
            bytes[8] = version as u8;
            let crc = crate::base::crc::crc32c(&bytes[..32]);
            bytes[32..36].copy_from_slice(&crc.to_le_bytes());
            bytes[HEADER_BYTES as usize..].fill(0);
            bytes[HEADER_BYTES as usize..][..records.len()].copy_from_slice(&records);
        });
    }
}

#[test]
fn files_of_earlier_versions_are_read_and_continued_in_new_ones() {
    for version in [1, 2] {
        let (fs, truth) = several_files();
        convert(&fs, version);
        let old = fs.files().len();
        let (mut journal, _) = open(&fs).unwrap();
        assert_eq!(read_back(&journal).unwrap(), truth);
        assert_eq!(fs.files().len(), old, "reading changes nothing");
        append(&mut journal, 0, b"entry");
        journal.flush().unwrap();
        assert_eq!(journal.appended().sequence, old as u64 + 1);
        for _ in 0..60 {
            append(&mut journal, 0, b"entry");
            journal.flush().unwrap();
        }
        let truth = read_back(&journal).unwrap();
        drop(journal);
        assert_eq!(read_back(&open(&fs).unwrap().0).unwrap(), truth);
        let newest_old = &fs.files()[old - 1];
        fs.damage(newest_old, |bytes| bytes[100] ^= 1);
        assert!(open(&fs).is_err());
    }
}

#[test]
fn only_files_of_version_1_do_not_say_that_they_are_continued() {
    let (fs, truth) = several_files();
    convert(&fs, 1);
    assert_eq!(read_back(&open(&fs.fork(1)).unwrap().0).unwrap(), truth);
    for path in fs.files() {
        fs.damage(&path, |bytes| {
            bytes[8] = 2;
            let crc = crate::base::crc::crc32c(&bytes[..32]);
            bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        });
    }
    assert!(open(&fs).is_err());
}

#[test]
fn a_checkpoint_of_another_history_resets_the_log() {
    for (checkpoint, kept) in [(id(1, 5), 5), (id(2, 5), 0), (id(2, 10), 0), (id(2, 90), 0)] {
        let fs = new_disk(1);
        let (mut journal, _) = open(&fs).unwrap();
        for _ in 0..10 {
            append(&mut journal, 1, b"old");
        }
        journal.flush().unwrap();
        journal.purge(PartitionId(1), checkpoint);
        let log = journal.log(PartitionId(1));
        assert_eq!(log.purged(), checkpoint);
        assert_eq!(log.last(), if kept > 0 { id(1, 10) } else { checkpoint });
        append(&mut journal, 1, b"new");
        journal.flush().unwrap();
        let truth = read_back(&journal).unwrap();
        assert_eq!(truth[1].entries.len(), kept + 1, "{checkpoint:?}");
        drop(journal);
        fs.crash();
        assert_eq!(read_back(&open(&fs).unwrap().0).unwrap(), truth, "{checkpoint:?}");
    }
}
