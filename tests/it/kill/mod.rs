//! kill -9 at random moments under mixed load, then a restart on the same directory. Every acknowledged write
//! is there, nothing is there twice, and no acknowledged entry is delivered again (docs/reliability.md S1,
//! S8, S11).
//!
//! HEADWATER_KILLS sets the number of kills (20 in CI, thousands before a release).

pub mod knowledge;
pub mod load;

use crate::support::random::{Random, from_environment};
use crate::support::reference::redis_server;
use crate::support::server::Server;
use knowledge::Knowledge;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

pub const WORKERS: usize = 4;

/// Verification reads everything back, so the data starts afresh after this many kills.
const KILLS_PER_EPOCH: usize = 25;

/// Kills the server `kills` times; `Err` names what was lost, doubled or revived. `fill`: adds large entries
/// and checkpoints.
fn kill_again_and_again(
    server: &mut Server,
    kills: usize,
    random: &mut Random,
    fill: bool,
) -> Result<(), String> {
    let knowledge = Mutex::new(Knowledge::default());
    for kill in 0..kills {
        if kill % KILLS_PER_EPOCH == 0 {
            let mut client = server.connect();
            client.line("FLUSHALL");
            client.line("XGROUP CREATE jobs g 0 MKSTREAM");
            *knowledge.lock().expect("knowledge") = Knowledge::default();
        }
        let life = Duration::from_micros(20_000 + random.next() % 180_000);
        let seeds: Vec<u64> = (0..WORKERS).map(|_| random.next()).collect();
        let is_cut = AtomicBool::new(false);
        thread::scope(|scope| {
            for (worker, seed) in seeds.into_iter().enumerate() {
                let (door, knowledge, is_cut) = (server.door(), &knowledge, &is_cut);
                scope.spawn(move || load::run(worker, &door, Random::new(seed), knowledge, is_cut));
            }
            if fill {
                let (door, random) = (server.door(), Random::new(random.next()));
                scope.spawn(move || load::fill(&door, random));
            }
            // The moment of the kill is the point of the test: it is random and waits for no event.
            thread::sleep(life);
            server.kill();
        });
        server.restart();
        let mut client = server.connect();
        let mut knowledge = knowledge.lock().expect("knowledge");
        knowledge.verify(&mut client).map_err(|why| format!("after kill {}: {why}", kill + 1))?;
    }
    let knowledge = knowledge.into_inner().expect("knowledge");
    eprintln!("{kills} kills; in the last epoch {knowledge}");
    if knowledge.acknowledged() == 0 {
        return Err("the load did nothing".into());
    }
    Ok(())
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    survives(&[], from_environment("HEADWATER_KILLS", 20), false);
}

/// Fails unless a server with these flags keeps everything.
pub fn survives(flags: &[&str], kills: usize, fill: bool) {
    let mut random = Random::from_environment("kill");
    let mut server = Server::with(flags);
    if let Err(why) = kill_again_and_again(&mut server, kills, &mut random, fill) {
        panic!("{why}");
    }
}

/// Checks the test itself: a Redis without persistence loses acknowledged writes and is detected.
#[test]
fn a_server_that_keeps_nothing_is_found_out() {
    let Some(redis) = redis_server() else { return };
    let mut server = Server::of(redis, &["--appendonly", "no"]);
    let outcome = kill_again_and_again(&mut server, 3, &mut Random::new(1), false);
    let why = outcome.expect_err("a Redis without a file lost nothing");
    assert!(why.contains("lost") || why.contains("gone"), "found, but called: {why}");
}
