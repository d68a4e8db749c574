use crate::model::key_events::EventClasses;
use crate::node::testing::Stage;

#[test]
fn replies_of_a_pipeline_keep_their_order_while_a_write_is_in_flight() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.send("SET a 1\nPING\nGET a");
    assert_eq!(ann.told(), "", "the write is not committed");
    stage.commit();
    assert_eq!(ann.told(), "+OK +PONG $1 1");
}

#[test]
fn a_message_does_not_overtake_the_write_before_it() {
    let stage = Stage::new();
    let (ann, bob) = (stage.client(), stage.client());
    bob.ask("SUBSCRIBE news");
    ann.send("SET a 1\nPUBLISH news a");
    assert_eq!(bob.told(), "");
    stage.commit();
    assert_eq!(bob.told(), "*3 $7 message $4 news $1 a");
    assert_eq!(ann.told(), "+OK :1");
}

#[test]
fn events_are_told_although_their_client_is_gone() {
    let stage = Stage::with(|config| config.notify_keyspace_events = EventClasses::parse("KEA").unwrap());
    let (ann, bob) = (stage.client(), stage.client());
    bob.ask("SUBSCRIBE __keyevent@0__:set");
    ann.send("SET a 1");
    ann.leave();
    stage.commit();
    assert_eq!(bob.told(), "*3 $7 message $18 __keyevent@0__:set $1 a");
}

#[test]
fn a_read_behind_a_write_is_remembered_at_its_place() {
    let stage = Stage::new();
    let (ann, bob) = (stage.client(), stage.client());
    ann.ask("HELLO 3\nCLIENT TRACKING ON");
    ann.send("SET a 1\nGET a");
    bob.send("SET a 2");
    stage.commit();
    // Her own write comes before the read, so it invalidates nothing.
    assert_eq!(ann.told(), "+OK $1 1 >2 $10 invalidate *1 $1 a");
}

#[test]
fn a_client_that_leaves_its_blocked_read_is_closed_without_a_reply() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.ask("XGROUP CREATE s g $ MKSTREAM");
    ann.ask("XREADGROUP GROUP g ann BLOCK 0 STREAMS s >");
    ann.end();
    assert!(ann.is_closed());
    assert_eq!(ann.told(), "");
    stage.client().ask("XADD s 1-1 f v");
    assert_eq!(stage.client().ask("XPENDING s g"), "*4 :0 $-1 $-1 *-1");
}

#[test]
fn a_client_that_leaves_hears_nothing_of_what_ends_its_read() {
    let stage = Stage::new();
    let (ann, bob) = (stage.client(), stage.client());
    ann.ask("XGROUP CREATE s g $ MKSTREAM");
    ann.ask("XREADGROUP GROUP g ann BLOCK 0 STREAMS s >");
    bob.send("XGROUP DESTROY s g");
    ann.end();
    stage.commit();
    assert_eq!(ann.told(), "");
    assert!(ann.is_closed());
}

#[test]
fn entries_found_are_owed_to_a_client_that_leaves() {
    let stage = Stage::new();
    let (ann, bob) = (stage.client(), stage.client());
    ann.ask("XGROUP CREATE s g $ MKSTREAM");
    ann.ask("XREADGROUP GROUP g ann BLOCK 0 STREAMS s >");
    bob.send("XADD s 1-1 f v");
    ann.end();
    assert!(!ann.is_closed(), "the read goes with the entry");
    stage.commit();
    assert!(ann.told().contains("1-1"));
    assert!(ann.is_closed());
}

#[test]
fn a_blocked_read_whose_permission_is_lost_is_refused_when_it_would_be_served() {
    let stage = Stage::new();
    let (ann, bob) = (stage.client(), stage.client());
    bob.ask("XGROUP CREATE s g $ MKSTREAM\nACL SETUSER ann on nopass ~s +@all");
    ann.ask("AUTH ann x");
    ann.ask("XREADGROUP GROUP g ann BLOCK 0 STREAMS s >");
    bob.ask("ACL SETUSER ann -xreadgroup");
    assert_eq!(ann.told(), "");
    bob.ask("XADD s 1-1 f v");
    assert_eq!(ann.told(), "-NOPERM User ann has no permissions to run the 'xreadgroup' command");
    ann.send("PING");
    assert_eq!(ann.told(), "+PONG");
}
