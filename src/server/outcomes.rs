//! Outcomes of the engine: published to listeners and written into the reply slots of their requests.

use crate::commands::{debug, transaction};
use crate::engine::engine::Delivery;
use crate::engine::submission::{EngineAnswer, Outcome};
use crate::frontend::frontend::Frontend;
use crate::frontend::permissions;
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::net::connection::Connection;
use crate::session::pending::Completion;
use std::rc::Rc;

/// Finishes outcomes in order: for each op first its events, then its reply, then the messages of the client
/// to itself.
pub fn deliver(frontend: &Rc<Frontend>, delivery: &mut Delivery) {
    frontend.stopwatch.start();
    for spike in delivery.spikes.drain(..) {
        frontend.note_event(spike.event, spike.nanoseconds);
    }
    for outcome in delivery.outcomes.drain(..) {
        finish(frontend, outcome);
    }
    if frontend.push.tracks() {
        frontend.push.send_broadcasts(&frontend.connections);
    }
    frontend.connections.flush();
    frontend.release_if_room();
}

fn finish(frontend: &Rc<Frontend>, outcome: Outcome) {
    let by = match outcome.answer {
        EngineAnswer::Events { by } => by,
        _ => outcome.request,
    };
    let connection = by.and_then(|request| frontend.connections.get(request.connection));
    let (Some(request), Some(connection)) = (outcome.request, &connection) else {
        // The client is gone, or the op is the engine's own: other clients still get the events.
        return frontend.push.announce(&frontend.connections, &outcome.events, connection.as_deref());
    };
    let Some(then) = connection.with_pending(request, |pending| pending.then.take()) else { return };
    let Some(then) = then else {
        frontend.push.announce(&frontend.connections, &outcome.events, Some(connection));
        frontend.answer_after(connection, request, &outcome.answer.into_reply(), outcome.nanoseconds);
        return;
    };
    match then {
        Completion::Tracked(keys) => {
            frontend.remember_at_its_place(connection, keys.iter().map(|key| &key[..]));
            frontend.push.announce(&frontend.connections, &outcome.events, Some(connection));
            frontend.answer_after(connection, request, &outcome.answer.into_reply(), outcome.nanoseconds);
        }
        Completion::Blocked => end_blocked(frontend, connection, request, outcome),
        Completion::Publish(publication) => {
            let reply = match outcome.answer.into_reply() {
                error @ Reply::Error(_) => error,
                _ => frontend.push.publish(&frontend.connections, connection, &publication),
            };
            frontend.answer(connection, request, &reply);
        }
        Completion::Ask(make) => {
            let reply = make(outcome.answer);
            frontend.answer_late(connection, request, &reply, outcome.nanoseconds);
        }
        Completion::Look(start) => {
            transaction::start(frontend, connection, request, *start, outcome.answer);
        }
        Completion::Exec(run) => transaction::resume(frontend, connection, request, run, outcome),
        Completion::Populate(run) => debug::populate_on(frontend, connection, request, *run, outcome),
    }
}

fn end_blocked(frontend: &Frontend, connection: &Rc<Connection>, request: RequestId, outcome: Outcome) {
    let reply = match outcome.answer {
        EngineAnswer::Forbidden => match permissions::refuse_blocked(frontend, connection) {
            Some(error) => Reply::Error(error),
            // The user regained the permission while the refusal was in flight.
            None => Reply::NilArray,
        },
        answer => answer.into_reply(),
    };
    let blocked = connection.blocked.take();
    // Entries that were found belong to the client, even if it sends nothing more; nothing else is owed to it.
    if !matches!(reply, Reply::Streams(_)) && blocked.as_ref().is_some_and(|it| it.is_leaving) {
        return connection.close();
    }
    if let Some(blocked) = blocked.filter(|it| it.is_remembered && matches!(reply, Reply::Streams(_))) {
        frontend.remember_at_its_place(connection, blocked.keys.iter().map(|key| &key[..]));
    }
    frontend.answer_late(connection, request, &reply, outcome.nanoseconds);
}

#[cfg(test)]
#[path = "outcomes_tests.rs"]
mod tests;
