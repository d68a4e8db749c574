//! `maxmemory`: what needs more memory is refused, everything else goes on.

use crate::support::client::Client;
use crate::support::server::Server;
use crate::support::value::Value;

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const MAX: u64 = 40 << 20;

fn field(client: &mut Client, name: &str) -> u64 {
    let info = client.line("INFO memory").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")[..])).expect("a field");
    line.trim().parse().expect("a number")
}

#[test]
fn a_full_memory_refuses_what_needs_more_until_there_is_room_again() {
    let server = Server::with(&["--maxmemory", "40mb"]);
    if server.is_redis() {
        return;
    }
    let mut client = server.connect();
    assert_eq!(field(&mut client, "maxmemory"), MAX);
    assert_eq!(client.line("CONFIG GET maxmemory").elements()[1].text(), MAX.to_string());
    assert!(client.line("INFO memory").text().contains("maxmemory_human:40.00M"));
    assert!(client.line("CONFIG SET maxmemory-policy allkeys-lru").is_error());
    client.line("XGROUP CREATE s g $ MKSTREAM");
    let body = "x".repeat(1000);
    // One pipeline brings far more than there is room for.
    let add: Vec<Vec<&str>> = vec![vec!["XADD", "s", "*", "f", &body]; 60_000];
    let replies = client.pipeline(&add);
    let added = replies.iter().filter(|reply| !reply.is_error()).count();
    assert!((20_000..45_000).contains(&added), "{added}");
    assert!(replies.iter().filter(|reply| reply.is_error()).all(|reply| reply.text() == OOM));
    let used = field(&mut client, "used_memory");
    assert!((MAX * 8 / 10..MAX + (1 << 20)).contains(&used), "{used} of {MAX}");

    // Buffers of the pipeline are free again; less than what is there now is certainly too little.
    assert_eq!(client.line("CONFIG SET maxmemory 20mb"), Value::ok());
    for request in ["XADD s * f v", "SET a 1", "XGROUP CREATE s h 0", "SUBSCRIBE c"] {
        assert_eq!(client.line(request).text(), OOM, "{request}");
    }
    assert_eq!(client.line("XLEN s"), Value::Integer(added as i64));
    assert_eq!(client.line("PUBLISH c m"), Value::Integer(0));
    let read = client.line("XREADGROUP GROUP g ann COUNT 10 STREAMS s >");
    let first = read.elements()[0].elements()[1].elements()[0].elements()[0].text();
    assert_eq!(client.line(&format!("XACK s g {first}")), Value::Integer(1));
    // Nothing is queued either, whatever it is.
    assert_eq!(client.line("MULTI"), Value::ok());
    assert_eq!(client.line("XLEN s").text(), OOM);
    assert!(client.line("EXEC").text().starts_with("EXECABORT"));

    client.line("XTRIM s MAXLEN 1000");
    assert!(!client.line("XADD s * f v").is_error());
    assert_eq!(client.line("SET a 1"), Value::ok());

    // What was queued in time is refused at its end.
    assert_eq!(client.line("MULTI"), Value::ok());
    assert_eq!(client.line("SET a 2").text(), "QUEUED");
    assert_eq!(server.connect().line("CONFIG SET maxmemory 1mb"), Value::ok());
    let told = client.line("EXEC").text();
    assert_eq!(told, format!("EXECABORT Transaction discarded because of: {OOM}"));
    assert_eq!(client.line("GET a").text(), "1");
    assert_eq!(client.line("DEL s"), Value::Integer(1));
    assert_eq!(client.line("CONFIG SET maxmemory 0"), Value::ok());
    assert_eq!(client.line("SET a 2"), Value::ok());
}

#[test]
fn small_keys_in_one_pipeline_are_refused_in_time() {
    let server = Server::with(&["--maxmemory", "20mb"]);
    if server.is_redis() {
        return;
    }
    let mut client = server.connect();
    let keys: Vec<String> = (0..200_000).map(|number| number.to_string()).collect();
    let set: Vec<Vec<&str>> = keys.iter().map(|key| vec!["SET", key, "v"]).collect();
    let replies = client.pipeline(&set);
    let refused = replies.iter().filter(|reply| reply.is_error()).count();
    assert!(refused > 20_000, "{refused}");
    let used = field(&mut client, "used_memory");
    assert!(used < 22 << 20, "{used}, {refused} of {} refused", keys.len());
}

/// The figures of README.md, and their limits.
#[test]
fn memory_of_one_item() {
    const ITEMS: usize = 50_000;
    let server = Server::start();
    if server.is_redis() {
        return;
    }
    let mut client = server.connect();
    let value = "x".repeat(20);
    let mut measure = |what: &str, limit: u64, request: &dyn Fn(usize) -> Vec<String>| {
        let mut before = 0;
        for from in (0..=ITEMS).step_by(1000) {
            if from == 1000 {
                // Buffers are there.
                before = field(&mut client, "used_memory");
            }
            let requests: Vec<Vec<String>> = (from..from + 1000).map(request).collect();
            let words: Vec<Vec<&str>> =
                requests.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
            assert!(client.pipeline(&words).iter().all(|reply| !reply.is_error()));
        }
        let bytes = field(&mut client, "used_memory").saturating_sub(before) / ITEMS as u64;
        eprintln!("{what:<48}{bytes:>6} bytes");
        assert!(bytes <= limit, "{what}: {bytes} bytes, README.md says less");
    };
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    measure("an entry of 20 bytes in one stream", 20 + 17, &|_| words(format!("XADD s * f {value}")));
    measure("a pending entry", 65, &|at| {
        words(if at == 0 {
            "XGROUP CREATE s g 0".into()
        } else {
            "XREADGROUP GROUP g c COUNT 1 STREAMS s >".into()
        })
    });
    measure("a string of 20 bytes under a key of 10", 220, &|at| {
        words(format!("SET string{at:04x} {value}"))
    });
    measure("a stream of one entry under a key of 10", 720, &|at| {
        words(format!("XADD stream{at:04x} * f {value}"))
    });
}
