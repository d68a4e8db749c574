//! Answers of the machine as replies: what a client reads of them. The rooms below know no replies.

use crate::engine::submission::EngineAnswer;
use crate::model::entries::EntryList;
use crate::model::reply::Reply;
use crate::state::answer::{
    Answer, AutoClaimed, ConsumerDetail, ConsumerInfo, Delivered, GroupDetail, GroupInfo, PendingRow,
    PendingSummary, StreamDetail, StreamInfo,
};
use crate::state::query::Page;

impl EngineAnswer {
    /// The reply of a command on keys, or of a transaction.
    pub fn into_reply(self) -> Reply {
        self.of_machine().into()
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        match answer {
            Answer::Done => Reply::OK,
            Answer::Integer(value) => Reply::Integer(value),
            Answer::Integers(values) => array(values, Reply::Integer),
            Answer::Nil => Reply::Nil,
            Answer::NilArray | Answer::Aborted => Reply::NilArray,
            Answer::Bulk(bytes) => Reply::Bulk(bytes),
            Answer::Bulks(values) => array(values, |value| value.map_or(Reply::Nil, Reply::Bulk)),
            Answer::TypeName(name) => Reply::Status(name.into()),
            Answer::Encoding(name) => Reply::Text(name),
            Answer::Id(id) => Reply::Id(id),
            Answer::Ids(ids) => array(ids, Reply::Id),
            Answer::Keys(keys) => array(keys, Reply::Bulk),
            Answer::Page(Page { next, keys }) => {
                Reply::Array(vec![Reply::bulk(next.to_string()), array(keys, Reply::Bulk)])
            }
            Answer::Entries(list) => Reply::Entries(list),
            Answer::Streams(streams) => Reply::Streams(streams),
            Answer::AutoClaimed(outcome) => {
                let AutoClaimed { cursor, claimed, deleted } = *outcome;
                let claimed = Answer::from(claimed).into();
                Reply::Array(vec![Reply::Id(cursor), claimed, array(deleted, Reply::Id)])
            }
            Answer::PendingSummary(None) => {
                Reply::Array(vec![Reply::Integer(0), Reply::Nil, Reply::Nil, Reply::NilArray])
            }
            Answer::PendingSummary(Some(summary)) => {
                let PendingSummary { count, first, last, consumers } = *summary;
                let consumers = array(consumers, |(name, count)| {
                    Reply::Array(vec![Reply::Bulk(name), Reply::bulk(count.to_string())])
                });
                Reply::Array(vec![Reply::count(count), Reply::Id(first), Reply::Id(last), consumers])
            }
            Answer::PendingRows(rows) => array(rows, |PendingRow { id, owner, idle_ms, deliveries }| {
                let idle = Reply::Integer(idle_ms);
                Reply::Array(vec![Reply::Id(id), Reply::Bulk(owner), idle, number(deliveries)])
            }),
            Answer::StreamInfo(info) => stream_info(*info),
            Answer::Groups(groups) => array(groups, group_info),
            Answer::Consumers(consumers) => array(consumers, consumer_info),
            Answer::Transaction(answers) => array(answers, Reply::from),
            Answer::Refused(error) => Reply::Error(error),
        }
    }
}

fn array<T>(items: Vec<T>, reply: impl FnMut(T) -> Reply) -> Reply {
    Reply::Array(items.into_iter().map(reply).collect())
}

fn number(value: u64) -> Reply {
    Reply::Integer(value as i64)
}

fn known(value: Option<i64>) -> Reply {
    value.map_or(Reply::Nil, Reply::Integer)
}

/// Fields and their order as in Redis 8.6.
fn stream_info(info: StreamInfo) -> Reply {
    let mut fields = vec![
        (Reply::Text("length"), number(info.length)),
        // The radix tree of Redis has a key per node, and one node more than keys while it is small.
        (Reply::Text("radix-tree-keys"), Reply::count(info.nodes)),
        (Reply::Text("radix-tree-nodes"), Reply::count(info.nodes + 1)),
        (Reply::Text("last-generated-id"), Reply::Id(info.last_id)),
        (Reply::Text("max-deleted-entry-id"), Reply::Id(info.max_deleted_id)),
        (Reply::Text("entries-added"), number(info.entries_added)),
        (Reply::Text("recorded-first-entry-id"), Reply::Id(info.first_id)),
        (Reply::Text("idmp-duration"), Reply::Integer(i64::from(info.limits.duration_s))),
        (Reply::Text("idmp-maxsize"), Reply::Integer(i64::from(info.limits.ids))),
        (Reply::Text("pids-tracked"), Reply::count(info.producers_tracked)),
        (Reply::Text("iids-tracked"), Reply::count(info.ids_tracked)),
        (Reply::Text("iids-added"), number(info.ids_added)),
        (Reply::Text("iids-duplicates"), number(info.duplicates)),
    ];
    match info.detail {
        StreamDetail::Brief { groups, first, last } => {
            fields.push((Reply::Text("groups"), Reply::count(groups)));
            fields.push((Reply::Text("first-entry"), one_entry(&first)));
            fields.push((Reply::Text("last-entry"), one_entry(&last)));
        }
        StreamDetail::Full { entries, groups } => {
            fields.push((Reply::Text("entries"), Reply::Entries(Box::new(entries))));
            fields.push((Reply::Text("groups"), array(groups, group_detail)));
        }
    }
    Reply::Map(fields)
}

/// `[id, [field, value …]]`, not in a list of entries.
fn one_entry(list: &EntryList) -> Reply {
    let Some((id, Some(body))) = list.iter().next() else { return Reply::Nil };
    Reply::Array(vec![Reply::Id(id), Reply::Array(body.map(Reply::bulk).collect())])
}

fn group_info(group: GroupInfo) -> Reply {
    Reply::Map(vec![
        (Reply::Text("name"), Reply::Bulk(group.name)),
        (Reply::Text("consumers"), Reply::count(group.consumers)),
        (Reply::Text("pending"), Reply::count(group.pending)),
        (Reply::Text("last-delivered-id"), Reply::Id(group.last_id)),
        (Reply::Text("entries-read"), group.entries_read.map_or(Reply::Nil, number)),
        (Reply::Text("lag"), known(group.lag)),
    ])
}

fn consumer_info(consumer: ConsumerInfo) -> Reply {
    Reply::Map(vec![
        (Reply::Text("name"), Reply::Bulk(consumer.name)),
        (Reply::Text("pending"), Reply::count(consumer.pending)),
        (Reply::Text("idle"), number(consumer.idle_ms)),
        (Reply::Text("inactive"), consumer.inactive_ms.map_or(Reply::Integer(-1), number)),
    ])
}

fn group_detail(group: GroupDetail) -> Reply {
    let pending = array(group.pending, |(owner, Delivered { id, at, deliveries })| {
        Reply::Array(vec![Reply::Id(id), Reply::Bulk(owner), number(at.0), number(deliveries)])
    });
    Reply::Map(vec![
        (Reply::Text("name"), Reply::Bulk(group.name)),
        (Reply::Text("last-delivered-id"), Reply::Id(group.last_id)),
        (Reply::Text("entries-read"), group.entries_read.map_or(Reply::Nil, number)),
        (Reply::Text("lag"), known(group.lag)),
        (Reply::Text("pel-count"), Reply::count(group.pending_len)),
        (Reply::Text("nacked-count"), Reply::count(group.nacked_len)),
        (Reply::Text("pending"), pending),
        (Reply::Text("consumers"), array(group.consumers, consumer_detail)),
    ])
}

fn consumer_detail(consumer: ConsumerDetail) -> Reply {
    let pending = array(consumer.pending, |Delivered { id, at, deliveries }| {
        Reply::Array(vec![Reply::Id(id), number(at.0), number(deliveries)])
    });
    Reply::Map(vec![
        (Reply::Text("name"), Reply::Bulk(consumer.name)),
        (Reply::Text("seen-time"), number(consumer.seen_at.0)),
        (Reply::Text("active-time"), consumer.active_at.map_or(Reply::Integer(-1), |at| number(at.0))),
        (Reply::Text("pel-count"), Reply::count(consumer.pending_len)),
        (Reply::Text("pending"), pending),
    ])
}
