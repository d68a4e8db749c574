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
        is_ending: false,
    };
    connection.blocked.replace(Some(blocked));
    // Invalidations for the request are sent now, because its reply may never come.
    connection.send_deferred();
    connection.activity.hold.set(Hold::UntilDrained);
    Response::Pending(request)
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn a_read_waits_for_its_own_writes_first() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.send("XADD s 1-1 f v\nXREAD BLOCK 0 STREAMS s 0");
        assert!(ann.connection.blocked.borrow().is_none());
        stage.commit();
        assert!(ann.told().starts_with("$3 1-1 *1 "));
    }

    #[test]
    fn a_wait_ends_with_its_time_and_not_before() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("XREAD BLOCK 1000 STREAMS s $");
        stage.pass_ms(999);
        assert_eq!(ann.told(), "");
        stage.pass_ms(1);
        assert_eq!(ann.told(), "*-1");
        assert!(ann.connection.blocked.borrow().is_none());
    }

    /// `idle` and `inactive` of consumer `c` of group `g`, and its `seen-time` in XINFO STREAM FULL.
    fn seen(stage: &std::rc::Rc<Stage>) -> (i64, i64, u64) {
        let bob = stage.client();
        let (told, full) = (bob.ask("XINFO CONSUMERS s g"), bob.ask("XINFO STREAM s FULL"));
        let after = |told: &str, label: &str| -> i64 {
            let found = told.split_once(label).and_then(|(_, rest)| rest.split(' ').nth(1));
            found.and_then(|number| number[1..].parse().ok()).unwrap_or_else(|| panic!("{label} in {told}"))
        };
        (after(&told, "$4 idle"), after(&told, "$8 inactive"), after(&full, "$9 seen-time") as u64)
    }

    #[test]
    fn a_consumer_that_polls_in_vain_is_seen_and_nothing_is_logged() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("XGROUP CREATE s g $ MKSTREAM\nXREADGROUP GROUP g c STREAMS s >");
        for read in [
            "XREADGROUP GROUP g c STREAMS s >",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
        ] {
            let reader = stage.client();
            stage.pass_ms(200);
            reader.send(read);
            assert!(!stage.script().has_in_flight(), "{read} is not logged");
            assert_eq!(seen(&stage), (0, -1, stage.frontend.wall_time().0), "{read}");
            stage.pass_ms(50);
            assert_eq!(seen(&stage), (50, -1, stage.frontend.wall_time().0 - 50), "{read}");
        }
        let told = ann.ask("MULTI\nXINFO CONSUMERS s g\nEXEC");
        assert!(told.contains("$4 idle :50 "), "{told}");
        // After a second it is logged.
        stage.pass_ms(500);
        ann.send("XREADGROUP GROUP g c STREAMS s >");
        stage.commit();
        assert_eq!(seen(&stage).0, 0);
    }

    #[test]
    fn the_argument_is_kept_for_those_whose_permission_may_depend_on_it() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("ACL SETUSER bob on nopass ~s +@all -get");
        bob.ask("AUTH bob x");
        for (client, keeps) in [(&ann, false), (&bob, true)] {
            client.ask("XREAD BLOCK 0 STREAMS s $");
            let blocked = client.connection.blocked.borrow();
            assert_eq!(blocked.as_ref().unwrap().first_argument.is_some(), keeps);
        }
    }

    #[test]
    fn a_blocked_read_is_remembered_when_it_has_read() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nXREAD BLOCK 0 STREAMS s $");
        bob.ask("XADD s 1-1 f v");
        // The read's own look is told of, and after it the key is remembered anew.
        assert!(ann.told().contains("1-1"));
        bob.ask("XADD s 2-1 f v");
        assert_eq!(ann.told(), ">2 $10 invalidate *1 $1 s");
    }

    #[test]
    fn inside_a_transaction_nobody_waits() {
        let ann = Stage::new().client();
        assert_eq!(ann.ask("MULTI\nXREAD BLOCK 0 STREAMS s $\nEXEC"), "+OK +QUEUED *1 *-1");
    }
}
