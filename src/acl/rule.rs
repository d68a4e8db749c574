//! Rules in general: the errors of a rule, and the reassembly of split selectors.

/// Why a rule is refused, in Redis's words (`ACLSetUserStringError`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("Syntax error")]
    Syntax,
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgumentOfSubcommand,
}

/// Whether `text` has blanks or NULs. Names and patterns have neither, so that a rule stays one word of a
/// line.
pub fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|&byte| is_blank(byte) || byte == 0)
}

/// C's `isspace`.
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Joins selectors that were split at blanks: `(~a`, `+get)` is one rule. On error returns the argument that
/// opens an unclosed selector (Redis `ACLMergeSelectorArguments`). Every word is in the result: what opens a
/// second selector inside of one belongs to that one, as a rule that is then refused.
pub fn merge_selectors<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut merged = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for arg in args {
        if let Some((start, mut selector)) = open.take() {
            selector.push(b' ');
            selector.extend_from_slice(arg);
            if arg.ends_with(b")") {
                merged.push(selector);
            } else {
                open = Some((start, selector));
            }
        } else if arg.starts_with(b"(") && !arg.ends_with(b")") {
            open = Some((arg, arg.to_vec()));
        } else {
            merged.push(arg.to_vec());
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(line: &str) -> Result<Vec<String>, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let merged = merge_selectors(line.split(' ').map(str::as_bytes));
        merged.map(|rules| rules.iter().map(|rule| text(rule)).collect()).map_err(text)
    }

    #[test]
    fn selectors_are_one_rule() {
        let rules = |rules: &[&str]| Ok(rules.iter().map(|rule| rule.to_string()).collect());
        assert_eq!(merge("on (~a +get) off"), rules(&["on", "(~a +get)", "off"]));
        assert_eq!(merge("(~a) (~b )"), rules(&["(~a)", "(~b )"]));
        assert_eq!(merge("( a  b )"), rules(&["( a  b )"]));
        assert_eq!(merge("on (a (b c)"), rules(&["on", "(a (b c)"]));
        assert_eq!(merge("(a (b (c ) off"), rules(&["(a (b (c )", "off"]));
        assert_eq!(merge("a)"), rules(&["a)"]));
        assert_eq!(merge("on (a b"), Err("(a".into()));
        assert_eq!(merge("(a (b"), Err("(a".into()));
    }
}
