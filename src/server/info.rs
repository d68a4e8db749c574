//! INFO.

use crate::command::table::TABLE;
use crate::command::value::Query;
use crate::command::value::key::KeyQuery;
use crate::config::load::REDIS_VERSION;
use crate::model::args::ArgList;
use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::observe::metrics::CallStats;
use crate::pubsub::registry::Kind;
use crate::server::worker::Worker;
use std::fmt::Write;

/// A section: its name, whether it is shown when none is asked for, and who writes it.
type Section = (&'static str, bool, fn(&Worker, &mut String));

const SECTIONS: &[Section] = &[
    ("Server", true, Worker::info_server),
    ("Clients", true, Worker::info_clients),
    ("Memory", true, Worker::info_memory),
    ("Persistence", true, Worker::info_persistence),
    ("Stats", true, Worker::info_stats),
    ("Replication", true, Worker::info_replication),
    ("CPU", true, Worker::info_cpu),
    ("Modules", true, |_, _| {}),
    ("Commandstats", false, Worker::info_commandstats),
    ("Errorstats", true, Worker::info_errorstats),
    ("Cluster", true, Worker::info_cluster),
    ("Keyspace", true, Worker::info_keyspace),
];

impl Worker {
    /// The text of the sections named (all that are shown by default, if none is), each once.
    pub fn info(&self, names: &ArgList<'_>) -> String {
        let asked = |name: &str| names.iter().any(|asked| asked.eq_ignore_ascii_case(name.as_bytes()));
        let default = names.is_empty() || asked("default");
        let everything = asked("all") || asked("everything");
        let mut text = String::new();
        for (name, shown_by_default, write) in SECTIONS {
            if everything || (default && *shown_by_default) || asked(name) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                let _ = write!(text, "# {name}\r\n");
                write(self, &mut text);
            }
        }
        text
    }

    fn info_server(&self, text: &mut String) {
        let config = self.config.borrow();
        let uptime_seconds = self.now().since(self.identity.started_at) / 1000;
        line(text, "redis_version", REDIS_VERSION);
        line(text, "server_name", "headwater");
        line(text, "headwater_version", env!("CARGO_PKG_VERSION"));
        line(text, "redis_git_sha1", "00000000");
        line(text, "redis_git_dirty", 0);
        line(text, "redis_build_id", 0);
        line(text, "redis_mode", "standalone");
        line(text, "os", std::env::consts::OS);
        line(text, "arch_bits", usize::BITS);
        line(text, "multiplexing_api", "tokio");
        line(text, "process_id", std::process::id());
        line(text, "process_supervised", "no");
        line(text, "run_id", &self.identity.run_id);
        line(text, "tcp_port", if config.port == 0 { config.tls.port } else { config.port });
        line(text, "server_time_usec", self.clock.now_micros());
        line(text, "uptime_in_seconds", uptime_seconds);
        line(text, "uptime_in_days", uptime_seconds / 86_400);
        line(text, "hz", config.hz);
        line(text, "configured_hz", config.hz);
        line(text, "executable", &self.identity.executable);
        line(text, "config_file", &self.identity.config_file);
        line(text, "partitions", self.router.partitions());
        line(text, "replication_committer", self.committer().name());
        line(text, "durability", config.durability.name());
    }

    fn info_clients(&self, text: &mut String) {
        let registry = self.pubsub.borrow();
        let connections = self.connections();
        let subscribed =
            connections.values().filter(|client| client.session.borrow().subscriptions > 0).count();
        let watching =
            connections.values().filter(|client| !client.session.borrow().watched.is_empty()).count();
        line(text, "connected_clients", connections.len());
        line(text, "cluster_connections", 0);
        line(text, "maxclients", self.config.borrow().maxclients);
        line(
            text,
            "client_recent_max_input_buffer",
            largest(&connections, |client| client.input_bytes.get()),
        );
        line(text, "client_recent_max_output_buffer", largest(&connections, |client| client.output_memory()));
        line(text, "blocked_clients", self.waiters.borrow().len() + self.pause.held());
        line(text, "tracking_clients", self.tracking.borrow().totals()[0]);
        line(text, "pubsub_clients", subscribed);
        line(text, "watching_clients", watching);
        line(text, "clients_in_timeout_table", 0);
        line(text, "total_watched_keys", 0);
        line(text, "total_blocking_keys", self.waiters.borrow().keys());
        line(text, "total_blocking_keys_on_nokey", 0);
        drop(registry);
    }

    fn info_memory(&self, text: &mut String) {
        let memory = ProcessMemory::read();
        line(text, "used_memory", memory.resident_bytes);
        line(text, "used_memory_human", human(memory.resident_bytes));
        line(text, "used_memory_rss", memory.resident_bytes);
        line(text, "used_memory_rss_human", human(memory.resident_bytes));
        line(text, "used_memory_peak", memory.peak_bytes);
        line(text, "used_memory_peak_human", human(memory.peak_bytes));
        line(text, "used_memory_lua", 0);
        line(text, "maxmemory", 0);
        line(text, "maxmemory_human", "0B");
        line(text, "maxmemory_policy", "noeviction");
        line(text, "mem_fragmentation_ratio", "1.00");
        line(text, "mem_allocator", "system");
    }

    fn info_persistence(&self, text: &mut String) {
        line(text, "loading", 0);
        line(text, "async_loading", 0);
        line(text, "rdb_changes_since_last_save", 0);
        line(text, "rdb_bgsave_in_progress", u8::from(self.checkpointing.get()));
        line(text, "rdb_last_save_time", self.last_checkpoint_ms.get() / 1000);
        line(text, "rdb_last_bgsave_status", "ok");
        line(text, "aof_enabled", 1);
        line(text, "aof_rewrite_in_progress", 0);
        line(text, "aof_last_write_status", if self.latch.is_tripped() { "err" } else { "ok" });
        line(text, "aof_current_size", self.committer().bytes_since_checkpoint());
        line(text, "journal_bytes_since_checkpoint", self.committer().bytes_since_checkpoint());
        line(text, "journal_bytes_written", self.metrics.journal_bytes.get());
        line(text, "commit_rounds", self.metrics.commits.get());
        line(text, "flushes", self.metrics.flushes.get());
        line(text, "flush_usec_average", self.metrics.flush_average());
        line(text, "flush_usec_max", self.metrics.flush_max());
        line(text, "checkpoints", self.metrics.checkpoints.get());
    }

    fn info_stats(&self, text: &mut String) {
        self.metrics.write_stats(&mut |name, value| line(text, name, value));
        let registry = self.pubsub.borrow();
        line(text, "pubsub_channels", registry.total(Kind::Channel));
        line(text, "pubsub_patterns", registry.total(Kind::Pattern));
        line(text, "pubsubshard_channels", registry.total(Kind::Shard));
        line(text, "evicted_keys", 0);
        line(text, "latest_fork_usec", 0);
        line(text, "migrate_cached_sockets", 0);
        let [_, keys, items, prefixes] = self.tracking.borrow().totals();
        line(text, "tracking_total_keys", keys);
        line(text, "tracking_total_items", items);
        line(text, "tracking_total_prefixes", prefixes);
    }

    fn info_replication(&self, text: &mut String) {
        line(text, "role", "master");
        line(text, "connected_slaves", 0);
        line(text, "master_failover_state", "no-failover");
        line(text, "master_replid", &self.identity.run_id);
        line(text, "master_replid2", "0000000000000000000000000000000000000000");
        let applied: u64 = self.partitions().map(|partition| partition.borrow().machine().applied().0).sum();
        line(text, "master_repl_offset", applied);
        line(text, "second_repl_offset", -1);
        line(text, "repl_backlog_active", 0);
    }

    fn info_cpu(&self, text: &mut String) {
        let (system, user) = process_cpu_seconds();
        line(text, "used_cpu_sys", format_args!("{system:.6}"));
        line(text, "used_cpu_user", format_args!("{user:.6}"));
        line(text, "used_cpu_sys_children", "0.000000");
        line(text, "used_cpu_user_children", "0.000000");
    }

    fn info_commandstats(&self, text: &mut String) {
        for (row, stats) in TABLE.iter().zip(self.metrics.call_stats()) {
            if stats == CallStats::default() {
                continue;
            }
            let name = row.full_name();
            let per_call = stats.microseconds as f64 / stats.calls.max(1) as f64;
            let _ = write!(
                text,
                "cmdstat_{name}:calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
                stats.calls, stats.microseconds, stats.rejected, stats.failed
            );
        }
    }

    fn info_errorstats(&self, text: &mut String) {
        self.metrics.write_errors(&mut |code, count| {
            let _ = write!(text, "errorstat_{code}:count={count}\r\n");
        });
    }

    fn info_cluster(&self, text: &mut String) {
        line(text, "cluster_enabled", 0);
    }

    fn info_keyspace(&self, text: &mut String) {
        for database in 0..self.databases() {
            let mut keys = 0;
            let mut expires = 0;
            for id in (0..self.router.partitions()).map(PartitionId) {
                if let Reply::Integer(count) = self.query(id, database, &Query::Key(KeyQuery::Count)) {
                    keys += count;
                }
                let partition = self.partition(id).borrow();
                let expiring = partition.machine().databases().find(|(number, _)| *number == database);
                expires += expiring.map_or(0, |(_, keys)| keys.expiring());
            }
            if keys > 0 {
                let _ = write!(text, "db{database}:keys={keys},expires={expires},avg_ttl=0,subexpiry=0\r\n");
            }
        }
    }
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn largest(
    connections: &std::collections::BTreeMap<u64, std::rc::Rc<crate::server::connection::Connection>>,
    bytes: impl Fn(&crate::server::connection::Connection) -> usize,
) -> usize {
    connections.values().map(|connection| bytes(connection)).max().unwrap_or(0)
}

/// `1.50M`, as Redis's `bytesToHuman` writes it.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

/// Of this process, from the kernel; zero where it does not tell.
struct ProcessMemory {
    resident_bytes: u64,
    peak_bytes: u64,
}

impl ProcessMemory {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0)
        };
        ProcessMemory { resident_bytes: kilobytes("VmRSS:") * 1024, peak_bytes: kilobytes("VmHWM:") * 1024 }
    }
}

/// System and user time of this process, from the kernel's clock ticks of 10 ms; zero where it does not tell.
fn process_cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields are counted behind the command's closing parenthesis: 14 is utime, 15 stime (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds =
        |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    (seconds(12), seconds(11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(3 * 1024 * 1024), "3.00M");
    }
}
