//! Glob patterns, as KEYS, PSUBSCRIBE and CONFIG GET take them (Redis `stringmatchlen`), without recursion.

/// Whether the whole text matches: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a byte that stands for itself. Time is
/// bounded by the product of the lengths, since only the last star is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not match: behind the star, and one byte further in the text.
    let mut retry = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if p < pattern.len()
            && let Some(width) = match_one(&pattern[p..], text[t])
        {
            p += width;
            t += 1;
            continue;
        }
        let Some((star, from)) = retry else { return false };
        retry = Some((star, from + 1));
        (p, t) = (star, from + 1);
    }
}

/// Bytes of the pattern's first element if it matches the byte.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => match_class(pattern, byte),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// A class that is not closed ends with the pattern.
fn match_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes =
            ["", "*", "**", "?x", "a*b", "*.*c", "[a-c]", "[c-a]", "[^x]", "\\*", "h[ae]llo", "[\\]]", "[ab"];
        let texts = ["", "abc", "", "yx", "aXXb", "a.b.c", "b", "b", "y", "*", "hallo", "]", "b"];
        for (pattern, text) in yes.into_iter().zip(texts) {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", ""), ("?", ""), ("[a-c]", "d"), ("[^a]", "a"), ("a*b", "a"), ("A", "a")]
        {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&b"*a".repeat(50), &b"a".repeat(40)));
        assert!(!matches(&[&b"a*".repeat(1000)[..], b"b"].concat(), &b"a".repeat(2000)));
    }
}
