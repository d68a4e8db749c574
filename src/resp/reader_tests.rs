use super::*;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as reference_decode;
use redis_protocol::resp2::types::OwnedFrame;

type Request = Vec<Vec<u8>>;

/// Feeds `bytes` in `pieces` (lengths; the rest at the end). Returns all requests, and the error if any.
fn read(bytes: &[u8], pieces: &[usize], limits: &RequestLimits) -> (Vec<Request>, Option<ProtocolError>) {
    let mut reader = RequestReader::new();
    let (mut requests, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter();
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
            assert!(reader.memory() <= 2 * (SPANS_KEPT * 8 + INLINE_KEPT) + 8 * end);
        }
        if end == bytes.len() {
            return (requests, None);
        }
    }
}

fn read_whole(bytes: &[u8]) -> (Vec<Request>, Option<ProtocolError>) {
    read(bytes, &[], &RequestLimits::default())
}

fn encode(request: &Request) -> Vec<u8> {
    let mut out = format!("*{}\r\n", request.len()).into_bytes();
    for arg in request {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend(arg);
        out.extend(b"\r\n");
    }
    out
}

fn error_of(bytes: &[u8]) -> String {
    read_whole(bytes).1.expect("an error").to_string().replace("Protocol error: ", "")
}

#[test]
fn errors_have_the_texts_of_redis() {
    for (bytes, text) in [
        (&b"*a\r\n"[..], "invalid multibulk length"),
        (b"*+5\r\n", "invalid multibulk length"),
        (b"* 5\r\n", "invalid multibulk length"),
        (b"*05\r\n", "invalid multibulk length"),
        (b"*-0\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*18446744073709551616\r\n", "invalid multibulk length"),
        (b"*1\rx$1\r\na\r\n", "invalid multibulk length"),
        (b"*1\r\n!1\r\na\r\n", "expected '$', got '!'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$1\r\nabc", "invalid bulk length"),
        (b"SET \"a\r\n", "unbalanced quotes in request"),
        (b"SET 'a'b\r\n", "unbalanced quotes in request"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "this port does not speak TLS"),
    ] {
        assert_eq!(error_of(bytes), text, "{}", bytes.escape_ascii());
    }
    let long = "1".repeat(70_000);
    assert_eq!(error_of(format!("*{long}").as_bytes()), "too big mbulk count string");
    assert_eq!(error_of(format!("*1\r\n${long}").as_bytes()), "too big bulk count string");
    assert_eq!(error_of(long.as_bytes()), "too big inline request");
    assert_eq!(
        ProtocolError::MultibulkLength.reply(),
        Some(ReplyError::new("ERR Protocol error: invalid multibulk length"))
    );
}

#[test]
fn bounds_are_tighter_before_authentication() {
    let limits = RequestLimits { authenticated: false, ..Default::default() };
    let error = |bytes: &[u8]| read(bytes, &[], &limits).1;
    assert_eq!(error(b"*11\r\n"), Some(ProtocolError::UnauthenticatedMultibulkLength));
    assert_eq!(error(b"*10\r\n"), None);
    assert_eq!(error(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulkLength));
    assert_eq!(error(b"*1\r\n$16384\r\n"), None);
}

#[test]
fn a_request_over_the_query_buffer_limit_is_refused_before_it_arrives() {
    let limits = RequestLimits { query_buffer_bytes_max: 100, ..Default::default() };
    assert_eq!(read(b"*1\r\n$101\r\n", &[], &limits).1, Some(ProtocolError::QueryBufferFull));
    assert_eq!(read("a".repeat(101).as_bytes(), &[], &limits).1, Some(ProtocolError::QueryBufferFull));
    assert_eq!(ProtocolError::QueryBufferFull.reply(), None);
}

#[test]
fn p4_requests_without_arguments_leave_nothing_behind() {
    let (requests, error) = read_whole(b"*0\r\n*-1\r\n\r\n\n   \r\n*1\r\n$4\r\nPING\r\nPING\r\n");
    assert_eq!((requests, error), (vec![vec![b"PING".to_vec()]; 2], None));
}

#[test]
fn inline_requests_are_split_as_redis_does() {
    let line = br#"  set "a b\n\x41\xzz" 'c\'d\n'  e"f" ""  g"#;
    let (requests, error) = read_whole(&[&line[..], b"\r\n"].concat());
    let expected: Request =
        [&b"set"[..], b"a b\nAxzz", b"c'd\\n", b"ef", b"", b"g"].iter().map(|arg| arg.to_vec()).collect();
    assert_eq!((requests, error), (vec![expected], None));
}

#[test]
fn an_argument_in_pieces_is_not_scanned_again() {
    let bytes = encode(&vec![b"SET".to_vec(), b"key".to_vec(), vec![b'x'; 1 << 20]]);
    let mut reader = RequestReader::new();
    for end in (1024..bytes.len()).step_by(1024) {
        assert!(matches!(reader.next(&bytes[..end], &RequestLimits::default()), Ok(Progress::Incomplete)));
        assert_eq!(reader.wanted(), bytes.len());
    }
    let Ok(Progress::Request { args, .. }) = reader.next(&bytes, &RequestLimits::default()) else { panic!() };
    assert_eq!(args.len(), 3);
    assert!(reader.steps < 2000, "{} steps", reader.steps);

    let mut reader = RequestReader::new();
    let line = vec![b'a'; limits::INLINE_BYTES_MAX];
    for end in 1..line.len() {
        assert!(matches!(reader.next(&line[..end], &RequestLimits::default()), Ok(Progress::Incomplete)));
    }
    assert!(reader.steps <= line.len(), "{} steps", reader.steps);
}

#[test]
fn numbers_are_read_as_string2ll_does() {
    for (text, value) in [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("-9223372036854775809", None),
        ("", None),
        ("-", None),
        ("-0", None),
        ("00", None),
        ("+1", None),
        ("1 ", None),
    ] {
        assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
    }
}

#[test]
fn cross_protocol_requests_are_known() {
    assert!(is_cross_protocol(b"POST") && is_cross_protocol(b"host:"));
    assert!(!is_cross_protocol(b"HOST") && !is_cross_protocol(b"PING"));
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

/// Properties that hold for any bytes.
fn check(bytes: &[u8], pieces: &[usize]) {
    let limits = RequestLimits::default();
    let whole = read(bytes, &[], &limits);
    assert_eq!(read(bytes, pieces, &limits), whole, "{}", bytes.escape_ascii());
    let unauthenticated = RequestLimits { authenticated: false, ..limits };
    assert_eq!(read(bytes, pieces, &unauthenticated), read(bytes, &[], &unauthenticated));
    // The reference agrees on a first multibulk request.
    if bytes.first() == Some(&b'*')
        && let Ok(Progress::Request { args, consumed }) = RequestReader::new().next(bytes, &limits)
    {
        let (expected, expected_consumed) = reference(bytes).expect("the reference reads it");
        assert_eq!(args.iter().collect::<Vec<_>>(), expected);
        assert_eq!(consumed, expected_consumed);
    }
}

/// Bytes that reach deep into the reader, or are valid.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &[&[u8]] = &[
        b"\r\n", b"*1\r\n", b"*2\r\n", b"$1\r\n", b"$0\r\n", b"$3\r\n", b"a", b"abc", b"\"", b"'", b"\\x4",
        b"*", b"$", b"-", b"0", b"\r", b"\n", b"\0", b" ",
    ];
    let token = proptest::sample::select(tokens.to_vec());
    prop_oneof![
        proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat()),
        proptest::collection::vec(any::<u8>(), 0..64),
        proptest::collection::vec(requests(), 0..4).prop_map(|r| r.iter().flat_map(encode).collect()),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_split_yields_what_the_reference_reads(bytes in noise(), pieces in proptest::collection::vec(0usize..9, 0..40)) {
        check(&bytes, &pieces);
    }

    #[test]
    fn what_was_written_is_read(list in proptest::collection::vec(requests(), 0..6), pieces in proptest::collection::vec(1usize..30, 0..30)) {
        let bytes: Vec<u8> = list.iter().flat_map(encode).collect();
        prop_assert_eq!(read(&bytes, &pieces, &RequestLimits::default()), (list, None));
    }
}
