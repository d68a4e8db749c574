//! For the tests of the machine: a machine with a clock to script, and short ways to say what is written.

use crate::command::value::group::*;
use crate::command::value::stream::*;
use crate::command::value::string::*;
use crate::command::value::{Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::entry_id::EntryId;
use crate::model::log::LogIndex;
use crate::model::reply::Reply;
use crate::model::time::TimeMs;
use crate::state::effects::{Effects, EventKind};
use crate::state::machine::Machine;
use crate::state::op::Op;
use crate::state::seen::LoggedOnly;

/// A machine with a clock to script.
pub struct Bench {
    pub machine: Machine,
    pub index: u64,
    pub effects: Effects,
}

impl Bench {
    pub fn new() -> Bench {
        let mut bench = Bench { machine: Machine::new(), index: 0, effects: Effects::wanted() };
        bench.at(1000);
        bench
    }

    pub fn at(&mut self, ms: u64) {
        self.index += 1;
        self.machine.begin(LogIndex(self.index), TimeMs(ms));
    }

    pub fn write(&mut self, write: Write<'_>) -> Reply {
        self.machine.apply(&Op::Write { database: 0, write }, &mut self.effects).into()
    }

    pub fn query(&self, query: Query<'_>) -> Reply {
        self.machine.query(0, self.machine.time(), &query, &LoggedOnly).answer.into()
    }

    pub fn add(&mut self, key: &str, id: NewId, trim: Option<Trim>) -> Reply {
        let fields: OwnedArgs = [&b"a"[..], b"1"].into_iter().collect();
        let fields = ArgList::Args(fields.as_args());
        let key = key.as_bytes();
        self.write(Write::Add(Add { key, make_stream: true, id, trim, idempotency: None, fields }))
    }

    pub fn add_at(&mut self, ms: u64, seq: u64) -> Reply {
        self.add("s", NewId::Explicit(EntryId::new(ms, seq)), None)
    }

    pub fn trim(&mut self, until: TrimUntil, exactness: Exactness, references: References) -> Reply {
        let trim = Trim { until, exactness, references };
        self.write(Write::Stream(StreamWrite::Trim { key: b"s", trim }))
    }

    pub fn len(&self) -> i64 {
        match self.query(Query::Stream(StreamQuery::Length { key: b"s" })) {
            Reply::Integer(len) => len,
            other => panic!("{other:?}"),
        }
    }

    pub fn create(&mut self, group: &str) -> Reply {
        let from = GroupStart::Id(EntryId::MIN);
        self.write(Write::GroupChange(GroupChange::Create {
            key: b"s",
            group: group.as_bytes(),
            from,
            make_stream: false,
            entries_read: None,
        }))
    }

    pub fn read(&mut self, consumer: &str, count: Option<u64>, from: GroupReadFrom) -> Reply {
        let read = GroupRead {
            group: b"g",
            consumer: consumer.as_bytes(),
            limits: ReadLimits { count, ..ReadLimits::default() },
            claim: None,
            no_ack: false,
            streams: vec![(b"s", from)],
        };
        self.write(Write::GroupRead(read))
    }

    pub fn acknowledge(&mut self, ids: &[(u64, u64)]) -> Reply {
        let ids = ids.iter().map(|(ms, seq)| EntryId::new(*ms, *seq)).collect();
        self.write(Write::GroupChange(GroupChange::Acknowledge { key: b"s", group: b"g", ids }))
    }

    pub fn delete(&mut self, ids: &[(u64, u64)]) -> Reply {
        let ids = ids.iter().map(|(ms, seq)| EntryId::new(*ms, *seq)).collect();
        self.write(Write::Stream(StreamWrite::Delete { key: b"s", ids }))
    }

    pub fn events(&mut self) -> Vec<EventKind> {
        self.effects.drain().map(|event| event.kind).collect()
    }

    pub fn set(&mut self, key: &str, value: &str, expiry: Expiry) -> Reply {
        self.write(Write::String(StringWrite::Set(Set {
            key: key.as_bytes(),
            value: value.as_bytes(),
            condition: SetCondition::Always,
            get: false,
            expiry,
        })))
    }

    pub fn get(&self, key: &str) -> Reply {
        self.query(Query::String(StringQuery::Get { key: key.as_bytes() }))
    }

    pub fn version(&self, key: &str) -> u64 {
        self.machine.version(0, self.machine.time(), key.as_bytes()).0
    }
}

/// The ids in a reply of XRANGE, XREADGROUP, XCLAIM.
pub fn ids(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Entries(list) => list.ids().map(|id| id.to_string()).collect(),
        Reply::Streams(streams) => {
            streams.iter().flat_map(|(_, l)| l.ids().map(|id| id.to_string())).collect()
        }
        Reply::Array(replies) => replies.iter().flat_map(ids).collect(),
        Reply::Id(id) => vec![id.to_string()],
        Reply::NilArray => Vec::new(),
        other => panic!("{other:?}"),
    }
}

pub fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(error) => String::from_utf8(error.as_bytes().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub fn field<'r>(reply: &'r Reply, name: &str) -> &'r Reply {
    match reply {
        Reply::Map(fields) => {
            &fields.iter().find(|(field, _)| matches!(field, Reply::Text(text) if *text == name)).unwrap().1
        }
        Reply::Array(replies) => field(&replies[0], name),
        other => panic!("{other:?}"),
    }
}

pub const ROUGHLY: Exactness = Exactness::WholeNodes { limit: None };
