//! Log entries and checkpoints. Both have checksums, but their writer may be another version or another node.

use crate::commands::{each_request, transcribed};
use crate::engine::{Subject, outcome};
use headwater::base::wire::Reader;
use headwater::command::lookup;
use headwater::command::value::{Command, Data, Write};
use headwater::model::time::TimeMs;
use headwater::state::blocked::BlockedReads;
use headwater::state::checkpoint;
use headwater::state::effects::Effects;
use headwater::state::image::MachineImage;
use headwater::state::machine::Machine;
use headwater::state::op::batch::{BatchReader, BatchWriter, CarriedRead};
use headwater::state::op::{Op, Transaction, codec};

const NOW: TimeMs = TimeMs(1_700_000_000_000);

/// The ops of the commands in the transcripts, each with those of its neighbours: `see` gets the writes of a
/// few commands.
fn writes(mut see: impl FnMut(&[Op<'_>])) {
    for commands in transcribed().chunks(6) {
        let bytes = commands.concat();
        each_request(&bytes, |args| {
            if let Ok(Command::Data(data)) = lookup::find(args).and_then(|row| (row.parse)(args)) {
                let commands = [(0, data.clone()), (1, data.clone())];
                let (transaction, _) = Transaction::of_commands(Vec::new(), commands);
                match data {
                    Data::Write(write) => {
                        see(&[Op::Write { database: 0, write }, Op::Transaction(transaction)]);
                    }
                    Data::Query(_) => see(&[Op::Transaction(transaction)]),
                }
            }
        });
    }
}

fn check_ops(bytes: &[u8]) -> u64 {
    let _ = codec::decode_data(bytes);
    let _ = codec::decode_query(bytes);
    let Ok(mut batch) = BatchReader::new(bytes) else { return 0 };
    let _ = BlockedReads::decode(batch.blocked());
    let mut kinds = Vec::new();
    loop {
        match batch.next() {
            Ok(Some(op)) => {
                let mut again = Vec::new();
                codec::encode_op(&op, &mut again);
                assert_eq!(codec::decode_op(&mut Reader::new(&again)).as_ref(), Ok(&op));
                kinds.push(match op {
                    Op::Write { write, .. } => outcome(std::mem::discriminant(&write)),
                    Op::Transaction(transaction) => transaction.writes.len().min(3) as u64,
                    Op::BlockingRead { read, .. } => outcome(("blocking", read.streams.len().min(3))),
                });
            }
            Ok(None) => break,
            Err(malformed) => {
                assert!(malformed.offset <= bytes.len());
                kinds.push(outcome(malformed.what));
                break;
            }
        }
    }
    kinds.truncate(4);
    outcome(kinds)
}

#[test]
fn ops() {
    let mut seeds = Vec::new();
    writes(|ops| {
        let mut batch = BatchWriter::default();
        ops.iter().for_each(|op| batch.push(op));
        let reads = ops.iter().filter_map(|op| match op {
            Op::Write { database, write: Write::GroupRead(read) } => {
                Some(BatchWriter::encode_blocked(*database, read))
            }
            _ => None,
        });
        let reads: Vec<Vec<u8>> = reads.collect();
        let carried = |looks| reads.iter().map(move |encoded| CarriedRead { encoded, looks });
        batch.seal(NOW, carried(true).chain(carried(false)));
        seeds.push(batch.as_bytes().to_vec());
    });
    Subject { name: "ops", seeds, tokens: &[], check: &check_ops }.run();
}

fn encoded(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    checkpoint::encode(&MachineImage::of(machine), &mut |piece| bytes.extend_from_slice(piece));
    bytes
}

fn check_checkpoint(bytes: &[u8]) -> u64 {
    match checkpoint::decode(bytes) {
        Ok(machine) => {
            let again = encoded(&machine);
            let twice = checkpoint::decode(&again).expect("what was written is read");
            assert_eq!(encoded(&twice), again);
            outcome(("read", machine.databases().count().min(3), again.len() / 16))
        }
        Err(malformed) => {
            assert!(malformed.offset <= bytes.len());
            outcome(malformed.what)
        }
    }
}

#[test]
fn checkpoints() {
    let mut seeds = Vec::new();
    let mut machine = Machine::new();
    writes(|ops| {
        machine.begin(machine.applied().next(), NOW);
        for op in ops {
            machine.apply(op, &mut Effects::unwanted());
        }
        let image = encoded(&machine);
        if image.len() > 1500 {
            machine = Machine::new();
        }
        seeds.push(image);
    });
    assert!(seeds.len() > 100);
    Subject { name: "checkpoints", seeds, tokens: &[], check: &check_checkpoint }.run();
}
