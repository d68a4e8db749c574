use crate::node::testing::Stage;

#[test]
fn a_request_refused_in_a_transaction_makes_exec_fail() {
    let ann = Stage::new().client();
    assert_eq!(
        ann.ask("MULTI\nSET a 1\nNOSUCH"),
        "+OK +QUEUED -ERR unknown command 'NOSUCH', with args beginning with:"
    );
    assert_eq!(ann.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(ann.ask("GET a"), "$-1");
}

#[test]
fn a_refused_exec_ends_the_transaction() {
    let ann = Stage::new().client();
    let told = ann.ask("MULTI\nSET a 1\nEXEC now\nGET a");
    let why = "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    assert_eq!(told, format!("+OK +QUEUED -{why} $-1"));
}

#[test]
fn a_subscriber_in_resp2_is_restricted_and_one_in_resp3_is_not() {
    let ann = Stage::new().client();
    ann.ask("SUBSCRIBE news");
    assert!(ann.ask("GET a").starts_with("-ERR Can't execute 'get'"));
    assert_eq!(ann.ask("PING"), "*2 $4 pong $0");
    ann.ask("RESET\nHELLO 3\nSUBSCRIBE news");
    assert_eq!(ann.ask("GET a"), "_");
}

#[test]
fn a_monitor_may_ask_but_not_touch_keys() {
    let ann = Stage::new().client();
    assert_eq!(ann.ask("MONITOR"), "+OK");
    assert!(ann.ask("GET a").ends_with("-ERR Replica can't interact with the keyspace"));
    assert!(ann.ask("PING").contains("+PONG"));
}

#[test]
fn a_request_that_is_tried_again_is_skipped_once() {
    let stage = Stage::new();
    let ann = stage.client();
    // WATCH has to wait for the write before it.
    ann.send("SET a 1\nCLIENT REPLY SKIP\nWATCH a\nPING");
    stage.commit();
    assert_eq!(ann.told(), "+OK +PONG");
    assert_eq!(ann.connection.session.borrow().watched.len(), 1);
}

#[test]
fn a_transaction_is_bounded_like_a_request() {
    let stage = Stage::with(|config| config.client_query_buffer_limit = 300);
    let ann = stage.client();
    ann.ask("MULTI");
    let queued = (1..).take_while(|_| ann.ask("SET a 1") == "+QUEUED").count();
    assert!(queued > 0 && ann.is_closed());
    assert_eq!(stage.frontend.metrics.client_query_buffer_disconnections.get(), 1);
}

#[test]
fn a_web_request_is_not_answered() {
    let ann = Stage::new().client();
    assert_eq!(ann.ask("POST / HTTP/1.1\nSET a 1"), "");
    assert!(ann.is_closed());
}

#[test]
fn without_a_login_only_a_login_is_accepted() {
    let ann = Stage::with(|config| config.requirepass = "secret".into()).client();
    assert_eq!(ann.ask("PING"), "-NOAUTH Authentication required.");
    assert!(ann.ask("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(ann.ask("AUTH secret\nPING"), "+OK +PONG");
}

#[test]
fn client_caching_is_for_the_next_request_alone() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.ask("HELLO 3\nCLIENT TRACKING ON OPTIN\nCLIENT CACHING YES\nCLIENT ID\nGET a\nGET b");
    assert_eq!(stage.client().ask("SET b 1\nSET a 1"), "+OK +OK");
    assert_eq!(ann.told(), ">2 $10 invalidate *1 $1 a");
}

#[test]
fn a_transaction_stays_in_one_partition() {
    let ann = Stage::with(|config| config.partitions = 4).client();
    assert!(ann.ask("MULTI\nSET {a}1 1\nKEYS *").ends_with("while there are several partitions"));
    assert!(ann.ask("EXEC").starts_with("-EXECABORT"));
    assert!(ann.ask("MULTI\nMSET a 1 b 1").contains("-CROSSSLOT"));
}
