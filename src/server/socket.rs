//! The bytes of a connection, over TCP or a Unix socket. Reading and writing are halves, because a read may
//! be going on while replies are sent.
//!
//! One call here is one call of the system: tokio knows that a read which did not fill its buffer has emptied the socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

pub enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

pub enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

pub fn of_tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
}

pub fn of_unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Unix(read), WriteHalf::Unix(write))
}

impl ReadHalf {
    /// Reads what is there. Nothing read and nothing pending is the end of what the client sends.
    pub fn poll_read(&mut self, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadHalf::Tcp(socket) => Pin::new(socket).poll_read(context, target),
            ReadHalf::Unix(socket) => Pin::new(socket).poll_read(context, target),
        }
    }
}

impl WriteHalf {
    /// Sends what the socket takes at once: a number of bytes above 0, or `WouldBlock`.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(socket) => socket.try_write(bytes),
            WriteHalf::Unix(socket) => socket.try_write(bytes),
        }
    }

    /// Sends what the socket takes; pending, with the task registered, when it takes nothing.
    pub fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            WriteHalf::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            WriteHalf::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    /// Whether the client has closed its side, though what it sent before is not read yet.
    pub fn has_peer_closed(&self) -> bool {
        match self {
            WriteHalf::Tcp(socket) => is_read_closed(socket.ready(Interest::READABLE)),
            WriteHalf::Unix(socket) => is_read_closed(socket.ready(Interest::READABLE)),
        }
    }
}

/// Looks once, without waiting.
fn is_read_closed(ready: impl Future<Output = io::Result<tokio::io::Ready>>) -> bool {
    match std::pin::pin!(ready).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}
