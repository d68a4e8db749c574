//! Many connections for a long time: every entry passes its group once and is acknowledged, counters add up,
//! memory stays bounded.
//!
//! HEADWATER_SOAK_SECONDS (10) and HEADWATER_SOAK_CONNECTIONS (40) extend it: 600 seconds and 200 connections
//! before a release.

use crate::support::client::Client;
use crate::support::random::{Random, from_environment};
use crate::support::server::Server;
use crate::support::value::Value;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const STREAMS: usize = 8;

/// Length of a stream, which bounds memory independently of the duration of the test.
const KEPT: usize = 20_000;

/// Permitted growth of resident memory after the first quarter of the time.
const GROWTH_MIB_MAX: u64 = 128;

#[derive(Default)]
struct Counts {
    added: [AtomicI64; STREAMS],
    incremented: AtomicI64,
    acknowledged: AtomicU64,
    received: AtomicU64,
    published: AtomicU64,
    is_over: AtomicBool,
}

#[test]
fn mixed_load() {
    let seconds = from_environment("HEADWATER_SOAK_SECONDS", 10);
    let connections = from_environment("HEADWATER_SOAK_CONNECTIONS", 40).max(4);
    let mut random = Random::from_environment("soak");
    let server = Server::start();
    let mut control = server.connect();
    for stream in 0..STREAMS {
        control.line(&format!("XGROUP CREATE stream{stream} g 0 MKSTREAM"));
    }
    let counts = Counts::default();
    let mut resident = Vec::new();
    thread::scope(|scope| {
        for number in 0..connections {
            let (client, random, counts) = (server.connect(), Random::new(random.next()), &counts);
            scope.spawn(move || match number % 4 {
                0 | 1 => produce(number, client, random, counts),
                2 => consume(number, client, counts),
                _ => subscribe_and_count(client, counts),
            });
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds as u64) {
            thread::sleep(Duration::from_millis(250));
            resident.push(server.resident_bytes());
        }
        counts.is_over.store(true, Ordering::Relaxed);
    });
    verify(&mut control, &counts);
    let settled = resident[resident.len() / 4];
    let most = resident.iter().copied().max().unwrap_or(0);
    let grown = most.saturating_sub(settled) / (1024 * 1024);
    eprintln!(
        "soak: {} entries, {} acknowledged, {} published, {} received, {} MiB resident at most",
        counts.added.iter().map(|count| count.load(Ordering::Relaxed)).sum::<i64>(),
        counts.acknowledged.load(Ordering::Relaxed),
        counts.published.load(Ordering::Relaxed),
        counts.received.load(Ordering::Relaxed),
        most / (1024 * 1024)
    );
    assert!(grown < GROWTH_MIB_MAX, "resident memory grew by {grown} MiB after it had settled");
}

/// Adds in pipelines, counts, publishes, deletes keys of its own.
fn produce(number: usize, mut client: Client, mut random: Random, counts: &Counts) {
    let mut sequence = 0_u64;
    while !counts.is_over.load(Ordering::Relaxed) {
        let stream = random.below(STREAMS);
        let batch = 1 + random.below(30);
        let mut commands = Vec::new();
        for _ in 0..batch {
            sequence += 1;
            let line = format!("XADD stream{stream} MAXLEN ~ {KEPT} * producer {number} sequence {sequence}");
            commands.push(crate::support::notation::split(&line));
        }
        commands.push(crate::support::notation::split("INCR counter"));
        commands.push(crate::support::notation::split(&format!("SET own{number} {sequence} EX 100")));
        commands.push(crate::support::notation::split(&format!("GET own{number}")));
        commands.push(crate::support::notation::split(&format!("PUBLISH news {sequence}")));
        let replies = client.pipeline(&commands);
        if let Some(error) = replies.iter().find(|reply| reply.is_error()) {
            panic!("producer {number}: {error}");
        }
        for pair in replies[..batch].windows(2) {
            assert!(id(&pair[0]) < id(&pair[1]), "ids of one pipeline: {} and {}", pair[0], pair[1]);
        }
        assert_eq!(replies[batch + 2].integer() as u64, sequence, "a read of the pipeline sees its writes");
        counts.added[stream].fetch_add(batch as i64, Ordering::Relaxed);
        counts.incremented.fetch_add(1, Ordering::Relaxed);
        counts.published.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads all streams as one consumer and acknowledges; an entry never comes twice as new.
fn consume(number: usize, mut client: Client, counts: &Counts) {
    let names: Vec<String> = (0..STREAMS).map(|stream| format!("stream{stream}")).collect();
    let mut read =
        crate::support::notation::split(&format!("XREADGROUP GROUP g c{number} COUNT 50 BLOCK 100 STREAMS"));
    read.extend(names.iter().map(|name| name.clone().into_bytes()));
    read.extend(names.iter().map(|_| b">".to_vec()));
    let mut seen = HashSet::new();
    while !counts.is_over.load(Ordering::Relaxed) {
        let reply = client.command(&read);
        for stream in reply.elements() {
            let parts = stream.elements();
            let name = parts[0].text();
            let ids: Vec<String> =
                parts[1].elements().iter().map(|entry| entry.elements()[0].text()).collect();
            for id in &ids {
                assert!(seen.insert(format!("{name} {id}")), "{id} of {name} came twice");
            }
            let mut acknowledge = vec!["XACK".to_string(), name, "g".to_string()];
            acknowledge.extend(ids.iter().cloned());
            assert_eq!(
                client.command(&acknowledge),
                Value::Integer(ids.len() as i64),
                "XACK of all that was delivered"
            );
            counts.acknowledged.fetch_add(ids.len() as u64, Ordering::Relaxed);
        }
        if seen.len() > 500_000 {
            seen.clear();
        }
    }
}

/// Subscribes, and renews its subscriptions now and then.
fn subscribe_and_count(mut client: Client, counts: &Counts) {
    while !counts.is_over.load(Ordering::Relaxed) {
        client.line("SUBSCRIBE news");
        for _ in 0..200 {
            match client.receive(Duration::from_millis(100)) {
                Ok(message) => {
                    assert_eq!(message.elements()[0], Value::bulk("message"));
                    counts.received.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => break,
                Err(error) => panic!("subscriber: {error}"),
            }
        }
        client.send(&["UNSUBSCRIBE", "news"]).expect("sent");
        loop {
            let value =
                client.receive(crate::support::client::PATIENCE).expect("the end of the subscription");
            if value.elements()[0] == Value::bulk("unsubscribe") {
                break;
            }
        }
    }
}

fn verify(control: &mut Client, counts: &Counts) {
    assert_eq!(control.line("GET counter").integer(), counts.incremented.load(Ordering::Relaxed), "INCR");
    for stream in 0..STREAMS {
        let added = counts.added[stream].load(Ordering::Relaxed);
        let info = control.line(&format!("XINFO STREAM stream{stream}"));
        assert_eq!(info.field("entries-added"), Some(Value::Integer(added)), "stream{stream}");
        let length = info.field("length").expect("length").integer();
        assert!(
            length >= added.min(KEPT as i64) && length <= (KEPT + 100) as i64,
            "stream{stream}: {length} of {added}"
        );
        let entries = control.line(&format!("XRANGE stream{stream} - +")).elements();
        assert_eq!(entries.len() as i64, length);
        for pair in entries.windows(2) {
            assert!(id(&pair[0].elements()[0]) < id(&pair[1].elements()[0]));
        }
        assert_eq!(
            control.line(&format!("XPENDING stream{stream} g")).elements()[0],
            Value::Integer(0),
            "all is acknowledged"
        );
    }
    assert!(counts.acknowledged.load(Ordering::Relaxed) > 0);
    assert!(counts.received.load(Ordering::Relaxed) > 0);
}

fn id(value: &Value) -> (u64, u64) {
    let text = value.text();
    let (ms, sequence) = text.split_once('-').unwrap_or_else(|| panic!("entry id {text}"));
    (ms.parse().expect("milliseconds"), sequence.parse().expect("a sequence"))
}
