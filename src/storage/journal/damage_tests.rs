//! Damage at every byte: refused, or nothing is lost by it.

use super::*;

/// Whatever clients store: records that are zeros, or end in them, are none on disk.
#[test]
fn a_flipped_bit_in_a_last_record_of_zeros_is_refused() {
    for (payload, stops_in_order) in
        [(vec![0; 2000], false), (b"ends in\0".to_vec(), false), (vec![0; 700], true)]
    {
        let fs = new_disk(1);
        let (mut journal, _) = open(&fs).unwrap();
        append(&mut journal, 0, b"before");
        journal.flush().unwrap();
        let start = journal.appended().offset as usize;
        append(&mut journal, 0, &payload);
        journal.flush().unwrap();
        let end = journal.appended().offset as usize;
        if stops_in_order {
            journal.close().unwrap();
        }
        let truth = read_back(&journal).unwrap();
        assert_eq!(read_back(&open(&fs.fork(1)).unwrap().0).unwrap(), truth);
        let path = fs.files().remove(0);
        for at in start..end {
            for bit in [0, 5] {
                let copy = fs.fork(1);
                copy.damage(&path, |bytes| bytes[at] ^= 1 << bit);
                let error = open(&copy).expect_err("the record was acknowledged");
                assert!(matches!(error, JournalError::Damaged { .. }), "byte {at}: {error}");
            }
        }
        for sector in (start / 512 + 1..end / 512).filter(|_| stops_in_order) {
            let copy = fs.fork(1);
            copy.damage(&path, |bytes| bytes[sector * 512..(sector + 1) * 512].fill(0));
            open(&copy).expect_err("a stop in order leaves no torn write");
        }
    }
}

/// Opening yields the truth, a refusal with file and offset, or the truth without its very last record.
fn assert_harmless(fs: &SimFs, truth: &[Model], context: &str) -> bool {
    match open(fs) {
        Err(JournalError::Damaged { file, reason, .. }) => {
            assert!(file.starts_with(dir()) && !reason.is_empty(), "{context}");
            true
        }
        Err(error) => panic!("{context}: {error}"),
        Ok((journal, recovered)) => {
            let found = read_back(&journal).unwrap();
            if found != truth {
                assert!(recovered.cut.is_some(), "{context}: a silent loss");
                let mut without_last = truth.to_vec();
                let last = without_last.last_mut().unwrap();
                let index = last.last.index.0;
                last.entries.remove(&index);
                last.last.index.0 -= 1;
                assert_eq!(found, without_last, "{context}");
            }
            found != truth
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_harmless() {
    let (fs, truth) = sample();
    let mut lost = 0;
    for path in fs.files() {
        for at in 0..fs.contents(&path).unwrap().len() {
            for bit in [0, 3, 7] {
                let copy = fs.fork(1);
                copy.damage(&path, |bytes| bytes[at] ^= 1 << bit);
                assert_harmless(&copy, &truth, &format!("{} byte {at} bit {bit}", path.display()));
                if let Ok((journal, _)) = open(&copy) {
                    lost += u32::from(read_back(&journal).unwrap() != truth);
                }
            }
        }
    }
    assert_eq!(lost, 0, "not even the last record is mistaken for a torn one");
}

#[test]
fn a_file_cut_at_any_length_is_refused_or_harmless() {
    let (fs, truth) = sample();
    for path in fs.files() {
        for len in 0..fs.contents(&path).unwrap().len() {
            let copy = fs.fork(1);
            copy.damage(&path, |bytes| bytes.truncate(len));
            if let Ok((journal, _)) = open(&copy) {
                assert_eq!(read_back(&journal).unwrap(), truth, "{} cut to {len}", path.display());
            }
        }
    }
}

#[test]
fn a_zeroed_sector_is_refused_or_is_a_torn_write() {
    let (fs, truth) = sample();
    for path in fs.files() {
        let bytes = fs.contents(&path).unwrap();
        for sector in 0..bytes.len() / 512 {
            let copy = fs.fork(1);
            copy.damage(&path, |bytes| bytes[sector * 512..(sector + 1) * 512].fill(0));
            match open(&copy) {
                Err(error) => assert!(matches!(error, JournalError::Damaged { .. }), "{error}"),
                Ok((journal, _)) => {
                    // On disk it looks as if the end of the records had never arrived.
                    let is_end = bytes[(sector + 1) * 512..].iter().all(|&byte| byte == 0);
                    assert!(is_end || read_back(&journal).unwrap() == truth, "sector {sector}");
                }
            }
        }
    }
}

#[test]
fn a_missing_or_swapped_file_is_refused() {
    let fs = new_disk(1);
    let mut options = options();
    options.file_bytes = 1024;
    options.zero_ahead_bytes = 512;
    let (mut journal, _) = Journal::open(Arc::new(fs.clone()), dir(), options).unwrap();
    for _ in 0..60 {
        append(&mut journal, 0, b"entry");
        journal.flush().unwrap();
    }
    let files = fs.files();
    assert!(files.len() >= 3);
    for missing in &files {
        let copy = fs.fork(1);
        copy.remove_file(missing).unwrap();
        let error = open(&copy).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
    let copy = fs.fork(1);
    let (a, b) = (copy.contents(&files[0]).unwrap(), copy.contents(&files[1]).unwrap());
    copy.damage(&files[0], |bytes| *bytes = b);
    copy.damage(&files[1], |bytes| *bytes = a);
    assert!(open(&copy).unwrap_err().to_string().contains("the header says file 2, the name says 1"));
}

#[test]
fn a_record_copied_to_the_end_of_its_file_is_no_record() {
    let fs = new_disk(1);
    let (mut journal, _) = open(&fs).unwrap();
    append(&mut journal, 0, b"first");
    let start = journal.appended().offset as usize;
    append(&mut journal, 0, b"second");
    let end = journal.appended().offset as usize;
    journal.flush().unwrap();
    let path = dir().join(file_name::format(1));
    fs.damage(&path, |bytes| bytes.copy_within(start..end, end));
    let error = open(&fs).unwrap_err();
    assert!(error.to_string().contains(&format!("damaged at byte {end}")), "{error}");
}
