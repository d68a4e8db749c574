//! Glob patterns as Redis matches them (`util.c` `stringmatchlen`, Redis 7.2), without recursion.

/// Whether the whole `text` matches `pattern`: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
///
/// Takes at most `pattern.len() × text.len()` steps (docs/reliability.md P8). One point of return suffices,
/// because a later `*` can absorb everything that an earlier one could have absorbed. As in Redis, an empty
/// text matches only an empty pattern (not even `*`), and an unclosed class extends to the end of the
/// pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // The position after the last `*`, and the text position up to which this `*` has absorbed bytes.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            star = Some((p, t));
        } else if let Some(next) = step(pattern, p, text[t]) {
            p = next;
            t += 1;
        } else {
            let Some((after, swallowed)) = star else { return false };
            star = Some((after, swallowed + 1));
            (p, t) = (after, swallowed + 1);
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// The next pattern position if the element at `p` (not a `*`) matches `byte`.
fn step(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        literal => (literal == byte).then_some(p + 1),
    }
}

/// Matches the class whose first byte after `[` is at `p`.
fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    loop {
        match pattern[p.min(pattern.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A copy of Redis's `stringmatchlen`, recursion included.
    fn reference(mut pattern: &[u8], mut text: &[u8]) -> bool {
        while !pattern.is_empty() && !text.is_empty() {
            match pattern[0] {
                b'*' => {
                    while pattern.len() > 1 && pattern[1] == b'*' {
                        pattern = &pattern[1..];
                    }
                    if pattern.len() == 1 {
                        return true;
                    }
                    return (0..text.len()).any(|from| reference(&pattern[1..], &text[from..]));
                }
                b'?' => text = &text[1..],
                b'[' => {
                    let mut rest = &pattern[1..];
                    let not = rest.first() == Some(&b'^');
                    if not {
                        rest = &rest[1..];
                    }
                    let mut found = false;
                    loop {
                        if rest.len() >= 2 && rest[0] == b'\\' {
                            rest = &rest[1..];
                            found |= rest[0] == text[0];
                        } else if rest.is_empty() || rest[0] == b']' {
                            break;
                        } else if rest.len() >= 3 && rest[1] == b'-' {
                            let (mut low, mut high) = (rest[0], rest[2]);
                            if low > high {
                                std::mem::swap(&mut low, &mut high);
                            }
                            found |= text[0] >= low && text[0] <= high;
                            rest = &rest[2..];
                        } else {
                            found |= rest[0] == text[0];
                        }
                        rest = &rest[1..];
                    }
                    if found == not {
                        return false;
                    }
                    text = &text[1..];
                    // The loop skips one pattern byte below, even after an unclosed class.
                    pattern = if rest.is_empty() { b"]" } else { rest };
                }
                _ => {
                    if pattern[0] == b'\\' && pattern.len() >= 2 {
                        pattern = &pattern[1..];
                    }
                    if pattern[0] != text[0] {
                        return false;
                    }
                    text = &text[1..];
                }
            }
            pattern = &pattern[1..];
            if text.is_empty() {
                while pattern.first() == Some(&b'*') {
                    pattern = &pattern[1..];
                }
                break;
            }
        }
        pattern.is_empty() && text.is_empty()
    }

    #[test]
    fn patterns_of_the_manual() {
        for (pattern, text, expected) in [
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[b-a]llo", "hallo", true),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hxllo", false),
            ("[ab", "b", true),
            ("[", "[", false),
            ("*", "", false),
            ("", "", true),
            ("news.*", "news.", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn p8_many_stars_are_quick() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_redis(pattern in "[ab*?\\[\\]^\\\\-]{0,9}", text in "[ab\\]^-]{0,7}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), reference(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
