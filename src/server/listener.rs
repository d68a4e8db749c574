//! Accepting connections.

use crate::model::log::PartitionId;
use crate::server::connection::Connection;
use crate::server::serve::{READ_BYTES, serve};
use crate::server::session::Session;
use crate::server::worker::Worker;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Binds one address. The port is not shared with another process: a second server on it is refused.
pub fn bind(address: SocketAddr, backlog: u32) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the runtime ends. An error of one connection, or of the process's limits, never ends it
/// (reliability S13, CVE-2025-48367).
pub async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    let scratch = Rc::new(RefCell::new(vec![0; READ_BYTES]));
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                admit(&worker, stream, peer, &scratch);
            }
            Err(error) => {
                // Once, not with every try: the log shall not fill the disk too.
                if !failing {
                    tracing::warn!(%error, "cannot accept a connection");
                }
                failing = true;
                if !is_of_one_connection(&error) {
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// Out of descriptors or memory: others must end before the next one can begin.
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

fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, scratch: &Rc<RefCell<Vec<u8>>>) {
    let config = worker.config.borrow();
    if worker.connections().len() >= config.maxclients {
        worker.metrics.rejected_connections.add(1);
        refuse(stream, b"-ERR max number of clients reached\r\n");
        return;
    }
    if config.protected_mode && config.requirepass.is_empty() && !peer.ip().to_canonical().is_loopback() {
        // Reliability A11: no password and reachable from elsewhere is how servers were taken over.
        worker.metrics.rejected_connections.add(1);
        refuse(stream, DENIED);
        return;
    }
    let socket = SockRef::from(&stream);
    let keepalive = config.tcp_keepalive_seconds;
    let set_up = stream.set_nodelay(true).and_then(|()| match keepalive {
        0 => Ok(()),
        seconds => {
            let probes = TcpKeepalive::new()
                .with_time(Duration::from_secs(seconds))
                .with_interval(Duration::from_secs((seconds / 3).max(1)))
                .with_retries(3);
            socket.set_tcp_keepalive(&probes)
        }
    });
    let local = stream.local_addr().unwrap_or(peer);
    if let Err(error) = set_up {
        tracing::debug!(%peer, %error, "the connection is gone already");
        return;
    }
    let authenticated = config.requirepass.is_empty();
    drop(config);
    worker.metrics.connections.add(1);
    let (read_half, write_half) = stream.into_split();
    let connection = Rc::new(Connection::new(
        worker.next_connection_id(),
        peer,
        local,
        worker.clock.monotonic_ms(),
        Session::new(authenticated),
        write_half,
    ));
    connection.last_partition.set(PartitionId(0));
    worker.add_connection(&connection);
    tokio::task::spawn_local(serve(worker.clone(), connection, read_half, scratch.clone()));
}

/// Says why, if the socket takes it, and closes. (The runtime does not know yet that it could be written to.)
fn refuse(stream: TcpStream, why: &[u8]) {
    let _ = SockRef::from(&stream).send(why);
}

const DENIED: &[u8] = b"-DENIED Headwater is running in protected mode because protected mode is enabled and no password \
is set. In this mode connections are only accepted from the loopback interface. To accept others, set a password \
(requirepass), or turn protected mode off (protected-mode no) if the network is trusted.\r\n";
