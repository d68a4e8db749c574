//! Questions of a frontend other than commands on keys.

use crate::base::crc;
use crate::engine::checkpoints;
use crate::engine::engine::Engine;
use crate::engine::report;
use crate::engine::submission::{EngineAnswer, ObjectFacts, Question, TableFacts};
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::state::answer::Answer;
use crate::state::checkpoint;
use crate::state::image::MachineImage;
use std::borrow::Cow;

/// The answer, if it is immediate; otherwise it comes with a delivery.
pub(super) fn answer(
    engine: &mut Engine,
    request: RequestId,
    question: Question<'_>,
) -> Option<EngineAnswer> {
    let now = engine.now();
    Some(match question {
        Question::Versions(keys) => {
            let version =
                |(database, key): &(u32, Cow<'_, [u8]>)| engine.home(key).read().version(*database, now, key);
            EngineAnswer::Versions(keys.iter().map(version).collect())
        }
        Question::Report { streams } => EngineAnswer::Report(Box::new(report::report(engine, streams))),
        Question::MemoryUsage { database, key, samples } => {
            EngineAnswer::Size(engine.home(&key).read().memory_usage(database, now, &key, samples))
        }
        Question::Object { database, key } => {
            let machine = engine.home(&key).read();
            let encoding = machine.encoding(database, now, &key);
            let bytes = machine.memory_usage(database, now, &key, 0).unwrap_or(0);
            EngineAnswer::Object(encoding.map(|encoding| ObjectFacts { encoding, bytes }))
        }
        Question::Digest => EngineAnswer::Digest(digest(engine)),
        Question::DigestValues { database, keys } => {
            let images = keys.iter().map(|key| engine.home(key).read().key_image(database, now, key));
            EngineAnswer::Digests(images.map(|image| image.map_or(0, |image| crc::crc32c(&image))).collect())
        }
        Question::TableStatistics { database } => EngineAnswer::Table(table_facts(engine, database)),
        Question::BeginCheckpoint(command) => EngineAnswer::Checkpoint(checkpoints::begin(engine, command)),
        Question::Save => {
            checkpoints::save(engine, request);
            return None;
        }
        Question::Reload => {
            engine.checkpoints.reloads.push(request);
            engine.wakers.work.notify();
            return None;
        }
        Question::ReloadNow => reload(engine).into(),
        Question::Sync { timeout_ms } => {
            if engine.committer.sync_due_in().is_none() {
                return Some(EngineAnswer::Synced(true));
            }
            engine.upkeep.wait_for_sync(request, engine.context.clock.monotonic_ms(), timeout_ms);
            engine.wakers.sync.notify();
            engine.wakers.timer.notify();
            return None;
        }
    })
}

/// A digest of all partitions; equal data give equal digests.
fn digest(engine: &Engine) -> u32 {
    let mut digest = crc::crc32c(b"");
    for partition in &engine.partitions {
        checkpoint::encode(&MachineImage::of(partition.read()), &mut |piece| {
            digest = crc::extend(digest, piece)
        });
    }
    digest
}

fn table_facts(engine: &Engine, database: u32) -> TableFacts {
    let mut facts = TableFacts::default();
    for partition in &engine.partitions {
        for (_, table) in partition.read().databases().filter(|(number, _)| *number == database) {
            facts.keys += table.len();
            facts.capacity += table.capacity();
            facts.expiring += table.expiring();
        }
    }
    facts
}

/// Drops the state in memory and rebuilds it from disk.
pub(super) fn reload(engine: &mut Engine) -> Answer {
    if !engine.is_idle() || engine.checkpoints.is_running() {
        return Answer::refused("ERR DEBUG RELOAD cannot be in a transaction with writes");
    }
    match engine.committer.rebuild() {
        Ok(machines) => {
            for (partition, machine) in engine.partitions.iter_mut().zip(machines) {
                partition.install(machine);
            }
            Answer::Done
        }
        Err(error) => {
            // What is in memory now may be anything.
            engine.context.latch.trip(format!("DEBUG RELOAD: {error}"));
            engine.context.stop.notify_one();
            Answer::Refused(ReplyError::owned(format!("ERR Error trying to load the data: {error}")))
        }
    }
}
