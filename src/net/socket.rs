//! The bytes of a connection, over TCP, TLS or a Unix socket. Reading and writing are separate halves,
//! because a read may be in progress while replies are sent.
//!
//! One call here is one system call: tokio knows that a read which did not fill its buffer has emptied the
//! socket.

use crate::env::sim_pipe::{SimReadHalf, SimSocket, SimWriteHalf};
use crate::net::readiness::is_read_closed;
use crate::net::tls::stream::TlsStream;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

pub enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    Tls(Rc<RefCell<TlsStream>>),
    Simulated(SimReadHalf),
}

pub enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    Tls(Rc<RefCell<TlsStream>>),
    Simulated(SimWriteHalf),
}

pub fn of_tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
}

pub fn of_unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Unix(read), WriteHalf::Unix(write))
}

pub fn of_tls(stream: TlsStream) -> (ReadHalf, WriteHalf) {
    let stream = Rc::new(RefCell::new(stream));
    (ReadHalf::Tls(stream.clone()), WriteHalf::Tls(stream))
}

pub fn of_simulation(socket: SimSocket) -> (ReadHalf, WriteHalf) {
    (ReadHalf::Simulated(socket.read), WriteHalf::Simulated(socket.write))
}

impl ReadHalf {
    /// Reads the available bytes. Ready without bytes means that the client sends no more.
    pub fn poll_read(&mut self, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadHalf::Tcp(socket) => Pin::new(socket).poll_read(context, target),
            ReadHalf::Unix(socket) => Pin::new(socket).poll_read(context, target),
            ReadHalf::Tls(stream) => stream.borrow_mut().poll_read(context, target),
            ReadHalf::Simulated(socket) => Pin::new(socket).poll_read(context, target),
        }
    }
}

impl WriteHalf {
    /// Whether the transport has a handshake.
    pub fn has_handshake(&self) -> bool {
        matches!(self, WriteHalf::Tls(_))
    }

    /// Continues the handshake; ready when it is complete.
    pub fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            WriteHalf::Tcp(_) | WriteHalf::Unix(_) | WriteHalf::Simulated(_) => Poll::Ready(Ok(())),
            WriteHalf::Tls(stream) => stream.borrow_mut().poll_handshake(context),
        }
    }

    /// Sends what the socket accepts at once from these buffers, in order: a number of bytes above 0, or
    /// `WouldBlock`.
    pub fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (WriteHalf::Tcp(socket), [bytes]) => socket.try_write(bytes),
            (WriteHalf::Tcp(socket), _) => socket.try_write_vectored(slices),
            (WriteHalf::Unix(socket), [bytes]) => socket.try_write(bytes),
            (WriteHalf::Unix(socket), _) => socket.try_write_vectored(slices),
            (WriteHalf::Tls(stream), _) => stream.borrow_mut().try_write(slices),
            (WriteHalf::Simulated(socket), _) => write_each(slices, |bytes| socket.try_write(bytes)),
        }
    }

    /// The same; pending, with the task registered, when the socket accepts nothing.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (WriteHalf::Tcp(socket), [bytes]) => Pin::new(socket).poll_write(context, bytes),
            (WriteHalf::Tcp(socket), _) => Pin::new(socket).poll_write_vectored(context, slices),
            (WriteHalf::Unix(socket), [bytes]) => Pin::new(socket).poll_write(context, bytes),
            (WriteHalf::Unix(socket), _) => Pin::new(socket).poll_write_vectored(context, slices),
            (WriteHalf::Tls(stream), _) => stream.borrow_mut().poll_write(context, slices),
            (WriteHalf::Simulated(socket), _) => {
                let first = slices.iter().find(|bytes| !bytes.is_empty()).map_or(&[][..], |bytes| bytes);
                Pin::new(socket).poll_write(context, first)
            }
        }
    }

    /// Sends accepted bytes that wait in encrypted form; pending, with the task registered, when the socket
    /// accepts no more.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            WriteHalf::Tcp(_) | WriteHalf::Unix(_) | WriteHalf::Simulated(_) => Poll::Ready(Ok(())),
            WriteHalf::Tls(stream) => stream.borrow_mut().poll_flush(context),
        }
    }

    /// Whether accepted bytes are still unsent.
    pub fn has_unsent(&self) -> bool {
        match self {
            WriteHalf::Tcp(_) | WriteHalf::Unix(_) | WriteHalf::Simulated(_) => false,
            WriteHalf::Tls(stream) => stream.borrow().has_unsent(),
        }
    }

    /// Announces the end of the output, if the transport requires it.
    pub fn say_goodbye(&mut self) {
        if let WriteHalf::Tls(stream) = self {
            stream.borrow_mut().say_goodbye();
        }
    }

    /// Closes visibly to the client at once, before its task closes the socket.
    pub fn hang_up(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        // Shutdown takes effect at once; the task sees its errors too.
        let _ = match self {
            WriteHalf::Tcp(socket) => Pin::new(socket).poll_shutdown(&mut context),
            WriteHalf::Unix(socket) => Pin::new(socket).poll_shutdown(&mut context),
            WriteHalf::Tls(_) => return,
            WriteHalf::Simulated(socket) => Pin::new(socket).poll_shutdown(&mut context),
        };
    }

    /// The file descriptor of the socket; -1 for a simulated one.
    pub fn descriptor(&self) -> RawFd {
        match self {
            WriteHalf::Tcp(socket) => socket.as_ref().as_raw_fd(),
            WriteHalf::Unix(socket) => socket.as_ref().as_raw_fd(),
            WriteHalf::Tls(stream) => stream.borrow().descriptor(),
            WriteHalf::Simulated(_) => -1,
        }
    }

    /// Whether the client has closed its side, even if its earlier bytes are still unread.
    pub fn has_peer_closed(&self) -> bool {
        match self {
            WriteHalf::Tcp(socket) => is_read_closed(socket.ready(Interest::READABLE)),
            WriteHalf::Unix(socket) => is_read_closed(socket.ready(Interest::READABLE)),
            WriteHalf::Tls(stream) => stream.borrow().has_peer_closed(),
            WriteHalf::Simulated(socket) => socket.has_peer_closed(),
        }
    }
}

/// Writes one buffer after the other until one is not taken as a whole.
fn write_each(
    slices: &[IoSlice<'_>],
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut total = 0;
    for bytes in slices.iter().filter(|bytes| !bytes.is_empty()) {
        match write(bytes) {
            Ok(taken) => {
                total += taken;
                if taken < bytes.len() {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// Writes these buffers to a socket with room for `room` bytes. Returns the result and what it took.
    fn written(buffers: &[&[u8]], room: usize) -> (io::Result<usize>, Vec<u8>) {
        let slices: Vec<_> = buffers.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut taken = Vec::new();
        let result = write_each(&slices, |bytes| match bytes.len().min(room - taken.len()) {
            0 => Err(ErrorKind::WouldBlock.into()),
            fits => {
                taken.extend_from_slice(&bytes[..fits]);
                Ok(fits)
            }
        });
        (result, taken)
    }

    #[test]
    fn what_was_written_before_a_full_socket_counts() {
        for room in 1..=5 {
            let (result, taken) = written(&[b"ab", b"", b"cde"], room);
            assert_eq!((result.unwrap(), &taken[..]), (room, &b"abcde"[..room]));
        }
        let (result, _) = written(&[b"", b"ab"], 0);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
