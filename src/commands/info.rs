//! INFO: the sections and field names of Redis 7.2, and the additional section `streams`
//! (`commands::info_streams`).
//!
//! The work is bounded by the number of clients, databases and partitions, never by keys. Fields of Redis for
//! features that do not exist here (forks, scripts, replicas) are 0, for tools that look for the field.

use crate::command::table::TABLE;
use crate::commands::info_line::line;
use crate::commands::info_streams;
use crate::commands::memory::{Memory, human};
use crate::config::config::Config;
use crate::config::load::REDIS_VERSION;
use crate::engine::report::{DatabaseReport, Report};
use crate::engine::statistics::{EngineStatistics, FLUSH_BUCKETS};
use crate::engine::submission::{EngineAnswer, Question};
use crate::frontend::frontend::Frontend;
use crate::frontend::response::Response;
use crate::model::args::ArgList;
use crate::model::reply::Reply;
use crate::pubsub::registry::Kind;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;

/// A section: its name, whether it is shown by default, and its writer.
type Section = (&'static str, bool, fn(&Frontend, &Report, &mut String));

const SECTIONS: &[Section] = &[
    ("Server", true, info_server),
    ("Clients", true, info_clients),
    ("Memory", true, info_memory),
    ("Persistence", true, info_persistence),
    ("Stats", true, info_stats),
    ("Replication", true, info_replication),
    ("CPU", true, info_cpu),
    ("Modules", true, |_, _, _| {}),
    ("Commandstats", false, info_commandstats),
    ("Errorstats", true, info_errorstats),
    ("Latencystats", false, info_latencystats),
    ("Cluster", true, info_cluster),
    ("Keyspace", true, info_keyspace),
    ("Streams", false, info_streams::info_streams),
];

/// The listeners, in the numbered form of Redis 7.2 (`getListensInfoString`).
fn listeners(text: &mut String, config: &Config) {
    let binds: String = config.bind.iter().map(|address| format!(",bind={address}")).collect();
    if config.port > 0 {
        line(text, "listener0", format_args!("name=tcp{binds},port={}", config.port));
    }
    if !config.unixsocket.is_empty() {
        line(text, "listener1", format_args!("name=unix,bind={}", config.unixsocket));
    }
    if config.tls.port > 0 {
        line(text, "listener2", format_args!("name=tls{binds},port={}", config.tls.port));
    }
}

/// The named sections, each once; by default all default ones.
pub fn execute(frontend: &Rc<Frontend>, names: &ArgList<'_>) -> Response<'static> {
    let asked = |name: &str| names.iter().any(|asked| asked.eq_ignore_ascii_case(name.as_bytes()));
    let default = names.is_empty() || asked("default");
    let everything = asked("all") || asked("everything");
    let is_shown = |section: &&Section| everything || (default && section.1) || asked(section.0);
    let sections: Vec<&Section> = SECTIONS.iter().filter(is_shown).collect();
    let streams = sections.iter().any(|(name, ..)| *name == "Streams");
    let frontend = frontend.clone();
    let make = move |answer: EngineAnswer| {
        let EngineAnswer::Report(report) = answer else { return answer.into_reply() };
        let mut text = String::new();
        for (name, _, write) in sections {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            write(&frontend, &report, &mut text);
        }
        Reply::Verbatim(text)
    };
    Response::Ask(Question::Report { streams }, Box::new(make))
}

fn info_server(frontend: &Frontend, report: &Report, text: &mut String) {
    let config = frontend.context.config.borrow();
    let uptime_seconds = (frontend.monotonic_ms() - frontend.context.identity.started_ms) / 1000;
    line(text, "redis_version", REDIS_VERSION);
    line(text, "server_name", "headwater");
    line(text, "headwater_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_git_sha1", "00000000");
    line(text, "redis_git_dirty", 0);
    line(text, "redis_build_id", 0);
    line(text, "redis_mode", "standalone");
    line(text, "os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    line(text, "arch_bits", usize::BITS);
    line(text, "monotonic_clock", "processor counter or POSIX clock_gettime");
    line(text, "multiplexing_api", "tokio");
    line(text, "atomicvar_api", "rust");
    line(text, "gcc_version", "0.0.0");
    line(text, "process_id", std::process::id());
    line(text, "process_supervised", "no");
    line(text, "run_id", &frontend.context.identity.run_id);
    line(text, "tcp_port", if config.port == 0 { config.tls.port } else { config.port });
    line(text, "server_time_usec", frontend.context.clock.now_micros());
    line(text, "uptime_in_seconds", uptime_seconds);
    line(text, "uptime_in_days", uptime_seconds / 86_400);
    line(text, "hz", config.hz);
    line(text, "configured_hz", config.hz);
    line(text, "lru_clock", (frontend.wall_time().0 / 1000) & LRU_CLOCK_MAX);
    line(text, "executable", &frontend.context.identity.executable);
    line(text, "config_file", &frontend.context.identity.config_file);
    line(text, "io_threads_active", 0);
    listeners(text, &config);
    line(text, "partitions", frontend.router.partitions());
    line(text, "replication_committer", report.committer);
    line(text, "durability", config.durability.name());
    line(text, "log_time_ahead_ms", report.clock.ahead_ms);
    let believed_in_s = report.clock.believed_in_ms.map_or(-1, |ms| (ms / 1000) as i64);
    line(text, "wall_clock_believed_in_seconds", believed_in_s);
    line(text, "wall_clock_steps", report.clock.steps);
}

fn info_clients(frontend: &Frontend, report: &Report, text: &mut String) {
    let connections = frontend.connections.all();
    let (mut subscribed, mut watching, mut blocked, mut watched) = (0, 0, 0, BTreeSet::new());
    let (mut input_max, mut output_max) = (0, 0);
    for client in connections.values() {
        let session = client.session.borrow();
        subscribed += usize::from(session.subscriptions > 0);
        blocked += usize::from(client.blocked.borrow().is_some());
        watching += usize::from(!session.watched.is_empty());
        watched.extend(session.watched.iter().map(|watched| (watched.database, watched.key.clone())));
        input_max = input_max.max(client.activity.input.get().held);
        output_max = output_max.max(client.output_memory());
    }
    line(text, "connected_clients", connections.len());
    line(text, "cluster_connections", 0);
    line(text, "maxclients", frontend.context.config.borrow().maxclients);
    line(text, "client_recent_max_input_buffer", input_max);
    line(text, "client_recent_max_output_buffer", output_max);
    line(text, "blocked_clients", blocked + frontend.pause.held());
    line(text, "tracking_clients", frontend.push.tracking.borrow().totals()[0]);
    line(text, "pubsub_clients", subscribed);
    line(text, "watching_clients", watching);
    line(text, "clients_in_timeout_table", report.blocked.deadlines);
    line(text, "total_watched_keys", watched.len());
    line(text, "total_blocking_keys", report.blocked.keys);
    line(text, "total_blocking_keys_on_nokey", report.blocked.keys_of_groups);
    line(text, "monitor_clients", frontend.push.monitors.len());
}

fn info_memory(frontend: &Frontend, report: &Report, text: &mut String) {
    let memory = Memory::new(frontend, report);
    bytes_line(text, "used_memory", memory.used);
    bytes_line(text, "used_memory_rss", memory.resident);
    bytes_line(text, "used_memory_peak", memory.peak);
    line(text, "used_memory_peak_perc", percent(memory.used, memory.peak));
    line(text, "used_memory_overhead", memory.overhead());
    line(text, "used_memory_startup", memory.startup);
    line(text, "used_memory_dataset", memory.dataset());
    line(
        text,
        "used_memory_dataset_perc",
        percent(memory.dataset(), memory.used - memory.startup.min(memory.used)),
    );
    line(text, "allocator_allocated", memory.used);
    line(text, "allocator_active", memory.used);
    line(text, "allocator_resident", memory.resident);
    line(text, "allocator_muzzy", 0);
    bytes_line(text, "total_system_memory", memory.system);
    bytes_line(text, "used_memory_lua", 0);
    line(text, "used_memory_vm_eval", 0);
    line(text, "used_memory_scripts_eval", 0);
    line(text, "number_of_cached_scripts", 0);
    line(text, "number_of_functions", 0);
    line(text, "number_of_libraries", 0);
    line(text, "used_memory_vm_functions", 0);
    bytes_line(text, "used_memory_vm_total", 0);
    line(text, "used_memory_functions", 0);
    bytes_line(text, "used_memory_scripts", 0);
    bytes_line(text, "maxmemory", frontend.memory.max());
    line(text, "maxmemory_policy", "noeviction");
    line(text, "allocator_frag_ratio", "1.00");
    line(text, "allocator_frag_bytes", 0);
    line(text, "allocator_rss_ratio", ratio(memory.resident, memory.used));
    line(text, "allocator_rss_bytes", memory.resident as i64 - memory.used as i64);
    line(text, "rss_overhead_ratio", "1.00");
    line(text, "rss_overhead_bytes", 0);
    line(text, "mem_fragmentation_ratio", ratio(memory.resident, memory.used));
    line(text, "mem_fragmentation_bytes", memory.resident as i64 - memory.used as i64);
    line(text, "mem_not_counted_for_evict", 0);
    line(text, "mem_replication_backlog", 0);
    line(text, "mem_total_replication_buffers", 0);
    line(text, "mem_clients_slaves", 0);
    line(text, "mem_clients_normal", memory.clients);
    line(text, "mem_cluster_links", 0);
    line(text, "mem_aof_buffer", 0);
    line(text, "mem_allocator", "libc");
    line(text, "active_defrag_running", 0);
    line(text, "lazyfree_pending_objects", 0);
    line(text, "lazyfreed_objects", 0);
}

fn info_persistence(frontend: &Frontend, report: &Report, text: &mut String) {
    let (checkpoints, statistics) = (&report.checkpoints, &report.statistics);
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let running_seconds = checkpoints.running_seconds(frontend.context.clock.monotonic_ms());
    let loading = frontend.port.loading();
    line(text, "loading", u8::from(loading.is_some()));
    line(text, "async_loading", 0);
    line(text, "current_cow_peak", 0);
    line(text, "current_cow_size", 0);
    line(text, "current_cow_size_age", 0);
    line(text, "current_fork_perc", "0.00");
    line(text, "current_save_keys_processed", 0);
    line(text, "current_save_keys_total", 0);
    line(text, "rdb_changes_since_last_save", report.changes.saturating_sub(checkpoints.changes));
    line(text, "rdb_bgsave_in_progress", u8::from(checkpoints.began_ms.is_some()));
    line(text, "rdb_last_save_time", checkpoints.finished_at.0 / 1000);
    line(text, "rdb_last_bgsave_status", status(checkpoints.failed));
    line(text, "rdb_last_bgsave_time_sec", checkpoints.last_seconds());
    line(text, "rdb_current_bgsave_time_sec", running_seconds);
    line(text, "rdb_saves", statistics.checkpoints);
    line(text, "rdb_last_cow_size", 0);
    line(text, "rdb_last_load_keys_expired", 0);
    line(text, "rdb_last_load_keys_loaded", 0);
    line(text, "aof_enabled", 1);
    line(text, "aof_rewrite_in_progress", 0);
    line(text, "aof_rewrite_scheduled", 0);
    line(text, "aof_last_rewrite_time_sec", checkpoints.last_seconds());
    line(text, "aof_current_rewrite_time_sec", -1);
    line(text, "aof_last_bgrewrite_status", status(checkpoints.failed));
    line(text, "aof_rewrites", statistics.checkpoints);
    line(text, "aof_rewrites_consecutive_failures", u8::from(checkpoints.failed));
    let disk = &frontend.context.disk;
    line(text, "aof_last_write_status", status(frontend.context.latch.is_tripped() || disk.is_waiting()));
    line(text, "aof_last_cow_size", 0);
    line(text, "module_fork_in_progress", 0);
    line(text, "module_fork_last_cow_size", 0);
    line(text, "aof_current_size", report.journal_bytes_since_checkpoint);
    line(text, "aof_base_size", report.checkpoint_bytes);
    line(text, "aof_pending_rewrite", 0);
    line(text, "aof_buffer_length", 0);
    line(text, "aof_pending_bio_fsync", 0);
    line(text, "aof_delayed_fsync", 0);
    if let Some(later) = loading {
        let (progress, now_ms) = (&later.loading, frontend.monotonic_ms());
        line(text, "loading_start_time", later.began_at.0 / 1000);
        line(text, "loading_total_bytes", progress.total());
        line(text, "loading_rdb_used_mem", 0);
        line(text, "loading_loaded_bytes", progress.done());
        line(text, "loading_loaded_perc", format_args!("{:.2}", progress.percent()));
        line(text, "loading_eta_seconds", progress.seconds_left(now_ms.saturating_sub(later.began_ms)));
    }
    line(text, "journal_bytes_since_checkpoint", report.journal_bytes_since_checkpoint);
    write_commits(statistics, text);
    line(text, "commit_flush_usec_average", statistics.flush_average());
    line(text, "checkpoints", statistics.checkpoints);
    line(text, "disk_free_bytes", disk.free_bytes());
    line(text, "disk_total_bytes", disk.total_bytes());
    line(text, "disk_reserve_bytes", disk.reserve_bytes());
    line(text, "disk_low", u8::from(disk.is_low()));
    line(text, "disk_full", u8::from(disk.is_waiting()));
    line(text, "disk_refused_writes", disk.refused());
}

fn info_stats(frontend: &Frontend, report: &Report, text: &mut String) {
    let statistics = &report.statistics;
    frontend.metrics.write_stats(&mut |name, value| line(text, name, value));
    line(text, "expired_keys", statistics.expired_keys);
    line(text, "keyspace_hits", statistics.keyspace_hits);
    line(text, "keyspace_misses", statistics.keyspace_misses);
    let registry = frontend.push.registry.borrow();
    line(text, "pubsub_channels", registry.total(Kind::Channel));
    line(text, "pubsub_patterns", registry.total(Kind::Pattern));
    line(text, "pubsubshard_channels", registry.total(Kind::Shard));
    line(text, "expire_cycle_cpu_milliseconds", statistics.expire_nanoseconds / 1_000_000);
    for name in STATS_OF_WHAT_IS_NOT_HERE {
        line(text, name, 0);
    }
    line(text, "expired_stale_perc", "0.00");
    line(text, "instantaneous_input_repl_kbps", "0.00");
    line(text, "instantaneous_output_repl_kbps", "0.00");
    let [_, keys, items, prefixes] = frontend.push.tracking.borrow().totals();
    line(text, "tracking_total_keys", keys);
    line(text, "tracking_total_items", items);
    line(text, "tracking_total_prefixes", prefixes);
}

fn info_replication(frontend: &Frontend, report: &Report, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_failover_state", "no-failover");
    line(text, "master_replid", &frontend.context.identity.run_id);
    line(text, "master_replid2", "0000000000000000000000000000000000000000");
    line(text, "master_repl_offset", report.applied);
    line(text, "second_repl_offset", -1);
    line(text, "repl_backlog_active", 0);
    line(text, "repl_backlog_size", 0);
    line(text, "repl_backlog_first_byte_offset", 0);
    line(text, "repl_backlog_histlen", 0);
}

fn info_cpu(_: &Frontend, _: &Report, text: &mut String) {
    let (system, user) = cpu_seconds("/proc/self/stat");
    line(text, "used_cpu_sys", format_args!("{system:.6}"));
    line(text, "used_cpu_user", format_args!("{user:.6}"));
    line(text, "used_cpu_sys_children", "0.000000");
    line(text, "used_cpu_user_children", "0.000000");
    let (system, user) = cpu_seconds("/proc/thread-self/stat");
    line(text, "used_cpu_sys_main_thread", format_args!("{system:.6}"));
    line(text, "used_cpu_user_main_thread", format_args!("{user:.6}"));
}

fn info_commandstats(frontend: &Frontend, _: &Report, text: &mut String) {
    for (row, stats) in frontend.metrics.call_stats() {
        let name = TABLE[row].full_name();
        let microseconds = stats.nanoseconds / 1000;
        let per_call = stats.nanoseconds as f64 / 1000.0 / stats.calls.max(1) as f64;
        let _ = write!(
            text,
            "cmdstat_{name}:calls={},usec={microseconds},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
            stats.calls, stats.rejected, stats.failed
        );
    }
}

fn info_errorstats(frontend: &Frontend, _: &Report, text: &mut String) {
    frontend.metrics.write_errors(&mut |code, count| {
        let _ = write!(text, "errorstat_{code}:count={count}\r\n");
    });
}

fn info_latencystats(frontend: &Frontend, _: &Report, text: &mut String) {
    let percentiles = frontend.context.config.borrow().latency_percentiles.clone();
    if percentiles.is_empty() || !frontend.context.config.borrow().latency_tracking {
        return;
    }
    frontend.metrics.each_histogram(&mut |row, histogram| {
        let _ = write!(text, "latency_percentiles_usec_{}:", TABLE[row].full_name());
        for (at, percent) in percentiles.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(text, "{comma}p{percent}={:.3}", histogram.percentile(*percent));
        }
        text.push_str("\r\n");
    });
}

fn info_cluster(_: &Frontend, _: &Report, text: &mut String) {
    line(text, "cluster_enabled", 0);
}

fn info_keyspace(_: &Frontend, report: &Report, text: &mut String) {
    for (number, database) in &report.databases {
        let DatabaseReport { keys, expiring, left_ms } = *database;
        if keys > 0 {
            let average = left_ms.checked_div(expiring as u128).unwrap_or(0);
            let _ =
                write!(text, "db{number}:keys={keys},expires={expiring},avg_ttl={average},subexpiry=0\r\n");
        }
    }
}

/// Number and duration of flushes. The histogram lists non-empty buckets only.
fn write_commits(statistics: &EngineStatistics, text: &mut String) {
    line(text, "commit_rounds", statistics.commits);
    line(text, "commit_journal_bytes", statistics.journal_bytes);
    line(text, "commit_flushes", statistics.flushes);
    line(text, "commit_flush_usec_total", statistics.flush_microseconds);
    line(text, "commit_flush_usec_max", statistics.flush_microseconds_max);
    let mut histogram = String::new();
    for (bucket, count) in statistics.flush_buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let comma = if histogram.is_empty() { "" } else { "," };
        let _ = match bucket + 1 {
            FLUSH_BUCKETS => write!(histogram, "{comma}above={count}"),
            _ => write!(histogram, "{comma}below_{}={count}", 1u64 << bucket),
        };
    }
    line(text, "commit_flush_usec_histogram", &histogram);
}

/// Counters of Redis for features that do not exist here.
const STATS_OF_WHAT_IS_NOT_HERE: [&str; 31] = [
    "total_net_repl_input_bytes",
    "total_net_repl_output_bytes",
    "sync_full",
    "sync_partial_ok",
    "sync_partial_err",
    "expired_time_cap_reached_count",
    "evicted_keys",
    "evicted_scripts",
    "total_eviction_exceeded_time",
    "current_eviction_exceeded_time",
    "latest_fork_usec",
    "total_forks",
    "migrate_cached_sockets",
    "slave_expires_tracked_keys",
    "active_defrag_hits",
    "active_defrag_misses",
    "active_defrag_key_hits",
    "active_defrag_key_misses",
    "total_active_defrag_time",
    "current_active_defrag_time",
    "dump_payload_sanitizations",
    "io_threaded_reads_processed",
    "io_threaded_writes_processed",
    "expired_subkeys",
    "reply_buffer_shrinks",
    "reply_buffer_expands",
    "eventloop_cycles",
    "eventloop_duration_sum",
    "eventloop_duration_cmd_sum",
    "instantaneous_eventloop_cycles_per_sec",
    "instantaneous_eventloop_duration_usec",
];

/// Maximum of the LRU clock in INFO (Redis `LRU_CLOCK_MAX`).
const LRU_CLOCK_MAX: u64 = (1 << 24) - 1;

/// A number of bytes, followed by its human-readable form.
fn bytes_line(text: &mut String, name: &str, bytes: u64) {
    line(text, name, bytes);
    let _ = write!(text, "{name}_human:{}\r\n", human(bytes));
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

fn ratio(part: u64, whole: u64) -> String {
    format!("{:.2}", part as f64 / whole.max(1) as f64)
}

/// System and user time of this process or thread, from the kernel's clock ticks of 10 ms; zero if unknown.
fn cpu_seconds(path: &str) -> (f64, f64) {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    // Fields are counted from the command's closing parenthesis: 14 is utime, 15 stime (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds =
        |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    (seconds(12), seconds(11))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    #[test]
    fn a_section_is_shown_once_however_often_it_is_asked_for() {
        let ann = Stage::new().client();
        let sections = |request: &str| {
            let told = ann.ask(request);
            told.split(' ')
                .zip(told.split(' ').skip(1))
                .filter(|it| it.0 == "#")
                .map(|it| it.1.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(sections("INFO keyspace CLUSTER keyspace"), ["Cluster", "Keyspace"]);
        let by_default: Vec<_> = SECTIONS.iter().filter(|it| it.1).map(|it| it.0).collect();
        assert_eq!(sections("INFO"), by_default);
        assert_eq!(sections("INFO everything").len(), SECTIONS.len());
        assert_eq!(sections("INFO streams default").len(), by_default.len() + 1);
        assert_eq!(sections("INFO nosuch"), [""; 0]);
    }
}
