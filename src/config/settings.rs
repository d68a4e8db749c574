//! The settings, one row each. Files, environment, flags, CONFIG, `--help` and `config/headwater.toml` derive
//! from the rows.

use crate::config::config::{
    ClientCertificates, DebugCommands, DirectWrites, Durability, FlushPolicy, LogLevel, Replication,
};
use crate::config::setting::{Grammar, Kind, Setting};
use crate::config::tls_names::{TLS_CIPHERS, TLS_CIPHERSUITES, TLS_PROTOCOLS};
use crate::config::value::{Refused, Unit, parse_auto, show_auto};
use crate::model::key_events::EventClasses;
use crate::model::limits::OP_BYTES_MAX;
use std::path::PathBuf;

/// Finds a setting by name, ignoring case.
pub fn find(name: &str) -> Option<&'static Setting> {
    let name = name.to_ascii_lowercase();
    SETTINGS.iter().find(|setting| setting.is(&name))
}

macro_rules! row {
    ($name:literal, $default:literal, $mutable:ident, $kind:expr, $doc:literal) => {
        row!(@ $name, None, $default, $mutable, $kind, $doc)
    };
    ($name:literal or $alias:literal, $default:literal, $mutable:ident, $kind:expr, $doc:literal) => {
        row!(@ $name, Some($alias), $default, $mutable, $kind, $doc)
    };
    (@ $name:literal, $alias:expr, $default:literal, mutable, $kind:expr, $doc:literal) => {
        Setting { name: $name, alias: $alias, default: $default, mutable: true, kind: $kind, doc: $doc }
    };
    (@ $name:literal, $alias:expr, $default:literal, immutable, $kind:expr, $doc:literal) => {
        Setting { name: $name, alias: $alias, default: $default, mutable: false, kind: $kind, doc: $doc }
    };
}
macro_rules! flag {
    ($($field:ident).+) => {
        Kind::Flag { get: |c| c.$($field).+, set: |c, v| c.$($field).+ = v }
    };
}
macro_rules! number {
    ($($field:ident).+, $min:expr, $max:expr, $unit:ident) => {
        Kind::Number {
            get: |c| c.$($field).+ as i64,
            set: |c, v| c.$($field).+ = v as _,
            min: $min,
            max: $max,
            unit: Unit::$unit,
        }
    };
}
macro_rules! choice {
    ($field:ident $(. $inner:ident)?, $type:ident, $($name:literal = $variant:ident),+) => {
        Kind::Choice {
            names: &[$($name),+],
            get: |c| {
                let value = c.$field$(.$inner)?;
                [$($type::$variant),+].iter().position(|v| *v == value).expect("a row names every variant")
            },
            set: |c, v| c.$field$(.$inner)? = [$($type::$variant),+][v],
        }
    };
}
macro_rules! text {
    ($($field:ident).+) => {
        Kind::Text { get: |c| c.$($field).+.clone(), set: |c, v| c.$($field).+ = v }
    };
}
macro_rules! list {
    ($($field:ident).+, $separator:literal, $names:expr) => {
        Kind::List {
            names: $names,
            separator: $separator,
            get: |c| &c.$($field).+,
            set: |c, v| c.$($field).+ = v,
        }
    };
}
macro_rules! auto_bytes {
    ($field:ident) => {
        Kind::Parsed {
            get: |c| show_auto(c.$field),
            set: |c, v| parse_auto(v).map(|bytes| c.$field = bytes),
            values: "auto|bytes >= 0",
        }
    };
}
macro_rules! ignored {
    ($min:expr, $max:expr, $unit:ident) => {
        Kind::Ignored(Grammar::Number { min: $min as i64, max: $max as i64, unit: Unit::$unit })
    };
}

const IGNORED_FLAG: Kind = Kind::Ignored(Grammar::Flag);
const IGNORED_TEXT: Kind = Kind::Ignored(Grammar::Text);
const GIB: i64 = 1 << 30;

/// All settings, in the order of `--help` and of `config/headwater.toml`.
pub static SETTINGS: &[Setting] = &[
    row!("port", "6379", immutable, number!(port, 0, 65535, Plain), "TCP port; 0 listens on none."),
    row!(
        "bind",
        "127.0.0.1 -::1",
        immutable,
        Kind::Text {
            get: |c| c.bind.join(" "),
            set: |c, v| c.bind = v.split_ascii_whitespace().map(str::to_owned).collect()
        },
        "Addresses to listen on; a leading - marks an optional one, * is all of IPv4."
    ),
    row!("unixsocket", "", immutable, text!(unixsocket), "Path of an additional Unix socket; empty is none."),
    row!(
        "unixsocketperm",
        "0",
        immutable,
        number!(unixsocketperm, 0, 0o777, Octal),
        "Mode of the socket file, in octal (700); 0 leaves it to the umask."
    ),
    row!("tls-port", "0", immutable, number!(tls.port, 0, 65535, Plain), "TCP port for TLS; 0 is none."),
    row!(
        "tls-cert-file",
        "",
        mutable,
        text!(tls.cert_file),
        "The server's certificate with its intermediates, PEM; setting it reloads the file."
    ),
    row!(
        "tls-key-file",
        "",
        mutable,
        text!(tls.key_file),
        "The key of that certificate, unencrypted PEM: RSA, ECDSA P-256 or P-384, Ed25519."
    ),
    row!("tls-key-file-pass", "", mutable, Kind::Fixed, "Encrypted keys are not supported."),
    row!(
        "tls-ca-cert-file",
        "",
        mutable,
        text!(tls.ca_cert_file),
        "Certificates of the authorities that sign client certificates, PEM."
    ),
    row!(
        "tls-ca-cert-dir",
        "",
        mutable,
        text!(tls.ca_cert_dir),
        "A directory of files with such certificates."
    ),
    row!(
        "tls-auth-clients",
        "yes",
        mutable,
        choice!(
            tls.client_certificates,
            ClientCertificates,
            "no" = Unused,
            "yes" = Required,
            "optional" = Optional
        ),
        "Whether clients must (yes) or may (optional) present a certificate of one of those authorities."
    ),
    row!(
        "tls-auth-clients-user",
        "off",
        mutable,
        Kind::Fixed,
        "Certificates do not select users; clients log in."
    ),
    row!(
        "tls-protocols",
        "",
        mutable,
        list!(tls.protocols, ' ', TLS_PROTOCOLS),
        "Supported TLS versions; empty is all."
    ),
    row!(
        "tls-ciphers",
        "",
        mutable,
        list!(tls.ciphers, ':', TLS_CIPHERS),
        "TLS 1.2 suites, in order of preference; empty is all."
    ),
    row!(
        "tls-ciphersuites",
        "",
        mutable,
        list!(tls.ciphersuites, ':', TLS_CIPHERSUITES),
        "TLS 1.3 suites, in order of preference; empty is all."
    ),
    row!(
        "tls-prefer-server-ciphers",
        "no",
        mutable,
        flag!(tls.prefer_server_ciphers),
        "Whether the server's order of suites wins over the client's."
    ),
    row!(
        "tls-session-caching",
        "yes",
        mutable,
        flag!(tls.session_caching),
        "Whether returning clients may resume their TLS session."
    ),
    row!(
        "tls-session-cache-size",
        "20480",
        mutable,
        number!(tls.session_cache_size, 0, 1_000_000, Plain),
        "Number of sessions kept for resumption; 0 takes the default."
    ),
    row!(
        "tls-session-cache-timeout",
        "300",
        mutable,
        ignored!(0, i32::MAX, Plain),
        "Accepted, without effect."
    ),
    row!("tls-dh-params-file", "", mutable, Kind::Fixed, "Key agreement uses elliptic curves only."),
    row!(
        "tls-client-cert-file",
        "",
        mutable,
        IGNORED_TEXT,
        "Accepted, without effect: the server opens no TLS connections."
    ),
    row!(
        "tls-client-key-file",
        "",
        mutable,
        IGNORED_TEXT,
        "Accepted, without effect: the server opens no TLS connections."
    ),
    row!("tls-client-key-file-pass", "", mutable, Kind::Fixed, "Encrypted keys are not supported."),
    row!("tls-replication", "no", immutable, Kind::Fixed, "There are no replicas yet."),
    row!("tls-cluster", "no", immutable, Kind::Fixed, "The Redis Cluster bus is not supported."),
    row!(
        "dir",
        "data",
        immutable,
        Kind::Parsed {
            get: |c| c.dir.to_string_lossy().into_owned(),
            set: |c, v| {
                if v.is_empty() || v.contains('\0') {
                    return Err(Refused("it must name a directory".into()));
                }
                c.dir = PathBuf::from(v);
                Ok(())
            },
            values: "text"
        },
        "The data directory; created if missing, locked while in use."
    ),
    row!(
        "requirepass",
        "",
        mutable,
        Kind::Binary { get: |c| &c.requirepass, set: |c, v| c.requirepass = v },
        "Password of the default user; empty is none."
    ),
    row!(
        "aclfile",
        "",
        immutable,
        text!(aclfile),
        "Users file, read at the start and by ACL LOAD, written by ACL SAVE; empty is none."
    ),
    row!(
        "acl-pubsub-default",
        "resetchannels",
        mutable,
        Kind::Choice {
            names: &["allchannels", "resetchannels"],
            get: |c| usize::from(!c.acl_all_channels),
            set: |c, v| c.acl_all_channels = v == 0,
        },
        "Channels that a new user may use by default."
    ),
    row!(
        "acllog-max-len",
        "128",
        mutable,
        number!(acllog_max_len, 0, 1_000_000, Plain),
        "Entries that ACL LOG keeps."
    ),
    row!(
        "login-failures-free",
        "10",
        mutable,
        number!(login_failures_free, 0, i32::MAX as i64, Plain),
        "Failed logins of one address before a back-off delays its logins, doubling each time; 0 is never."
    ),
    row!(
        "login-backoff-max",
        "5000",
        mutable,
        number!(login_backoff_max_ms, 0, 3_600_000, Milliseconds),
        "Longest back-off after failed logins of one address."
    ),
    row!(
        "login-backoff-loopback",
        "no",
        mutable,
        flag!(login_backoff_loopback),
        "Delay logins from this machine too; behind a proxy on it, one client would then put off all others."
    ),
    row!(
        "protected-mode",
        "yes",
        mutable,
        flag!(protected_mode),
        "Without a password, refuse clients from other machines."
    ),
    row!("databases", "16", immutable, number!(databases, 1, 1024, Plain), "Number of databases."),
    row!("maxclients", "10000", mutable, number!(maxclients, 1, 1_000_000, Plain), "Most connections."),
    row!(
        "timeout",
        "0",
        mutable,
        number!(timeout_seconds, 0, i32::MAX as i64, Plain),
        "Seconds after which an idle client is disconnected; 0 is never."
    ),
    row!(
        "tcp-keepalive",
        "300",
        mutable,
        number!(tcp_keepalive_seconds, 0, i32::MAX as i64, Plain),
        "Seconds between TCP keepalives; 0 sends none."
    ),
    row!(
        "tcp-backlog",
        "511",
        immutable,
        number!(tcp_backlog, 1, i32::MAX as i64, Plain),
        "Connections that may wait to be accepted."
    ),
    row!(
        "partitions",
        "1",
        immutable,
        number!(partitions, 1, crate::model::limits::PARTITIONS_MAX as i64, Plain),
        "Fixed when the data directory is created; above 1, Redis Cluster's rules for multi-key commands apply."
    ),
    row!(
        "workers",
        "1",
        immutable,
        number!(workers, 1, 1, Plain),
        "Threads that serve partitions; this version supports one."
    ),
    row!(
        "engine-thread",
        "no",
        immutable,
        flag!(engine_thread),
        "Experimental: whether data has a thread of its own, apart from that of the connections."
    ),
    row!(
        "replication",
        "local",
        immutable,
        choice!(replication, Replication, "local" = Local, "raft" = Raft),
        "How writes are committed: by the journal alone, or by Raft over it."
    ),
    row!(
        "durability",
        "fsync",
        immutable,
        choice!(durability, Durability, "fsync" = Fsync, "relaxed" = Relaxed),
        "fsync: on disk before the reply. relaxed: power loss may lose up to sync-interval of acknowledged writes."
    ),
    row!(
        "sync-interval",
        "100",
        immutable,
        number!(sync_interval_ms, 1, 60_000, Milliseconds),
        "Interval between journal syncs with relaxed durability."
    ),
    row!(
        "flush-policy",
        "auto",
        immutable,
        choice!(flush_policy, FlushPolicy, "auto" = Auto, "inline" = Inline, "thread" = Thread),
        "How a sync is waited for; inline: as long as it takes, thread: not at all, auto: as the disk is."
    ),
    row!(
        "direct-writes",
        "auto",
        immutable,
        choice!(direct_writes, DirectWrites, "auto" = Auto, "yes" = Yes, "no" = No),
        "Whether the journal is written past the page cache, durable at once; auto: what is quicker at the start."
    ),
    row!(
        "journal-file-bytes",
        "67108864",
        immutable,
        number!(journal_file_bytes, 1 << 20, GIB, Bytes),
        "Size of one journal file."
    ),
    row!(
        "checkpoint-journal-bytes",
        "536870912",
        mutable,
        number!(checkpoint_journal_bytes, 1 << 20, i64::MAX, Bytes),
        "Journal growth that triggers the next checkpoint; at least the size of the last one."
    ),
    row!(
        "disk-reserve",
        "auto",
        mutable,
        auto_bytes!(disk_reserve),
        "Free disk space below which commands that add data are refused; auto: two journal files, at most 1/16 of the disk."
    ),
    row!(
        "client-output-buffer-limit",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        mutable,
        Kind::OutputLimits,
        "Unsent replies at which a client is disconnected: class, hard bytes, soft bytes, seconds over soft."
    ),
    row!(
        "client-query-buffer-limit",
        "1073741824",
        mutable,
        number!(client_query_buffer_limit, 1 << 20, OP_BYTES_MAX as i64, Bytes),
        "Most bytes of one request."
    ),
    row!(
        "maxmemory",
        "auto",
        mutable,
        auto_bytes!(maxmemory),
        "Memory in use at which requests that need more are refused; auto: three quarters of what there is, 0: none."
    ),
    row!(
        "maxmemory-clients",
        "1073741824",
        mutable,
        number!(maxmemory_clients, 0, i64::MAX, Bytes),
        "Memory of all clients and what they queue; above it, the largest are disconnected. 0 is no limit."
    ),
    row!(
        "proto-max-bulk-len",
        "536870912",
        mutable,
        number!(proto_max_bulk_len, 1 << 20, OP_BYTES_MAX as i64, Bytes),
        "Most bytes of one argument."
    ),
    row!(
        "stream-node-max-entries",
        "100",
        mutable,
        number!(stream_node_max_entries, 0, i32::MAX as i64, Plain),
        "Entries of one stream node, the granularity of approximate trimming; 0 is no limit."
    ),
    row!(
        "stream-node-max-bytes",
        "4096",
        mutable,
        number!(stream_node_max_bytes, 0, i32::MAX as i64, Bytes),
        "Bytes of one stream node; 0 is no limit."
    ),
    row!(
        "stream-idmp-duration",
        "100",
        mutable,
        number!(stream_idmp_duration, 1, 86_400, Plain),
        "Seconds for which a stream remembers an idempotent id."
    ),
    row!(
        "stream-idmp-maxsize",
        "100",
        mutable,
        number!(stream_idmp_maxsize, 1, 10_000, Plain),
        "Idempotent ids that a stream remembers per producer."
    ),
    row!(
        "dump-rdb-version",
        "14",
        mutable,
        number!(dump_rdb_version, 9, 14, Plain),
        "Newest RDB version of DUMP (9: Redis 5, 10: 7.0, 11: 7.2, 13: 8.6); it omits what that version lacks."
    ),
    row!(
        "loglevel",
        "notice",
        mutable,
        choice!(
            loglevel,
            LogLevel,
            "debug" = Debug,
            "verbose" = Verbose,
            "notice" = Notice,
            "warning" = Warning,
            "nothing" = Nothing
        ),
        "Least severity that is logged."
    ),
    row!("logfile", "", immutable, text!(logfile), "File to append the log to; empty is standard output."),
    row!(
        "enable-debug-command",
        "no",
        immutable,
        choice!(enable_debug_command, DebugCommands, "no" = No, "yes" = Yes, "local" = Local),
        "Whether DEBUG is served; local: to clients on this machine."
    ),
    row!(
        "slowlog-log-slower-than",
        "10000",
        mutable,
        number!(slowlog_log_slower_than, -1, i64::MAX, Plain),
        "Microseconds from which the slow log records a command; -1 is off."
    ),
    row!(
        "slowlog-max-len",
        "128",
        mutable,
        number!(slowlog_max_len, 0, 1_000_000, Plain),
        "Length of the slow log."
    ),
    row!(
        "latency-monitor-threshold",
        "0",
        mutable,
        number!(latency_monitor_threshold, 0, i64::MAX, Plain),
        "Milliseconds from which LATENCY records an event; 0 is off."
    ),
    row!(
        "latency-tracking",
        "yes",
        mutable,
        flag!(latency_tracking),
        "Keep a histogram of durations for each command: INFO latencystats, LATENCY HISTOGRAM."
    ),
    row!(
        "latency-tracking-info-percentiles",
        "50 99 99.9",
        mutable,
        Kind::Percentiles,
        "Percentiles that INFO latencystats shows."
    ),
    // Settings of Redis without a meaning here, accepted so that its configurations and clients work.
    row!(
        "appendonly",
        "yes",
        mutable,
        Kind::Overruled(Grammar::Flag),
        "Accepted, without effect: writes are always journaled."
    ),
    row!(
        "appendfsync",
        "always",
        mutable,
        Kind::Overruled(Grammar::Names(&["everysec", "always", "no"])),
        "Accepted, without effect: see durability, which this never weakens."
    ),
    row!(
        "save",
        "",
        mutable,
        Kind::Ignored(Grammar::SavePoints),
        "Accepted, without effect: checkpoints follow checkpoint-journal-bytes."
    ),
    row!("aof-use-rdb-preamble", "yes", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("no-appendfsync-on-rewrite", "no", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!(
        "auto-aof-rewrite-percentage",
        "100",
        mutable,
        ignored!(0, i32::MAX, Plain),
        "Accepted, without effect."
    ),
    row!(
        "auto-aof-rewrite-min-size",
        "67108864",
        mutable,
        ignored!(0, i64::MAX, Bytes),
        "Accepted, without effect."
    ),
    row!(
        "dbfilename",
        "dump.rdb",
        immutable,
        IGNORED_TEXT,
        "Accepted, without effect: there is no RDB file."
    ),
    row!("appenddirname", "appendonlydir", immutable, IGNORED_TEXT, "Accepted, without effect."),
    row!("rdbcompression", "yes", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("rdbchecksum", "yes", immutable, IGNORED_FLAG, "Accepted, without effect."),
    row!(
        "stop-writes-on-bgsave-error",
        "yes",
        mutable,
        IGNORED_FLAG,
        "Accepted, without effect: the server stops when its journal cannot be written."
    ),
    row!("maxmemory-policy", "noeviction", mutable, Kind::Fixed, "Nothing is ever evicted."),
    row!(
        "notify-keyspace-events",
        "",
        mutable,
        Kind::Parsed {
            get: |c| c.notify_keyspace_events.to_string(),
            set: |c, v| {
                c.notify_keyspace_events = EventClasses::parse(v).ok_or_else(|| {
                    Refused("Invalid event class character. Use 'Ag$lshzxeKEtmdnocSTIV'.".into())
                })?;
                Ok(())
            },
            values: "letters of Ag$lshzxeKEtmdnocSTIV"
        },
        "Events published to __keyspace@db__ (K) and __keyevent@db__ (E) channels, as in Redis; empty is off."
    ),
    row!(
        "hz",
        "10",
        mutable,
        number!(hz, 1, 500, Plain),
        "Rounds of background work (expiry, idle clients) per second."
    ),
    row!("dynamic-hz", "yes", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("activedefrag", "no", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("lazyfree-lazy-user-del", "no", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!(
        "list-max-listpack-size",
        "-2",
        mutable,
        ignored!(i32::MIN, i32::MAX, Plain),
        "Accepted, without effect: there are no lists."
    ),
    row!(
        "set-max-intset-entries",
        "512",
        mutable,
        ignored!(0, i64::MAX, Plain),
        "Accepted, without effect: there are no sets."
    ),
    row!(
        "tracking-table-max-keys",
        "1000000",
        mutable,
        number!(tracking_table_max_keys, 0, i64::MAX, Plain),
        "Keys tracked for CLIENT TRACKING; beyond it the oldest are invalidated. 0 is no limit."
    ),
    row!(
        "lua-time-limit" or "busy-reply-threshold",
        "5000",
        mutable,
        ignored!(0, i64::MAX, Plain),
        "Accepted, without effect: there are no scripts."
    ),
    row!("replica-read-only" or "slave-read-only", "yes", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!(
        "replica-serve-stale-data" or "slave-serve-stale-data",
        "yes",
        mutable,
        IGNORED_FLAG,
        "Accepted, without effect."
    ),
    row!(
        "min-replicas-to-write" or "min-slaves-to-write",
        "0",
        mutable,
        Kind::Fixed,
        "Raft replaces these replicas."
    ),
    row!("repl-diskless-sync", "yes", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("repl-diskless-sync-delay", "5", mutable, ignored!(0, i32::MAX, Plain), "Accepted, without effect."),
    row!("cluster-enabled", "no", immutable, Kind::Fixed, "The Redis Cluster bus is not supported."),
    row!(
        "daemonize",
        "no",
        immutable,
        Kind::Fixed,
        "The server stays in the foreground; run it under a supervisor."
    ),
    row!(
        "supervised",
        "no",
        immutable,
        Kind::Ignored(Grammar::Names(&["upstart", "systemd", "auto", "no"])),
        "Accepted, without effect."
    ),
    row!("pidfile", "", immutable, IGNORED_TEXT, "Accepted, without effect."),
    row!("always-show-logo", "no", immutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("set-proc-title", "yes", mutable, IGNORED_FLAG, "Accepted, without effect."),
    row!("syslog-enabled", "no", immutable, Kind::Fixed, "Log to standard output or to logfile."),
    row!("io-threads", "1", immutable, ignored!(1, 128, Plain), "Accepted, without effect: see workers."),
];
