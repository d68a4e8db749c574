//! The settings as the server reads them. Names, bounds and defaults are in [`crate::config::settings`].

use crate::config::settings;
use crate::model::key_events::EventClasses;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Which committer makes writes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replication {
    /// The node belongs to no cluster.
    #[default]
    Local,
    /// Every partition is a Raft group; currently with this node as its only member.
    Raft,
}

impl Replication {
    /// The name in files and INFO.
    pub fn name(self) -> &'static str {
        match self {
            Replication::Local => "local",
            Replication::Raft => "raft",
        }
    }

    /// The text in the start-up banner.
    pub fn describe(self) -> &'static str {
        match self {
            Replication::Local => "committed by the local journal",
            Replication::Raft => "committed by Raft",
        }
    }
}

/// The failures that an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the reply.
    Fsync,
    /// In the kernel's cache before the reply, on disk within `sync-interval`.
    Relaxed,
}

impl Durability {
    /// The name in files and INFO.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::Relaxed => "relaxed",
        }
    }

    /// The text in the start-up banner.
    pub fn describe(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync: every write is on disk before its reply",
            Durability::Relaxed => "relaxed: power loss may cost writes that were acknowledged",
        }
    }
}

/// Who makes the syncs of the journal, and how long the engine's thread waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushPolicy {
    /// By the duration of syncs: `replication::pace`.
    #[default]
    Auto,
    /// The engine's thread.
    Inline,
    /// The flusher; the engine's thread goes on.
    Thread,
}

/// Whether the journal is written past the page cache, by writes that are durable when they return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectWrites {
    /// Both ways are tried at the start, and the quicker one is taken.
    Auto,
    Yes,
    #[default]
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugCommands {
    No,
    Yes,
    /// Allowed from loopback addresses.
    Local,
}

impl DebugCommands {
    /// Whether a client may use DEBUG; `is_local`: the client is on this machine.
    pub fn allows(self, is_local: bool) -> bool {
        match self {
            DebugCommands::No => false,
            DebugCommands::Yes => true,
            DebugCommands::Local => is_local,
        }
    }
}

/// `tls-auth-clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// A client without a certificate is refused.
    #[default]
    Required,
    /// A certificate is optional, but must be valid if sent.
    Optional,
    /// No certificate is requested.
    Unused,
}

/// The TLS settings; Redis's names after `tls-`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// 0: TLS is off.
    pub port: u16,
    /// PEM: the server's certificate, followed by its intermediates.
    pub cert_file: String,
    /// PEM: the private key of that certificate.
    pub key_file: String,
    /// PEM: the certificate authorities of clients.
    pub ca_cert_file: String,
    /// A directory of such files.
    pub ca_cert_dir: String,
    pub client_certificates: ClientCertificates,
    /// `TLSv1.2`, `TLSv1.3`; empty: both.
    pub protocols: Vec<String>,
    /// TLS 1.2 suites by OpenSSL's names, in order of preference; empty: all.
    pub ciphers: Vec<String>,
    /// TLS 1.3 suites; empty: all.
    pub ciphersuites: Vec<String>,
    /// Whether the server's order of suites wins over the client's.
    pub prefer_server_ciphers: bool,
    /// Whether a returning client may resume its session.
    pub session_caching: bool,
    /// Number of sessions kept for resumption.
    pub session_cache_size: u32,
}

/// Bytes of unsent replies at which a client is disconnected; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    /// Limit that a client may exceed for at most `soft_seconds`.
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// `client-output-buffer-limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

/// Every setting. [`Config::default`] holds the defaults of the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The settings file that was read, if any.
    pub config_file: Option<PathBuf>,
    /// 0: no TCP port.
    pub port: u16,
    /// Addresses to listen on; a leading `-` marks an optional one.
    pub bind: Vec<String>,
    /// Path of the socket file; empty: no socket.
    pub unixsocket: String,
    /// Mode of the socket file; 0: left to the umask.
    pub unixsocketperm: u32,
    pub tls: TlsSettings,
    pub dir: PathBuf,
    /// Empty: no password.
    pub requirepass: Vec<u8>,
    /// Path of the users file; empty: none.
    pub aclfile: String,
    /// `user` settings, one user each: a name, then its rules.
    pub users: Vec<String>,
    /// `acl-pubsub-default`: whether new users may use all channels.
    pub acl_all_channels: bool,
    pub acllog_max_len: u64,
    /// Failed logins of an address before the back-off starts; 0: no back-off.
    pub login_failures_free: u32,
    pub login_backoff_max_ms: u64,
    /// Clients of this machine are delayed too.
    pub login_backoff_loopback: bool,
    pub protected_mode: bool,
    pub databases: u32,
    pub maxclients: usize,
    /// Seconds after which an idle client is disconnected; 0: never.
    pub timeout_seconds: u64,
    /// 0: off.
    pub tcp_keepalive_seconds: u64,
    pub tcp_backlog: u32,
    pub partitions: u16,
    pub workers: u16,
    /// The engine runs on its own thread.
    pub engine_thread: bool,
    pub replication: Replication,
    pub durability: Durability,
    pub sync_interval_ms: u64,
    pub flush_policy: FlushPolicy,
    pub direct_writes: DirectWrites,
    pub journal_file_bytes: u64,
    pub checkpoint_journal_bytes: u64,
    /// Bytes; 0: none; `None`: by the size of the disk.
    pub disk_reserve: Option<u64>,
    pub output_limits: OutputLimits,
    pub client_query_buffer_limit: u64,
    /// Bytes; 0: no limit; `None`: a share of the machine's memory.
    pub maxmemory: Option<u64>,
    /// Bytes; 0: no limit.
    pub maxmemory_clients: u64,
    pub proto_max_bulk_len: u64,
    pub stream_node_max_entries: u32,
    pub stream_node_max_bytes: u32,
    pub stream_idmp_duration: u32,
    pub stream_idmp_maxsize: u32,
    /// Newest RDB version that DUMP writes.
    pub dump_rdb_version: u16,
    /// Rounds of background work per second.
    pub hz: u32,
    pub loglevel: LogLevel,
    /// Empty: standard output.
    pub logfile: String,
    pub enable_debug_command: DebugCommands,
    /// Microseconds; negative: off.
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: u64,
    /// Milliseconds; 0: off.
    pub latency_monitor_threshold: u64,
    pub notify_keyspace_events: EventClasses,
    /// 0: no limit.
    pub tracking_table_max_keys: u64,
    /// Whether each command keeps a histogram of its durations.
    pub latency_tracking: bool,
    /// Percentiles in INFO latencystats, 0 to 100.
    pub latency_percentiles: Vec<f64>,
    /// Settings that are accepted without effect and differ from their default.
    pub accepted: BTreeMap<&'static str, String>,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Config {
            config_file: None,
            port: 0,
            bind: Vec::new(),
            unixsocket: String::new(),
            unixsocketperm: 0,
            tls: TlsSettings::default(),
            dir: PathBuf::new(),
            requirepass: Vec::new(),
            aclfile: String::new(),
            users: Vec::new(),
            acl_all_channels: false,
            acllog_max_len: 0,
            login_failures_free: 0,
            login_backoff_max_ms: 0,
            login_backoff_loopback: false,
            protected_mode: false,
            databases: 0,
            maxclients: 0,
            timeout_seconds: 0,
            tcp_keepalive_seconds: 0,
            tcp_backlog: 0,
            partitions: 0,
            workers: 0,
            engine_thread: false,
            replication: Replication::Local,
            durability: Durability::Fsync,
            sync_interval_ms: 0,
            flush_policy: FlushPolicy::Auto,
            direct_writes: DirectWrites::Auto,
            journal_file_bytes: 0,
            checkpoint_journal_bytes: 0,
            disk_reserve: None,
            output_limits: OutputLimits::default(),
            client_query_buffer_limit: 0,
            maxmemory: None,
            maxmemory_clients: 0,
            proto_max_bulk_len: 0,
            stream_node_max_entries: 0,
            stream_node_max_bytes: 0,
            stream_idmp_duration: 0,
            stream_idmp_maxsize: 0,
            dump_rdb_version: 0,
            hz: 0,
            loglevel: LogLevel::Notice,
            logfile: String::new(),
            enable_debug_command: DebugCommands::No,
            slowlog_log_slower_than: 0,
            slowlog_max_len: 0,
            latency_monitor_threshold: 0,
            notify_keyspace_events: EventClasses::NONE,
            tracking_table_max_keys: 0,
            latency_tracking: false,
            latency_percentiles: Vec::new(),
            accepted: BTreeMap::new(),
        };
        for setting in settings::SETTINGS {
            setting.set(&mut config, setting.default).expect("a default is valid");
        }
        config
    }
}

/// One word of `bind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindAddress {
    pub ip: IpAddr,
    /// Whether the server starts if this machine does not have the address.
    pub may_be_missing: bool,
}

impl Config {
    /// The addresses to listen on; `*` means all of IPv4, `::*` all of IPv6 (Redis 7.2).
    ///
    /// # Errors
    ///
    /// A word that is not an IP address, described for the operator.
    pub fn bind_addresses(&self) -> Result<Vec<BindAddress>, String> {
        let address = |word: &String| {
            let (may_be_missing, text) = match word.strip_prefix('-') {
                Some(text) => (true, text),
                None => (false, word.as_str()),
            };
            let ip = match text {
                "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                _ => text
                    .parse()
                    .map_err(|_| format!("bind: '{word}' is not an IP address (127.0.0.1, -::1, *)"))?,
            };
            Ok(BindAddress { ip, may_be_missing })
        };
        self.bind.iter().map(address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_takes_redis_s_words() {
        let mut config = Config::default();
        let found: Vec<_> =
            config.bind_addresses().unwrap().iter().map(|a| (a.ip.to_string(), a.may_be_missing)).collect();
        assert_eq!(found, [("127.0.0.1".to_owned(), false), ("::1".to_owned(), true)]);
        config.bind = vec!["*".into(), "-::*".into()];
        assert!(config.bind_addresses().unwrap().iter().all(|address| address.ip.is_unspecified()));
        config.bind = vec!["localhost".into()];
        assert!(config.bind_addresses().unwrap_err().contains("'localhost'"));
    }
}
