//! INFO has Redis's fields, which tools look up by name.

use crate::support::notation::split;
use crate::support::server::Server;
use std::collections::BTreeSet;

/// Fields of `INFO everything` of a fresh Redis 7.0.15, by section.
const REDIS: &[(&str, &str)] = &[
    (
        "Server",
        "redis_version redis_git_sha1 redis_git_dirty redis_build_id redis_mode os arch_bits monotonic_clock \
         multiplexing_api atomicvar_api gcc_version process_id process_supervised run_id tcp_port server_time_usec \
         uptime_in_seconds uptime_in_days hz configured_hz lru_clock executable config_file io_threads_active",
    ),
    (
        "Clients",
        "connected_clients cluster_connections maxclients client_recent_max_input_buffer \
         client_recent_max_output_buffer blocked_clients tracking_clients clients_in_timeout_table",
    ),
    (
        "Memory",
        "used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak used_memory_peak_human \
         used_memory_peak_perc used_memory_overhead used_memory_startup used_memory_dataset used_memory_dataset_perc \
         allocator_allocated allocator_active allocator_resident total_system_memory total_system_memory_human \
         used_memory_lua used_memory_vm_eval used_memory_lua_human used_memory_scripts_eval number_of_cached_scripts \
         number_of_functions number_of_libraries used_memory_vm_functions used_memory_vm_total \
         used_memory_vm_total_human used_memory_functions used_memory_scripts used_memory_scripts_human maxmemory \
         maxmemory_human maxmemory_policy allocator_frag_ratio allocator_frag_bytes allocator_rss_ratio \
         allocator_rss_bytes rss_overhead_ratio rss_overhead_bytes mem_fragmentation_ratio mem_fragmentation_bytes \
         mem_not_counted_for_evict mem_replication_backlog mem_total_replication_buffers mem_clients_slaves \
         mem_clients_normal mem_cluster_links mem_aof_buffer mem_allocator active_defrag_running \
         lazyfree_pending_objects lazyfreed_objects",
    ),
    (
        "Persistence",
        "loading async_loading current_cow_peak current_cow_size current_cow_size_age current_fork_perc \
         current_save_keys_processed current_save_keys_total rdb_changes_since_last_save rdb_bgsave_in_progress \
         rdb_last_save_time rdb_last_bgsave_status rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves \
         rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded aof_enabled aof_rewrite_in_progress \
         aof_rewrite_scheduled aof_last_rewrite_time_sec aof_current_rewrite_time_sec aof_last_bgrewrite_status \
         aof_rewrites aof_rewrites_consecutive_failures aof_last_write_status aof_last_cow_size \
         module_fork_in_progress module_fork_last_cow_size aof_current_size aof_base_size aof_pending_rewrite \
         aof_buffer_length aof_pending_bio_fsync aof_delayed_fsync",
    ),
    (
        "Stats",
        "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes \
         total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes instantaneous_input_kbps \
         instantaneous_output_kbps instantaneous_input_repl_kbps instantaneous_output_repl_kbps rejected_connections \
         sync_full sync_partial_ok sync_partial_err expired_keys expired_stale_perc expired_time_cap_reached_count \
         expire_cycle_cpu_milliseconds evicted_keys evicted_clients total_eviction_exceeded_time \
         current_eviction_exceeded_time keyspace_hits keyspace_misses pubsub_channels pubsub_patterns \
         pubsubshard_channels latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys \
         active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses \
         total_active_defrag_time current_active_defrag_time tracking_total_keys tracking_total_items \
         tracking_total_prefixes unexpected_error_replies total_error_replies dump_payload_sanitizations \
         total_reads_processed total_writes_processed io_threaded_reads_processed io_threaded_writes_processed",
    ),
    (
        "Replication",
        "role connected_slaves master_failover_state master_replid master_replid2 master_repl_offset \
         second_repl_offset repl_backlog_active repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen",
    ),
    (
        "CPU",
        "used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread \
         used_cpu_user_main_thread",
    ),
    ("Modules", ""),
    ("Commandstats", ""),
    ("Errorstats", ""),
    ("Latencystats", ""),
    ("Cluster", "cluster_enabled"),
    ("Keyspace", ""),
];

/// The sections of a text with their fields.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => sections.push((name.to_owned(), Vec::new())),
            None => {
                let (field, _) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line}"));
                sections.last_mut().expect("a section").1.push(field.to_owned());
            }
        }
    }
    sections
}

#[test]
fn every_field_of_redis_is_there_once() {
    let server = Server::start();
    let mut client = server.connect();
    let everything = sections(&client.line("INFO everything").text());
    let all = sections(&client.line("INFO all server Keyspace").text());
    let names = |sections: &[(String, Vec<String>)]| -> Vec<String> {
        sections.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&everything), names(&all), "sections that are asked for twice come once");
    let default = names(&sections(&client.line("INFO").text()));
    assert_eq!(default, names(&sections(&client.line("INFO default").text())));
    for expensive in ["Commandstats", "Latencystats", "Streams"] {
        assert!(names(&everything).contains(&expensive.to_owned()));
        assert!(!default.contains(&expensive.to_owned()), "{expensive}");
    }
    for (section, fields) in REDIS {
        let (_, ours) = everything
            .iter()
            .find(|(name, _)| name == section)
            .unwrap_or_else(|| panic!("no section {section}"));
        let unique: BTreeSet<&String> = ours.iter().collect();
        assert_eq!(unique.len(), ours.len(), "{section} tells a field twice: {ours:?}");
        let missing: Vec<&str> =
            fields.split_whitespace().filter(|field| !unique.contains(&(*field).to_owned())).collect();
        assert!(missing.is_empty(), "{section} lacks {missing:?}");
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim().parse().expect("a number")
}

#[test]
fn memory_follows_what_is_held() {
    let server = Server::start();
    let mut client = server.connect();
    let before = client.line("INFO memory").text();
    client.command(&[b"SET".to_vec(), b"large".to_vec(), vec![b'x'; 32 << 20]]);
    let with = client.line("INFO memory").text();
    let more = field(&with, "used_memory") - field(&before, "used_memory");
    assert!((32 << 20..200 << 20).contains(&more), "{more} bytes more for a value of 32 MiB");
    assert!(field(&with, "used_memory_dataset") > 32 << 20);
    assert!(field(&with, "used_memory_peak") >= field(&with, "used_memory"));
    client.line("DEL large");
    client.line("MEMORY PURGE");
    let after = client.line("INFO memory").text();
    assert!(field(&after, "used_memory") < field(&with, "used_memory") - (16 << 20), "{after}");
    assert!(field(&after, "used_memory_peak") >= field(&with, "used_memory"));
}

#[test]
fn checkpoints_are_told() {
    let server = Server::start();
    let mut client = server.connect();
    for number in 0..10 {
        client.line(&format!("SET key{number} x"));
    }
    let before = client.line("INFO persistence").text();
    assert!(field(&before, "rdb_changes_since_last_save") >= 10);
    assert!(before.contains("rdb_last_bgsave_time_sec:-1"));
    client.line("SAVE");
    let after = client.line("INFO persistence").text();
    assert_eq!(field(&after, "rdb_changes_since_last_save"), 0);
    assert_eq!(field(&after, "rdb_saves"), field(&before, "rdb_saves") + 1);
    assert!(after.contains("rdb_last_bgsave_status:ok"));
}

/// Hits and misses per key read; also behind writes, in transactions, and of writes that read first.
#[test]
fn reads_are_counted_by_what_they_find() {
    let server = Server::start();
    let mut client = server.connect();
    for line in ["SET a 1", "XADD s 1-1 f v", "XGROUP CREATE s g 0"] {
        client.line(line);
    }
    for (line, hits, misses) in [
        ("GET a", 1, 0),
        ("GET none", 0, 1),
        ("MGET a none", 1, 1),
        ("STRLEN none", 0, 1),
        ("XLEN s", 1, 0),
        ("XLEN none", 0, 1),
        ("EXISTS a none a", 2, 1),
        ("TYPE none", 0, 1),
        ("TTL a", 1, 0),
        ("TOUCH a none", 1, 1),
        ("DUMP a", 1, 0),
        ("XRANGE s - +", 1, 0),
        ("XRANGE none - +", 0, 1),
        ("XINFO STREAM none", 0, 1),
        ("XPENDING s g", 1, 0),
        ("XACK s g 1-1", 1, 0),
        ("GETDEL none", 0, 1),
        ("SET a 1 GET", 1, 0),
        ("SET a 1", 0, 0),
        ("XADD s * f v", 0, 0),
        ("DEL none", 0, 0),
    ] {
        client.line("CONFIG RESETSTAT");
        client.line(line);
        let text = client.line("INFO stats").text();
        let counted = (field(&text, "keyspace_hits"), field(&text, "keyspace_misses"));
        assert_eq!(counted, (hits, misses), "{line}");
    }
    client.line("CONFIG RESETSTAT");
    client.pipeline(&["SET a 1", "GET a", "GET none", "MULTI", "GET a", "XLEN none", "EXEC"].map(split));
    let text = client.line("INFO stats").text();
    assert_eq!((field(&text, "keyspace_hits"), field(&text, "keyspace_misses")), (2, 2));
}
