//! Numbers, ids and times in arguments.

use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;

const TIMEOUT_NOT_AN_INTEGER: ReplyError = ReplyError::new("ERR timeout is not an integer or out of range");
const TIMEOUT_NEGATIVE: ReplyError = ReplyError::new("ERR timeout is negative");
const TIMEOUT_OUT_OF_RANGE: ReplyError = ReplyError::new("ERR timeout is out of range");
const INVALID_START: ReplyError = ReplyError::new("ERR invalid start ID for the interval");
const INVALID_END: ReplyError = ReplyError::new("ERR invalid end ID for the interval");

/// Redis refuses relative times that overflow when added to the clock. The parser has no clock, so it assumes
/// a clock before the year 2109 and refuses what would overflow then.
pub const CLOCK_MS_MAX: i64 = 1 << 42;

/// Parses a signed integer in canonical form: no `+`, no leading zeros, no `-0` (Redis `string2ll`).
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Redis `getLongLongFromObjectOrReply` with its default text.
pub fn integer(text: &[u8]) -> Result<i64, ReplyError> {
    parse_i64(text).ok_or(ReplyError::NOT_AN_INTEGER)
}

/// Redis `getRangeLongFromObjectOrReply` with its default text.
pub fn integer_between(text: &[u8], min: i64, max: i64) -> Result<i64, ReplyError> {
    let value = integer(text)?;
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    if min == 0 && max == i64::MAX {
        return Err(ReplyError::new("ERR value is out of range, must be positive"));
    }
    Err(ReplyError::owned(format!("ERR value is out of range, value must between {min} and {max}")))
}

/// A count; a negative one is 0.
pub fn at_least_zero(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A signed integer of at least 1.
pub fn positive(text: &[u8]) -> Option<u64> {
    parse_i64(text).filter(|value| *value > 0).map(at_least_zero)
}

/// `numids`: the number of ids that follow. At least one.
pub fn counted(text: &[u8]) -> Option<usize> {
    positive(text).and_then(|count| usize::try_from(count).ok())
}

/// COUNT of a read; zero and negative counts are `None`, which means all.
pub fn read_count(text: &[u8]) -> Result<Option<u64>, ReplyError> {
    Ok(u64::try_from(integer(text)?).ok().filter(|&count| count > 0))
}

/// BLOCK, WAIT, CLIENT PAUSE: milliseconds (Redis `getTimeoutFromObjectOrReply`).
pub fn timeout_ms(text: &[u8]) -> Result<u64, ReplyError> {
    let value = parse_i64(text).ok_or(TIMEOUT_NOT_AN_INTEGER)?;
    if value > i64::MAX - CLOCK_MS_MAX {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    u64::try_from(value).map_err(|_| TIMEOUT_NEGATIVE)
}

/// An id in full, or without its sequence number, which is then 0 (Redis `streamParseStrictIDOrReply`).
pub fn entry_id(text: &[u8]) -> Result<EntryId, ReplyError> {
    EntryId::parse(text, 0).ok_or(ReplyError::INVALID_STREAM_ID)
}

/// Parses all arguments as ids.
pub fn entry_ids<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Vec<EntryId>, ReplyError> {
    let mut ids = Vec::with_capacity(args.len());
    for arg in args {
        ids.push(entry_id(arg)?);
    }
    Ok(ids)
}

/// `-`, `+`, `id`, `ms`, or `(id` for an exclusive bound (Redis `streamParseIntervalIDOrReply`).
fn interval_bound(text: &[u8], seq_when_absent: u64) -> Result<(EntryId, bool), ReplyError> {
    let parse = |text| EntryId::parse(text, seq_when_absent).ok_or(ReplyError::INVALID_STREAM_ID);
    match text {
        b"-" => Ok((EntryId::MIN, false)),
        b"+" => Ok((EntryId::MAX, false)),
        [b'(', id @ ..] => Ok((parse(id)?, true)),
        id => Ok((parse(id)?, false)),
    }
}

/// The first id of an interval as an inclusive bound.
pub fn interval_start(text: &[u8]) -> Result<EntryId, ReplyError> {
    match interval_bound(text, 0)? {
        (id, true) => id.next().ok_or(INVALID_START),
        (id, false) => Ok(id),
    }
}

/// The last id of an interval as an inclusive bound.
pub fn interval_end(text: &[u8]) -> Result<EntryId, ReplyError> {
    match interval_bound(text, u64::MAX)? {
        (id, true) => id.previous().ok_or(INVALID_END),
        (id, false) => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_integers_are_integers() {
        let refused: [&[u8]; 12] = [
            b"",
            b"-",
            b"+1",
            b"01",
            b"-0",
            b"-01",
            b" 1",
            b"1 ",
            b"1.0",
            b"0x1",
            b"9223372036854775808",
            b"a",
        ];
        for text in refused {
            assert_eq!(parse_i64(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"-9223372036854775809"), None);
        assert_eq!(parse_i64(b"0"), Some(0));
    }

    proptest! {
        #[test]
        fn integers_are_read_back(value: i64) {
            prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
    }
}
