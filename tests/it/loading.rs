//! What clients see while the server reads its data.

use crate::support::client::{Client, PATIENCE};
use crate::support::server::Server;
use crate::support::value::Value;
use crate::support::wire::Door;
use std::thread;
use std::time::{Duration, Instant};

const LOADING: &str = "LOADING Redis is loading the dataset in memory";

/// Enough that reading it takes a while, in a build without optimization too.
const KEYS: usize = 200_000;

#[test]
fn clients_are_answered_while_the_data_is_loaded() {
    let mut server = Server::with(&["--enable-debug-command", "yes", "--requirepass", "secret"]);
    // A Raft group recovers on the thread that answers.
    if server.is_redis() || std::env::var("HEADWATER_TEST_FLAGS").is_ok_and(|flags| flags.contains("raft")) {
        return;
    }
    let mut client = server.connect();
    assert_eq!(client.line("AUTH secret"), Value::ok());
    assert_eq!(client.line(&format!("DEBUG POPULATE {KEYS} key 100")), Value::ok());
    server.kill();
    let door = server.door();
    let took = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&door));
        server.restart();
        watcher.join().expect("the watcher")
    });
    let log = server.log();
    let ready = log.rfind("is ready on").expect("the banner");
    assert_eq!(log.contains("loading seconds="), took > Duration::from_secs(1), "{took:?}\n{log}");
    assert!(log.rfind("loading seconds=").is_none_or(|at| at < ready), "{log}");
}

/// Talks to the server from the moment when it listens until it has loaded everything. Returns how long it was
/// loading.
fn watch(door: &Door) -> Duration {
    let mut client = connect(door);
    let began = Instant::now();
    assert!(client.line("GET key:1").text().starts_with("NOAUTH"), "users are known at once");
    assert_eq!(client.line("AUTH secret"), Value::ok());
    for request in ["PING", "GET key:1", "SET key:1 x", "DBSIZE", "XREAD BLOCK 0 STREAMS s $", "WATCH a"] {
        assert_eq!(client.line(request).text(), LOADING, "{request}");
    }
    assert_eq!(client.line("CLIENT SETNAME ann"), Value::ok());
    assert_eq!(client.line("CONFIG SET hz 11"), Value::ok());
    assert_eq!(client.line("SELECT 1"), Value::ok());
    assert_eq!(client.line("SELECT 0"), Value::ok());
    assert_eq!(client.line("PUBLISH channel message"), Value::Integer(0));
    let pipeline: Vec<Vec<&str>> = vec![vec!["MULTI"], vec!["GET", "key:1"], vec!["EXEC"]];
    let replies = client.pipeline(&pipeline);
    assert_eq!(replies[1].text(), LOADING);
    assert_eq!(replies[2].text(), "EXECABORT Transaction discarded because of previous errors.");
    let info = client.line("INFO persistence").text();
    for field in ["loading:1", "async_loading:0", "loading_start_time:", "loading_loaded_bytes:"] {
        assert!(info.contains(field), "no {field} in {info}");
    }
    let number = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().parse().expect(name)
    };
    assert!(number("loading_total_bytes:") > (KEYS * 100) as f64);
    assert!(number("loading_loaded_bytes:") <= number("loading_total_bytes:"));
    assert!((0.0..=100.0).contains(&number("loading_loaded_perc:")));
    assert!(number("loading_eta_seconds:") >= 0.0);
    loop {
        match client.line("PING").text() {
            text if text == LOADING => thread::sleep(Duration::from_millis(5)),
            text => break assert_eq!(text, "PONG"),
        }
    }
    let took = began.elapsed();
    // The same connection goes on, with what it has set up.
    assert_eq!(client.line("DBSIZE"), Value::Integer(KEYS as i64));
    assert_eq!(client.line("CLIENT GETNAME").text(), "ann");
    assert_eq!(client.line("SET key:1 x"), Value::ok());
    let info = client.line("INFO persistence").text();
    assert!(info.contains("loading:0") && !info.contains("loading_start_time"), "{info}");
    took
}

fn connect(door: &Door) -> Client {
    let began = Instant::now();
    loop {
        match Client::through(door) {
            Ok(client) => return client,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}
