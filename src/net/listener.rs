//! Accepting connections.

use crate::model::log::PartitionId;
use crate::server::address::Address;
use crate::server::connection::Connection;
use crate::server::serve::{READ_BYTES, serve};
use crate::server::session::Session;
use crate::server::socket::{self, ReadHalf, WriteHalf};
use crate::server::tls::stream::TlsStream;
use crate::server::worker::Worker;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Something that clients connect to.
pub enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener),
    /// With the path of its socket file, as the settings have it.
    Unix(UnixListener, Rc<str>),
}

/// A connection that nobody has looked at yet.
enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr),
    Unix(UnixStream, Rc<str>),
}

impl Listener {
    async fn next(&self) -> std::io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, peer))
            }
            Listener::Tls(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tls(stream, peer))
            }
            Listener::Unix(listener, path) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream, path.clone()))
            }
        }
    }
}

impl Accepted {
    fn is_local(&self) -> bool {
        match self {
            Accepted::Tcp(_, peer) | Accepted::Tls(_, peer) => Address::Ip(*peer).is_local(),
            Accepted::Unix(..) => true,
        }
    }

    /// Says why, if the socket takes it, and closes. (The runtime does not know yet that it could be written to.) Over TLS
    /// nothing can be said before the handshake.
    fn refuse(self, why: &[u8]) {
        let _ = match &self {
            Accepted::Tcp(stream, _) => SockRef::from(stream).send(why),
            Accepted::Unix(stream, _) => SockRef::from(stream).send(why),
            Accepted::Tls(..) => Ok(0),
        };
    }

    /// Readies the socket for a client. Returns where its ends are, and its halves.
    fn into_parts(self, worker: &Worker) -> std::io::Result<(Address, Address, ReadHalf, WriteHalf)> {
        let keepalive_seconds = worker.config.borrow().tcp_keepalive_seconds;
        match self {
            Accepted::Tcp(stream, peer) => {
                set_up_tcp(&stream, keepalive_seconds)?;
                let local = stream.local_addr().unwrap_or(peer);
                let (read, write) = socket::of_tcp(stream);
                Ok((Address::Ip(peer), Address::Ip(local), read, write))
            }
            Accepted::Tls(stream, peer) => {
                set_up_tcp(&stream, keepalive_seconds)?;
                let local = stream.local_addr().unwrap_or(peer);
                let offer = worker.tls.borrow().clone().ok_or(std::io::ErrorKind::Unsupported)?;
                let stream = TlsStream::new(stream, offer).map_err(std::io::Error::other)?;
                let (read, write) = socket::of_tls(stream);
                Ok((Address::Ip(peer), Address::Ip(local), read, write))
            }
            Accepted::Unix(stream, path) => {
                let (read, write) = socket::of_unix(stream);
                Ok((Address::Unix(path.clone()), Address::Unix(path), read, write))
            }
        }
    }
}

fn set_up_tcp(stream: &TcpStream, keepalive_seconds: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive_seconds == 0 {
        return Ok(());
    }
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(keepalive_seconds))
        .with_interval(Duration::from_secs((keepalive_seconds / 3).max(1)))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

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
pub async fn accept(worker: Rc<Worker>, listener: Listener) {
    let scratch = Rc::new(RefCell::new(vec![0; READ_BYTES]));
    let mut failing = false;
    loop {
        match listener.next().await {
            Ok(accepted) => {
                failing = false;
                admit(&worker, accepted, &scratch);
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

fn admit(worker: &Rc<Worker>, accepted: Accepted, scratch: &Rc<RefCell<Vec<u8>>>) {
    let config = worker.config.borrow();
    if worker.connections().len() >= config.maxclients {
        worker.metrics.rejected_connections.add(1);
        accepted.refuse(b"-ERR max number of clients reached\r\n");
        return;
    }
    let default_user = worker.acl.users.borrow().default_user().clone();
    // Reliability A11: no password and reachable from elsewhere is how servers were taken over.
    let is_denied = config.protected_mode && default_user.needs_no_password() && !accepted.is_local();
    if is_denied {
        worker.metrics.rejected_connections.add(1);
        if !matches!(accepted, Accepted::Tls(..)) {
            accepted.refuse(DENIED);
            return;
        }
    }
    drop(config);
    let (peer, local, read_half, write_half) = match accepted.into_parts(worker) {
        Ok(parts) => parts,
        Err(error) => {
            tracing::debug!(%error, "the connection is gone already");
            return;
        }
    };
    worker.metrics.connections.add(1);
    let connection = Rc::new(Connection::new(
        worker.next_connection_id(),
        peer,
        local,
        worker.clock.monotonic_ms(),
        Session::new(default_user),
        write_half,
        worker.metrics.clone(),
    ));
    connection.last_partition.set(PartitionId(0));
    if is_denied {
        // It is told when it can hear it.
        connection.push(DENIED);
        connection.close_after_replies();
    }
    worker.add_connection(&connection);
    tokio::task::spawn_local(serve(worker.clone(), connection, read_half, scratch.clone()));
}

/// The words of Redis 7.2: tools and people look for them.
const DENIED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the \
command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is \
running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this \
change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and \
setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for \
testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: \
You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";
