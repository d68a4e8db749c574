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
    use crate::command::value::group::{GroupChange, GroupRead, GroupReadFrom, GroupStart, PendingQuery};
    use crate::command::value::stream::{Add, NewId, ReadLimits};
    use crate::model::args::ArgList;
    use crate::model::entry_id::EntryId;
    use crate::model::time::TimeMs;
    use crate::state::answer::Answer;
    use crate::state::op::batch::BatchWriter;

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
        let read = BatchWriter::encode_blocked(0, &read);
        batch.seal(TimeMs(1), [&read[..]].into_iter());

        let mut machine = Machine::new();
        apply(&mut machine, LogIndex(1), batch.as_bytes()).unwrap();
        let pending = Query::Pending(PendingQuery { key, group, range: None });
        match machine.query(0, TimeMs(1), &pending).answer {
            Answer::PendingSummary(Some(summary)) => assert_eq!(summary.first, EntryId::new(5, 0)),
            other => panic!("the entry was delivered, but there is {other:?}"),
        }
    }
}
