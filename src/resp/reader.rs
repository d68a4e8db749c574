//! The request reader: borrows arguments from the input. Multibulk (`*2\r\n$4\r\nPING\r\n…`) and inline
//! (`PING x\r\n`).
//!
//! Error texts and number grammar are those of Redis 7.2 `networking.c`; the bounds are in
//! [`crate::model::limits`]. No number on the wire sizes an allocation (docs/reliability.md P1): the argument
//! list grows as arguments arrive. Any split of the bytes yields the same requests, and no byte is scanned
//! twice because more arrived later. Stricter than Redis in one point: a length and an argument must be
//! followed by `\r\n` (docs/reliability.md P5).

use crate::model::args::{Args, Span};
use crate::model::limits;
use crate::model::reply::ReplyError;

/// Bounds of a connection's requests. Before authentication the tighter bounds of [`limits`] apply as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Arguments of one request.
    pub args_max: usize,
    /// Bytes of one argument.
    pub bulk_bytes_max: u64,
    /// Bytes of one request on the wire.
    pub query_buffer_bytes_max: u64,
    pub authenticated: bool,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            args_max: limits::REQUEST_ARGS_MAX,
            bulk_bytes_max: limits::BULK_BYTES_DEFAULT,
            query_buffer_bytes_max: limits::QUERY_BUFFER_BYTES_DEFAULT,
            authenticated: true,
        }
    }
}

impl RequestLimits {
    /// Most bytes of one request. Spans are 32-bit, so this caps the setting.
    fn request_bytes_max(&self) -> u64 {
        let max = if self.authenticated { u64::MAX } else { limits::UNAUTHENTICATED_QUERY_BUFFER_BYTES_MAX };
        self.query_buffer_bytes_max.min(max).min(u64::from(u32::MAX))
    }
}

/// The content at the start of the input.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A request of at least one argument, in the first `consumed` bytes.
    Request { args: Args<'a>, consumed: usize },
    /// A request without arguments (`*0`, `*-1`, an empty line): no reply.
    Empty { consumed: usize },
    /// The start of a request, or no bytes.
    Incomplete,
}

/// Bytes that are not a request. The server sends [`ProtocolError::reply`], if any, and closes the
/// connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLineTooLong,
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooLong,
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    NotABulk(u8),
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A TLS handshake. Redis waits for a line end, which may never arrive.
    #[error("Protocol error: this port does not speak TLS")]
    Tls,
    /// Redis closes the connection without a reply.
    #[error("the request is larger than client-query-buffer-limit")]
    QueryBufferFull,
}

impl ProtocolError {
    /// The reply before the connection is closed.
    pub fn reply(&self) -> Option<ReplyError> {
        match self {
            ProtocolError::QueryBufferFull => None,
            error => Some(ReplyError::owned(format!("ERR {error}"))),
        }
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { byte as char } else { '?' }
}

/// Whether a first argument reveals a browser that a web page directed here (docs/reliability.md P15, Redis
/// `securityWarningCommand`).
pub fn is_cross_protocol(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// The reader of one connection.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// Complete arguments of the current request.
    spans: Vec<Span>,
    /// The unquoted arguments of an inline request.
    inline: Vec<u8>,
    /// Bytes of the request already consumed.
    position: usize,
    /// Bytes already searched for a line end, from the start of the request.
    searched: usize,
    stage: Stage,
    #[cfg(test)]
    steps: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    /// Expects `$`; `missing` arguments remain.
    Length { missing: usize },
    /// Expects the bytes of an argument.
    Bulk { missing: usize, len: usize },
    /// The request was returned; the next call starts another one.
    Done,
}

enum Scan {
    Multibulk,
    Inline,
    Empty,
    Incomplete,
}

/// The first bytes of a TLS client: a handshake record of any version since SSL 3.0.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];

/// Capacity for arguments that a reader keeps between requests.
const SPANS_KEPT: usize = 1024;
const INLINE_KEPT: usize = 4096;

impl RequestReader {
    pub fn new() -> Self {
        RequestReader::default()
    }

    /// Reads the request that starts at `bytes[0]`. After [`Progress::Incomplete`], call again with the same
    /// bytes and more behind them; after a request, with the bytes behind `consumed`. After an error, do not
    /// call again.
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        limits: &RequestLimits,
    ) -> Result<Progress<'a>, ProtocolError> {
        if self.stage == Stage::Done {
            self.reset();
        }
        let scan = self.scan(bytes, limits)?;
        if !matches!(scan, Scan::Incomplete) {
            self.stage = Stage::Done;
        }
        let consumed = self.position;
        Ok(match scan {
            Scan::Multibulk => Progress::Request { args: Args::new(bytes, &self.spans), consumed },
            Scan::Inline => Progress::Request { args: Args::new(&self.inline, &self.spans), consumed },
            Scan::Empty => Progress::Empty { consumed },
            Scan::Incomplete => Progress::Incomplete,
        })
    }

    /// Total bytes of the request that the next call needs to make progress; a caller may reserve them within
    /// its own bounds. At least 1.
    pub fn wanted(&self) -> usize {
        match self.stage {
            Stage::Bulk { len, .. } => self.position + len + 2,
            _ => self.position.max(self.searched) + 1,
        }
    }

    /// Bytes held, for memory accounting.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.inline.capacity()
    }

    fn reset(&mut self) {
        self.spans.clear();
        self.inline.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans.shrink_to(SPANS_KEPT);
        }
        if self.inline.capacity() > INLINE_KEPT {
            self.inline.shrink_to(INLINE_KEPT);
        }
        (self.position, self.searched, self.stage) = (0, 0, Stage::Start);
    }

    fn scan(&mut self, bytes: &[u8], limits: &RequestLimits) -> Result<Scan, ProtocolError> {
        let bytes_max = limits.request_bytes_max();
        if self.stage == Stage::Start {
            match bytes.first() {
                None => return Ok(Scan::Incomplete),
                Some(b'*') => {
                    let Some(count) = self.number(bytes, &MULTIBULK)? else {
                        return self.incomplete(bytes, bytes_max);
                    };
                    if count <= 0 {
                        return Ok(Scan::Empty);
                    }
                    if count as u64 > limits.args_max as u64 {
                        return Err(ProtocolError::MultibulkLength);
                    }
                    if !limits.authenticated && count as usize > limits::UNAUTHENTICATED_ARGS_MAX {
                        return Err(ProtocolError::UnauthenticatedMultibulkLength);
                    }
                    self.stage = Stage::Length { missing: count as usize };
                }
                Some(_) => return self.inline(bytes, bytes_max),
            }
        }
        loop {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let (missing, len) = match self.stage {
                Stage::Bulk { missing, len } => (missing, len),
                Stage::Length { missing } => {
                    match bytes.get(self.position) {
                        None => return self.incomplete(bytes, bytes_max),
                        Some(b'$') => {}
                        Some(&other) => return Err(ProtocolError::NotABulk(other)),
                    }
                    let Some(len) = self.number(bytes, &BULK)? else {
                        return self.incomplete(bytes, bytes_max);
                    };
                    if len < 0 || len as u64 > limits.bulk_bytes_max {
                        return Err(ProtocolError::BulkLength);
                    }
                    if !limits.authenticated && len as u64 > limits::UNAUTHENTICATED_BULK_BYTES_MAX {
                        return Err(ProtocolError::UnauthenticatedBulkLength);
                    }
                    if self.position as u64 + len as u64 + 2 > bytes_max {
                        return Err(ProtocolError::QueryBufferFull);
                    }
                    (missing, len as usize)
                }
                Stage::Start | Stage::Done => unreachable!("a request was begun"),
            };
            let end = self.position + len;
            if bytes.len() < end + 2 {
                self.stage = Stage::Bulk { missing, len };
                return Ok(Scan::Incomplete);
            }
            if bytes[end..end + 2] != *b"\r\n" {
                return Err(ProtocolError::BulkLength);
            }
            self.spans.push(Span { start: self.position as u32, end: end as u32 });
            self.position = end + 2;
            if missing == 1 {
                return Ok(Scan::Multibulk);
            }
            self.stage = Stage::Length { missing: missing - 1 };
        }
    }

    fn incomplete(&self, bytes: &[u8], bytes_max: u64) -> Result<Scan, ProtocolError> {
        if bytes.len() as u64 > bytes_max {
            return Err(ProtocolError::QueryBufferFull);
        }
        Ok(Scan::Incomplete)
    }

    /// Parses the number in the header line at `position` (whose first byte, `*` or `$`, was checked) and
    /// moves behind the line. `None` if the line is incomplete.
    #[inline]
    fn number(&mut self, bytes: &[u8], header: &Header) -> Result<Option<i64>, ProtocolError> {
        // Fast path: a few digits and a complete line.
        let digits = self.position + 1;
        if let Some(&first @ b'1'..=b'9') = bytes.get(digits) {
            let mut value = i64::from(first - b'0');
            let mut at = digits + 1;
            while at < bytes.len() && at < digits + 9 {
                let byte = bytes[at];
                if byte.is_ascii_digit() {
                    value = value * 10 + i64::from(byte - b'0');
                    at += 1;
                } else if byte == b'\r' && bytes.get(at + 1) == Some(&b'\n') {
                    self.position = at + 2;
                    self.searched = 0;
                    return Ok(Some(value));
                } else {
                    break;
                }
            }
        }
        self.number_slowly(bytes, header)
    }

    #[cold]
    fn number_slowly(&mut self, bytes: &[u8], header: &Header) -> Result<Option<i64>, ProtocolError> {
        let digits = self.position + 1;
        let window = bytes.len().min(self.position + limits::INLINE_BYTES_MAX);
        let from = self.searched.max(digits).min(window);
        #[cfg(test)]
        {
            self.steps += window - from;
        }
        let Some(offset) = bytes[from..window].iter().position(|&b| b == b'\r') else {
            self.searched = window;
            if bytes.len() > window {
                return Err(header.line_too_long);
            }
            return Ok(None);
        };
        let end = from + offset;
        match bytes.get(end + 1) {
            None => {
                self.searched = end;
                return Ok(None);
            }
            Some(b'\n') => {}
            Some(_) => return Err(header.invalid),
        }
        let value = parse_i64(&bytes[digits..end]).ok_or(header.invalid)?;
        self.position = end + 2;
        self.searched = 0;
        Ok(Some(value))
    }

    fn inline(&mut self, bytes: &[u8], bytes_max: u64) -> Result<Scan, ProtocolError> {
        if bytes.starts_with(&TLS_HANDSHAKE) {
            return Err(ProtocolError::Tls);
        }
        let window = bytes.len().min(limits::INLINE_BYTES_MAX);
        let from = self.searched.min(window);
        #[cfg(test)]
        {
            self.steps += window - from;
        }
        let Some(offset) = bytes[from..window].iter().position(|&b| b == b'\n') else {
            self.searched = window;
            if bytes.len() > window {
                return Err(ProtocolError::InlineTooLong);
            }
            return self.incomplete(bytes, bytes_max);
        };
        let end = from + offset;
        self.position = end + 1;
        let line = &bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.split(line).ok_or(ProtocolError::UnbalancedQuotes)?;
        Ok(if self.spans.is_empty() { Scan::Empty } else { Scan::Inline })
    }

    /// Splits a line into arguments as Redis `sdssplitargs` does: blanks separate, `"…"` knows
    /// `\n \r \t \b \a \xHH`, `'…'` knows `\'`, a blank or the end must follow a closing quote. `None` if
    /// quotes are unbalanced.
    fn split(&mut self, line: &[u8]) -> Option<()> {
        // In C the line ends at a NUL.
        let line = line.split(|&b| b == 0).next().unwrap_or_default();
        let blank = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
        let mut at = 0;
        loop {
            while at < line.len() && blank(line[at]) {
                at += 1;
            }
            if at == line.len() {
                return Some(());
            }
            let start = self.inline.len() as u32;
            let mut quote = None;
            loop {
                let rest = &line[at..];
                match (quote, rest) {
                    (None, []) => break,
                    (None, [b, ..]) if blank(*b) => break,
                    (None, [b @ (b'"' | b'\''), ..]) => {
                        quote = Some(*b);
                        at += 1;
                    }
                    (Some(_), []) => return None,
                    (Some(b'"'), [b'\\', b'x', high, low, ..])
                        if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                    {
                        self.inline.push(hex(*high) << 4 | hex(*low));
                        at += 4;
                    }
                    (Some(b'"'), [b'\\', escaped, ..]) => {
                        self.inline.push(match escaped {
                            b'n' => b'\n',
                            b'r' => b'\r',
                            b't' => b'\t',
                            b'b' => 0x08,
                            b'a' => 0x07,
                            other => *other,
                        });
                        at += 2;
                    }
                    (Some(b'\''), [b'\\', b'\'', ..]) => {
                        self.inline.push(b'\'');
                        at += 2;
                    }
                    (Some(q), [b, ..]) if *b == q => {
                        at += 1;
                        if line.get(at).is_some_and(|&next| !blank(next)) {
                            return None;
                        }
                        break;
                    }
                    (_, [b, ..]) => {
                        self.inline.push(*b);
                        at += 1;
                    }
                }
            }
            self.spans.push(Span { start, end: self.inline.len() as u32 });
        }
    }
}

/// Limits and error texts of a header line.
struct Header {
    line_too_long: ProtocolError,
    invalid: ProtocolError,
}

const MULTIBULK: Header =
    Header { line_too_long: ProtocolError::MultibulkLineTooLong, invalid: ProtocolError::MultibulkLength };
const BULK: Header =
    Header { line_too_long: ProtocolError::BulkLineTooLong, invalid: ProtocolError::BulkLength };

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).expect("a hex digit") as u8
}

/// Redis `string2ll`: no blank, no `+`, no leading zero, no `-0`.
fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Accumulates negative values: i64::MIN has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
