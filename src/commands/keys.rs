//! Commands on keys: submission to one partition or several.

use crate::command::value::key::{KeyQuery, KeyWrite};
use crate::command::value::key_scope::KeyScope;
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::stream::StreamQuery;
use crate::command::value::string::StringQuery;
use crate::command::value::{Data, Query, Write};
use crate::engine::submission::{Position, Work};
use crate::frontend::frontend::Frontend;
use crate::frontend::response::{Response, Why};
use crate::model::limits::QUEUED_READ_BYTES_MAX;
use crate::model::log::PartitionId;
use crate::model::reply::{Reply, ReplyError};
use crate::net::connection::Connection;
use crate::push::invalidation::remembered;
use crate::resp::rope::SHARED_BYTES_MIN;
use crate::resp::writer::Protocol;
use crate::session::pending::{Completion, Pending};
use crate::state::machine::Machine;
use crate::state::rdb::payload;

/// Executes a command on keys. A query is answered at once if nothing of this connection is in flight;
/// otherwise it is queued.
pub fn execute(frontend: &Frontend, connection: &Connection, data: &mut Data<'_>) -> Response<'static> {
    let (database, protocol) = {
        let session = connection.session.borrow();
        (session.database, session.protocol)
    };
    if let Err(error) = complete(frontend, data, protocol) {
        return Reply::Error(error).into();
    }
    let is_drained = connection.is_drained();
    let work = match route(frontend, data) {
        Err(error) => return Reply::Error(error).into(),
        Ok(Route::One(partition)) => {
            connection.activity.last_partition.set(partition);
            if let Data::Query(query) = &*data {
                let bytes = if is_drained { 0 } else { connection.activity.queued_read_bytes.get() };
                let bytes = bytes.saturating_add(if is_drained { 0 } else { queued_bytes(query) });
                if bytes > QUEUED_READ_BYTES_MAX {
                    return Response::Hold(Why::NotDrained);
                }
                connection.activity.queued_read_bytes.set(bytes);
            }
            let position = if is_drained { Position::First } else { Position::Behind };
            Work::Data { partition, database, data, position }
        }
        Ok(Route::Everywhere | Route::PerStream) if !is_drained => return Response::Hold(Why::NotDrained),
        Ok(Route::Everywhere) => Work::Everywhere { database, data },
        Ok(Route::PerStream) => Work::PerStream { database, data },
    };
    let remembered = match &*data {
        Data::Query(query) if frontend.push.remembers(connection) => Some(remembered(query)),
        _ => None,
    };
    match (frontend.port.submit(connection.next_request(), work), remembered) {
        (Some(outcome), keys) => {
            if let Some(keys) = keys {
                frontend.remember(connection, keys.iter().map(|key| &key[..]));
            }
            Response::Outcome(outcome)
        }
        (None, keys) => {
            let then = keys.map(Completion::Tracked);
            Response::Pending(connection.open_slot(Pending { then, ..Pending::default() }))
        }
    }
}

/// Fills in what a command needs from the server and the client: a random number for RANDOMKEY, the RDB
/// version for DUMP, the existence of the database for COPY, MOVE and SWAPDB, the protocol for MAXSIZE.
/// Validates the payload of RESTORE, so that only valid payloads are logged.
#[inline]
pub fn complete(frontend: &Frontend, data: &mut Data<'_>, protocol: Protocol) -> Result<(), ReplyError> {
    let limits = match data {
        Data::Write(Write::GroupRead(read)) => &mut read.limits,
        Data::Query(Query::Stream(StreamQuery::Read(read))) => &mut read.limits,
        Data::Write(Write::Key(_)) | Data::Query(Query::Key(_)) => {
            return complete_key_command(frontend, data);
        }
        _ => return Ok(()),
    };
    if let Some(max) = &mut limits.max_size {
        max.rule = protocol.size_rule();
    }
    Ok(())
}

fn complete_key_command(frontend: &Frontend, data: &mut Data<'_>) -> Result<(), ReplyError> {
    match data {
        Data::Query(Query::Key(KeyQuery::Random { chance })) => *chance = frontend.context.entropy.u64(),
        Data::Query(Query::Key(KeyQuery::Dump { rdb_version, .. })) => {
            *rdb_version = frontend.context.config.borrow().dump_rdb_version;
        }
        Data::Write(Write::Key(
            KeyWrite::Copy { database: Some(database), .. } | KeyWrite::Move { database, .. },
        )) if *database >= frontend.databases() => return Err(ReplyError::DATABASE_OUT_OF_RANGE),
        Data::Write(Write::Key(KeyWrite::SwapDatabases { first, second }))
            if (*first).max(*second) >= frontend.databases() =>
        {
            return Err(ReplyError::DATABASE_OUT_OF_RANGE);
        }
        Data::Write(Write::Key(KeyWrite::Restore { key, payload, replace, .. })) => {
            // Idempotency limits and the time decide what a stream remembers, not whether its payload is well
            // formed.
            let limits = Machine::new().idempotency_limits();
            match payload::restore(payload, frontend.wall_time(), limits) {
                Ok(_) => {}
                Err(error) if *replace => return Err(error),
                Err(error) => *data = Data::Query(Query::Refused(Refusal { key, look: Look::Vacant, error })),
            }
        }
        _ => {}
    }
    Ok(())
}

/// Maximum bytes that the answer to a queued query takes until it is sent. Large values and long lists are
/// not copied (`resp::rope`); a query with an answer that must be made as a whole waits until nothing before
/// it is in flight.
fn queued_bytes(query: &Query<'_>) -> usize {
    match query {
        Query::String(StringQuery::Get { .. }) => SHARED_BYTES_MIN,
        Query::String(StringQuery::GetMany { keys }) => keys.iter().count() * SHARED_BYTES_MIN,
        Query::Stream(
            StreamQuery::Range(_) | StreamQuery::Read(_) | StreamQuery::Info { full: None, .. },
        ) => COPIED_LIST_BYTES,
        Query::Stream(StreamQuery::Length { .. }) => 0,
        Query::Stream(_)
        | Query::Pending(_)
        | Query::Key(KeyQuery::Dump { .. } | KeyQuery::Matching { .. } | KeyQuery::Scan(_)) => {
            QUEUED_READ_BYTES_MAX + 1
        }
        _ => 0,
    }
}

/// Bytes of entries that a plan copies; longer lists share the nodes of their stream.
const COPIED_LIST_BYTES: usize = 64 * 1024;

/// The route of a command on keys.
enum Route {
    One(PartitionId),
    Everywhere,
    PerStream,
}

fn route(frontend: &Frontend, data: &Data<'_>) -> Result<Route, ReplyError> {
    let router = frontend.router;
    if router.partitions() == 1 {
        return Ok(Route::One(PartitionId(0)));
    }
    if data.key_scope() == KeyScope::Everywhere {
        return Ok(Route::Everywhere);
    }
    match (router.of_keys(data.keys()), data) {
        (Ok(partition), _) => Ok(Route::One(partition.unwrap_or(PartitionId(0)))),
        (Err(_), Data::Write(Write::GroupRead(_)) | Data::Query(Query::Stream(StreamQuery::Read(_)))) => {
            Ok(Route::PerStream)
        }
        (Err(error), _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::command::value::Command;
    use crate::model::args::OwnedArgs;
    use crate::node::testing::Stage;

    #[test]
    fn what_must_be_made_as_a_whole_is_not_queued() {
        let queues = |request: &str| {
            let args: OwnedArgs = request.split(' ').map(str::as_bytes).collect();
            let row = lookup::find(args.as_args()).expect("a command");
            match (row.parse)(args.as_args()) {
                Ok(Command::Data(Data::Query(query))) => queued_bytes(&query) <= QUEUED_READ_BYTES_MAX,
                other => panic!("{other:?}"),
            }
        };
        for request in ["GET a", "XRANGE s - +", "XLEN s", "XINFO STREAM s", "EXISTS a", "XREAD STREAMS s 0"]
        {
            assert!(queues(request), "{request}");
        }
        for request in ["KEYS *", "SCAN 0", "DUMP a", "XPENDING s g", "XINFO STREAM s FULL"] {
            assert!(!queues(request), "{request}");
        }
    }

    #[test]
    fn reads_that_would_take_too_much_wait_and_keep_their_order() {
        let stage = Stage::new();
        let ann = stage.client();
        let fits = QUEUED_READ_BYTES_MAX / COPIED_LIST_BYTES;
        ann.send(&format!("XADD s 1-1 f v\n{}", vec!["XRANGE s - +"; fits + 10].join("\n")));
        assert_eq!(ann.connection.waiting(), 1 + fits);
        stage.commit();
        assert_eq!(ann.told().matches("1-1").count(), 1 + fits + 10);
        assert_eq!(ann.connection.activity.queued_read_bytes.get(), 0);
    }

    #[test]
    fn databases_that_do_not_exist_are_refused_before_the_log() {
        let stage = Stage::with(|config| config.databases = 2);
        let ann = stage.client();
        for request in ["COPY a b DB 2", "MOVE a 2", "SWAPDB 0 2", "SWAPDB 2 0"] {
            assert_eq!(ann.ask(request), "-ERR DB index is out of range", "{request}");
        }
        assert!(stage.script().committed(PartitionId(0)).is_empty());
    }

    #[test]
    fn a_bad_payload_is_told_after_the_key_and_never_logged() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("SET a 1");
        let logged = || stage.script().committed(PartitionId(0)).len();
        let before = logged();
        assert!(ann.ask("RESTORE a 0 rubbish").starts_with("-BUSYKEY"));
        assert!(ann.ask("RESTORE b 0 rubbish").starts_with("-ERR DUMP payload version or checksum"));
        assert!(ann.ask("RESTORE a 0 rubbish REPLACE").starts_with("-ERR DUMP payload version or checksum"));
        assert_eq!(logged(), before);
    }

    #[test]
    fn only_reads_may_be_of_several_slots() {
        let ann = Stage::with(|config| config.partitions = 4).client();
        ann.ask("XADD a 1-1 f v\nXADD b 2-1 f v\nXADD c 3-1 f v");
        let told = ann.ask("XREAD STREAMS a b c 0 0 0");
        assert!(told.starts_with("*3 ") && told.contains("2-1"), "{told}");
        assert!(ann.ask("MSET a 1 b 1").starts_with("-CROSSSLOT"));
        assert_eq!(ann.ask("DBSIZE"), ":3");
    }
}
