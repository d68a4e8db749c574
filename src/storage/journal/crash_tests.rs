//! Crashes at every operation, of the journal's work and of the starts after them.

use super::*;

#[test]
fn a_crash_at_every_operation_loses_nothing_that_was_acknowledged() {
    crash_at_every_operation(8192);
}

/// A crash between the creation of a file and its first records must not lose the carry-over.
#[test]
fn a_crash_at_every_operation_while_files_change_loses_nothing() {
    crash_at_every_operation(1024);
}

fn crash_at_every_operation(first_file_bytes: u64) {
    let (mut crashes, mut cuts) = (0, 0);
    for seed in 0..60 {
        for crash_at in 1.. {
            let fs = new_disk(seed * 1000 + crash_at);
            let entropy = SeededEntropy::new(seed);
            let context = format!("seed {seed}, crash at {crash_at}");
            let mut models = vec![Model::default(); usize::from(PARTITIONS)];
            let first = fs.operations();
            fs.set_faults(Faults { crash_at_operation: Some(first + crash_at), ..Faults::default() });
            let history = match open_with(&fs, first_file_bytes) {
                Ok((mut journal, _)) => work(&mut journal, &entropy, 70, false),
                Err(_) => History { ops: Vec::new(), acknowledged: 0, died: true },
            };
            // The next starts crash too, a few operations in, because recovery itself may be interrupted.
            for again in 0..3 {
                fs.crash();
                fs.set_faults(Faults {
                    crash_at_operation: Some(fs.operations() + 1 + again),
                    ..Faults::default()
                });
                if let Err(error) = open_with(&fs, first_file_bytes) {
                    assert!(matches!(error, JournalError::Io { .. }), "{context}: {error}");
                }
            }
            fs.crash();
            let (mut journal, recovered) =
                open_with(&fs, first_file_bytes).unwrap_or_else(|error| panic!("{context}: {error}"));
            cuts += u64::from(recovered.cut.is_some());
            let found = read_back(&journal).unwrap();
            assert_prefix(&models, &history, &found, &context);
            // Torn tail, recovery, append, restart, restart (S6).
            models = found;
            let more = work(&mut journal, &SeededEntropy::new(seed + crash_at), 30, false);
            drop(journal);
            fs.crash();
            let (journal, _) =
                open_with(&fs, first_file_bytes).unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = read_back(&journal).unwrap();
            assert_prefix(&models, &more, &found, &context);
            drop(journal);
            fs.crash();
            let (journal, recovered) =
                open_with(&fs, first_file_bytes).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(recovered.cut, None, "{context}: what was recovered is durable");
            assert_eq!(read_back(&journal).unwrap(), found, "{context}");
            crashes += 1;
            if !history.died {
                break;
            }
        }
    }
    assert!(crashes > 500 && cuts > 10, "{crashes} crashes, {cuts} cuts");
}

/// The next process may find a name that only its memory knows (S3).
#[test]
fn a_power_cut_after_a_kill_at_any_operation_loses_nothing_that_was_acknowledged() {
    let mut deaths = 0;
    for seed in 0..40 {
        for kill_at in 1.. {
            let fs = new_disk(seed * 1000 + kill_at);
            let crash_at_operation = Some(fs.operations() + kill_at);
            let faults = Faults { crash_at_operation, ..Faults::default() };
            if !dies_and_loses_power(&fs, seed, kill_at, 1024, faults) {
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths > 500, "{deaths} deaths");
}

/// After a failed sync the pages look clean to the next process, whether they are on disk or not (S2): neither
/// the records that it finds nor the zeros behind them are durable. Found by seed 4327 of the simulation.
#[test]
fn what_a_failed_sync_left_in_memory_is_not_trusted() {
    let mut failures = 0;
    for seed in 0..60 {
        for fail_at in 1.. {
            let fs = new_disk(seed * 1000 + fail_at);
            let faults = Faults { fail_sync: Some(fail_at), ..Faults::default() };
            if !dies_and_loses_power(&fs, seed, fail_at, FIRST_FILE_BYTES, faults) {
                break;
            }
            failures += 1;
        }
    }
    assert!(failures > 500, "{failures} failed syncs");
}

/// A life with this fault, one more in the same memory, then a power cut: nothing acknowledged is lost. Returns
/// whether the fault ended the first life.
fn dies_and_loses_power(fs: &SimFs, seed: u64, at: u64, first_file_bytes: u64, faults: Faults) -> bool {
    let context = format!("seed {seed}, {faults:?}");
    fs.set_faults(faults);
    let history = match open_with(fs, first_file_bytes) {
        Ok((mut journal, _)) => work(&mut journal, &SeededEntropy::new(seed), 70, false),
        Err(_) => History { ops: Vec::new(), acknowledged: 0, died: true },
    };
    fs.kill();
    fs.set_faults(Faults::default());
    let open = |when: &str| {
        open_with(fs, first_file_bytes).unwrap_or_else(|error| panic!("{context}, {when}: {error}")).0
    };
    let mut journal = open("the next start");
    let before = read_back(&journal).unwrap();
    let models = vec![Model::default(); usize::from(PARTITIONS)];
    assert_prefix(&models, &history, &before, &context);
    let more = work(&mut journal, &SeededEntropy::new(seed + at), 5, false);
    drop(journal);
    fs.crash();
    assert_prefix(&before, &more, &read_back(&open("then the power fails")).unwrap(), &context);
    history.died
}

/// A start on a full disk must not leave the journal in a state that looks like damage.
#[test]
fn a_cut_that_is_cut_short_is_made_again() {
    let mut cuts = 0;
    for seed in 0..300 {
        let fs = new_disk(seed);
        let (mut journal, _) = open(&fs).unwrap();
        append(&mut journal, 0, &[b'a'; 100]);
        journal.flush().unwrap();
        for _ in 0..1 + seed % 3 {
            append(&mut journal, 1, &vec![b'b'; 20 + seed as usize * 2]);
        }
        fs.set_faults(Faults { crash_at_operation: Some(fs.operations() + 1), ..Faults::default() });
        journal.write().unwrap_err();
        drop(journal);
        fs.kill();
        for write in 0..4 {
            fs.set_faults(Faults { full_at_write: Some(fs.writes() + 1 + write), ..Faults::default() });
            if let Err(error) = open(&fs) {
                assert!(matches!(error, JournalError::Io { .. }), "seed {seed}, write {write}: {error}");
                cuts += 1;
            }
            fs.kill();
        }
        fs.set_faults(Faults::default());
        let (journal, _) = open(&fs).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = read_back(&journal).unwrap();
        assert_eq!(found[0].entries.len(), 1, "seed {seed}: what was acknowledged is there");
    }
    assert!(cuts > 300, "{cuts} cuts were cut short");
}
