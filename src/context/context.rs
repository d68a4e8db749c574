//! The context of a node: shared by its engine and its frontend, on any threads.

use crate::acl::acl::Acl;
use crate::base::latch::Latch;
use crate::base::shared::Shared;
use crate::config::config::Config;
use crate::env::clock::Clock;
use crate::env::disposal::Disposal;
use crate::env::entropy::Entropy;
use crate::model::time::TimeMs;
use crate::observe::tracing::LogLevels;
use crate::storage::space::DiskSpace;
use std::sync::Arc;
use tokio::sync::Notify;

/// Each owner counts for itself (`observe::metrics`, `engine::statistics`); INFO combines the figures.
pub struct NodeContext {
    pub config: Shared<Config>,
    pub acl: Acl,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub identity: Identity,
    /// Of the data directory.
    pub disk: Arc<DiskSpace>,
    /// Frees what is removed in large pieces.
    pub disposal: Disposal,
    /// Tripped when nothing more may be acknowledged.
    pub latch: Latch,
    pub log_levels: LogLevels,
    /// SHUTDOWN or a signal asks the node to stop.
    pub stop: Notify,
}

/// The identity of the server.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 40 hexadecimal digits, new at every start.
    pub run_id: String,
    /// By the monotonic clock.
    pub started_ms: u64,
    pub config_file: String,
    pub executable: String,
    /// Memory in use before any data was loaded, in bytes.
    pub startup_bytes: u64,
    /// Memory that the process may use; 0: unknown.
    pub memory_bytes: u64,
}

impl NodeContext {
    /// For people: TIME, LASTSAVE, logs. Data lives by the time of the log (`engine::log_clock`).
    pub fn wall_time(&self) -> TimeMs {
        self.clock.now()
    }
}
