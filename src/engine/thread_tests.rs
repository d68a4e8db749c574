//! An engine on another thread, over a simulated disk.

use super::*;
use crate::acl::acl::Acl;
use crate::base::latch::Latch;
use crate::base::shared::Shared;
use crate::command::value::string::{StringQuery, StringWrite};
use crate::command::value::{Data, Query, Write};
use crate::config::config::Config;
use crate::context::context::{Identity, NodeContext};
use crate::engine::submission::{EngineAnswer, Position};
use crate::env::clock::{Clock, SystemClock};
use crate::env::disposal::Disposal;
use crate::env::entropy::SeededEntropy;
use crate::env::fs::Fs;
use crate::env::sim_fs::{Faults, SimFs};
use crate::env::threads::RealThreads;
use crate::model::log::PartitionId;
use crate::model::request::ConnectionId;
use crate::observe::tracing;
use crate::replication::committer::Committer;
use crate::replication::testing;
use crate::state::answer::Answer;
use crate::storage::data_dir::{DataDir, DataDirOptions};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

const KEY: &[u8] = b"key";

/// Opens an engine on a simulated disk, as a node does.
async fn open(fs: SimFs) -> Result<Engine, OpenError> {
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = Config::default();
    let dir = DataDir::open(fs.clone(), Path::new("/data"), DataDirOptions::solo(1), &SeededEntropy::new(1))
        .unwrap();
    let latch = Latch::new();
    let committer = Rc::new(Committer::open(
        fs.clone(),
        clock.clone(),
        Arc::new(RealThreads),
        &dir,
        &config,
        latch.clone(),
    )?);
    let machines = committer.recover().await?;
    let identity = Identity {
        run_id: String::new(),
        started_ms: clock.monotonic_ms(),
        config_file: String::new(),
        executable: String::new(),
        startup_bytes: 0,
        memory_bytes: 0,
    };
    let context = NodeContext {
        acl: Acl::open(&config, fs).unwrap(),
        log_levels: tracing::install(config.loglevel, "").unwrap(),
        config: Shared::new(config),
        clock,
        entropy: Arc::new(SeededEntropy::new(2)),
        identity,
        disk: Arc::default(),
        disposal: Disposal::default(),
        latch,
        stop: Notify::new(),
    };
    Ok(Engine::new(Arc::new(context), committer, machines))
}

async fn start(fs: &SimFs, bytes_max: usize) -> EngineThread {
    let fs = fs.clone();
    let mut builder = runtime::Builder::new_current_thread();
    let open = async move || open(fs).await;
    let thread = EngineThread::start_with(builder.enable_all(), bytes_max, open).await.unwrap();
    let remote = thread.remote();
    tokio::task::spawn_local(async move { remote.carry().await });
    thread
}

/// A test that waits for ever fails.
fn run_for_a_while(test: impl Future<Output = ()>) {
    testing::run(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("it ends");
    });
}

fn request(reply_slot: u64) -> RequestId {
    RequestId { connection: ConnectionId { number: 1, place: 0 }, reply_slot }
}

fn push(thread: &EngineThread, slot: u64, data: &Data<'_>, position: Position) {
    let work = Work::Data { partition: PartitionId(0), database: 0, data, position };
    thread.remote.push(Order::Work(request(slot), work));
}

fn append(thread: &EngineThread, slot: u64) {
    let append = Write::String(StringWrite::Append { key: KEY, value: b"x" });
    push(thread, slot, &Data::Write(append), Position::Behind);
}

fn get(thread: &EngineThread, slot: u64, position: Position) {
    push(thread, slot, &Data::Query(Query::String(StringQuery::Get { key: KEY })), position);
}

/// All outcomes until the thread ends.
async fn outcomes(thread: &mut EngineThread) -> Vec<(RequestId, Answer)> {
    let came = RefCell::new(Vec::new());
    thread
        .deliver_all(|delivery| {
            let answers = delivery.outcomes.into_iter().filter_map(|it| Some((it.request?, it.answer)));
            came.borrow_mut().extend(answers.map(|(request, answer)| (request, answer.of_machine())));
        })
        .await;
    came.into_inner()
}

#[test]
fn outcomes_come_in_order_and_a_read_behind_writes_sees_them() {
    run_for_a_while(async {
        let fs = SimFs::new(1);
        let mut thread = start(&fs, IN_FLIGHT_BYTES_MAX).await;
        for round in 0..500 {
            append(&thread, 2 * round);
            get(&thread, 2 * round + 1, Position::Behind);
            if round % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        thread.stop();
        let came = outcomes(&mut thread).await;
        thread.join().unwrap();
        assert!(came.iter().map(|it| it.0).eq((0..1000).map(request)));
        for (round, pair) in came.chunks(2).enumerate() {
            assert_eq!(pair[0].1, Answer::count(round + 1));
            assert_eq!(pair[1].1, Answer::Bulk(vec![b'x'; round + 1].into()));
        }
        // The write is on disk: the next engine finds it.
        let mut thread = start(&fs, IN_FLIGHT_BYTES_MAX).await;
        get(&thread, 0, Position::First);
        thread.stop();
        assert_eq!(outcomes(&mut thread).await, [(request(0), Answer::Bulk(vec![b'x'; 500].into()))]);
        thread.join().unwrap();
    });
}

#[test]
fn a_frontend_that_takes_nothing_is_held_and_goes_on_when_it_does() {
    run_for_a_while(async {
        const BYTES_MAX: usize = 64 * 1024;
        let mut thread = start(&SimFs::new(1), BYTES_MAX).await;
        let remote = thread.remote();
        let mut sent = 0;
        // Outcomes fill their channel, then the outlet; the engine takes no more orders, and those fill their
        // channel.
        for _ in 0..100 {
            while remote.has_room() {
                get(&thread, sent, Position::First);
                sent += 1;
                if sent % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!remote.has_room());
        assert!((100..100_000).contains(&sent), "{sent} requests in {BYTES_MAX} bytes");
        let room = Cell::new(false);
        let mut came = Vec::new();
        tokio::select! {
            () = thread.deliver_all(|delivery| came.extend(delivery.outcomes)) => panic!("it has not ended"),
            () = async {
                while !remote.has_room() {
                    remote.room_made().await;
                }
            } => room.set(true),
        }
        assert!(room.get() && remote.has_room());
        thread.stop();
        thread.deliver_all(|delivery| came.extend(delivery.outcomes)).await;
        thread.join().unwrap();
        let nil = |it: &Outcome| matches!(it.answer, EngineAnswer::Machine(Answer::Nil));
        assert!(came.iter().all(nil));
        assert!(came.iter().map(|it| it.request).eq((0..sent).map(|slot| Some(request(slot)))));
    });
}

#[test]
fn a_failed_disk_ends_it_and_nothing_is_left_unanswered() {
    run_for_a_while(async {
        let fs = SimFs::new(1);
        let mut thread = start(&fs, IN_FLIGHT_BYTES_MAX).await;
        let mut slots = 0..;
        // The sync that fails may be the one of the next journal file, which a thread of its own prepares.
        let refused = loop {
            let slot = slots.next().expect("it has no end");
            fs.set_faults(Faults { fail_sync: Some(fs.syncs() + 1), ..Faults::default() });
            append(&thread, slot);
            let mut outcomes = thread.deliveries.recv().await.expect("it is answered first").outcomes;
            let outcome = outcomes.pop().expect("a delivery holds something");
            assert_eq!((outcomes.len(), outcome.request), (0, Some(request(slot))));
            if let Answer::Refused(error) = outcome.answer.of_machine() {
                break error;
            }
        };
        assert_eq!(refused, UNKNOWN);
        assert_eq!(outcomes(&mut thread).await, []);
        assert!(matches!(thread.join(), Err(EndError::Commit(_))));
    });
}

#[test]
fn a_panic_ends_it_with_its_message() {
    run_for_a_while(async {
        let mut thread = start(&SimFs::new(1), IN_FLIGHT_BYTES_MAX).await;
        let data = Data::Query(Query::String(StringQuery::Get { key: KEY }));
        thread.remote.push(Order::Work(request(0), Work::Everywhere { database: 0, data: &data }));
        assert_eq!(outcomes(&mut thread).await, []);
        let error = thread.join().unwrap_err().to_string();
        assert!(
            error.starts_with("the engine's thread panicked: ") && error.contains("hash slot"),
            "{error}"
        );
    });
}

#[test]
fn an_engine_that_cannot_be_opened_says_why() {
    run_for_a_while(async {
        let mut builder = runtime::Builder::new_current_thread();
        let fail = async || Err(OpenError::Raft { partition: PartitionId(0), reason: "no luck".into() });
        let error = EngineThread::start(builder.enable_all(), fail).await.err().unwrap();
        assert_eq!(error.to_string(), "partition 0: no luck");
        let error =
            EngineThread::start(builder.enable_all(), async || panic!("out of luck")).await.err().unwrap();
        assert_eq!(error.to_string(), "the engine's thread panicked: out of luck");
    });
}
