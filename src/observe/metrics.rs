//! What is counted for INFO. One per worker and not shared: plain cells, no atomics.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Error codes that are counted apart (Redis 7: 128); the rest are in [`Metrics::errors_uncounted`]. Codes may come from clients.
pub const ERROR_CODES_MAX: usize = 128;

/// Bytes of a code that are kept.
const ERROR_CODE_BYTES_MAX: usize = 64;

/// Samples of the moving rate (Redis `STATS_METRIC_SAMPLES`).
const SAMPLES: usize = 16;

/// Buckets of the flush histogram: bucket `i` counts flushes below `2^i` µs, the last one all others.
pub const FLUSH_BUCKETS: usize = 24;
const LAST_BUCKET: usize = FLUSH_BUCKETS - 1;

/// A number that goes up.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }

    fn reset(&self) {
        self.0.set(0);
    }
}

/// INFO commandstats of one row of the command table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CallStats {
    pub calls: u64,
    pub microseconds: u64,
    /// Refused before execution.
    pub rejected: u64,
    /// Executed and answered with an error.
    pub failed: u64,
}

/// A row of INFO commandstats, with the figure that is derived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommandStats {
    pub calls: u64,
    /// Microseconds of all calls that were timed.
    pub usec: u64,
    pub usec_per_call: f64,
    pub rejected_calls: u64,
    pub failed_calls: u64,
}

/// A rate over the last samples.
#[derive(Debug, Default)]
struct Rate {
    last: Cell<u64>,
    samples: RefCell<[u64; SAMPLES]>,
    next: Cell<usize>,
}

impl Rate {
    fn sample(&self, total: u64, elapsed_ms: u64) {
        let per_second = total.saturating_sub(self.last.get()).saturating_mul(1000) / elapsed_ms;
        self.samples.borrow_mut()[self.next.get()] = per_second;
        self.next.set((self.next.get() + 1) % SAMPLES);
        self.last.set(total);
    }

    fn get(&self) -> u64 {
        self.samples.borrow().iter().sum::<u64>() / SAMPLES as u64
    }

    fn reset(&self) {
        self.last.set(0);
        *self.samples.borrow_mut() = [0; SAMPLES];
    }
}

/// The counters of a worker.
#[derive(Debug, Default)]
pub struct Metrics {
    pub connections: Counter,
    pub rejected_connections: Counter,
    pub commands: Counter,
    pub input_bytes: Counter,
    pub output_bytes: Counter,
    pub keyspace_hits: Counter,
    pub keyspace_misses: Counter,
    pub expired_keys: Counter,
    /// Logins that failed, those that came too early included.
    pub denied_logins: Counter,
    pub throttled_logins: Counter,
    pub denied_commands: Counter,
    pub denied_keys: Counter,
    pub denied_channels: Counter,
    pub client_query_buffer_disconnections: Counter,
    /// Closed because all clients together took more than `maxmemory-clients`.
    pub evicted_clients: Counter,
    pub client_output_buffer_disconnections: Counter,
    /// Commit rounds: one write and one flush each.
    pub commits: Counter,
    pub flushes: Counter,
    pub flush_microseconds: Counter,
    pub journal_bytes: Counter,
    pub checkpoints: Counter,
    /// Error replies, of all codes.
    pub errors: Counter,
    pub errors_uncounted: Counter,
    flush_max: Cell<u64>,
    flush_buckets: RefCell<[u64; FLUSH_BUCKETS]>,
    calls: RefCell<Vec<CallStats>>,
    error_codes: RefCell<BTreeMap<Box<[u8]>, u64>>,
    command_rate: Rate,
    input_rate: Rate,
    output_rate: Rate,
    ticked_ms: Cell<Option<u64>>,
}

impl Metrics {
    /// A command of this row was executed.
    pub fn note_call(&self, row_index: usize) {
        self.commands.add(1);
        self.with_row(row_index, |stats| stats.calls += 1);
    }

    /// How long calls of this row took. Apart from [`Metrics::note_call`], because not every call is timed.
    pub fn note_duration(&self, row_index: usize, microseconds: u64) {
        self.with_row(row_index, |stats| stats.microseconds += microseconds);
    }

    /// A command was executed and answered with an error.
    pub fn note_error(&self, row_index: Option<usize>, code: &[u8]) {
        if let Some(row) = row_index {
            self.with_row(row, |stats| stats.failed += 1);
        }
        self.note_code(code);
    }

    /// A command was refused before execution.
    pub fn note_rejection(&self, row_index: Option<usize>, code: &[u8]) {
        if let Some(row) = row_index {
            self.with_row(row, |stats| stats.rejected += 1);
        }
        self.note_code(code);
    }

    pub fn note_input(&self, bytes: usize) {
        self.input_bytes.add(bytes as u64);
    }

    pub fn note_output(&self, bytes: usize) {
        self.output_bytes.add(bytes as u64);
    }

    /// A commit round wrote so many bytes to the journal.
    pub fn note_commit(&self, journal_bytes: u64) {
        self.commits.add(1);
        self.journal_bytes.add(journal_bytes);
    }

    pub fn note_flush(&self, microseconds: u64) {
        self.flushes.add(1);
        self.flush_microseconds.add(microseconds);
        self.flush_max.set(self.flush_max.get().max(microseconds));
        let bucket = (u64::BITS - microseconds.leading_zeros()) as usize;
        self.flush_buckets.borrow_mut()[bucket.min(LAST_BUCKET)] += 1;
    }

    /// Takes a sample of the rates. Call about ten times a second.
    pub fn tick(&self, monotonic_ms: u64) {
        let Some(last) = self.ticked_ms.replace(Some(monotonic_ms)) else { return };
        let elapsed = monotonic_ms.saturating_sub(last).max(1);
        self.command_rate.sample(self.commands.get(), elapsed);
        self.input_rate.sample(self.input_bytes.get(), elapsed);
        self.output_rate.sample(self.output_bytes.get(), elapsed);
    }

    pub fn commands_per_second(&self) -> u64 {
        self.command_rate.get()
    }

    /// Microseconds of the slowest flush.
    pub fn flush_max(&self) -> u64 {
        self.flush_max.get()
    }

    /// Microseconds of a flush on average; 0 if there was none.
    pub fn flush_average(&self) -> u64 {
        self.flush_microseconds.get().checked_div(self.flushes.get()).unwrap_or(0)
    }

    pub fn flush_histogram(&self) -> [u64; FLUSH_BUCKETS] {
        *self.flush_buckets.borrow()
    }

    /// By row index; rows that were never touched may be missing at the end.
    pub fn call_stats(&self) -> Vec<CallStats> {
        self.calls.borrow().clone()
    }

    /// Codes and how often, sorted by code.
    pub fn error_stats(&self) -> Vec<(Box<[u8]>, u64)> {
        self.error_codes.borrow().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// Of one row of the command table; `None` if it was neither called nor refused.
    pub fn command(&self, row_index: usize) -> Option<CommandStats> {
        let stats = *self.calls.borrow().get(row_index)?;
        (stats.calls > 0 || stats.rejected > 0 || stats.failed > 0).then(|| CommandStats {
            calls: stats.calls,
            usec: stats.microseconds,
            usec_per_call: if stats.calls == 0 {
                0.0
            } else {
                stats.microseconds as f64 / stats.calls as f64
            },
            rejected_calls: stats.rejected,
            failed_calls: stats.failed,
        })
    }

    /// The lines of INFO stats that are counted here, by Redis 7.2's names.
    pub fn write_stats(&self, line: &mut dyn FnMut(&str, &dyn Display)) {
        let kbps = |rate: &Rate| format!("{:.2}", rate.get() as f64 / 1024.0);
        line("total_connections_received", &self.connections.get());
        line("total_commands_processed", &self.commands.get());
        line("instantaneous_ops_per_sec", &self.command_rate.get());
        line("total_net_input_bytes", &self.input_bytes.get());
        line("total_net_output_bytes", &self.output_bytes.get());
        line("instantaneous_input_kbps", &kbps(&self.input_rate));
        line("instantaneous_output_kbps", &kbps(&self.output_rate));
        line("rejected_connections", &self.rejected_connections.get());
        line("expired_keys", &self.expired_keys.get());
        line("evicted_clients", &self.evicted_clients.get());
        line("keyspace_hits", &self.keyspace_hits.get());
        line("keyspace_misses", &self.keyspace_misses.get());
        line("unexpected_error_replies", &0);
        line("total_error_replies", &self.errors.get());
        line("acl_access_denied_auth", &self.denied_logins.get());
        line("acl_access_denied_cmd", &self.denied_commands.get());
        line("acl_access_denied_key", &self.denied_keys.get());
        line("acl_access_denied_channel", &self.denied_channels.get());
        line("throttled_logins", &self.throttled_logins.get());
        line("client_query_buffer_limit_disconnections", &self.client_query_buffer_disconnections.get());
        line("client_output_buffer_limit_disconnections", &self.client_output_buffer_disconnections.get());
    }

    /// How often and how long the disk was waited for. The histogram lists the buckets that are not empty.
    pub fn write_commits(&self, line: &mut dyn FnMut(&str, &dyn Display)) {
        line("commit_rounds", &self.commits.get());
        line("commit_journal_bytes", &self.journal_bytes.get());
        line("commit_flushes", &self.flushes.get());
        line("commit_flush_usec_total", &self.flush_microseconds.get());
        line("commit_flush_usec_max", &self.flush_max());
        let mut histogram = String::new();
        for (bucket, count) in self.flush_histogram().iter().enumerate().filter(|(_, count)| **count > 0) {
            let comma = if histogram.is_empty() { "" } else { "," };
            let _ = match bucket {
                ..LAST_BUCKET => write!(histogram, "{comma}below_{}={count}", 1u64 << bucket),
                _ => write!(histogram, "{comma}above={count}"),
            };
        }
        line("commit_flush_usec_histogram", &histogram);
    }

    /// Each error code with its count, sorted by code. Bytes that would break a line of INFO, or are not ASCII, are
    /// escaped: codes may come from clients (reliability P14).
    pub fn write_errors(&self, line: &mut dyn FnMut(&str, u64)) {
        let mut text = String::new();
        for (code, count) in &*self.error_codes.borrow() {
            text.clear();
            for &byte in code {
                match byte {
                    b'!'..=b'~' if !b":=,".contains(&byte) => text.push(char::from(byte)),
                    _ => drop(write!(text, "\\x{byte:02x}")),
                }
            }
            line(&text, *count);
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for counter in [
            &self.connections,
            &self.rejected_connections,
            &self.commands,
            &self.input_bytes,
            &self.output_bytes,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.denied_logins,
            &self.throttled_logins,
            &self.denied_commands,
            &self.denied_keys,
            &self.denied_channels,
            &self.client_query_buffer_disconnections,
            &self.evicted_clients,
            &self.client_output_buffer_disconnections,
            &self.commits,
            &self.flushes,
            &self.flush_microseconds,
            &self.journal_bytes,
            &self.checkpoints,
            &self.errors,
            &self.errors_uncounted,
        ] {
            counter.reset();
        }
        self.flush_max.set(0);
        *self.flush_buckets.borrow_mut() = [0; FLUSH_BUCKETS];
        self.calls.borrow_mut().clear();
        self.error_codes.borrow_mut().clear();
        for rate in [&self.command_rate, &self.input_rate, &self.output_rate] {
            rate.reset();
        }
    }

    fn note_code(&self, code: &[u8]) {
        self.errors.add(1);
        let code = &code[..code.len().min(ERROR_CODE_BYTES_MAX)];
        let mut codes = self.error_codes.borrow_mut();
        if let Some(count) = codes.get_mut(code) {
            *count += 1;
        } else if codes.len() < ERROR_CODES_MAX {
            codes.insert(code.into(), 1);
        } else {
            self.errors_uncounted.add(1);
        }
    }

    /// The length of the command table is not known on this floor: the rows grow to the highest index seen.
    fn with_row(&self, index: usize, change: impl FnOnce(&mut CallStats)) {
        let mut calls = self.calls.borrow_mut();
        if index >= calls.len() {
            calls.resize(index + 1, CallStats::default());
        }
        change(&mut calls[index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_errors_and_flushes_are_counted_and_reset() {
        let metrics = Metrics::default();
        metrics.note_call(3);
        metrics.note_duration(3, 7);
        metrics.note_error(Some(3), b"ERR");
        metrics.note_rejection(None, b"ERR");
        metrics.note_flush(0);
        metrics.note_flush(1000);
        let stats = CallStats { calls: 1, microseconds: 7, rejected: 0, failed: 1 };
        assert_eq!(metrics.call_stats()[3], stats);
        assert_eq!(metrics.error_stats(), [(b"ERR"[..].into(), 2)]);
        assert_eq!((metrics.flush_average(), metrics.flush_max()), (500, 1000));
        assert_eq!((metrics.flush_histogram()[0], metrics.flush_histogram()[10]), (1, 1));
        metrics.reset();
        assert_eq!((metrics.errors.get(), metrics.call_stats().len(), metrics.flush_max()), (0, 0, 0));
    }

    #[test]
    fn error_codes_are_bounded() {
        let metrics = Metrics::default();
        for code in 0..1000 {
            metrics.note_error(None, format!("E{code}").as_bytes());
        }
        assert_eq!(metrics.error_stats().len(), ERROR_CODES_MAX);
        assert_eq!(metrics.errors_uncounted.get(), 1000 - ERROR_CODES_MAX as u64);
    }

    #[test]
    fn rates_are_per_second() {
        let metrics = Metrics::default();
        metrics.tick(0);
        for tick in 1..=SAMPLES as u64 {
            for _ in 0..10 {
                metrics.note_call(0);
            }
            metrics.tick(tick * 100);
        }
        assert_eq!(metrics.commands_per_second(), 100);
    }

    #[test]
    fn info_lines_are_complete_and_cannot_be_broken_by_codes() {
        let metrics = Metrics::default();
        metrics.note_call(7);
        metrics.note_call(7);
        metrics.note_duration(7, 5);
        metrics.note_rejection(Some(2), b"A\r\n:b");
        metrics.note_flush(3);
        metrics.note_flush(u64::MAX);
        let seven =
            CommandStats { calls: 2, usec: 5, usec_per_call: 2.5, rejected_calls: 0, failed_calls: 0 };
        assert_eq!(metrics.command(7), Some(seven));
        assert_eq!(metrics.command(2).unwrap().rejected_calls, 1);
        assert_eq!((metrics.command(3), metrics.command(1000)), (None, None));
        let mut lines = BTreeMap::new();
        metrics.write_stats(&mut |name, value| drop(lines.insert(name.to_owned(), value.to_string())));
        metrics.write_commits(&mut |name, value| drop(lines.insert(name.to_owned(), value.to_string())));
        assert_eq!(lines["total_commands_processed"], "2");
        assert_eq!(lines["instantaneous_input_kbps"], "0.00");
        assert_eq!(lines["commit_flush_usec_histogram"], "below_4=1,above=1");
        let mut codes = Vec::new();
        metrics.write_errors(&mut |code, count| codes.push((code.to_owned(), count)));
        assert_eq!(codes, [("A\\x0d\\x0a\\x3ab".to_owned(), 1)]);
    }
}
