//! What other clients wait for while one removes or asks for much. docs/reliability.md has the figures of a
//! release build with `HEADWATER_STALL_ITEMS=500000`.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::value::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Keys, commands or due keys at once. Few, so that a test run does not take long.
fn items() -> usize {
    std::env::var("HEADWATER_STALL_ITEMS").map_or(20_000, |text| text.parse().expect("a number"))
}

/// The longest wait of a client that asks all the time, and the time that the work took.
fn meanwhile(server: &Server, work: impl FnOnce(&mut Client)) -> (Duration, Duration) {
    let (mut worker, ended) = (server.connect(), AtomicBool::new(false));
    thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let (mut client, mut longest) = (server.connect(), Duration::ZERO);
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                client.line("PING");
                longest = longest.max(asked.elapsed());
                thread::sleep(Duration::from_micros(500));
            }
            longest
        });
        // It asks already when the work begins.
        thread::sleep(Duration::from_millis(20));
        let began = Instant::now();
        work(&mut worker);
        let took = began.elapsed();
        ended.store(true, Ordering::Relaxed);
        (asker.join().expect("the asker"), took)
    })
}

fn tell(what: &str, (stall, took): (Duration, Duration)) {
    eprintln!("{what:<44} took {:>7} ms, others waited for {:>5} ms", took.as_millis(), stall.as_millis());
}

/// Executes `line` for each item, in pipelines.
fn for_all(client: &mut Client, items: usize, line: impl Fn(usize) -> String) {
    for from in (0..items).step_by(1000) {
        let lines = (from..items.min(from + 1000)).map(&line);
        let commands: Vec<Vec<String>> =
            lines.map(|line| line.split(' ').map(str::to_owned).collect()).collect();
        assert!(client.pipeline(&commands).iter().all(|reply| !reply.is_error()));
    }
}

#[test]
fn others_go_on_while_much_is_removed_or_asked_for() {
    let items = items();
    let server = Server::start();
    let mut client = server.connect();
    let set = |at: usize| format!("SET key:{at:07} value");
    for_all(&mut client, items, set);
    let freed = meanwhile(&server, |client| assert_eq!(client.line("FLUSHALL"), Value::ok()));
    tell(&format!("FLUSHALL of {items} keys"), freed);

    let stall = meanwhile(&server, |client| {
        client.line("MULTI");
        for_all(client, items, |at| format!("SET {{t}}{at:07} value"));
        assert_eq!(client.line("EXEC").elements().len(), items);
    });
    tell(&format!("MULTI, {items} SETs, EXEC"), stall);

    for_all(&mut client, items / 5, |at| format!("XGROUP CREATE s group:{at} $ MKSTREAM"));
    let stall = meanwhile(&server, |client| {
        assert_eq!(client.line("XINFO GROUPS s").elements().len(), items / 5);
    });
    tell(&format!("XINFO GROUPS of {} groups", items / 5), stall);

    client.line("FLUSHALL");
    // Late enough that all are there by then.
    let due = SystemTime::now() + Duration::from_millis(3000 + items as u64 / 10);
    let due_ms = due.duration_since(UNIX_EPOCH).expect("a time of today").as_millis();
    for_all(&mut client, items, |at| format!("SET key:{at:07} value PXAT {due_ms}"));
    thread::sleep(due.duration_since(SystemTime::now()).unwrap_or_default());
    let stall = meanwhile(&server, |client| {
        while client.line("DBSIZE") != Value::Integer(0) {
            assert!(due.elapsed().unwrap_or_default() < Duration::from_secs(300), "keys stay that are due");
            thread::sleep(Duration::from_millis(5));
        }
    });
    let late = due.elapsed().unwrap_or_default();
    tell(&format!("{items} keys due at once, gone after"), (stall.0, late));
    if !server.is_redis() {
        // Machines that run tests are slow and shared.
        assert!(freed.0 < Duration::from_secs(1), "FLUSHALL stalls everybody: {:?}", freed.0);
        assert!(late < Duration::from_secs(20), "keys that are due stay for {late:?}");
    }
}
