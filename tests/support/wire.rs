//! The transport of a test's client: TCP, TLS or a Unix socket.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The address of a server.
#[derive(Debug, Clone)]
pub enum Door {
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
    Unix(PathBuf),
}

#[derive(Debug)]
pub enum Wire {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Wire {
    pub fn connect(door: &Door) -> io::Result<Wire> {
        match door {
            Door::Tcp(address) => Wire::tcp(*address).map(Wire::Tcp),
            Door::Tls(address, config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Ok(Wire::Tls(Box::new(StreamOwned::new(session, Wire::tcp(*address)?))))
            }
            Door::Unix(path) => Wire::unix(path),
        }
    }

    fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn unix(path: &Path) -> io::Result<Wire> {
        UnixStream::connect(path).map(Wire::Unix)
    }

    /// Closes the sending direction; receiving continues.
    pub fn end_sending(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Wire::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(Shutdown::Write)
            }
            Wire::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.set_read_timeout(timeout),
            Wire::Tls(stream) => stream.sock.set_read_timeout(timeout),
            Wire::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.set_write_timeout(timeout),
            Wire::Tls(stream) => stream.sock.set_write_timeout(timeout),
            Wire::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
            Wire::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
            Wire::Unix(stream) => stream.flush(),
        }
    }
}
