//! Counters for INFO. Each frontend has its own: plain cells, no atomics.

use crate::observe::histogram::Histogram;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Error codes with a counter of their own (Redis 7: 128); the rest go to [`Metrics::errors_uncounted`].
/// Clients can choose codes.
pub const ERROR_CODES_MAX: usize = 128;

/// Bytes kept of a code.
const ERROR_CODE_BYTES_MAX: usize = 64;

/// Samples of the moving rate (Redis `STATS_METRIC_SAMPLES`).
const SAMPLES: usize = 16;

/// A number that only grows.
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

/// INFO commandstats of one table row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CallStats {
    pub calls: u64,
    /// Worker time of its calls: reading the arguments, executing, writing the reply.
    pub nanoseconds: u64,
    /// Refused before execution.
    pub rejected: u64,
    /// Executed and answered with an error.
    pub failed: u64,
}

/// Statistics of a row.
#[derive(Debug, Default)]
struct RowStats {
    stats: CallStats,
    /// Allocated by the first call.
    histogram: Option<Histogram>,
}

impl RowStats {
    #[inline]
    fn note_duration(&mut self, nanoseconds: u64, tracked: bool) {
        self.stats.nanoseconds += nanoseconds;
        if tracked {
            self.histogram.get_or_insert_default().note(nanoseconds);
        }
    }
}

/// A rate over the most recent samples.
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

/// The counters of a frontend.
#[derive(Debug, Default)]
pub struct Metrics {
    pub connections: Counter,
    pub rejected_connections: Counter,
    pub commands: Counter,
    pub input_bytes: Counter,
    pub output_bytes: Counter,
    /// Socket reads.
    pub reads: Counter,
    pub writes: Counter,
    /// Failed logins, including those refused as too early.
    pub denied_logins: Counter,
    pub throttled_logins: Counter,
    pub denied_commands: Counter,
    pub denied_keys: Counter,
    pub denied_channels: Counter,
    pub client_query_buffer_disconnections: Counter,
    /// Clients closed because all clients together exceeded `maxmemory-clients`.
    pub evicted_clients: Counter,
    pub client_output_buffer_disconnections: Counter,
    /// Error replies with any code.
    pub errors: Counter,
    pub errors_uncounted: Counter,
    /// Whether histograms are kept (`latency-tracking`).
    pub tracks_latency: Cell<bool>,
    rows: RefCell<Vec<RowStats>>,
    error_codes: RefCell<BTreeMap<Box<[u8]>, u64>>,
    command_rate: Rate,
    input_rate: Rate,
    output_rate: Rate,
    ticked_ms: Cell<Option<u64>>,
}

impl Metrics {
    /// Records a call that was executed and answered at once.
    #[inline]
    pub fn note_executed(&self, row_index: usize, nanoseconds: u64, failed: bool) {
        self.commands.add(1);
        let tracked = self.tracks_latency.get();
        self.with_row(row_index, |row| {
            row.stats.calls += 1;
            row.stats.failed += u64::from(failed);
            row.note_duration(nanoseconds, tracked);
        });
    }

    /// Records the start of a call; [`Metrics::note_finished`] follows with the reply.
    #[inline]
    pub fn note_begun(&self, row_index: usize) {
        self.commands.add(1);
        self.with_row(row_index, |row| row.stats.calls += 1);
    }

    /// Records the reply to a call that started before.
    #[inline]
    pub fn note_finished(&self, row_index: usize, nanoseconds: u64, failed: bool) {
        let tracked = self.tracks_latency.get();
        self.with_row(row_index, |row| {
            row.stats.failed += u64::from(failed);
            row.note_duration(nanoseconds, tracked);
        });
    }

    /// Records a command that was refused before execution.
    pub fn note_rejection(&self, row_index: usize) {
        self.with_row(row_index, |row| row.stats.rejected += 1);
    }

    /// Records an error reply.
    pub fn note_error(&self, code: &[u8]) {
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

    pub fn note_input(&self, bytes: usize) {
        self.reads.add(1);
        self.input_bytes.add(bytes as u64);
    }

    pub fn note_output(&self, bytes: usize) {
        self.writes.add(u64::from(bytes > 0));
        self.output_bytes.add(bytes as u64);
    }

    /// Samples the rates. Call it ten times a second, or once per round if rounds are rarer.
    pub fn tick(&self, monotonic_ms: u64) {
        let Some(last) = self.ticked_ms.replace(Some(monotonic_ms)) else { return };
        let elapsed = monotonic_ms.saturating_sub(last).max(1);
        self.command_rate.sample(self.commands.get(), elapsed);
        self.input_rate.sample(self.input_bytes.get(), elapsed);
        self.output_rate.sample(self.output_bytes.get(), elapsed);
    }

    #[cfg(test)]
    fn commands_per_second(&self) -> u64 {
        self.command_rate.get()
    }

    /// Statistics by row index, of rows that were called or refused.
    pub fn call_stats(&self) -> Vec<(usize, CallStats)> {
        let rows = self.rows.borrow();
        let stats = rows.iter().map(|row| row.stats).enumerate();
        stats.filter(|(_, stats)| *stats != CallStats::default()).collect()
    }

    /// Histograms by row index, of rows that were called.
    pub fn each_histogram(&self, see: &mut dyn FnMut(usize, &Histogram)) {
        for (index, row) in self.rows.borrow().iter().enumerate() {
            if let Some(histogram) = &row.histogram {
                see(index, histogram);
            }
        }
    }

    /// The histogram of a row. CONFIG RESETSTAT clears it, LATENCY RESET does not.
    pub fn with_histogram<R>(&self, row_index: usize, see: impl FnOnce(&Histogram) -> R) -> Option<R> {
        self.rows.borrow().get(row_index)?.histogram.as_ref().map(see)
    }

    /// Codes with their counts, sorted by code.
    #[cfg(test)]
    fn error_stats(&self) -> Vec<(Box<[u8]>, u64)> {
        self.error_codes.borrow().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// The lines of INFO stats that this room counts, by Redis 7.2's names.
    pub fn write_stats(&self, line: &mut dyn FnMut(&str, &dyn Display)) {
        let kbps = |rate: &Rate| format!("{:.2}", rate.get() as f64 / 1024.0);
        line("total_connections_received", &self.connections.get());
        line("total_commands_processed", &self.commands.get());
        line("instantaneous_ops_per_sec", &self.command_rate.get());
        line("total_net_input_bytes", &self.input_bytes.get());
        line("total_net_output_bytes", &self.output_bytes.get());
        line("instantaneous_input_kbps", &kbps(&self.input_rate));
        line("instantaneous_output_kbps", &kbps(&self.output_rate));
        line("total_reads_processed", &self.reads.get());
        line("total_writes_processed", &self.writes.get());
        line("rejected_connections", &self.rejected_connections.get());
        line("evicted_clients", &self.evicted_clients.get());
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

    /// Each error code with its count, sorted by code. Non-ASCII bytes and bytes that would break a line of
    /// INFO are escaped, because clients can choose codes (docs/reliability.md P14).
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
            &self.reads,
            &self.writes,
            &self.denied_logins,
            &self.throttled_logins,
            &self.denied_commands,
            &self.denied_keys,
            &self.denied_channels,
            &self.client_query_buffer_disconnections,
            &self.evicted_clients,
            &self.client_output_buffer_disconnections,
            &self.errors,
            &self.errors_uncounted,
        ] {
            counter.reset();
        }
        self.rows.borrow_mut().clear();
        self.error_codes.borrow_mut().clear();
        for rate in [&self.command_rate, &self.input_rate, &self.output_rate] {
            rate.reset();
        }
    }

    /// This floor does not know the length of the command table, so the rows grow to the highest index seen.
    #[inline]
    fn with_row(&self, index: usize, change: impl FnOnce(&mut RowStats)) {
        let mut rows = self.rows.borrow_mut();
        if index >= rows.len() {
            rows.resize_with(index + 1, RowStats::default);
        }
        change(&mut rows[index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_errors_are_counted_and_reset() {
        let metrics = Metrics::default();
        metrics.tracks_latency.set(true);
        metrics.note_begun(3);
        metrics.note_finished(3, 7000, true);
        metrics.note_executed(5, 2000, false);
        metrics.note_rejection(5);
        metrics.note_error(b"ERR");
        metrics.note_error(b"ERR");
        let three = CallStats { calls: 1, nanoseconds: 7000, rejected: 0, failed: 1 };
        let five = CallStats { calls: 1, nanoseconds: 2000, rejected: 1, failed: 0 };
        assert_eq!(metrics.call_stats(), [(3, three), (5, five)]);
        assert_eq!((metrics.commands.get(), metrics.with_histogram(3, Histogram::total)), (2, Some(1)));
        assert_eq!(metrics.with_histogram(4, Histogram::total), None);
        assert_eq!(metrics.error_stats(), [(b"ERR"[..].into(), 2)]);
        metrics.reset();
        assert_eq!((metrics.errors.get(), metrics.call_stats().len()), (0, 0));
    }

    #[test]
    fn error_codes_are_bounded() {
        let metrics = Metrics::default();
        for code in 0..1000 {
            metrics.note_error(format!("E{code}").as_bytes());
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
                metrics.note_begun(0);
            }
            metrics.tick(tick * 100);
        }
        assert_eq!(metrics.commands_per_second(), 100);
    }

    #[test]
    fn info_lines_are_complete_and_cannot_be_broken_by_codes() {
        let metrics = Metrics::default();
        metrics.note_begun(7);
        metrics.note_begun(7);
        metrics.note_error(b"A\r\n:b");
        let mut lines = BTreeMap::new();
        metrics.write_stats(&mut |name, value| drop(lines.insert(name.to_owned(), value.to_string())));
        assert_eq!(lines["total_commands_processed"], "2");
        assert_eq!(lines["instantaneous_input_kbps"], "0.00");
        let mut codes = Vec::new();
        metrics.write_errors(&mut |code, count| codes.push((code.to_owned(), count)));
        assert_eq!(codes, [("A\\x0d\\x0a\\x3ab".to_owned(), 1)]);
    }
}
