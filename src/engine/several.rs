//! Commands on several partitions that are answered from applied state, and other questions about all
//! partitions.

use crate::base::mix;
use crate::command::value::key::{KeyQuery, KeyWrite, Scan};
use crate::command::value::stream::{Read, StreamQuery};
use crate::command::value::{Data, Query, Write};
use crate::engine::engine::Engine;
use crate::engine::scatter::{self, Merge, Target};
use crate::engine::submission::Outcome;
use crate::engine::upkeep;
use crate::model::log::PartitionId;
use crate::model::request::RequestId;
use crate::state::answer::Answer;
use crate::state::query::Page;

pub(super) fn everywhere(
    engine: &mut Engine,
    request: RequestId,
    database: u32,
    data: &Data<'_>,
) -> Option<Outcome> {
    match data {
        Data::Query(Query::Key(query)) => {
            Some(Outcome::of(request, query_everywhere(engine, database, query)))
        }
        Data::Write(
            write @ Write::Key(KeyWrite::FlushAll | KeyWrite::FlushDatabase | KeyWrite::SwapDatabases { .. }),
        ) => {
            scatter::write_everywhere(engine, database, write, Merge::Same, Target::Request(request));
            engine.take_immediate(request)
        }
        other => panic!("{other:?} concerns keys of one hash slot"),
    }
}

fn query_everywhere(engine: &Engine, database: u32, query: &KeyQuery<'_>) -> Answer {
    let now = engine.now();
    match query {
        KeyQuery::Count => {
            Answer::count(engine.ids().map(|id| engine.partition(id).read().count(database, now)).sum())
        }
        KeyQuery::Matching { pattern } => {
            let found =
                engine.ids().flat_map(|id| engine.partition(id).read().matching(database, now, pattern));
            Answer::Keys(found.collect())
        }
        KeyQuery::Random { chance } => {
            // A partition with more keys is chosen more often, so that keys are equal.
            let counts: Vec<u64> =
                engine.ids().map(|id| engine.partition(id).read().count(database, now) as u64).collect();
            let Some(mut nth) = chance.checked_rem(counts.iter().sum()) else { return Answer::Nil };
            let is_before = |count: &&u64| {
                let is_before = **count <= nth;
                nth = nth.saturating_sub(if is_before { **count } else { 0 });
                is_before
            };
            let first = counts.iter().take_while(is_before).count() as u16;
            let ids = (first..engine.router.partitions()).chain(0..first).map(PartitionId);
            let within = Query::Key(KeyQuery::Random { chance: mix::another(*chance) });
            let mut found = ids.map(|id| engine.partition(id).query(database, now, &within).answer);
            found.find(|answer| *answer != Answer::Nil).unwrap_or(Answer::Nil)
        }
        KeyQuery::Scan(scan) => scan_everywhere(engine, database, scan),
        other => panic!("{other:?} concerns keys of one hash slot"),
    }
}

/// One partition after the other, until one has more or COUNT is reached: the partition is the cursor's
/// remainder, so that cursors stay small.
fn scan_everywhere(engine: &Engine, database: u32, scan: &Scan<'_>) -> Answer {
    let now = engine.now();
    let partitions = u64::from(engine.router.partitions());
    let mut cursor = scan.cursor;
    let mut found = Vec::new();
    loop {
        let (id, inner) = (cursor % partitions, cursor / partitions);
        let part = Scan { cursor: inner, ..*scan };
        let page = engine.partition(PartitionId(id as u16)).read().scan(database, now, &part);
        found.extend(page.keys);
        cursor = match page.next {
            0 if id + 1 == partitions => 0,
            0 => id + 1,
            next => next.saturating_mul(partitions).saturating_add(id),
        };
        if cursor == 0 || page.next != 0 || found.len() as u64 >= scan.count {
            return Answer::Page(Page { next: cursor, keys: found });
        }
    }
}

pub(super) fn per_stream(
    engine: &mut Engine,
    request: RequestId,
    database: u32,
    data: &Data<'_>,
) -> Option<Outcome> {
    match data {
        Data::Query(query @ Query::Stream(StreamQuery::Read(read))) => {
            let mut outcome = Outcome::of(request, read_per_stream(engine, database, read));
            if engine.interest.misses {
                outcome.events = engine.misses(database, query);
                upkeep::delete_due(engine, &outcome.events);
            }
            Some(outcome)
        }
        Data::Write(Write::GroupRead(read)) => {
            scatter::group_read_per_stream(engine, database, read, Target::Request(request));
            engine.take_immediate(request)
        }
        other => panic!("{other:?} does not span hash slots"),
    }
}

/// XREAD over any streams, each from its own partition.
pub(super) fn read_per_stream(engine: &mut Engine, database: u32, read: &Read<'_>) -> Answer {
    let mut found = Vec::new();
    for stream in &read.streams {
        // What is refused is refused, wherever it stands.
        let left = read.limits.after(&found);
        let one = Read { limits: left.unwrap_or(read.limits), streams: vec![*stream], ..*read };
        let query = Query::Stream(StreamQuery::Read(one));
        match engine.query(engine.router.of_key(stream.0), database, &query) {
            Answer::Streams(more) if left.is_some() => found.extend(more),
            error @ Answer::Refused(_) => return error,
            _ => {}
        }
    }
    if found.is_empty() { Answer::NilArray } else { Answer::Streams(found) }
}
