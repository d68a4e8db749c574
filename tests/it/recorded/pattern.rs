//! Matches a reply against the pattern of a recording.

/// Compares a reply (as one line) with a pattern: see the notation in `recorded`.
pub fn matches(wanted: &str, got: &str) -> bool {
    if let Some(missing) = missing_fields(wanted, got) {
        return missing.is_empty();
    }
    if let Some(wanted) = wanted.strip_prefix("any order: ") {
        return sorted(wanted) == sorted(got);
    }
    matches_in_order(wanted, got)
}

/// Like `matches`, for a deviation from `wanted`: `without: ` must list exactly the names in `wanted` that
/// have no line.
pub fn matches_own(own: &str, wanted: &str, got: &str) -> bool {
    match own.strip_prefix("without: ") {
        Some(names) => missing_fields(wanted, got) == Some(names.split(' ').collect()),
        None => matches(own, got),
    }
}

/// The names after `fields: ` that do not begin exactly one line of the reply.
pub fn missing_fields<'a>(wanted: &'a str, got: &str) -> Option<Vec<&'a str>> {
    let names = wanted.strip_prefix("fields: ")?;
    let lines: Vec<&str> = got.split('|').collect();
    let is_missing =
        |name: &&str| lines.iter().filter(|line| line.split(':').next() == Some(name)).count() != 1;
    Some(names.split(' ').filter(is_missing).collect())
}

/// `<int>` matches digits, `...` anything. The text before `...` ends at its first occurrence that lets the
/// rest match.
fn matches_in_order(wanted: &str, got: &str) -> bool {
    let (mut wanted, mut got) = (wanted, got);
    loop {
        if let Some(rest) = wanted.strip_prefix("...") {
            return got
                .char_indices()
                .map(|(at, _)| at)
                .chain([got.len()])
                .any(|at| matches_in_order(rest, &got[at..]));
        }
        if let Some(rest) = wanted.strip_prefix("<int>") {
            let digits = got.trim_start_matches(|byte: char| byte.is_ascii_digit());
            if digits.len() == got.len() {
                return false;
            }
            (wanted, got) = (rest, digits);
            continue;
        }
        match (wanted.chars().next(), got.chars().next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other => {
                (wanted, got) = (&wanted[one.len_utf8()..], &got[other.len_utf8()..]);
            }
            _ => return false,
        }
    }
}

/// The head of an array of strings, and its elements in order.
fn sorted(reply: &str) -> (&str, Vec<&str>) {
    let (head, elements) = reply.split_once('|').unwrap_or((reply, ""));
    let mut elements: Vec<&str> = elements.split('$').collect();
    elements.sort_unstable();
    (head, elements)
}

#[test]
fn patterns_match_what_they_describe() {
    for (wanted, got) in [
        ("+OK|", "+OK|"),
        (":<int>|", ":17|"),
        ("*2|...|$1|b|", "*2|$1|a|$1|b|"),
        ("...", ""),
        ("$<int>|a...c|...", "$9|abcbc|x|"),
        ("any order: *2|$1|a|$1|b|", "*2|$1|b|$1|a|"),
        ("fields: role lag", "$20|# Replication|lag:3|role:master|"),
    ] {
        assert!(matches(wanted, got), "{wanted} and {got}");
    }
    for (wanted, got) in [
        ("+OK|", "+OK"),
        (":<int>|", ":|"),
        ("...x", "y"),
        ("any order: *2|$1|a|$1|b|", "*2|$1|a|$1|a|"),
        ("fields: role lag", "$20|# Replication|lagging:3|role:master|"),
    ] {
        assert!(!matches(wanted, got), "{wanted} and {got}");
    }
    let (wanted, got) = ("fields: role lag slots", "$20|# Replication|lag:3|lags:4|");
    assert!(matches_own("without: role slots", wanted, got) && !matches_own("without: role", wanted, got));
}
