//! The request reader: any split of the bytes yields the same requests, and redis-protocol agrees with it.

use crate::engine::{Subject, outcome};
use headwater::resp::reader::{Progress, ProtocolError, RequestLimits, RequestReader};
use redis_protocol::resp2::decode::decode as reference_decode;
use redis_protocol::resp2::types::OwnedFrame;

type Request = Vec<Vec<u8>>;

/// Feeds the bytes in pieces of these lengths, the rest at the end. Returns all requests, and the error if
/// any.
fn read(
    bytes: &[u8],
    pieces: impl IntoIterator<Item = usize>,
    limits: &RequestLimits,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut reader = RequestReader::new();
    let (mut requests, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.into_iter();
    loop {
        end = pieces.next().map_or(bytes.len(), |piece| (end + piece).min(bytes.len()));
        loop {
            match reader.next(&bytes[start..end], limits) {
                Ok(Progress::Request { args, consumed }) => {
                    assert!(consumed > 0 && !args.is_empty());
                    requests.push(args.iter().map(<[u8]>::to_vec).collect());
                    start += consumed;
                }
                Ok(Progress::Empty { consumed }) => start += consumed,
                Ok(Progress::Incomplete) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
        // A reader holds a small multiple of the received bytes.
        assert!(reader.memory() <= 32 * 1024 + 16 * end, "{} bytes held for {end}", reader.memory());
        if end == bytes.len() {
            return (requests, None);
        }
    }
}

/// A request as redis-protocol reads it; `None` for anything but an array of bulk strings.
fn reference(bytes: &[u8]) -> Option<(Request, usize)> {
    let (OwnedFrame::Array(frames), consumed) = reference_decode(bytes).ok()?? else { return None };
    let args: Option<Request> = frames
        .into_iter()
        .map(|frame| match frame {
            OwnedFrame::BulkString(arg) => Some(arg),
            _ => None,
        })
        .collect();
    Some((args?, consumed))
}

fn check(bytes: &[u8]) -> u64 {
    let limits = RequestLimits::default();
    let whole = read(bytes, [], &limits);
    let size = 1 + bytes.len() % 7;
    assert_eq!(read(bytes, std::iter::repeat_n(size, bytes.len()), &limits), whole);
    assert_eq!(read(bytes, [bytes.len() / 2], &limits), whole);
    let unauthenticated = RequestLimits { authenticated: false, ..limits };
    let tight = read(bytes, [], &unauthenticated);
    assert_eq!(read(bytes, std::iter::repeat_n(1, bytes.len()), &unauthenticated), tight);
    // The reference agrees on a first multibulk request.
    if bytes.first() == Some(&b'*')
        && let Ok(Progress::Request { args, consumed }) = RequestReader::new().next(bytes, &limits)
    {
        let (expected, expected_consumed) = reference(bytes).expect("the reference reads it");
        assert_eq!(args.iter().collect::<Vec<_>>(), expected);
        assert_eq!(consumed, expected_consumed);
    }
    let shape = whole.0.iter().map(Vec::len).take(4).collect::<Vec<_>>();
    outcome((whole.0.len().min(8), shape, format!("{:?}{:?}", whole.1, tight.1)))
}

#[test]
fn requests() {
    let tokens: &[&[u8]] = &[
        b"\r\n",
        b"*1\r\n",
        b"*2\r\n$1\r\na\r\n",
        b"$1\r\n",
        b"$0\r\n\r\n",
        b"$3\r\nabc\r\n",
        b"\"",
        b"'",
        b"\\x4",
        b"*",
        b"$",
        b"-",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b"\x16\x03",
    ];
    Subject { name: "requests", seeds: Vec::new(), tokens, check: &check }.run();
}
