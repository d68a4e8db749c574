//! Glob patterns of KEYS, SCAN, PSUBSCRIBE and CONFIG GET: pattern, NUL, text.

use crate::engine::{Subject, outcome};
use headwater::base::glob::matches;

fn check(bytes: &[u8]) -> u64 {
    let split = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (pattern, text) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    let found = matches(pattern, text);
    // An escaped text matches itself. If a pattern matches, so does `*` before it with a longer text.
    let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
    assert!(matches(&escaped, text));
    if found {
        assert!(matches(&[b"*", pattern].concat(), &[b"x", text].concat()));
        assert!(matches(&[pattern, b"*"].concat(), text) || text.is_empty() || !is_closed(pattern));
    }
    let special =
        pattern.iter().filter(|byte| b"*?[]\\^-".contains(byte)).copied().take(6).collect::<Vec<_>>();
    outcome((found, special, text.len().min(4)))
}

/// Whether the pattern ends outside of a class and of an escape.
fn is_closed(pattern: &[u8]) -> bool {
    !pattern.contains(&b'[') && !pattern.ends_with(b"\\")
}

#[test]
fn patterns() {
    let tokens: &[&[u8]] =
        &[b"*", b"?", b"[", b"]", b"[^", b"a-z", b"\\", b"-", b"\0", b"a", b"*a*a*a*a", b"[a-"];
    Subject { name: "patterns", seeds: Vec::new(), tokens, check: &check }.run();
}
