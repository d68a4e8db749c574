//! Glob matching as in Redis (`stringmatchlen` of `util.c`), without recursion: a pattern from a client cannot cost more
//! than pattern × text steps (CVE-2022-36021).

/// `*`, `?`, `[abc]`, `[^a-z]`, `\x`. A class that is not closed ends with the pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume if the rest does not fit: after the last star, one byte further in the text.
    let mut resume: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            resume = Some((p, t));
            continue;
        }
        if p < pattern.len() && t < text.len() {
            if let Some(next) = match_one(pattern, p, text[t]) {
                (p, t) = (next, t + 1);
                continue;
            }
        } else if p == pattern.len() && t == text.len() {
            return true;
        }
        match resume {
            Some((after_star, from)) if from < text.len() => {
                resume = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one byte with the pattern element at `p`; answers where the next element begins.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'[' => match_class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        literal => (literal == byte).then_some(p + 1),
    }
}

fn match_class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    while p < pattern.len() && pattern[p] != b']' {
        if pattern[p] == b'\\' && p + 1 < pattern.len() {
            found |= pattern[p + 1] == byte;
            p += 2;
        } else if p + 2 < pattern.len() && pattern[p + 1] == b'-' {
            let (low, high) = (pattern[p].min(pattern[p + 2]), pattern[p].max(pattern[p + 2]));
            found |= (low..=high).contains(&byte);
            p += 3;
        } else {
            found |= pattern[p] == byte;
            p += 1;
        }
    }
    (found != negated).then_some((p + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_redis() {
        assert!(matches(b"*", b""));
        assert!(matches(b"a*c", b"abbc"));
        assert!(!matches(b"a*c", b"abb"));
        assert!(matches(b"h[^e]llo", b"hallo"));
        assert!(!matches(b"h[^e]llo", b"hello"));
        assert!(matches(b"h[a-c]llo", b"hbllo"));
        assert!(matches(b"\\*", b"*"));
        assert!(!matches(b"\\*", b"a"));
        assert!(matches(b"a?c*", b"abcdef"));
        assert!(!matches(&b"a*".repeat(50), &b"a".repeat(40)));
    }
}
