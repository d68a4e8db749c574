use super::*;
use std::collections::BTreeSet;

use crate::env::clock::Clock;
use crate::model::time::TimeMs;

fn disk(seed: u64) -> (SimFs, PathBuf) {
    let fs = SimFs::new(seed);
    let dir = PathBuf::from("/d");
    fs.create_dir_all(&dir).unwrap();
    (fs, dir)
}

#[test]
fn synced_bytes_with_a_synced_name_survive_and_the_rest_may_not() {
    let (mut names_lost, mut sectors_torn) = (0, 0);
    for seed in 0..100 {
        let (fs, dir) = disk(seed);
        let kept = fs.open(&dir.join("kept"), OpenMode::CreateNew).unwrap();
        kept.write_at(&[1; 2048], 0).unwrap();
        kept.sync_data().unwrap();
        fs.sync_dir(&dir).unwrap();
        kept.write_at(&[2; 2048], 0).unwrap();
        fs.open(&dir.join("loose"), OpenMode::CreateNew).unwrap();
        fs.crash();
        assert!(kept.len().is_err(), "a handle from before the crash is dead");
        let bytes = fs.contents(&dir.join("kept")).unwrap();
        assert_eq!(bytes.len(), 2048);
        for sector in bytes.chunks(512) {
            assert!(sector == [1; 512] || sector == [2; 512]);
        }
        sectors_torn += u32::from(bytes.contains(&1) && bytes.contains(&2));
        names_lost += u32::from(fs.contents(&dir.join("loose")).is_none());
    }
    assert!(sectors_torn > 10 && names_lost > 10, "{sectors_torn} {names_lost}");
}

#[test]
fn a_failed_sync_loses_the_bytes_though_the_next_one_succeeds() {
    let (fs, dir) = disk(1);
    let file = fs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
    fs.sync_dir(&dir).unwrap();
    fs.set_faults(Faults { fail_sync: Some(1), ..Faults::default() });
    file.write_at(b"lost", 0).unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(fs.contents(&dir.join("a")).unwrap(), b"lost");
    fs.crash();
    assert_eq!(fs.contents(&dir.join("a")).unwrap(), b"");
}

#[test]
fn a_seed_reproduces_a_crash() {
    let run = |seed| {
        let (fs, dir) = disk(seed);
        let file = fs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
        fs.sync_dir(&dir).unwrap();
        file.write_at(&[7; 5000], 100).unwrap();
        fs.crash();
        fs.contents(&dir.join("a"))
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn a_dead_process_does_nothing_more() {
    let (fs, dir) = disk(1);
    let file = fs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
    fs.set_faults(Faults { crash_at_operation: Some(fs.operations() + 1), ..Faults::default() });
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.sync_data().is_err());
    assert!(fs.read_dir(&dir).is_err());
    fs.crash();
    assert!(fs.read_dir(&dir).is_ok());
}

fn put(fs: &SimFs, path: &Path, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.open(path, OpenMode::CreateNew).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    file
}

/// The files that a power cut leaves, over many seeds.
fn left(make: impl Fn(&SimFs)) -> BTreeSet<Vec<String>> {
    (0..200)
        .map(|seed| {
            let fs = SimFs::new(seed).with_directory_durability();
            make(&fs);
            fs.crash();
            fs.files().iter().map(|path| path.display().to_string()).collect()
        })
        .collect()
}

fn sets(sets: &[&[&str]]) -> BTreeSet<Vec<String>> {
    sets.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect()
}

#[test]
fn a_killed_process_leaves_what_it_wrote_to_the_next_one() {
    let (fs, dir) = disk(1);
    let lock = fs.lock(&dir.join("lock")).unwrap();
    let file = fs.open(&dir.join("a.tmp"), OpenMode::CreateNew).unwrap();
    file.write_at(b"unsynced", 0).unwrap();
    fs.rename(&dir.join("a.tmp"), &dir.join("a")).unwrap();
    fs.kill();
    assert!(file.len().is_err() && file.write_at(b"x", 0).is_err() && file.sync_data().is_err());
    assert_eq!(fs.read_dir(&dir).unwrap(), ["a", "lock"]);
    assert_eq!(fs.contents(&dir.join("a")).unwrap(), b"unsynced");
    let taken = fs.lock(&dir.join("lock")).unwrap();
    drop(lock);
    assert!(fs.lock(&dir.join("lock")).is_err(), "a dead process cannot let go of what another one holds");
    drop(taken);
}

#[test]
fn a_dead_process_does_not_reach_the_disk() {
    let (fs, dir) = disk(1);
    let process = fs.process();
    put(&process, &dir.join("a"), b"x");
    fs.kill();
    assert!(process.remove_file(&dir.join("a")).is_err() && process.exists(&dir).is_err());
    assert!(process.lock(&dir.join("lock")).is_err());
    fs.process().remove_file(&dir.join("a")).unwrap();
}

/// The next process finds a name that is not durable, and a power cut may take it with all that was
/// synced into it.
#[test]
fn what_a_killed_process_renamed_is_durable_only_once_its_directory_is_synced() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..50 {
        for is_synced in [false, true] {
            let (fs, dir) = disk(seed);
            put(&fs, &dir.join("a.tmp"), b"old");
            fs.sync_dir(&dir).unwrap();
            fs.rename(&dir.join("a.tmp"), &dir.join("a")).unwrap();
            fs.kill();
            if is_synced {
                fs.sync_dir(&dir).unwrap();
            }
            let file = fs.open(&dir.join("a"), OpenMode::Write).unwrap();
            file.write_at(b"new", 0).unwrap();
            file.sync_data().unwrap();
            fs.crash();
            match fs.contents(&dir.join("a")) {
                Some(bytes) => {
                    assert_eq!(bytes, b"new");
                    kept += u32::from(!is_synced);
                }
                None => {
                    assert!(!is_synced, "seed {seed}");
                    assert_eq!(fs.contents(&dir.join("a.tmp")).unwrap(), b"new");
                    lost += 1;
                }
            }
        }
    }
    assert!(lost > 5 && kept > 5, "{lost} {kept}");
}

#[test]
fn the_write_that_a_process_is_killed_at_is_done_in_part() {
    let lens: BTreeSet<usize> = (0..50)
        .map(|seed| {
            let (fs, dir) = disk(seed);
            let file = put(&fs, &dir.join("a"), &[1; 100]);
            fs.set_faults(Faults { crash_at_operation: Some(fs.operations() + 1), ..Faults::default() });
            assert!(file.write_at(&[2; 20_000], 50).is_err());
            fs.kill();
            let bytes = fs.contents(&dir.join("a")).unwrap();
            let done = bytes.iter().filter(|&&byte| byte == 2).count();
            assert_eq!(bytes[..50], [1; 50]);
            assert_eq!(bytes[50..50 + done], vec![2; done]);
            assert_eq!(bytes.len(), 100.max(50 + done));
            assert!(done == 0 || (50 + done).is_multiple_of(512), "whole sectors: {done}");
            fs.open(&dir.join("a"), OpenMode::Write).unwrap().sync_data().unwrap();
            fs.sync_dir(&dir).unwrap();
            fs.crash();
            assert_eq!(fs.contents(&dir.join("a")).unwrap(), bytes);
            done
        })
        .collect();
    assert!(lens.len() > 20, "{lens:?}");
}

/// Nested new directories, of which only some are synced.
#[test]
fn a_new_directory_is_durable_when_the_one_above_it_is_synced() {
    let make = |synced: &[&str]| {
        left(|fs| {
            fs.create_dir_all(Path::new("/a/b")).unwrap();
            put(fs, Path::new("/a/b/file"), b"x");
            synced.iter().for_each(|path| fs.sync_dir(Path::new(path)).unwrap());
        })
    };
    let (gone, there) = (&[] as &[&str], &["/a/b/file"] as &[&str]);
    assert_eq!(make(&["/a/b", "/a", "/"]), sets(&[there]));
    assert_eq!(make(&["/a/b", "/a"]), sets(&[gone, there]));
    assert_eq!(make(&["/a/b", "/"]), sets(&[gone, there]));
    assert_eq!(make(&["/a", "/"]), sets(&[gone, there]));
}

#[test]
fn the_directory_of_the_process_is_synced_as_a_dot() {
    let make = |synced: &[&str]| {
        left(|fs| {
            fs.create_dir_all(Path::new("data")).unwrap();
            put(fs, Path::new("./data/file"), b"x");
            synced.iter().for_each(|path| fs.sync_dir(Path::new(path)).unwrap());
        })
    };
    assert_eq!(make(&["data", "."]), sets(&[&["data/file"]]));
    assert_eq!(make(&["data"]), sets(&[&[], &["data/file"]]));
    assert!(SimFs::new(1).sync_dir(Path::new("")).is_err(), "the system knows no empty path");
    assert!(SimFs::new(1).sync_dir(Path::new("/none")).is_err());
}

#[test]
fn a_move_between_directories_never_loses_the_file() {
    let make = |synced: &[&str]| {
        left(|fs| {
            fs.create_dir_all(Path::new("/a")).unwrap();
            fs.create_dir_all(Path::new("/b")).unwrap();
            put(fs, Path::new("/a/x"), b"x");
            ["/", "/a"].iter().for_each(|path| fs.sync_dir(Path::new(path)).unwrap());
            fs.rename(Path::new("/a/x"), Path::new("/b/y")).unwrap();
            assert_eq!(fs.files(), [Path::new("/b/y")]);
            synced.iter().for_each(|path| fs.sync_dir(Path::new(path)).unwrap());
        })
    };
    let (before, after, both) = (&["/a/x"] as &[&str], &["/b/y"] as &[&str], &["/a/x", "/b/y"] as &[&str]);
    assert_eq!(make(&[]), sets(&[before, after, both]));
    assert_eq!(make(&["/b"]), sets(&[after, both]));
    assert_eq!(make(&["/a"]), sets(&[after]));
    assert_eq!(make(&["/b", "/a"]), sets(&[after]));
}

#[test]
fn a_move_takes_the_order_of_the_other_directory_with_it() {
    for seed in 0..50 {
        let fs = SimFs::new(seed);
        fs.create_dir_all(Path::new("/a")).unwrap();
        fs.create_dir_all(Path::new("/b")).unwrap();
        put(&fs, Path::new("/a/new"), b"new");
        put(&fs, Path::new("/b/x"), b"old");
        fs.rename(Path::new("/a/new"), Path::new("/b/x")).unwrap();
        fs.sync_dir(Path::new("/a")).unwrap();
        fs.crash();
        assert_eq!(fs.contents(Path::new("/b/x")).unwrap(), b"new");
    }
}

#[test]
fn a_link_is_a_second_name_of_the_same_bytes() {
    let (fs, dir) = disk(1);
    let (one, two) = (dir.join("one"), dir.join("two"));
    let file = put(&fs, &one, b"first");
    fs.link(&one, &two).unwrap();
    assert_eq!(fs.link(&one, &two).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(fs.link(&dir.join("none"), &dir.join("three")).is_err());
    file.write_at(b"later", 0).unwrap();
    fs.rename(&one, &two).unwrap();
    assert_eq!(fs.files(), [one.clone(), two.clone()], "renaming a file to itself does nothing");
    fs.remove_file(&one).unwrap();
    assert_eq!(fs.contents(&two).unwrap(), b"later");
    file.sync_data().unwrap();
    fs.sync_dir(&dir).unwrap();
    fs.crash();
    assert_eq!((fs.files(), fs.contents(&two)), (vec![two], Some(b"later".to_vec())));
}

#[test]
fn an_unsynced_link_is_there_or_not() {
    let make = |fs: &SimFs| {
        fs.create_dir_all(Path::new("/d")).unwrap();
        put(fs, Path::new("/d/one"), b"x");
        ["/", "/d"].iter().for_each(|path| fs.sync_dir(Path::new(path)).unwrap());
        fs.link(Path::new("/d/one"), Path::new("/d/two")).unwrap();
    };
    assert_eq!(left(make), sets(&[&["/d/one"], &["/d/one", "/d/two"]]));
}

#[test]
fn syncs_take_their_time_and_fail_by_script() {
    let clock = ManualClock::new(TimeMs(0));
    let fs = SimFs::new(1).with_clock(clock.clone());
    fs.create_dir_all(Path::new("/d")).unwrap();
    let file = fs.open(Path::new("/d/a"), OpenMode::CreateNew).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.set_sync_time(Duration::from_millis(1));
    fs.script_sync(2, SyncScript { takes: Duration::from_millis(500), fails: false });
    fs.script_sync(3, SyncScript { takes: Duration::from_millis(20), fails: true });
    let sync = || {
        file.write_at(b"x", fs.syncs()).unwrap();
        (file.sync_data().is_ok(), clock.monotonic_ms())
    };
    assert_eq!([sync(), sync(), sync(), sync()], [(true, 1), (true, 501), (false, 521), (true, 522)]);
    fs.crash();
    assert_eq!(fs.contents(Path::new("/d/a")).unwrap(), b"xx\0x", "the third sync lost its byte");
}

#[test]
fn a_directory_sync_may_fail() {
    let (fs, dir) = disk(1);
    put(&fs, &dir.join("a"), b"x");
    fs.set_faults(Faults { fail_directory_sync: Some(1), ..Faults::default() });
    assert!(fs.sync_dir(&dir).is_err());
    fs.sync_dir(&dir).unwrap();
    assert_eq!(fs.directory_syncs(), 2);
}

#[test]
fn a_disk_of_a_certain_size_is_full_until_something_goes() {
    let (fs, dir) = disk(1);
    fs.set_capacity(Some(100));
    let file = put(&fs, &dir.join("a"), &[1; 60]);
    let other = fs.open(&dir.join("b"), OpenMode::CreateNew).unwrap();
    let full = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::StorageFull;
    assert!(full(other.write_at(&[2; 50], 0)));
    assert_eq!(other.len().unwrap(), 40, "what there is room for");
    file.write_at(&[3; 60], 0).unwrap();
    assert!(full(file.write_at(&[3; 1], 60)));
    assert!(full(fs.open(&dir.join("c"), OpenMode::CreateNew).map(drop)));
    fs.remove_file(&dir.join("b")).unwrap();
    file.write_at(&[3; 40], 60).unwrap();
    fs.set_capacity(None);
    file.write_at(&[3; 40], 100).unwrap();
}

#[test]
fn a_fork_is_a_disk_of_its_own() {
    let fs = SimFs::new(1).with_directory_durability();
    fs.create_dir_all(Path::new("/d")).unwrap();
    put(&fs, Path::new("/d/a"), b"x");
    let fork = fs.fork(2);
    fs.remove_file(Path::new("/d/a")).unwrap();
    fork.crash();
    assert_eq!(fork.contents(Path::new("/d/a")).unwrap(), b"x", "all of it is durable");
}

#[test]
fn a_process_dies_before_or_behind_an_operation_of_a_kind() {
    for is_done in [false, true] {
        let fs = SimFs::new(1);
        let nth = fs.operations_of(Operation::Rename) + 2;
        let crash_at = Some(Death { operation: Operation::Rename, nth, is_done });
        fs.set_faults(Faults { crash_at, ..Faults::default() });
        for name in ["/a", "/b", "/c"] {
            fs.open(Path::new(name), OpenMode::CreateNew).unwrap();
        }
        fs.rename(Path::new("/a"), Path::new("/x")).unwrap();
        assert!(!fs.has_died());
        assert_eq!(fs.rename(Path::new("/b"), Path::new("/y")).is_ok(), is_done);
        fs.rename(Path::new("/c"), Path::new("/z")).unwrap_err();
        assert!(fs.has_died());
        assert_eq!(fs.deaths_at(Operation::Rename), 1);
        fs.kill();
        assert!(!fs.has_died());
        assert_eq!(fs.contents(Path::new("/y")).is_some(), is_done);
        assert!(fs.contents(Path::new("/c")).is_some());
        fs.rename(Path::new("/c"), Path::new("/z")).unwrap();
    }
}
