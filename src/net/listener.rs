//! The listeners of the server.

use crate::env::sim_pipe::SimSocket;
use crate::net::address::Address;
use crate::net::socket::{self, ReadHalf, WriteHalf};
use crate::net::tls::stream::TlsStream;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A socket that accepts clients.
pub enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener),
    /// With the path of its socket file, as configured.
    Unix(UnixListener, Rc<str>),
}

/// An accepted connection before admission.
pub enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr),
    Unix(UnixStream, Rc<str>),
    /// A client of the simulation, with an address that is made up.
    Simulated(SimSocket, SocketAddr),
}

impl Listener {
    pub async fn next(&self) -> std::io::Result<Accepted> {
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
    pub fn is_local(&self) -> bool {
        match self {
            Accepted::Tcp(_, peer) | Accepted::Tls(_, peer) | Accepted::Simulated(_, peer) => {
                Address::Ip(*peer).is_local()
            }
            Accepted::Unix(..) => true,
        }
    }

    /// Sends the reason if the socket accepts it, and closes. (The runtime does not know yet that the socket
    /// is writable.) TLS clients get no reason: nothing can be sent before the handshake.
    pub fn refuse(self, why: &[u8]) {
        let _ = match &self {
            Accepted::Tcp(stream, _) => SockRef::from(stream).send(why),
            Accepted::Unix(stream, _) => SockRef::from(stream).send(why),
            Accepted::Tls(..) => Ok(0),
            Accepted::Simulated(socket, _) => socket.write.try_write(why),
        };
    }

    /// Prepares the socket for a client. Returns the addresses of its ends and its halves. `tls`: the
    /// configuration of the TLS port.
    pub fn into_parts(
        self,
        keepalive_seconds: u64,
        tls: Option<Arc<ServerConfig>>,
    ) -> std::io::Result<(Address, Address, ReadHalf, WriteHalf)> {
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
                let offer = tls.ok_or(std::io::ErrorKind::Unsupported)?;
                let stream = TlsStream::new(stream, offer).map_err(std::io::Error::other)?;
                let (read, write) = socket::of_tls(stream);
                Ok((Address::Ip(peer), Address::Ip(local), read, write))
            }
            Accepted::Unix(stream, path) => {
                let (read, write) = socket::of_unix(stream);
                Ok((Address::Unix(path.clone()), Address::Unix(path), read, write))
            }
            Accepted::Simulated(socket, peer) => {
                let (read, write) = socket::of_simulation(socket);
                Ok((Address::Ip(peer), Address::Ip(peer), read, write))
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

/// Binds one address. The port is not shared: a second server on it is refused.
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
