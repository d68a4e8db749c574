//! Payloads of RESTORE without their checksum.

use crate::engine::{Subject, outcome};
use headwater::model::time::TimeMs;
use headwater::state::keyspace::Value;
use headwater::state::rdb::VERSION_MAX;
use headwater::state::rdb::payload;
use headwater::state::seen::StreamSeen;
use headwater::state::stream::idempotency::IdempotencyLimits;

const NOW: TimeMs = TimeMs(1_700_000_000_000);
const LIMITS: IdempotencyLimits = IdempotencyLimits { duration_s: 100, ids: 100 };

fn check(content: &[u8]) -> u64 {
    let value = match payload::read(content, NOW, LIMITS) {
        Ok(value) => value,
        Err(malformed) => {
            assert!(malformed.offset <= content.len());
            return outcome((malformed.what, malformed.offset / 8));
        }
    };
    let kind = match &value {
        Value::String(text) => (0, text.bytes.len().min(32) as u64, 0),
        Value::Stream(stream) => {
            stream.check();
            (1, stream.log.len().min(8), stream.groups.len().min(4))
        }
    };
    let dumped = payload::dump(&value, VERSION_MAX, StreamSeen::LOGGED_ONLY);
    let back = payload::restore(&dumped, NOW, LIMITS).expect("what was dumped is restored");
    assert_eq!(payload::dump(&back, VERSION_MAX, StreamSeen::LOGGED_ONLY), dumped);
    outcome(kind)
}

#[test]
fn payloads() {
    let seeds = [0, 15, 19, 21, 26, 27].map(|kind| vec![kind]).into();
    let tokens: &[&[u8]] = &[b"\x81", b"\xc3", b"\xff", b"\x00\x00\x00\x00\x00\x00\x00\x00"];
    Subject { name: "payloads", seeds, tokens, check: &check }.run();
}
