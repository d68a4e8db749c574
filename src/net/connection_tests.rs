use crate::model::reply::Reply;
use crate::net::connection::Hold;
use crate::node::testing::Stage;
use crate::session::pending::Pending;
use crate::session::session::Replies;

#[test]
fn frames_of_a_request_follow_its_reply_invalidations_first() {
    let ann = Stage::new().client();
    let request = ann.connection.open_slot(Pending::default());
    ann.connection.defer_own(&b"+message\r\n"[..].into());
    ann.connection.defer_invalidation(b"+invalidation\r\n");
    ann.connection.reply(&Reply::Integer(2));
    ann.connection.fill(request, &Reply::Integer(1)).expect("it waits");
    ann.connection.flush();
    assert_eq!(ann.told(), ":1 +invalidation +message :2");
}

#[test]
fn a_held_connection_goes_on_when_all_its_requests_are_answered() {
    let ann = Stage::new().client();
    let [first, second] = [(); 2].map(|()| ann.connection.open_slot(Pending::default()));
    ann.connection.activity.hold.set(Hold::UntilDrained);
    ann.connection.fill(second, &Reply::OK);
    assert_eq!(ann.connection.activity.hold.get(), Hold::UntilDrained);
    assert!(ann.connection.fill(first, &Reply::OK).is_some());
    assert_eq!(ann.connection.activity.hold.get(), Hold::None);
    assert!(ann.connection.fill(first, &Reply::OK).is_none(), "an answer comes once");
    ann.connection.flush();
    assert_eq!(ann.told(), "+OK +OK");
}

#[test]
fn closing_after_replies_waits_for_those_that_come_late() {
    let ann = Stage::new().client();
    let request = ann.connection.open_slot(Pending::default());
    ann.connection.close_after_replies();
    assert!(ann.connection.is_closing() && !ann.connection.is_finished());
    ann.connection.fill(request, &Reply::OK);
    assert!(!ann.connection.is_finished(), "nothing is sent");
    ann.connection.flush();
    assert!(ann.connection.is_finished());
}

#[test]
fn a_connection_that_is_closed_sends_no_more() {
    let ann = Stage::new().client();
    ann.connection.close();
    ann.connection.reply(&Reply::OK);
    assert_eq!(ann.connection.flush(), 0);
    // Nothing reopens it.
    ann.connection.close_after_replies();
    assert!(ann.connection.is_finished());
    assert_eq!(ann.told(), "");
}

#[test]
fn errors_are_counted_although_nobody_reads_them() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.connection.session.borrow_mut().replies = Replies::Off;
    ann.connection.reply(&Reply::error("ODD one"));
    assert_eq!(ann.connection.output_bytes(), 0);
    let mut counted = Vec::new();
    stage.frontend.metrics.write_errors(&mut |code, count| counted.push((code.to_owned(), count)));
    assert_eq!(counted, [("ODD".to_owned(), 1)]);
}
