//! A whole server in a simulated world: clients, frontend, engine, journal and disk on one thread, by a clock that stands
//! still until it is moved. Everything follows from a seed; see docs/SIMULATION.md.
//!
//! ```text
//! HEADWATER_SIM_SEED=17 cargo test --release --test sim one_seed -- --nocapture
//! HEADWATER_SIM_SEEDS=100000 cargo test --release --test sim
//! ```

mod bounds;
mod channels;
mod client;
mod clients;
mod counters;
mod disk;
mod inspector;
mod knowledge;
mod leases;
mod load;
mod process;
mod rest;
mod run;
mod settings;
mod trace;
mod unacknowledged;
mod wall_clock;
mod watched;
mod workload;
#[path = "../support/notation.rs"]
#[allow(dead_code, reason = "shared with other tests")]
pub mod notation;
#[path = "../support/value.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod value;

/// The names under which the shared files know each other.
mod support {
    pub use super::notation;
}

use counters::Counters;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SEEDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Runs a seed. What fails is told with the seed and the last of what happened.
fn try_seed(seed: u64) -> Result<run::Report, String> {
    let trace = trace::Trace::default();
    let told = trace.clone();
    let run = AssertUnwindSafe(|| run::run(seed, told));
    let why = match catch_unwind(run) {
        Ok(Ok(report)) => return Ok(report),
        Ok(Err(why)) => why,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic".to_owned())
        }
    };
    Err(format!("seed {seed}: {why}\n{}", trace.tail()))
}

#[test]
fn every_seed_keeps_the_promises() {
    let first = number("HEADWATER_SIM_FIRST").unwrap_or(1);
    let seeds = number("HEADWATER_SIM_SEEDS").unwrap_or(SEEDS);
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let began = std::time::Instant::now();
    let work = |worker: u64| {
        let mut counters = Counters::default();
        let mut failures = Vec::new();
        for seed in (first..first + seeds).filter(|seed| seed % workers == worker) {
            match try_seed(seed) {
                Ok(report) => counters.add(&report.counters),
                Err(failure) => failures.push((seed, failure)),
            }
            if failures.len() >= 3 {
                break;
            }
        }
        (counters, failures)
    };
    let (counters, mut failures) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let mut counters = Counters::default();
        let mut failures = Vec::new();
        for thread in threads {
            let (some, failed) = thread.join().expect("failures are caught");
            counters.add(&some);
            failures.extend(failed);
        }
        (counters, failures)
    });
    println!("{counters} in {:.1} s", began.elapsed().as_secs_f64());
    failures.sort();
    for (_, failure) in &failures {
        println!("{failure}\n");
    }
    assert!(
        failures.is_empty(),
        "seeds that failed: {:?}",
        failures.iter().map(|it| it.0).collect::<Vec<_>>()
    );
    if seeds >= SEEDS {
        counters.assert_everything_happened();
    }
}

/// One seed with all that happened: `HEADWATER_SIM_SEED`.
#[test]
fn one_seed() {
    let Some(seed) = number("HEADWATER_SIM_SEED") else { return };
    let trace = trace::Trace::default();
    trace.print();
    match run::run(seed, trace) {
        Ok(report) => println!("{}", report.counters),
        Err(why) => panic!("seed {seed}: {why}"),
    }
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    for seed in 1..=number("HEADWATER_SIM_TWICE").unwrap_or(20) {
        let (one, two) = (try_seed(seed).unwrap(), try_seed(seed).unwrap());
        let differs = one.trace.iter().zip(&two.trace).position(|(one, two)| one != two);
        if let Some(at) = differs {
            panic!("seed {seed}, line {at}:\n{}\n{}", one.trace[at], two.trace[at]);
        }
        assert_eq!(one.trace.len(), two.trace.len(), "seed {seed}");
        assert!(one.trace.len() > 100, "seed {seed} does something");
    }
}
