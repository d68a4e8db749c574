//! The addresses of the ends of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    /// The path of the server's socket file. Both ends have this address; clients have no name of their own.
    Unix(Rc<str>),
}

impl Address {
    /// Whether the address is on this machine: loopback, or a Unix socket (Redis 7.2 `connIsLocal`).
    pub fn is_local(&self) -> bool {
        match self {
            Address::Ip(address) => address.ip().to_canonical().is_loopback(),
            Address::Unix(_) => true,
        }
    }

    /// `None` over a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }

    pub fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }
}

/// The form of CLIENT LIST: `127.0.0.1:6379`, `[::1]:6379`, `/run/headwater.sock:0`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        let ip = |text: &str| Address::Ip(text.parse().unwrap());
        for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(ip(local).is_local(), "{local}");
        }
        for foreign in ["192.0.2.2:1", "0.0.0.0:1", "[fd00::2]:1", "[::ffff:192.0.2.2]:1"] {
            assert!(!ip(foreign).is_local(), "{foreign}");
        }
        let unix = Address::Unix("/run/headwater.sock".into());
        assert!(unix.is_local() && unix.is_unix());
        assert_eq!(unix.to_string(), "/run/headwater.sock:0");
    }
}
