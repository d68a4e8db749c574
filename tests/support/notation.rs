//! Commands in redis-cli's notation: words, "double quotes" with escapes, 'single quotes'.

/// Splits a line into arguments as redis-cli does (`sdssplitargs`).
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let bytes = line.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while at < bytes.len() && bytes[at] == b' ' {
            at += 1;
        }
        if at == bytes.len() {
            return words;
        }
        let mut word = Vec::new();
        while at < bytes.len() && bytes[at] != b' ' {
            match bytes[at] {
                b'"' => at = unescape(bytes, at + 1, &mut word),
                b'\'' => {
                    let end = bytes[at + 1..].iter().position(|&byte| byte == b'\'').expect("closing quote");
                    word.extend_from_slice(&bytes[at + 1..at + 1 + end]);
                    at += end + 2;
                }
                byte => {
                    word.push(byte);
                    at += 1;
                }
            }
        }
        words.push(word);
    }
}

/// Reads the inside of a double-quoted string; returns the position after its closing quote.
fn unescape(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> usize {
    while bytes[at] != b'"' {
        if bytes[at] != b'\\' {
            word.push(bytes[at]);
            at += 1;
            continue;
        }
        match bytes[at + 1] {
            b'x' => {
                let digits = std::str::from_utf8(&bytes[at + 2..at + 4]).expect("two hex digits");
                word.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
                at += 2;
            }
            b'n' => word.push(b'\n'),
            b'r' => word.push(b'\r'),
            b't' => word.push(b'\t'),
            other => word.push(other),
        }
        at += 2;
    }
    at + 1
}

/// A string in redis-cli's quoting (`sdscatrepr`).
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// A command as a person would type it.
pub fn join(args: &[Vec<u8>]) -> String {
    let plain = |arg: &Vec<u8>| {
        !arg.is_empty() && arg.iter().all(|&byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte))
    };
    let words: Vec<String> = args
        .iter()
        .map(|arg| if plain(arg) { String::from_utf8_lossy(arg).into_owned() } else { quote(arg) })
        .collect();
    words.join(" ")
}

/// A request: an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[test]
fn what_is_joined_splits_into_the_same() {
    let args = vec![b"SET".to_vec(), b"".to_vec(), b"a b\"\\\r\n\x00\xff".to_vec(), b"'".to_vec()];
    assert_eq!(split(&join(&args)), args);
}
