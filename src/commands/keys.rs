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
            // Idempotency limits decide what a stream remembers, not whether its payload is well formed.
            let limits = Machine::new().idempotency_limits();
            match payload::restore(payload, frontend.now(), limits) {
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
