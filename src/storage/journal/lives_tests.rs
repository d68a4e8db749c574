//! A journal over many lives that end in every way, and what is left of a write that was under way.

use super::*;
use crate::env::fs::{OpenMode, SECTOR_BYTES};

/// The process dies at any operation, a sync fails, the disk is full, the power fails, at once or after the
/// next starts, which die as well. Sectors may arrive in part.
#[test]
fn whatever_ends_its_lives_nothing_acknowledged_is_lost() {
    let mut ends = BTreeMap::<&str, u32>::new();
    let mut cuts = 0;
    for seed in 0..400 {
        let fs = SimFs::new(seed).with_torn_sectors();
        fs.create_dir_all(dir()).unwrap();
        let entropy = SeededEntropy::new(seed);
        let first_file_bytes = [1024, 2048, 8192][entropy.below(3) as usize];
        let mut before = vec![Model::default(); usize::from(PARTITIONS)];
        for life in 0..8 {
            let context = format!("seed {seed}, life {life}");
            let (mut journal, _) = open_with(&fs, first_file_bytes)
                .unwrap_or_else(|error| panic!("{context}: {error}\n{}", fs.log().join("\n")));
            assert_eq!(read_back(&journal).unwrap(), before, "{context}");
            let at = 1 + entropy.below(60);
            let faults = Faults::default();
            let (what, faults) = match entropy.below(5) {
                0 => ("a sync fails", Faults { fail_sync: Some(fs.syncs() + 1 + at / 4), ..faults }),
                1 => ("the disk is full", Faults { full_at_write: Some(fs.writes() + at), ..faults }),
                2 => (
                    "a sync of the directory fails",
                    Faults { fail_directory_sync: Some(fs.directory_syncs() + 1 + at / 20), ..faults },
                ),
                _ => ("it dies", Faults { crash_at_operation: Some(fs.operations() + at), ..faults }),
            };
            fs.set_faults(faults);
            *ends.entry(what).or_default() += 1;
            let steps = 5 + entropy.below(60) as usize;
            let history = work(&mut journal, &entropy, steps, false);
            drop(journal);
            for _ in 0..entropy.below(4) {
                end(&fs, &entropy);
                let next = Faults {
                    crash_at_operation: Some(fs.operations() + 1 + entropy.below(6)),
                    ..Faults::default()
                };
                fs.set_faults(next);
                if let Err(error) = open_with(&fs, first_file_bytes) {
                    assert!(matches!(error, JournalError::Io { .. }), "{context}: {error}");
                }
            }
            end(&fs, &entropy);
            fs.set_faults(Faults::default());
            let (journal, recovered) = open_with(&fs, first_file_bytes)
                .unwrap_or_else(|error| panic!("{context}: {error}\n{}", fs.log().join("\n")));
            cuts += u32::from(recovered.cut.is_some());
            let found = read_back(&journal).unwrap();
            assert_prefix(&before, &history, &found, &context);
            before = found;
            drop(journal);
            fs.crash();
        }
    }
    assert!(
        cuts > 100 && ends.len() == 4 && ends.values().all(|&count| count > 100),
        "{cuts} cuts, {ends:?}"
    );
}

fn end(fs: &SimFs, entropy: &SeededEntropy) {
    if entropy.chance(50) { fs.kill() } else { fs.crash() }
}

/// Files of format 2 are continued in files of format 3, whatever ends the lives in which that happens.
#[test]
fn a_journal_of_an_earlier_format_is_continued_through_any_crash() {
    let (old, truth) = several_files();
    convert(&old, 2);
    let mut deaths = 0;
    for seed in 0..20 {
        for crash_at in 1.. {
            let fs = old.fork(seed * 1000 + crash_at);
            let context = format!("seed {seed}, crash at {crash_at}");
            fs.set_faults(Faults {
                crash_at_operation: Some(fs.operations() + crash_at),
                ..Faults::default()
            });
            let history = match open(&fs) {
                Ok((mut journal, _)) => work(&mut journal, &SeededEntropy::new(seed), 30, false),
                Err(_) => History { ops: Vec::new(), acknowledged: 0, died: true },
            };
            if seed % 2 == 0 {
                fs.crash()
            } else {
                fs.kill()
            }
            let (journal, _) = open(&fs).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_prefix(&truth, &history, &read_back(&journal).unwrap(), &context);
            if !history.died {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths > 300, "{deaths} deaths");
}

/// The system copies a page to the disk while the next write changes it; or a process dies within a page.
#[test]
fn a_record_of_which_a_sector_arrived_in_part_is_torn() {
    let mut torn = 0;
    for (before, len) in [(10, 30), (300, 200), (372, 20), (360, 700), (100, 1500)] {
        let fs = new_disk(1);
        let (mut journal, _) = open(&fs).unwrap();
        append(&mut journal, 0, &vec![b'a'; before]);
        journal.flush().unwrap();
        let truth = read_back(&journal).unwrap();
        let start = journal.appended().offset as usize;
        append(&mut journal, 0, &vec![b'b'; len]);
        journal.write().unwrap();
        let end = journal.appended().offset as usize;
        drop(journal);
        let path = fs.files().remove(0);
        for at in (start..end).step_by(4) {
            let sector_end = (at + 1).next_multiple_of(SECTOR_BYTES as usize).min(end);
            let sector_start = start.max(at - at % SECTOR_BYTES as usize);
            // The end of a sector is missing, and so may be the rest of the record. Or the beginning is,
            // because zeros were being written on it.
            for missing in [at..sector_end, at..end, sector_start..at + 4] {
                let copy = fs.fork(1);
                copy.damage(&path, |bytes| bytes[missing.clone()].fill(0));
                let context = format!("record at {start}..{end}, {missing:?} is missing");
                let (journal, _) = open(&copy).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(read_back(&journal).unwrap(), truth, "{context}");
                torn += 1;
            }
        }
    }
    assert!(torn > 1000, "{torn} torn writes");
}

/// A file begins with what must outlive the files before it. If the first write to it is torn, that is written
/// again, or it would not outlive them.
#[test]
fn a_torn_carry_over_is_written_again() {
    let (mut torn, mut kept) = (0, 0);
    for seed in 0..200 {
        let fs = new_disk(seed);
        let (mut journal, _) = open_with(&fs, 1024).unwrap();
        // Longer than a sector, between what the file begins with and the last of it.
        journal.append_vote(PartitionId(1), &[b'v'; 600]);
        journal.append_vote(PartitionId(2), b"voted for 3");
        append(&mut journal, 2, b"the only one");
        while journal.appended().sequence == 1 {
            let last = append(&mut journal, 0, &vec![b'a'; 1 + seed as usize]);
            // Nobody but partition 2 needs the first file.
            journal.purge(PartitionId(0), last);
            if journal.appended().sequence == 1 {
                journal.flush().unwrap();
            }
        }
        append(&mut journal, 0, &[b'b'; 700]);
        journal.write().unwrap();
        drop(journal);
        fs.crash();
        let (mut journal, recovered) = open_with(&fs, 1024).unwrap();
        torn += u32::from(recovered.cut.is_some());
        if journal.appended().sequence == 1 {
            continue;
        }
        for _ in 0..2 {
            append(&mut journal, 0, b"later");
            journal.flush().unwrap();
        }
        assert_eq!(journal.log(PartitionId(2)).vote(), Some(&b"voted for 3"[..]));
        drop(journal);
        kept += 1;
        fs.remove_file(&dir().join(file_name::format(1))).unwrap();
        match open(&fs) {
            Err(error) => assert!(error.to_string().contains("missing"), "seed {seed}: {error}"),
            Ok((journal, _)) => panic!("seed {seed}: silently {:?}", read_back(&journal).unwrap()[2]),
        }
    }
    assert!(torn > 20 && kept > 20, "{torn} torn, {kept} kept");
}

/// The first file that is left says what was before it, or it is not the first.
#[test]
fn an_empty_file_does_not_stand_for_those_before_it() {
    let (fs, _) = several_files();
    let files = fs.files();
    let newest = files.last().unwrap();
    fs.damage(newest, |bytes| bytes[HEADER_BYTES as usize..].fill(0));
    for file in &files[..files.len() - 1] {
        fs.remove_file(file).unwrap();
    }
    let error = open(&fs).map(|_| "a start").unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_file_of_another_directory_is_refused() {
    let (fs, _) = several_files();
    let other = JournalOptions { salt: 78, ..options() };
    let foreign = new_disk(2);
    let (mut journal, _) = Journal::open(Arc::new(foreign.clone()), dir(), other).unwrap();
    append(&mut journal, 0, b"of another directory");
    journal.flush().unwrap();
    let (path, bytes) = (foreign.files().remove(0), foreign.contents(&foreign.files()[0]).unwrap());
    let alone = new_disk(3);
    alone.open(&path, OpenMode::CreateNew).unwrap().write_at(&bytes, 0).unwrap();
    fs.damage(&fs.files()[0], |old| *old = bytes);
    for disk in [fs, alone] {
        let options = JournalOptions { create: false, ..options() };
        let found = Journal::open(Arc::new(disk), dir(), options);
        let error = found.map(|_| "a start").unwrap_err().to_string();
        assert!(error.contains("another data directory"), "{error}");
    }
}

/// A new directory draws its salt again if an earlier process died before the salt was kept.
#[test]
fn an_unused_file_of_an_interrupted_creation_gives_way() {
    let fs = new_disk(1);
    drop(Journal::open(Arc::new(fs.clone()), dir(), JournalOptions { salt: 78, ..options() }).unwrap());
    let (mut journal, _) = open(&fs).unwrap();
    append(&mut journal, 0, b"entry");
    journal.flush().unwrap();
    let truth = read_back(&journal).unwrap();
    let again = JournalOptions { create: false, ..options() };
    let (journal, _) = Journal::open(Arc::new(fs.clone()), dir(), again).unwrap();
    assert_eq!(read_back(&journal).unwrap(), truth);
}
