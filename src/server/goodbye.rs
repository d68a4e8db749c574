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
