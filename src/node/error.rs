//! Why a node does not start, or failed while stopping.

use crate::acl::acl::AclError;
use crate::engine::thread::Died;
use crate::net::tls::config::TlsError;
use crate::node::unix_socket::BindError;
use crate::replication::committer::{CommitError, OpenError};
use crate::storage::data_dir::DataDirError;
use std::net::SocketAddr;

/// Why a node does not start, or failed while stopping.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("users: {0}")]
    Acl(#[from] AclError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{0}")]
    Address(String),
    #[error("cannot listen on the Unix socket {path}: {source}")]
    UnixSocket { path: String, source: BindError },
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("nothing to listen on: set port, tls-port or unixsocket")]
    NothingToListenOn,
    #[error("cannot start: {doing}: {source}")]
    System { doing: &'static str, source: std::io::Error },
    #[error("stopped because what was written can no longer be trusted to be on disk: {0}")]
    Commit(#[from] CommitError),
    #[error("stopped because {0}")]
    EngineDied(#[from] Died),
}
