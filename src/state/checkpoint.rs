//! The machine's checkpoint codec. It is exact: equal states have equal bytes, even after a round trip.
//!
//! Format: version (u8), applied index, time, count of changes, node limits, limits of idempotency, databases
//! in order; each with its keys in order of creation; deletion versions (since format 2). The room that
//! stores the image adds a checksum; bytes that do not decode are refused.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::model::log::LogIndex;
use crate::model::time::TimeMs;
use crate::state::deletion_versions::DeletionVersions;
use crate::state::image::{self, MachineImage};
use crate::state::key_table::KeySequence;
use crate::state::keyspace::{KeyEntry, KeyVersion, Keyspace, Text, Value};
use crate::state::machine::Machine;
use crate::state::stream::Stream;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::log::NodeLimits;
use std::sync::Arc;

const FORMAT: u8 = 2;

/// The format without deletion versions; still readable.
const FORMAT_BEFORE: u8 = 1;

/// Approximate bytes per piece.
const PIECE_BYTES: usize = 64 * 1024;

const STRING: u8 = 0;
const STRING_APPENDED: u8 = 1;
const STREAM: u8 = 2;

/// Encodes a machine in pieces.
pub fn encode(machine: &MachineImage, out: &mut dyn FnMut(&[u8])) {
    let mut pieces = Pieces { buffer: Vec::with_capacity(PIECE_BYTES * 2), out };
    let mut writer = Writer::new(&mut pieces.buffer);
    writer.u8(FORMAT);
    writer.u64(machine.applied.0);
    writer.u64(machine.time.0);
    writer.u64(machine.changes);
    writer.u32(machine.limits.entries);
    writer.u32(machine.limits.bytes);
    writer.u32(machine.idempotency.duration_s);
    writer.u32(machine.idempotency.ids);
    writer.varint(machine.databases.len() as u64);
    for (database, keys) in &machine.databases {
        let mut writer = Writer::new(&mut pieces.buffer);
        writer.u32(*database);
        writer.varint(keys.next_sequence().0);
        writer.varint(keys.len() as u64);
        for (key, entry) in keys.keys() {
            encode_key(key, entry, &mut pieces);
        }
    }
    machine.deletions.encode(&mut Writer::new(&mut pieces.buffer));
    pieces.flush();
}

struct Pieces<'o> {
    buffer: Vec<u8>,
    out: &'o mut dyn FnMut(&[u8]),
}

impl Pieces<'_> {
    fn flush_if_full(&mut self) {
        if self.buffer.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        (self.out)(&self.buffer);
        self.buffer.clear();
    }
}

fn encode_key(key: &[u8], entry: &KeyEntry, pieces: &mut Pieces<'_>) {
    let mut writer = Writer::new(&mut pieces.buffer);
    writer.bytes(key);
    writer.varint(entry.sequence().0);
    writer.varint(entry.version.0);
    writer.option(entry.expires_at(), |writer, at| writer.varint(at.0));
    encode_value_into(&entry.value, pieces);
    pieces.flush_if_full();
}

/// Encodes a single value in pieces.
pub fn encode_value(value: &Value, out: &mut dyn FnMut(&[u8])) {
    let mut pieces = Pieces { buffer: Vec::new(), out };
    encode_value_into(value, &mut pieces);
    pieces.flush();
}

fn encode_value_into(value: &Value, pieces: &mut Pieces<'_>) {
    let mut writer = Writer::new(&mut pieces.buffer);
    match value {
        Value::String(text) => {
            writer.u8(if text.appended { STRING_APPENDED } else { STRING });
            writer.bytes(&text.bytes);
        }
        Value::Stream(stream) => {
            writer.u8(STREAM);
            encode_stream(stream, pieces);
        }
    }
}

fn encode_stream(stream: &Stream, pieces: &mut Pieces<'_>) {
    stream.log.encode_head(&mut Writer::new(&mut pieces.buffer));
    for node in stream.log.each_node() {
        node.encode(&mut Writer::new(&mut pieces.buffer));
        pieces.flush_if_full();
    }
    Writer::new(&mut pieces.buffer).varint(stream.groups.len() as u64);
    for (name, group) in stream.groups.iter() {
        let mut writer = Writer::new(&mut pieces.buffer);
        writer.bytes(name);
        group.encode(&mut writer);
        pieces.flush_if_full();
    }
    stream.producers.encode(&mut Writer::new(&mut pieces.buffer));
}

/// Decodes a machine; refuses bytes that no machine has written.
pub fn decode(bytes: &[u8]) -> Result<Machine, Malformed> {
    decode_noting(bytes, &mut |_| {})
}

/// The same; `note` is given the bytes of each key.
pub fn decode_noting(bytes: &[u8], note: &mut dyn FnMut(usize)) -> Result<Machine, Malformed> {
    let mut reader = Reader::new(bytes);
    let format = reader.u8()?;
    if ![FORMAT, FORMAT_BEFORE].contains(&format) {
        return Err(Malformed { offset: 0, what: "checkpoint of an unknown format" });
    }
    let mut machine = Machine {
        applied: LogIndex(reader.u64()?),
        time: TimeMs(reader.u64()?),
        changes: reader.u64()?,
        limits: NodeLimits { entries: reader.u32()?, bytes: reader.u32()? },
        idempotency: IdempotencyLimits { duration_s: reader.u32()?, ids: reader.u32()? },
        ..Machine::new()
    };
    if !machine.idempotency.are_valid() {
        return Err(reader.malformed("impossible limits of idempotent ids"));
    }
    for _ in 0..reader.count()? {
        let database = reader.u32()?;
        if machine.databases.last_key_value().is_some_and(|(last, _)| *last >= database) {
            return Err(reader.malformed("databases are not in order"));
        }
        let keys = decode_keys(&mut reader, &machine, note)?;
        machine.databases.insert(database, keys);
    }
    if format == FORMAT {
        machine.deletions = DeletionVersions::decode(&mut reader, machine.changes)?;
    }
    reader.finish()?;
    image::remember(&mut machine);
    Ok(machine)
}

fn decode_keys(
    reader: &mut Reader<'_>,
    machine: &Machine,
    note: &mut dyn FnMut(usize),
) -> Result<Keyspace, Malformed> {
    let next = KeySequence(reader.varint()?);
    let mut keys = Keyspace::default();
    keys.begin(machine.applied);
    for _ in 0..reader.count()? {
        let left = reader.remaining();
        let key = reader.bytes()?;
        let sequence = KeySequence(reader.varint()?);
        if sequence < keys.next_sequence() || sequence >= next {
            return Err(reader.malformed("keys are not in order"));
        }
        let version = KeyVersion(reader.varint()?);
        if version.0 == 0 || version.0 > machine.changes {
            return Err(reader.malformed("version of a key that was never given"));
        }
        let deadline = reader.option(|reader| Ok(TimeMs(reader.varint()?)))?;
        let value = match reader.u8()? {
            STRING => Value::String(Text::new(reader.bytes()?)),
            STRING_APPENDED => Value::String(Text { appended: true, ..Text::new(reader.bytes()?) }),
            STREAM => Value::Stream(Arc::new(Stream::decode(reader)?)),
            _ => return Err(reader.malformed("unknown kind of value")),
        };
        if keys.get_due_too(key).is_some() {
            return Err(reader.malformed("a key comes twice"));
        }
        keys.restore(key, sequence, version, value);
        keys.set_deadline(key, deadline);
        note(left - reader.remaining());
    }
    keys.restore_next_sequence(next);
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(machine: &Machine) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&MachineImage::of(machine), &mut |piece| bytes.extend_from_slice(piece));
        bytes
    }

    #[test]
    fn the_format_before_is_still_read() {
        let now = bytes_of(&Machine::new());
        let mut before = now.clone();
        before[0] = FORMAT_BEFORE;
        assert_eq!(before.pop(), Some(0), "no removals");
        assert_eq!(bytes_of(&decode(&before).unwrap()), now);
        before[0] = FORMAT;
        assert!(decode(&before).is_err());
        before[0] = FORMAT + 1;
        assert!(decode(&before).is_err());
    }
}
