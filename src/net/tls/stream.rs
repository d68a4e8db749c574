//! A TCP connection that speaks TLS: passes bytes through rustls, and decides when to read and send.

use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Encrypted bytes per read after the handshake. Their content fits one read of
/// [`crate::server::connection_task`] together with the previous incomplete record.
const READ_BYTES: usize = 32 * 1024;

/// Encrypted bytes per read during the handshake: small enough that requests right behind it fit the buffer
/// of rustls.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;

/// Maximum encrypted bytes that wait for the socket.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

pub struct TlsStream {
    tcp: TcpStream,
    session: ServerConnection,
    /// The client sends no more.
    ended: bool,
}

impl TlsStream {
    pub fn new(tcp: TcpStream, offer: Arc<ServerConfig>) -> Result<TlsStream, rustls::Error> {
        let mut session = ServerConnection::new(offer)?;
        session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        Ok(TlsStream { tcp, session, ended: false })
    }

    /// Continues the handshake; ready when it is complete.
    pub fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(context))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let mut space = [MaybeUninit::uninit(); HANDSHAKE_READ_BYTES];
            let mut arrived = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.tcp).poll_read(context, &mut arrived))?;
            let mut encrypted = arrived.filled();
            if encrypted.is_empty() {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            while !encrypted.is_empty() {
                self.take_in(&mut encrypted)?;
            }
        }
    }

    /// Reads and decrypts the available bytes. Ready without bytes means that the client sends no more. The
    /// target has room for more than [`READ_BYTES`] and one record.
    pub fn poll_read(&mut self, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.hand_out(target)? > 0 || self.ended {
                return Poll::Ready(Ok(()));
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut arrived = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.tcp).poll_read(context, &mut arrived))?;
            let mut encrypted = arrived.filled();
            if encrypted.is_empty() {
                // Many clients close without close_notify; an incomplete request is not executed anyway.
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            let before = target.filled().len();
            while !encrypted.is_empty() && !self.ended {
                self.take_in(&mut encrypted)?;
                self.hand_out(target)?;
            }
            if target.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Passes arrived bytes to rustls.
    fn take_in(&mut self, encrypted: &mut &[u8]) -> io::Result<()> {
        if self.session.read_tls(encrypted)? == 0 {
            // Bytes after close_notify.
            return Err(ErrorKind::InvalidData.into());
        }
        if let Err(error) = self.session.process_new_packets() {
            // Sends the alert with the reason, if the socket accepts it.
            let _ = self.send(None);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    /// Moves decrypted bytes to the target. Returns the bytes moved.
    fn hand_out(&mut self, target: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut moved = 0;
        while target.remaining() > 0 {
            match self.session.reader().read(target.initialize_unfilled()) {
                // The client sent close_notify.
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => {
                    target.advance(read);
                    moved += read;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    /// Encrypts and sends as much as the socket accepts. Returns the bytes accepted, some of which may wait
    /// in encrypted form; `WouldBlock` when none were accepted because earlier bytes still wait.
    pub fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(None, slices)
    }

    /// Same as [`TlsStream::try_write`], with the task registered when pending.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        in_poll(self.write(Some(context), slices))
    }

    /// Sends encrypted bytes that wait; pending, with the task registered, when the socket accepts no more.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        in_poll(self.send(Some(context)))
    }

    /// Whether encrypted bytes wait for the socket.
    pub fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    /// Sends close_notify, if the socket accepts it.
    pub fn say_goodbye(&mut self) {
        self.session.send_close_notify();
        let _ = self.send(None);
    }

    pub fn descriptor(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }

    /// Whether the client has closed its side.
    pub fn has_peer_closed(&self) -> bool {
        self.ended || crate::net::readiness::is_read_closed(self.tcp.ready(Interest::READABLE))
    }

    fn write(&mut self, mut context: Option<&mut Context<'_>>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(context.as_deref_mut())?;
        let taken = self.session.writer().write_vectored(slices)?;
        match self.send(context) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn send(&mut self, mut context: Option<&mut Context<'_>>) -> io::Result<()> {
        while self.session.wants_write() {
            let mut socket = Sending { tcp: &mut self.tcp, context: context.as_deref_mut() };
            if self.session.write_tls(&mut socket)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

fn in_poll<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// The socket as a writer for rustls. With a context the task is registered when it returns `WouldBlock`.
struct Sending<'s, 'c, 'w> {
    tcp: &'s mut TcpStream,
    context: Option<&'c mut Context<'w>>,
}

impl Write for Sending<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.context {
            None => self.tcp.try_write_vectored(slices),
            Some(context) => match Pin::new(&mut *self.tcp).poll_write_vectored(context, slices) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(ErrorKind::WouldBlock.into()),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
