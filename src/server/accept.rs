//! Accepting connections.

use crate::frontend::frontend::Frontend;
use crate::net::connection::Connection;
use crate::net::listener::{Accepted, Listener};
use crate::server::connection_task::{READ_BYTES, serve};
use crate::session::session::Session;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Accepts until the runtime ends. No error of one connection, or of the process limits, ends it
/// (docs/reliability.md S13, CVE-2025-48367).
pub async fn accept(frontend: Rc<Frontend>, listener: Listener) {
    let scratch = Rc::new(RefCell::new(vec![0; READ_BYTES]));
    let mut failing = false;
    loop {
        match listener.next().await {
            Ok(accepted) => {
                failing = false;
                if let Some(task) = admit(&frontend, accepted, &scratch) {
                    tokio::task::spawn_local(task);
                }
            }
            Err(error) => {
                // Logged once, not at every attempt: the log must not fill the disk.
                if !failing {
                    tracing::warn!(%error, "cannot accept a connection");
                }
                failing = true;
                if !is_of_one_connection(&error) {
                    frontend.context.clock.sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// Pause after running out of descriptors or memory: other connections must end first.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
    )
}

/// Takes in a connection, unless it may not be: gives the task that serves it. `scratch` is where bytes are read into, of
/// [`READ_BYTES`]; the connections of a thread share it.
pub fn admit(
    frontend: &Rc<Frontend>,
    accepted: Accepted,
    scratch: &Rc<RefCell<Vec<u8>>>,
) -> Option<impl Future<Output = ()> + 'static> {
    let config = frontend.context.config.borrow();
    if frontend.connections.all().len() >= config.maxclients {
        frontend.metrics.rejected_connections.add(1);
        accepted.refuse(b"-ERR max number of clients reached\r\n");
        return None;
    }
    let default_user = frontend.context.acl.users.borrow().default_user().clone();
    // docs/reliability.md A11: attackers took over servers that had no password and were reachable from other
    // machines.
    let is_denied = config.protected_mode && default_user.needs_no_password() && !accepted.is_local();
    if is_denied {
        frontend.metrics.rejected_connections.add(1);
        if !matches!(accepted, Accepted::Tls(..)) {
            accepted.refuse(DENIED);
            return None;
        }
    }
    let keepalive_seconds = config.tcp_keepalive_seconds;
    drop(config);
    let tls = frontend.tls.borrow().clone();
    let (peer, local, read_half, write_half) = match accepted.into_parts(keepalive_seconds, tls) {
        Ok(parts) => parts,
        Err(error) => {
            tracing::debug!(%error, "the connection is gone already");
            return None;
        }
    };
    frontend.metrics.connections.add(1);
    let connection = Rc::new(Connection::new(
        frontend.connections.next_id(),
        (peer, local),
        frontend.monotonic_ms(),
        Session::new(default_user),
        write_half,
        frontend.metrics.clone(),
    ));
    if is_denied {
        // The client learns the reason once its socket can carry it.
        connection.push(DENIED);
        connection.close_after_replies();
    }
    frontend.connections.add(&connection);
    Some(serve(frontend.clone(), connection, read_half, scratch.clone()))
}

/// The text of Redis 7.2: tools look for it.
const DENIED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the \
command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is \
running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this \
change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and \
setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for \
testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: \
You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;
    use std::io::{Error, ErrorKind};

    const FAR: [u8; 4] = [192, 0, 2, 1];

    #[test]
    fn the_one_client_too_many_is_refused_until_another_leaves() {
        let stage = Stage::with(|config| config.maxclients = 2);
        let (ann, _bob) = (stage.client(), stage.client());
        let refused = stage.client_from([127, 0, 0, 1]).err();
        assert_eq!(refused.as_deref(), Some("-ERR max number of clients reached"));
        assert_eq!(stage.frontend.metrics.rejected_connections.get(), 1);
        ann.leave();
        assert_eq!(stage.client().ask("PING"), "+PONG");
    }

    #[test]
    fn protected_mode_keeps_out_who_is_far_while_there_is_no_password() {
        let stage = Stage::with(|config| config.protected_mode = true);
        assert!(stage.client_from(FAR).err().is_some_and(|why| why.starts_with("-DENIED ")));
        assert_eq!(stage.client().ask("CONFIG SET requirepass secret"), "+OK");
        assert!(stage.client_from(FAR).is_ok());
    }

    #[test]
    fn only_errors_of_the_process_make_accepting_pause() {
        assert!(is_of_one_connection(&ErrorKind::ConnectionAborted.into()));
        let too_many_open_files = Error::from_raw_os_error(24);
        assert!(!is_of_one_connection(&too_many_open_files));
    }
}
