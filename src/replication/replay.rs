//! Applies committed entries to a machine without a waiting client: at recovery, and in tests.

use crate::base::wire::Malformed;
use crate::model::log::LogIndex;
use crate::state::machine::Machine;

/// Applies the entry at `index`, which must be the next one, and serves the blocked reads that it carries.
pub fn apply(machine: &mut Machine, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
    machine.apply_entry(index, entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::Query;
    use crate::command::value::Write;
    use crate::command::value::group::{
        GroupChange, GroupRead, GroupReadFrom, GroupStart, PendingQuery, PendingRange,
    };
    use crate::command::value::stream::{Add, NewId, ReadLimits};
    use crate::model::args::ArgList;
    use crate::model::entry_id::EntryId;
    use crate::model::time::TimeMs;
    use crate::state::answer::Answer;
    use crate::state::op::Op;
    use crate::state::op::batch::{BatchWriter, CarriedRead};
    use crate::state::seen::LoggedOnly;

    #[test]
    fn the_blocked_reads_of_an_entry_are_served_again() {
        let (key, group) = (&b"s"[..], &b"g"[..]);
        let create = Write::GroupChange(GroupChange::Create {
            key,
            group,
            from: GroupStart::Id(EntryId::MIN),
            make_stream: true,
            entries_read: None,
        });
        let fields = ArgList::Packed { count: 2, bytes: b"\x01a\x01b" };
        let id = NewId::Explicit(EntryId::new(5, 0));
        let add = Write::Add(Add { key, make_stream: true, id, trim: None, idempotency: None, fields });
        let read = GroupRead {
            group,
            consumer: b"c",
            limits: ReadLimits::default(),
            claim: None,
            no_ack: false,
            streams: vec![(key, GroupReadFrom::New)],
        };
        let mut batch = BatchWriter::default();
        batch.push_write(0, &create);
        batch.push_write(0, &add);
        let encoded = BatchWriter::encode_blocked(0, &read);
        let carried = |looks| CarriedRead { encoded: &encoded, looks };
        let owner_of = |entries: &[&[u8]]| {
            let mut machine = Machine::new();
            for (index, entry) in (1..).zip(entries) {
                apply(&mut machine, LogIndex(index), entry).unwrap();
            }
            let pending = Query::Pending(PendingQuery { key, group, range: None });
            match machine.query(0, TimeMs(1), &pending, &LoggedOnly).answer {
                Answer::PendingSummary(Some(summary)) => Some(summary.consumers[0].0.to_vec()),
                _ => None,
            }
        };
        let mut both = batch.clone();
        both.seal(TimeMs(1), [carried(false)].into_iter());
        assert_eq!(owner_of(&[both.as_bytes()]), Some(b"c".to_vec()));
        // By itself, in an entry behind.
        batch.seal(TimeMs(1), std::iter::empty());
        let alone = |looks| {
            let mut alone = BatchWriter::default();
            alone.seal(TimeMs(1), [carried(looks)].into_iter());
            alone
        };
        assert_eq!(owner_of(&[batch.as_bytes(), alone(true).as_bytes()]), Some(b"c".to_vec()));
        assert_eq!(owner_of(&[batch.as_bytes(), alone(false).as_bytes()]), None);
    }

    /// A log of before blocked reads were carried alone: a read is an op, and blocked for the rest of its
    /// entry.
    #[test]
    fn a_blocking_read_among_the_ops_is_served_again() {
        let (key, group) = (&b"s"[..], &b"g"[..]);
        let from = GroupStart::Id(EntryId::MIN);
        let create = GroupChange::Create { key, group, from, make_stream: true, entries_read: None };
        let fields = ArgList::Packed { count: 2, bytes: b"\x01a\x01b" };
        let add = |ms| {
            let id = NewId::Explicit(EntryId::new(ms, 0));
            Write::Add(Add { key, make_stream: true, id, trim: None, idempotency: None, fields })
        };
        let read = |consumer| GroupRead {
            group,
            consumer,
            limits: ReadLimits { count: Some(1), ..ReadLimits::default() },
            claim: None,
            no_ack: false,
            streams: vec![(key, GroupReadFrom::New)],
        };
        let mut first = BatchWriter::default();
        first.push_write(0, &Write::GroupChange(create));
        first.push_write(0, &add(1));
        first.seal(TimeMs(1), std::iter::empty());
        // The carried read comes before the op, which waits for the second entry.
        let mut second = BatchWriter::default();
        second.push(&Op::BlockingRead { database: 0, read: read(b"later") });
        second.push_write(0, &add(2));
        let earlier = BatchWriter::encode_blocked(0, &read(b"earlier"));
        second.seal(TimeMs(1), [CarriedRead { encoded: &earlier, looks: false }].into_iter());
        let mut machine = Machine::new();
        apply(&mut machine, LogIndex(1), first.as_bytes()).unwrap();
        apply(&mut machine, LogIndex(2), second.as_bytes()).unwrap();
        let range =
            PendingRange { min_idle_ms: 0, start: EntryId::MIN, end: EntryId::MAX, count: 9, consumer: None };
        let pending = Query::Pending(PendingQuery { key, group, range: Some(range) });
        let Answer::PendingRows(rows) = machine.query(0, TimeMs(1), &pending, &LoggedOnly).answer else {
            panic!("there are rows");
        };
        let owners: Vec<&[u8]> = rows.iter().map(|row| &row.owner[..]).collect();
        assert_eq!(owners, [&b"earlier"[..], b"later"]);
    }
}
