//! The payload of DUMP: type, value, version (2 bytes, little-endian), CRC-64 of everything before (8 bytes).

use crate::base::crc;
use crate::base::wire::Malformed;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::keyspace::{Text, Value};
use crate::state::rdb::reader::RdbReader;
use crate::state::rdb::writer::RdbWriter;
use crate::state::rdb::{StreamType, TYPE_STRING, VERSION_MAX, VERSION_MIN, stream_reader, stream_writer};
use crate::state::seen::StreamSeen;
use crate::state::stream::idempotency::IdempotencyLimits;
use std::sync::Arc;

const FOOTER_WRONG: ReplyError = ReplyError::new("ERR DUMP payload version or checksum are wrong");
const BAD_DATA: ReplyError = ReplyError::new("ERR Bad data format");

const FOOTER_BYTES: usize = 10;

/// Encodes the value for the oldest server that can read all of it, in a version up to `version_max`. Its
/// consumers were seen as XINFO tells it.
pub fn dump(value: &Value, version_max: u16, seen: StreamSeen<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut writer = RdbWriter::new(&mut payload);
    let version = match value {
        Value::String(text) => {
            writer.u8(TYPE_STRING);
            writer.string(&text.bytes);
            VERSION_MIN
        }
        Value::Stream(stream) => {
            let kind = StreamType::to_write(stream, version_max);
            writer.u8(kind.byte());
            stream_writer::write(&mut writer, stream, kind, seen);
            kind.version()
        }
    };
    seal(&mut payload, version);
    payload
}

/// Appends the footer to type and value.
fn seal(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let sum = crc::crc64(payload);
    payload.extend_from_slice(&sum.to_le_bytes());
}

/// Decodes a payload's value as of `now`. A stream whose payload lacks limits of idempotency gets `limits`.
/// Errors are the replies of RESTORE.
pub fn restore(payload: &[u8], now: TimeMs, limits: IdempotencyLimits) -> Result<Value, ReplyError> {
    let content = open(payload).ok_or(FOOTER_WRONG)?;
    read(content, now, limits).map_err(|_| BAD_DATA)
}

/// The payload without its footer, if the footer is valid.
fn open(payload: &[u8]) -> Option<&[u8]> {
    let content = payload.len().checked_sub(FOOTER_BYTES).map(|len| &payload[..len])?;
    let version = u16::from_le_bytes(payload[content.len()..content.len() + 2].try_into().ok()?);
    let sum = u64::from_le_bytes(payload[content.len() + 2..].try_into().ok()?);
    (version <= VERSION_MAX && sum == crc::crc64(&payload[..content.len() + 2])).then_some(content)
}

/// Reads type and value; error offsets count from the type.
pub fn read(content: &[u8], now: TimeMs, limits: IdempotencyLimits) -> Result<Value, Malformed> {
    let mut reader = RdbReader::new(content);
    let kind = reader.u8()?;
    let value = if kind == TYPE_STRING {
        Value::String(Text::new(&reader.string()?))
    } else {
        let kind = StreamType::of_byte(kind).ok_or(reader.malformed("neither a string nor a stream"))?;
        Value::Stream(Arc::new(stream_reader::read(&mut reader, kind, now, limits)?))
    };
    reader.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::Write;
    use crate::command::value::key::KeyWrite;
    use crate::model::limits::{IDEMPOTENCY_DURATION_S_DEFAULT, IDEMPOTENCY_IDS_DEFAULT};
    use crate::model::log::LogIndex;
    use crate::state::checkpoint;
    use crate::state::effects::Effects;
    use crate::state::key_table::KeySequence;
    use crate::state::machine::Machine;
    use crate::state::op::Op;
    use crate::state::op::random::{pool, random_op};
    use crate::state::testing::Random;
    use proptest::prelude::*;

    const LIMITS: IdempotencyLimits =
        IdempotencyLimits { duration_s: IDEMPOTENCY_DURATION_S_DEFAULT, ids: IDEMPOTENCY_IDS_DEFAULT };
    const NOW: TimeMs = TimeMs(100_000);

    fn image(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        checkpoint::encode_value(value, &mut |piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut payload = content.to_vec();
        seal(&mut payload, 11);
        payload
    }

    fn refused(payload: &[u8]) -> ReplyError {
        restore(payload, NOW, LIMITS).expect_err("it is refused")
    }

    /// The values that random ops leave.
    fn values(seed: u64) -> Vec<Value> {
        let pool = pool();
        let mut random = Random::new(seed);
        let mut machine = Machine::new();
        for index in 1..=60 {
            machine.begin(LogIndex(index), TimeMs(1000 + index * 5));
            for _ in 0..4 {
                let op = random_op(&mut random, &pool);
                let flushes = |write: &Write<'_>| {
                    matches!(
                        write,
                        Write::Key(KeyWrite::FlushAll | KeyWrite::FlushDatabase | KeyWrite::Delete { .. })
                    )
                };
                if !matches!(&op, Op::Write { write, .. } if flushes(write)) {
                    machine.apply(&op, &mut Effects::unwanted());
                }
            }
        }
        let keys = machine.databases().flat_map(|(_, keys)| keys.from_sequence(KeySequence(0)));
        keys.map(|(_, entry)| entry.value.clone()).collect()
    }

    fn check(value: &Value) {
        if let Value::Stream(stream) = value {
            stream.check();
        }
    }

    /// XSETID may set entries-added below what a group has read; RESTORE bounds that.
    fn has_read_too_much(value: &Value) -> bool {
        let Value::Stream(stream) = value else { return false };
        let added = stream.log.entries_added;
        stream.groups.values().any(|group| group.entries_read.is_some_and(|read| read > added))
    }

    /// A payload omits some facts: that a string was appended to; consumer numbers, which are assigned anew
    /// by name; the arrival of idempotent ids. So the test compares the first dump with the dump of the
    /// restored value.
    #[test]
    fn what_is_dumped_is_restored() {
        for seed in 0..150 {
            for value in values(seed) {
                let first = dump(&value, VERSION_MAX, StreamSeen::LOGGED_ONLY);
                let back = restore(&first, NOW, LIMITS).unwrap();
                check(&back);
                if !has_read_too_much(&value) {
                    assert_eq!(dump(&back, VERSION_MAX, StreamSeen::LOGGED_ONLY), first, "seed {seed}");
                }
                let again = restore(&dump(&back, VERSION_MAX, StreamSeen::LOGGED_ONLY), NOW, LIMITS).unwrap();
                assert_eq!(image(&again), image(&back), "seed {seed}");
                if let (Value::Stream(before), Value::Stream(after)) = (&value, &back) {
                    assert_eq!(before.log.len(), after.log.len());
                    assert_eq!(before.log.nodes(), after.log.nodes());
                    assert_eq!(before.log.first_id(), after.log.first_id());
                    assert_eq!(before.log.entries_added, after.log.entries_added);
                    assert_eq!(before.producers.added, after.producers.added);
                    assert!(before.groups.keys().eq(after.groups.keys()));
                    for (before, after) in before.groups.values().zip(after.groups.values()) {
                        assert_eq!(before.pending_len(), after.pending_len());
                        assert_eq!(before.pending_ends(), after.pending_ends());
                    }
                }
                for version in VERSION_MIN..VERSION_MAX {
                    let older = dump(&value, version, StreamSeen::LOGGED_ONLY);
                    check(&restore(&older, NOW, LIMITS).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_damaged_payload_is_refused_or_read_but_never_panics() {
        for seed in 0..12 {
            let mut random = Random::new(seed);
            for value in values(seed) {
                let payload = dump(&value, VERSION_MAX, StreamSeen::LOGGED_ONLY);
                for cut in 0..payload.len() {
                    assert_eq!(refused(&payload[..cut]), FOOTER_WRONG, "a cut payload is refused");
                }
                let content = &payload[..payload.len() - FOOTER_BYTES];
                for cut in 0..content.len() {
                    assert_eq!(refused(&sealed(&content[..cut])), BAD_DATA, "a cut value is refused");
                }
                for _ in 0..200 {
                    let mut damaged = content.to_vec();
                    for _ in 0..=random.below(3) {
                        let at = random.below(damaged.len() as u64) as usize;
                        match random.below(5) {
                            0 => damaged[at] = random.u64() as u8,
                            1 => damaged[at] ^= 1 << random.below(8),
                            2 => damaged[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0x81, 0xc3, 0xff]),
                            3 if damaged.len() > 1 => drop(damaged.remove(at)),
                            _ => damaged.insert(at, random.u64() as u8),
                        }
                    }
                    if let Ok(value) = restore(&sealed(&damaged), NOW, LIMITS) {
                        check(&value);
                        check(
                            &restore(&dump(&value, VERSION_MAX, StreamSeen::LOGGED_ONLY), NOW, LIMITS)
                                .unwrap(),
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn version_and_checksum_are_looked_at_first() {
        let value = Value::String(Text::new(b"text"));
        let good = dump(&value, VERSION_MAX, StreamSeen::LOGGED_ONLY);
        assert_eq!(&good[..8], b"\x00\x04text\x09\x00");
        let mut newer = good[..good.len() - FOOTER_BYTES].to_vec();
        seal(&mut newer, VERSION_MAX + 1);
        assert_eq!(refused(&newer), FOOTER_WRONG);
        let mut changed = good.clone();
        changed[3] ^= 1;
        assert_eq!(refused(&changed), FOOTER_WRONG);
        assert_eq!(refused(b""), FOOTER_WRONG);
        assert_eq!(refused(&sealed(b"")), BAD_DATA);
        assert_eq!(refused(&sealed(b"\x0a\x01")), BAD_DATA);
        assert_eq!(refused(&sealed(b"\x00\x01ab")), BAD_DATA);
    }

    /// Counts and lengths without data behind them.
    #[test]
    fn a_false_length_sizes_nothing() {
        for content in [
            &b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x00\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\x05",
            b"\x00\xc3\x05\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a\xe0\xff\x00",
            b"\x0f\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x0f\x00\x00\x00\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x0f\x00\x00\x00\x00\x01\x01g\x00\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(refused(&sealed(content)), BAD_DATA);
        }
    }

    #[test]
    fn strings_come_in_every_encoding_of_redis() {
        for (content, text) in [
            (&b"\x00\x02hi"[..], "hi"),
            (b"\x00\x40\x02hi", "hi"),
            (b"\x00\x80\x00\x00\x00\x02hi", "hi"),
            (b"\x00\xc0\xf6", "-10"),
            (b"\x00\xc1\x2c\x01", "300"),
            (b"\x00\xc2\x00\x00\x00\x80", "-2147483648"),
            (b"\x00\xc3\x05\x10\x00a\xe0\x06\x00", "aaaaaaaaaaaaaaaa"),
        ] {
            let Ok(Value::String(back)) = restore(&sealed(content), NOW, LIMITS) else { panic!("{text}") };
            assert_eq!(back.bytes, text);
        }
        for text in ["-10", "300", "-2147483648", "2147483648", "007", "", "text"] {
            let payload =
                dump(&Value::String(Text::new(text.as_bytes())), VERSION_MAX, StreamSeen::LOGGED_ONLY);
            let Ok(Value::String(back)) = restore(&payload, NOW, LIMITS) else { panic!("{text}") };
            assert_eq!(back.bytes, text);
        }
    }

    /// Consumer names, and the ids that they claim.
    type Consumers<'c> = &'c [(&'c str, &'c [u64])];

    /// One group with pending entries, and consumers that claim them.
    fn with_consumers(pending: &[u64], consumers: Consumers<'_>) -> Vec<u8> {
        let mut content = b"\x15\x00\x00\x05\x00\x00\x00\x00\x00\x05\x01\x01g\x05\x00\x05".to_vec();
        let id = |ms: u64| [ms.to_be_bytes(), [0; 8]].concat();
        content.push(pending.len() as u8);
        for ms in pending {
            content.extend(id(*ms));
            content.extend(9u64.to_le_bytes());
            content.push(1);
        }
        content.push(consumers.len() as u8);
        for (name, ids) in consumers {
            content.push(name.len() as u8);
            content.extend(name.as_bytes());
            content.extend(7u64.to_le_bytes());
            content.extend(8u64.to_le_bytes());
            content.push(ids.len() as u8);
            ids.iter().for_each(|ms| content.extend(id(*ms)));
        }
        sealed(&content)
    }

    #[test]
    fn a_pending_entry_has_one_consumer() {
        let good = with_consumers(&[1, 2], &[("c", &[1]), ("d", &[2])]);
        check(&restore(&good, NOW, LIMITS).unwrap());
        let bad: [(&[u64], Consumers<'_>); 6] = [
            (&[1], &[("c", &[1]), ("d", &[1])]),
            (&[1], &[("c", &[1, 1])]),
            (&[1, 1], &[("c", &[1])]),
            (&[1], &[("c", &[1]), ("c", &[])]),
            (&[1], &[("c", &[2])]),
            (&[1], &[("c", &[])]),
        ];
        for (pending, consumers) in bad {
            assert_eq!(refused(&with_consumers(pending, consumers)), BAD_DATA, "{pending:?} {consumers:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(content: Vec<u8>, kind in 0usize..6) {
            let kind = [0, 15, 19, 21, 26, 27][kind];
            if let Ok(value) = restore(&sealed(&[&[kind], &content[..]].concat()), NOW, LIMITS) {
                check(&value);
            }
        }
    }
}
