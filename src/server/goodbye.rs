//! The end of all connections, when the node stops.

use crate::env::clock;
use crate::frontend::frontend::Frontend;
use std::time::Duration;

/// Time for clients to read their last replies.
const GOODBYE: Duration = Duration::from_millis(200);

/// Closes every connection and sends its last replies. Blocked reads get none (as in Redis).
pub async fn say_goodbye(frontend: &Frontend) {
    let connections: Vec<_> = frontend.connections.all().values().cloned().collect();
    for connection in connections {
        if connection.blocked.borrow().is_some() {
            connection.close();
        } else {
            connection.close_after_replies();
        }
    }
    let clock = &*frontend.context.clock;
    let gone = async {
        while !frontend.connections.all().is_empty() {
            tokio::task::yield_now().await;
            clock.sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = clock::timeout(clock, GOODBYE, gone).await;
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn what_was_committed_is_answered_and_a_blocked_read_is_not() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.send("SET a 1");
        bob.send("XREAD BLOCK 0 STREAMS s $");
        stage.stop();
        stage.commit();
        assert_eq!((ann.told(), bob.told()), ("+OK".to_owned(), String::new()));
        stage.pass_ms(1);
        assert!(ann.is_closed() && bob.is_closed() && stage.has_ended());
    }

    #[test]
    fn a_client_that_does_not_read_holds_nobody_for_long() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask(&format!("SET a {}", "x".repeat(60_000)));
        ann.send("GET a\nGET a\nGET a");
        stage.stop();
        stage.pass_ms(199);
        assert!(!stage.has_ended());
        stage.pass_ms(1);
        assert!(stage.has_ended());
    }
}
