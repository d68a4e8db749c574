//! Replies as values, read from the wire in RESP2 or RESP3 and printed as redis-cli prints them.

use crate::support::notation::quote;
use std::fmt;

/// One reply. RESP2's two nulls stay distinct, because clients distinguish them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Verbatim(Vec<u8>),
    Double(String),
    BigNumber(String),
    Boolean(bool),
    Null,
    NullArray,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

/// Bytes that are not a reply.
#[derive(Debug)]
pub struct Malformed(pub String);

/// Reply depth at which the decoder gives up (Redis never nests deeper than about ten).
const DEPTH_MAX: usize = 64;

impl Value {
    pub fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    pub fn ok() -> Value {
        Value::Simple(b"OK".to_vec())
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullArray)
    }

    /// Text of a string, error or number; lossy for other encodings than UTF-8.
    pub fn text(&self) -> String {
        match self {
            Value::Simple(bytes) | Value::Error(bytes) | Value::Bulk(bytes) | Value::Verbatim(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Value::Integer(number) => number.to_string(),
            Value::Double(text) | Value::BigNumber(text) => text.clone(),
            other => other.to_string(),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            Value::Bulk(_) => self.text().parse().unwrap_or_else(|_| panic!("not a number: {self}")),
            other => panic!("not an integer: {other}"),
        }
    }

    /// Elements of an array, set or push, or alternating keys and values of a map; none for a null.
    pub fn elements(&self) -> Vec<Value> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items.clone(),
            Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect(),
            Value::Null | Value::NullArray => Vec::new(),
            other => panic!("not an array: {other}"),
        }
    }

    /// Value beside `name` in a map, or in RESP2's flat array of pairs.
    pub fn field(&self, name: &str) -> Option<Value> {
        let flat = self.elements();
        flat.chunks_exact(2).find(|pair| pair[0].text() == name).map(|pair| pair[1].clone())
    }

    /// Reads one value from the start of `bytes`. Returns the value and its length, or `None` if it is
    /// incomplete.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
        let mut decoder = Decoder { bytes, at: 0 };
        Ok(decoder.value(0)?.map(|value| (value, decoder.at)))
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        if end == 0 || rest[end - 1] != b'\r' {
            return Err(Malformed(format!("line without CR: {}", quote(&rest[..end]))));
        }
        self.at += end + 1;
        Ok(Some(&rest[..end - 1]))
    }

    fn value(&mut self, depth: usize) -> Result<Option<Value>, Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed("reply nested too deeply".into()));
        }
        let Some(line) = self.line()? else { return Ok(None) };
        let Some((&kind, body)) = line.split_first() else { return Err(Malformed("empty line".into())) };
        let text = || String::from_utf8_lossy(body).into_owned();
        let value = match kind {
            b'+' => Value::Simple(body.to_vec()),
            b'-' => Value::Error(body.to_vec()),
            b':' => Value::Integer(number(body)?),
            b',' => Value::Double(text()),
            b'(' => Value::BigNumber(text()),
            b'#' => match body {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return Err(Malformed(format!("boolean {}", quote(body)))),
            },
            b'_' => Value::Null,
            b'$' | b'=' | b'!' => {
                let length = number(body)?;
                if length == -1 && kind == b'$' {
                    return Ok(Some(Value::Null));
                }
                let length = usize::try_from(length).map_err(|_| Malformed(format!("length {length}")))?;
                let Some(bytes) = self.bytes.get(self.at..self.at + length + 2) else { return Ok(None) };
                if &bytes[length..] != b"\r\n" {
                    return Err(Malformed(format!("string of {length} bytes without CRLF at its end")));
                }
                self.at += length + 2;
                match kind {
                    b'$' => Value::Bulk(bytes[..length].to_vec()),
                    b'!' => Value::Error(bytes[..length].to_vec()),
                    _ => Value::Verbatim(bytes[4.min(length)..length].to_vec()),
                }
            }
            b'*' | b'~' | b'>' | b'%' => {
                let count = number(body)?;
                if count == -1 && kind == b'*' {
                    return Ok(Some(Value::NullArray));
                }
                let count = usize::try_from(count).map_err(|_| Malformed(format!("count {count}")))?;
                let count = if kind == b'%' { count * 2 } else { count };
                let mut items = Vec::new();
                for _ in 0..count {
                    let Some(item) = self.value(depth + 1)? else { return Ok(None) };
                    items.push(item);
                }
                match kind {
                    b'*' => Value::Array(items),
                    b'~' => Value::Set(items),
                    b'>' => Value::Push(items),
                    _ => {
                        let mut items = items.into_iter();
                        let mut pairs = Vec::new();
                        while let (Some(key), Some(value)) = (items.next(), items.next()) {
                            pairs.push((key, value));
                        }
                        Value::Map(pairs)
                    }
                }
            }
            _ => return Err(Malformed(format!("unknown type in {}", quote(line)))),
        };
        Ok(Some(value))
    }
}

fn number(body: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(body)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Malformed(format!("number {}", quote(body))))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl Value {
    /// The lines of redis-cli's output, with `(null array)` for `*-1`, `1#` before map keys, `1~` and `1>`
    /// before elements of sets and pushes.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Value::Simple(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
            Value::Error(bytes) => {
                vec![format!("(error) {}", String::from_utf8_lossy(bytes)).trim_end().to_string()]
            }
            Value::Integer(number) => vec![format!("(integer) {number}")],
            Value::Bulk(bytes) => vec![quote(bytes)],
            Value::Verbatim(bytes) => vec![format!("(verbatim) {}", quote(bytes))],
            Value::Double(text) => vec![format!("(double) {text}")],
            Value::BigNumber(text) => vec![format!("(big number) {text}")],
            Value::Boolean(truth) => vec![format!("({truth})")],
            Value::Null => vec!["(nil)".into()],
            Value::NullArray => vec!["(null array)".into()],
            Value::Array(items) => numbered(items, ')', "(empty array)"),
            Value::Set(items) => numbered(items, '~', "(empty set)"),
            Value::Push(items) => numbered(items, '>', "(empty push)"),
            Value::Map(pairs) if pairs.is_empty() => vec!["(empty map)".into()],
            Value::Map(pairs) => {
                let width = pairs.len().to_string().len();
                let mut lines = Vec::new();
                for (at, (key, value)) in pairs.iter().enumerate() {
                    let head = format!("{:>width$}# {} => ", at + 1, key.lines().join(" "));
                    let nested = value.lines();
                    if nested.len() == 1 {
                        lines.push(format!("{head}{}", nested[0]));
                    } else {
                        lines.push(head.trim_end().to_string());
                        lines.extend(nested.iter().map(|line| format!("{}{line}", " ".repeat(width + 2))));
                    }
                }
                lines
            }
        }
    }
}

fn numbered(items: &[Value], mark: char, empty: &str) -> Vec<String> {
    if items.is_empty() {
        return vec![empty.into()];
    }
    let width = items.len().to_string().len();
    let mut lines = Vec::new();
    for (at, item) in items.iter().enumerate() {
        for (line_at, line) in item.lines().into_iter().enumerate() {
            if line_at == 0 {
                lines.push(format!("{:>width$}{mark} {line}", at + 1));
            } else {
                lines.push(format!("{}{line}", " ".repeat(width + 2)));
            }
        }
    }
    lines
}

#[test]
fn a_value_is_read_whole_or_not_at_all() {
    let bytes = b"%1\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n_\r\n";
    for cut in 0..bytes.len() {
        assert!(Value::decode(&bytes[..cut]).unwrap().is_none(), "decoded {cut} bytes of {}", bytes.len());
    }
    let (value, length) = Value::decode(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    assert_eq!(value.to_string(), "1# \"s\" =>\n   1) 1) \"1-1\"\n      2) (null array)\n   2) (nil)");
}
