//! Every flipped bit and every cut of every file of a small data directory, as a clean stop left it, as a
//! kill -9 did, and as a power cut within a write did. A start finds the same data, or is refused with file and
//! offset. Only what was never acknowledged may be cut, and only where a write was torn.
//!
//! A run in CI tries one bit of each byte and every cut. `HEADWATER_BLESS=1 cargo test --lib
//! every_flipped_bit_and_every_cut` tries every bit and writes the table of outcomes into docs/reliability.md.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::env::fs::{Fs, SECTOR_BYTES};
use crate::env::sim_fs::SimFs;
use crate::model::log::{LogId, LogIndex, PartitionId, Term};
use crate::replication::committer::{Committer, CommitterOptions};
use crate::replication::durable_log::DurableLog;
use crate::replication::testing::{PARTITIONS, TestNode, image, run};
use crate::storage::journal::journal::LogRecord;
use crate::storage::journal::options::JournalOptions;
use crate::storage::journal::record::RecordKind;

const DATA: &str = "/data";
const REPORT: &str = "docs/reliability.md";
const BEGIN: &str = "<!-- outcomes of damage: written by the test, do not edit -->\n";
const END: &str = "<!-- end of the outcomes of damage -->\n";

fn options() -> CommitterOptions {
    let journal = JournalOptions {
        file_bytes: 2048,
        first_file_bytes: 2048,
        zero_ahead_bytes: 512,
        ..JournalOptions::default()
    };
    CommitterOptions { journal, ..CommitterOptions::default() }
}

async fn start(fs: &SimFs) -> Result<TestNode, String> {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TestNode::start(&fs, Path::new(DATA), &options()).await.map_err(|error| error.to_string())
}

fn durable_log(node: &TestNode) -> &DurableLog {
    match &node.committer {
        Committer::Local(local) => local.durable_log(),
        _ => unreachable!("started as local"),
    }
}

/// All that a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    machines: Vec<Vec<u8>>,
    logs: Vec<HeldLog>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HeldLog {
    incarnation: u32,
    purged: LogId,
    last: LogId,
    committed: LogId,
    vote: Option<Vec<u8>>,
    membership: Option<LogIndex>,
    records: Vec<LogRecord>,
}

fn held(node: &TestNode) -> Result<Held, String> {
    let journal = durable_log(node).journal().borrow();
    let log = |partition| {
        let log = journal.log(partition);
        let records = journal.read(partition, LogIndex(0)..LogIndex(u64::MAX), usize::MAX);
        Ok(HeldLog {
            incarnation: log.incarnation(),
            purged: log.purged(),
            last: log.last(),
            committed: log.committed(),
            vote: log.vote().map(<[u8]>::to_vec),
            membership: log.last_membership(),
            records: records.map_err(|error| error.to_string())?,
        })
    };
    let logs = (0..PARTITIONS).map(PartitionId).map(log).collect::<Result<_, String>>()?;
    Ok(Held { machines: node.machines.borrow().iter().map(image).collect(), logs })
}

fn append(node: &TestNode, partition: u16, kind: RecordKind, payload: &[u8]) {
    let mut journal = durable_log(node).journal().borrow_mut();
    let last = journal.log(PartitionId(partition)).last();
    let log_id = LogId { term: last.term.max(Term(1)), index: last.index.next() };
    journal.append(PartitionId(partition), log_id, kind, payload);
}

fn flush(node: &TestNode) {
    durable_log(node).journal().borrow_mut().flush().unwrap();
}

/// A directory with records of every kind that a node without a cluster reads, several files and a checkpoint
/// of each partition.
async fn directory() -> SimFs {
    let fs = SimFs::new(1);
    let node = start(&fs).await.unwrap();
    node.round("left").await.unwrap();
    {
        let mut journal = durable_log(&node).journal().borrow_mut();
        journal.drop_group(PartitionId(1));
        journal.append_vote(PartitionId(1), b"voted for 3");
    }
    append(&node, 0, RecordKind::Membership, b"1, 2 and 3");
    append(&node, 1, RecordKind::Blank, b"");
    flush(&node);
    drop(node);
    let node = start(&fs).await.unwrap();
    for name in ["first", "second", "third"] {
        node.round(name).await.unwrap();
    }
    node.checkpoint().await.unwrap();
    for number in 0..12 {
        node.round(&format!("behind the checkpoint {number}")).await.unwrap();
    }
    append(&node, 1, RecordKind::Blank, b"");
    append(&node, 0, RecordKind::Membership, b"1 and 2");
    {
        let mut journal = durable_log(&node).journal().borrow_mut();
        let last = journal.log(PartitionId(1)).last().index;
        journal.truncate_after(PartitionId(1), LogIndex(last.0 - 1));
        let last = journal.log(PartitionId(0)).last();
        journal.append_committed(PartitionId(0), last);
        journal.append_vote(PartitionId(0), b"voted for 2");
    }
    flush(&node);
    drop(node);
    let node = start(&fs).await.unwrap();
    node.round("of the last life").await.unwrap();
    fs
}

/// How the process ended.
struct State {
    name: &'static str,
    fs: SimFs,
    held: Held,
    /// Contents without what was never acknowledged; empty unless a write was torn.
    without: Vec<Held>,
}

async fn states() -> Vec<State> {
    let killed = directory().await;
    killed.kill();
    let opened = async |fs: &SimFs| held(&start(&fs.fork(1)).await.unwrap()).unwrap();
    let stopped = killed.fork(1);
    start(&stopped).await.unwrap().committer.stop().await.unwrap();
    let torn = killed.fork(1);
    let node = start(&torn).await.unwrap();
    while durable_log(&node).journal().borrow().appended().offset > 1000 {
        node.round("so that the next records are in one file").await.unwrap();
    }
    let (mut without, mut offsets) = (vec![held(&node).unwrap()], Vec::new());
    for number in 0..3u8 {
        append(&node, u16::from(number % 2), RecordKind::Blank, &[number; 250]);
        offsets.push(durable_log(&node).journal().borrow().appended());
        without.push(held(&node).unwrap());
    }
    durable_log(&node).journal().borrow_mut().write().unwrap();
    drop(node);
    torn.kill();
    // The second of the three records has lost a sector.
    let end = offsets[1];
    let path = Path::new(DATA).join(format!("journal/{:016x}.journal", end.sequence));
    torn.damage(&path, |bytes| {
        let sector = (end.offset as usize - 8) / SECTOR_BYTES as usize * SECTOR_BYTES as usize;
        let from = sector.max(offsets[0].offset as usize);
        let upto = (sector + SECTOR_BYTES as usize).min(bytes.len());
        bytes[from..upto].fill(0);
    });
    let (at_stop, at_kill, at_cut) = (opened(&stopped).await, opened(&killed).await, opened(&torn).await);
    // The machines skip blanks, which are no data: compared are the logs.
    let without = without.into_iter().take(2).map(|held| Held { machines: Vec::new(), ..held }).collect();
    vec![
        State { name: "stop in order", fs: stopped, held: at_stop, without: Vec::new() },
        State { name: "kill -9", fs: killed, held: at_kill, without: Vec::new() },
        State { name: "power cut within a write", fs: torn, held: at_cut, without },
    ]
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip { byte: usize, bit: u8 },
    Cut { len: usize },
}

#[derive(Debug, Default)]
struct Outcomes {
    identical: usize,
    refused: usize,
    cut: usize,
    /// With what they were done to.
    wrong: Vec<String>,
}

async fn outcome(state: &State, path: &Path, damage: Damage, outcomes: &mut Outcomes) {
    let fs = state.fs.fork(1);
    fs.damage(path, |bytes| match damage {
        Damage::Flip { byte, bit } => bytes[byte] ^= 1 << bit,
        Damage::Cut { len } => bytes.truncate(len),
    });
    let wrong = |what: String| format!("{}, {}, {damage:?}: {what}", state.name, path.display());
    let found = match start(&fs).await {
        Ok(node) => held(&node),
        Err(error) if error.contains(DATA) && error.contains("at byte ") => {
            outcomes.refused += 1;
            return;
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(found) if found == state.held => outcomes.identical += 1,
        Ok(found) if state.without.iter().any(|held| held.logs == found.logs) => outcomes.cut += 1,
        Ok(found) => outcomes.wrong.push(wrong(format!("silently {found:?}"))),
        Err(error) => outcomes.wrong.push(wrong(error)),
    }
}

fn trials(state: &State, path: &Path, every_bit: bool) -> Vec<Damage> {
    let bytes = state.fs.contents(path).unwrap();
    let mut trials: Vec<Damage> = (0..bytes.len()).map(|len| Damage::Cut { len }).collect();
    for byte in 0..bytes.len() {
        let bits = if every_bit { 0..8 } else { (byte % 8) as u8..(byte % 8) as u8 + 1 };
        trials.extend(bits.map(|bit| Damage::Flip { byte, bit }));
    }
    trials
}

#[test]
fn every_flipped_bit_and_every_cut_of_every_file_is_harmless_or_refused() {
    let every_bit = std::env::var_os("HEADWATER_BLESS").is_some();
    let states = run(states());
    let mut table = String::from(
        "| end of the process | file | flipped bits | cuts | the same data | refused with file and offset | unacknowledged write cut | wrong or silent |\n|---|---|---|---|---|---|---|---|\n",
    );
    let (mut sums, mut wrong) = ([0; 6], Vec::new());
    for state in &states {
        for path in state.fs.files() {
            let trials = trials(state, &path, every_bit);
            let flips = trials.iter().filter(|damage| matches!(damage, Damage::Flip { .. })).count();
            let outcomes = spread(state, &path, &trials);
            let row = [
                flips,
                trials.len() - flips,
                outcomes.identical,
                outcomes.refused,
                outcomes.cut,
                outcomes.wrong.len(),
            ];
            assert_eq!(row[2..].iter().sum::<usize>(), trials.len());
            let name = path.strip_prefix(DATA).unwrap();
            write_row(&mut table, state.name, name, row);
            row.iter().zip(&mut sums).for_each(|(count, sum)| *sum += count);
            wrong.extend(outcomes.wrong);
        }
    }
    write_row(&mut table, "all", Path::new("all"), sums);
    eprintln!("{table}");
    assert!(
        wrong.is_empty(),
        "{} wrong, among them\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    assert!(sums[2] > 1000 && sums[3] > 1000, "{sums:?}");
    if every_bit {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(REPORT);
        let report = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = report.split_once(BEGIN).expect("the place of the table");
        let (_, after) = rest.split_once(END).expect("the end of the table");
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
}

fn write_row(table: &mut String, state: &str, file: &Path, row: [usize; 6]) {
    let counts = row.map(|count| count.to_string()).join(" | ");
    writeln!(table, "| {state} | {} | {counts} |", file.display()).unwrap();
}

/// Makes the trials on all processors.
fn spread(state: &State, path: &Path, trials: &[Damage]) -> Outcomes {
    let next = AtomicUsize::new(0);
    let work = || {
        // Thousands of starts tell of what they cut.
        let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
        let mut outcomes = Outcomes::default();
        run(async {
            while let Some(&damage) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                outcome(state, path, damage, &mut outcomes).await;
            }
        });
        outcomes
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut sum = Outcomes::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let outcomes = worker.join().expect("no start panics");
            sum.identical += outcomes.identical;
            sum.refused += outcomes.refused;
            sum.cut += outcomes.cut;
            sum.wrong.extend(outcomes.wrong);
        }
    });
    sum
}
