//! XREAD and XREADGROUP with BLOCK in the frontend: a request whose outcome may come late.

use crate::command::spec::Row;
use crate::command::value::Data;
use crate::commands::keys;
use crate::engine::submission::Work;
use crate::frontend::frontend::Frontend;
use crate::frontend::response::{Response, Why};
use crate::model::args::Args;
use crate::model::reply::Reply;
use crate::net::connection::{Connection, Hold};
use crate::session::pending::{BlockedRequest, Completion, Pending};
use crate::state::op::codec;
use bytes::Bytes;

/// XREAD or XREADGROUP with BLOCK, outside a transaction.
pub fn execute(
    frontend: &Frontend,
    connection: &Connection,
    row: &'static Row,
    args: Args<'_>,
    read: &mut Data<'_>,
    timeout_ms: u64,
) -> Response<'static> {
    if !connection.is_drained() {
        return Response::Hold(Why::NotDrained);
    }
    let (database, protocol) = {
        let session = connection.session.borrow();
        (session.database, session.protocol)
    };
    if let Err(error) = keys::complete(frontend, read, protocol) {
        return Reply::Error(error).into();
    }
    let is_plain_read = matches!(read, Data::Query(_));
    let is_remembered = is_plain_read && frontend.push.remembers(connection);
    let work = Work::Blocking { database, read, timeout_ms };
    let outcome = frontend.port.submit(connection.next_request(), work);
    if is_plain_read {
        frontend.remember(connection, read.keys());
    }
    if let Some(outcome) = outcome {
        return Response::Outcome(outcome);
    }
    let request = connection.open_slot(Pending::with(Completion::Blocked));
    let mut encoded = Vec::new();
    codec::encode_data(read, &mut encoded);
    // Unrestricted users do not need it.
    let keeps_argument = !connection.session.borrow().unrestricted;
    let blocked = BlockedRequest {
        request,
        row,
        first_argument: args.get(1).filter(|_| keeps_argument).map(Bytes::copy_from_slice),
        keys: read.keys().map(Bytes::copy_from_slice).collect(),
        read: encoded,
        is_remembered,
        is_leaving: false,
    };
    connection.blocked.replace(Some(blocked));
    // Invalidations for the request are sent now, because its reply may never come.
    connection.send_deferred();
    connection.activity.hold.set(Hold::UntilDrained);
    Response::Pending(request)
}
