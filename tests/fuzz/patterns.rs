//! Glob patterns, as KEYS, SCAN, PSUBSCRIBE and CONFIG GET take them: pattern, NUL, text.

use crate::engine::{Subject, outcome};
use headwater::base::glob::matches;

fn check(bytes: &[u8]) -> u64 {
    let split = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (pattern, text) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    let found = matches(pattern, text);
    // A text is matched by itself, escaped; and behind a star with something before it.
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

/// Whether nothing that follows would belong to a class or to an escape at its end.
fn is_closed(pattern: &[u8]) -> bool {
    !pattern.contains(&b'[') && !pattern.ends_with(b"\\")
}

#[test]
fn patterns() {
    let tokens: &[&[u8]] =
        &[b"*", b"?", b"[", b"]", b"[^", b"a-z", b"\\", b"-", b"\0", b"a", b"*a*a*a*a", b"[a-"];
    Subject { name: "patterns", seeds: Vec::new(), tokens, check: &check }.run();
}
