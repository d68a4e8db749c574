//! Power cuts on a real ext4 under mixed load: within the load, within a start, and after a kill -9 and another
//! start, which finds what only memory knows (docs/reliability.md S1, S3). Journal files and checkpoints are
//! small, so that cuts hit both. Every acknowledged write is there, nothing is there twice, and every start
//! succeeds.
//!
//! HEADWATER_POWER_CUTS sets the number of cuts (30 in CI). It needs root, loop devices, mkfs.ext4 and python3,
//! and says what is missing.

mod disk;

use crate::kill::knowledge::Knowledge;
use crate::kill::{WORKERS, load};
use crate::support::random::{Random, from_environment};
use crate::support::server::{Server, binary_under_test, is_redis};
use disk::{Disk, Switch};
use std::fmt;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Verification reads everything back, so the file system is made afresh after this many cuts.
const CUTS_PER_EPOCH: usize = 25;

const FLAGS: &[&str] = &["--journal-file-bytes", "1048576", "--checkpoint-journal-bytes", "1048576"];

/// What has happened, over all epochs.
#[derive(Debug, Default)]
struct Counters {
    cuts_in_load: usize,
    cuts_in_start: usize,
    cuts_after_kill: usize,
    entries: usize,
    torn: usize,
    checkpoints: usize,
    files: u64,
}

impl Counters {
    fn cuts(&self) -> usize {
        self.cuts_in_load + self.cuts_in_start + self.cuts_after_kill
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cuts: {} under load, {} within a start, {} after a kill and a start; {} acknowledged entries, {} torn writes, \
             {} checkpoints, {} journal files",
            self.cuts(),
            self.cuts_in_load,
            self.cuts_in_start,
            self.cuts_after_kill,
            self.entries,
            self.torn,
            self.checkpoints,
            self.files
        )
    }
}

#[test]
fn acknowledged_writes_survive_power_cuts() {
    if is_redis(&binary_under_test()) {
        eprintln!("SKIPPED: this test is about Headwater's disk format");
        return;
    }
    disk::sweep();
    let made = Switch::new().and_then(|switch| Disk::new(4096).map(|disk| (switch, disk)));
    let (mut switch, disk) = match made {
        Ok(made) => made,
        Err(why) => {
            tell(&format!(
                "SKIPPED: no power can be cut here, because root and loop devices are needed: {why}"
            ));
            return;
        }
    };
    drop(disk);
    let cuts = from_environment("HEADWATER_POWER_CUTS", 30);
    let mut random = Random::from_environment("power");
    let mut counters = Counters::default();
    while counters.cuts() < cuts {
        // Blocks smaller than a page, too.
        let block_bytes = *random.pick(&[1024, 4096, 4096]);
        let disk = Disk::new(block_bytes).expect("a file system");
        let server = Server::on(disk.mount_point().join("data"), FLAGS);
        let mut epoch =
            Epoch { disk, switch: &mut switch, server, random: &mut random, counters: &mut counters };
        if let Err(why) = epoch.run(cuts) {
            panic!("after {counters}: {why}");
        }
    }
    tell(&format!("{counters}; nothing lost, nothing twice"));
    assert!(counters.entries > 0 && counters.checkpoints > 0, "the load did nothing");
}

/// To the terminal, whether the test passes or not.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// One file system from its first start on. The server goes before the disk.
struct Epoch<'a> {
    server: Server,
    disk: Disk,
    switch: &'a mut Switch,
    random: &'a mut Random,
    counters: &'a mut Counters,
}

impl Epoch<'_> {
    fn run(&mut self, cuts: usize) -> Result<(), String> {
        if self.random.one_in(2) {
            // Before there is anything.
            self.cut_within_start()?;
        }
        self.server.restart();
        let made = self.server.connect().line("XGROUP CREATE jobs g 0 MKSTREAM");
        assert!(!made.is_error(), "{made}");
        let knowledge = Mutex::new(Knowledge::default());
        let end = (self.counters.cuts() + CUTS_PER_EPOCH).min(cuts);
        while self.counters.cuts() < end {
            match self.random.below(4) {
                0 => {
                    self.live(&knowledge, true)?;
                    self.verify(&knowledge)?;
                    self.live(&knowledge, false)?;
                    self.counters.cuts_after_kill += 1;
                }
                1 => {
                    self.live(&knowledge, false)?;
                    self.counters.cuts_in_load += 1;
                    self.cut_within_start()?;
                }
                _ => {
                    self.live(&knowledge, false)?;
                    self.counters.cuts_in_load += 1;
                }
            }
            self.verify(&knowledge)?;
        }
        self.server.kill();
        self.counters.entries += knowledge.into_inner().expect("knowledge").acknowledged();
        let log = self.server.log();
        self.counters.torn += log.matches("cut a torn write").count();
        self.counters.checkpoints += log.matches("wrote a checkpoint").count();
        self.counters.files += self.newest_journal_file();
        Ok(())
    }

    /// Load, until the process is killed or the power is cut.
    fn live(&mut self, knowledge: &Mutex<Knowledge>, is_kill: bool) -> Result<(), String> {
        let life = Duration::from_micros(10_000 + self.random.next() % 150_000);
        let seeds: Vec<u64> = (0..=WORKERS).map(|_| self.random.next()).collect();
        let is_cut = AtomicBool::new(false);
        thread::scope(|scope| {
            for (worker, &seed) in seeds[..WORKERS].iter().enumerate() {
                let (door, is_cut) = (self.server.door(), &is_cut);
                scope.spawn(move || load::run(worker, &door, Random::new(seed), knowledge, is_cut));
            }
            let (door, seed) = (self.server.door(), seeds[WORKERS]);
            scope.spawn(move || load::fill(&door, Random::new(seed)));
            // The moment is the point of the test: it is random and waits for no event.
            thread::sleep(life);
            let mut cut = Ok(());
            if !is_kill {
                is_cut.store(true, Ordering::SeqCst);
                cut = self.switch.cut(&self.disk);
            }
            self.server.kill();
            cut
        })?;
        if !is_kill {
            self.disk.remount();
        }
        Ok(())
    }

    fn cut_within_start(&mut self) -> Result<(), String> {
        self.server.begin();
        thread::sleep(Duration::from_micros(self.random.next() % 60_000));
        let cut = self.switch.cut(&self.disk);
        self.server.kill();
        cut?;
        self.disk.remount();
        self.counters.cuts_in_start += 1;
        Ok(())
    }

    fn verify(&mut self, knowledge: &Mutex<Knowledge>) -> Result<(), String> {
        self.server.restart();
        knowledge.lock().expect("knowledge").verify(&mut self.server.connect())
    }

    /// Its number: so many have been begun.
    fn newest_journal_file(&self) -> u64 {
        let files = std::fs::read_dir(self.server.data_dir().join("journal")).expect("the journal");
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let numbers = names.filter_map(|name| u64::from_str_radix(name.strip_suffix(".journal")?, 16).ok());
        numbers.max().unwrap_or(0)
    }
}
