//! The names of journal files, formatted and parsed only here.

/// The name of a complete file: 16 hexadecimal digits and `.journal`. Names sort like their numbers.
pub fn format(sequence: u64) -> String {
    format!("{sequence:016x}.journal")
}

/// The name of a file in preparation.
pub fn format_temporary(sequence: u64) -> String {
    format!("{sequence:016x}.journal.tmp")
}

pub fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some_and(|name| parse(name).is_some())
}

/// The sequence number, if [`format`] makes exactly this name.
pub fn parse(name: &str) -> Option<u64> {
    let sequence = u64::from_str_radix(name.strip_suffix(".journal")?, 16).ok()?;
    (format(sequence) == name).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_gives_its_number(sequence: u64) {
            prop_assert_eq!(parse(&format(sequence)), Some(sequence));
            prop_assert!(is_temporary(&format_temporary(sequence)));
            prop_assert_eq!(parse(&format_temporary(sequence)), None);
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in
            ["", ".journal", "1.journal", "000000000000000A.journal", "+000000000000001.journal", "a.tmp"]
        {
            assert_eq!(parse(name), None, "{name}");
            assert!(!is_temporary(name), "{name}");
        }
    }
}
