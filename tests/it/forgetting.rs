//! Due idempotent ids free their memory, whatever else is due.

use crate::support::client::PATIENCE;
use crate::support::notation::encode;
use crate::support::server::{Server, binary_under_test, is_redis};
use std::time::Instant;

#[test]
fn ids_are_forgotten_while_keys_expire_all_the_time() {
    if is_redis(&binary_under_test()) {
        return;
    }
    let server = Server::start();
    let (mut client, mut other) = (server.connect(), server.connect());
    client.line("XADD s 1-1 f v");
    assert!(!client.line("XCFGSET s IDMP-DURATION 1 IDMP-MAXSIZE 10000").is_error());
    for id in 0..2_000 {
        client.line(&format!("XADD s IDMP producer {id} * f v"));
    }
    client.line("XTRIM s MAXLEN 1");
    let held = client.line("MEMORY USAGE s").integer();
    let (mut keys, deadline) = (0u64, Instant::now() + PATIENCE);
    while client.line("MEMORY USAGE s").integer() > held / 2 {
        assert!(Instant::now() < deadline, "2000 ids are kept though they were due long ago");
        // Enough keys for one to be due in every round of background work.
        let mut pipeline = Vec::new();
        for _ in 0..500 {
            encode(&["SET", &format!("k{keys}"), "v", "PX", &format!("{}", 1 + keys % 400)], &mut pipeline);
            keys += 1;
        }
        other.send_bytes(&pipeline).expect("sent");
        for _ in 0..500 {
            assert_eq!(other.receive(PATIENCE).expect("a reply").text(), "OK");
        }
    }
    let info = client.line("INFO stats").text();
    assert!(!info.contains("\r\nexpired_keys:0\r\n"), "no key was due: {info}");
}
