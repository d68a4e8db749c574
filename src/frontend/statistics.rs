//! The time of commands: INFO commandstats and latencystats, the slow log, the latency monitor.
//!
//! The time of a command is the time that the frontend and the engine spend on it. For most commands that is
//! one piece: read the arguments, execute, write the reply. A write has two: read it into the open batch, and
//! after its commit apply and answer it. Waiting does not count: neither for the disk (shown by INFO commits
//! and by the events of the latency monitor), nor of a blocked read, nor for a turn.
//!
//! The clock is read once at the end of each piece, which is the beginning of the next one, and once when a
//! run of pieces begins. Facts about a request with a pending reply are kept in its reply slot.

use crate::command::spec::{Flags, Row};
use crate::frontend::frontend::Frontend;
use crate::frontend::slow_commands::OFF;
use crate::model::args::{Args, OwnedArgs};
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::net::connection::Connection;
use crate::observe::latency::{Event, Sample};
use crate::observe::slow_log::SlowCommand;
use crate::session::pending::{RequestStats, shown};
use std::rc::Rc;

/// With a threshold below this, the arguments of every write are kept until it is applied; otherwise only of
/// writes that may take this long.
const EVERYTHING_BELOW_NS: u64 = 1_000_000;

/// A write with constant time per argument may be slow from this number of arguments on.
const SHORT_ARGS_MAX: usize = 64;

impl Frontend {
    /// Applies the settings that every command checks.
    pub fn apply_statistics_settings(&self) {
        let config = self.context.config.borrow();
        let slow = u64::try_from(config.slowlog_log_slower_than).ok().filter(|_| config.slowlog_max_len > 0);
        let slow_ns = slow.map_or(OFF, |microseconds| microseconds.saturating_mul(1000));
        let spike_ns = match config.latency_monitor_threshold {
            0 => OFF,
            milliseconds => milliseconds.saturating_mul(1_000_000),
        };
        self.slow.log.borrow_mut().shorten_to(config.slowlog_max_len);
        self.slow.slow_ns.set(slow_ns);
        self.slow.spike_ns.set(spike_ns);
        self.slow.attention_ns.set(slow_ns.min(spike_ns));
        self.metrics.tracks_latency.set(config.latency_tracking);
    }

    /// The current request was executed and answered.
    pub fn note_executed(&self, connection: &Connection, row: &'static Row, args: Args<'_>, failed: bool) {
        let nanoseconds = self.stopwatch.lap();
        self.metrics.note_executed(row.index(), nanoseconds, failed);
        if nanoseconds >= self.slow.attention_ns.get() {
            self.note_slow(connection, row, nanoseconds, || shown(row, args).collect());
        }
    }

    /// The current request was submitted: its facts are kept in its reply slot.
    pub fn note_submitted(
        &self,
        connection: &Connection,
        row: &'static Row,
        args: Args<'_>,
        request: RequestId,
    ) {
        self.metrics.note_begun(row.index());
        let stats = RequestStats::new(row, args, self.stopwatch.lap(), self.keeps_args(row, args));
        connection.with_pending(request, |pending| pending.stats = stats);
    }

    /// Whether the arguments of a request are kept until it is answered.
    fn keeps_args(&self, row: &Row, args: Args<'_>) -> bool {
        let slow_ns = self.slow.slow_ns.get();
        slow_ns != OFF && (slow_ns < EVERYTHING_BELOW_NS || may_take_long(row, args))
    }

    /// Writes a pending reply, at the end of the work on its request.
    pub fn answer(&self, connection: &Rc<Connection>, request: RequestId, reply: &Reply) {
        self.answer_after(connection, request, reply, 0);
    }

    /// The same, with a part of the work already measured.
    pub fn answer_after(
        &self,
        connection: &Rc<Connection>,
        request: RequestId,
        reply: &Reply,
        before_ns: u64,
    ) {
        let Some(pending) = connection.fill(request, reply) else { return };
        self.connections.queue_flush(connection);
        let nanoseconds = before_ns + self.stopwatch.lap();
        self.finish_measured(connection, &pending.stats, nanoseconds, matches!(reply, Reply::Error(_)));
    }

    /// Writes the pending reply of a command that may have waited: the time before the wait counts, and the
    /// time that the engine spent on it.
    pub fn answer_late(
        &self,
        connection: &Rc<Connection>,
        request: RequestId,
        reply: &Reply,
        nanoseconds: u64,
    ) {
        let Some(pending) = connection.fill(request, reply) else { return };
        self.connections.queue_flush(connection);
        self.finish_measured(connection, &pending.stats, nanoseconds, matches!(reply, Reply::Error(_)));
    }

    /// Ends a transaction. If it was slow but none of its commands was, the slow log names EXEC. `slowest_ns`: the
    /// longest time of a command.
    pub fn answer_exec(
        &self,
        connection: &Rc<Connection>,
        request: RequestId,
        reply: &Reply,
        nanoseconds: u64,
        slowest_ns: u64,
    ) {
        let Some(pending) = connection.fill(request, reply) else { return };
        let stats = pending.stats;
        self.connections.queue_flush(connection);
        let total_ns = nanoseconds + self.stopwatch.lap();
        self.finish_measured(connection, &stats, total_ns, false);
        let Some(row) = stats.row() else { return };
        let slow_ns = self.slow.slow_ns.get();
        if total_ns >= slow_ns && slowest_ns < slow_ns {
            self.log_slow(connection, total_ns, stats.args(row));
        }
        if self.push.monitors.is_any() {
            let exec: OwnedArgs = [&b"EXEC"[..]].into_iter().collect();
            self.feed_monitors(connection, row, exec.as_args());
        }
    }

    pub fn feed_monitors(&self, connection: &Connection, row: &Row, args: Args<'_>) {
        let now_micros = self.context.clock.now_micros();
        self.push.feed_monitors(&self.connections, connection, now_micros, row, args);
    }

    fn finish_measured(&self, connection: &Rc<Connection>, stats: &RequestStats, more_ns: u64, failed: bool) {
        let Some(row) = stats.row() else { return };
        let nanoseconds = more_ns + u64::from(stats.nanoseconds);
        self.metrics.note_finished(row.index(), nanoseconds, failed);
        if nanoseconds >= self.slow.attention_ns.get() {
            self.note_slow(connection, row, nanoseconds, || stats.args(row));
        }
    }

    /// A command of a transaction was executed.
    pub fn note_inside_exec(
        &self,
        connection: &Connection,
        row: &'static Row,
        args: Args<'_>,
        nanoseconds: u64,
        reply: &Reply,
    ) {
        let failed = match reply {
            Reply::Error(error) => {
                self.metrics.note_error(error.code());
                true
            }
            _ => false,
        };
        self.metrics.note_executed(row.index(), nanoseconds, failed);
        if nanoseconds >= self.slow.attention_ns.get() {
            self.note_slow(connection, row, nanoseconds, || shown(row, args).collect());
        }
    }

    #[cold]
    fn note_slow(
        &self,
        connection: &Connection,
        row: &Row,
        nanoseconds: u64,
        args: impl FnOnce() -> Vec<Vec<u8>>,
    ) {
        if nanoseconds >= self.slow.slow_ns.get() && !row.flags.contains(Flags::SKIP_SLOWLOG) {
            self.log_slow(connection, nanoseconds, args());
        }
        let is_fast = row.flags.contains(Flags::FAST);
        self.note_event(if is_fast { Event::FastCommand } else { Event::Command }, nanoseconds);
    }

    fn log_slow(&self, connection: &Connection, nanoseconds: u64, args: Vec<Vec<u8>>) {
        let command = SlowCommand {
            id: 0,
            unix_seconds: self.wall_time().0 / 1000,
            microseconds: nanoseconds / 1000,
            args,
            address: connection.peer.to_string(),
            name: connection.session.borrow().name.clone(),
        };
        self.slow.log.borrow_mut().push(command, self.context.config.borrow().slowlog_max_len);
    }

    /// Reports a duration to the latency monitor, which records it from its threshold on.
    pub fn note_event(&self, event: Event, nanoseconds: u64) {
        if nanoseconds >= self.slow.spike_ns.get() {
            let sample =
                Sample { unix_seconds: self.wall_time().0 / 1000, milliseconds: nanoseconds / 1_000_000 };
            self.slow.latency.borrow_mut().note(event, sample);
        }
    }
}

/// Whether the command can take long to execute.
fn may_take_long(row: &Row, args: Args<'_>) -> bool {
    if row.is_constant_time() {
        return args.len() > SHORT_ARGS_MAX;
    }
    // XADD trims only with options; without them the id comes first.
    let is_plain_add =
        || args.get(2).and_then(|arg| arg.first()).is_some_and(|byte| *byte == b'*' || byte.is_ascii_digit());
    row.name != "xadd" || args.len() > SHORT_ARGS_MAX || !is_plain_add()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::config::config::DebugCommands;
    use crate::node::testing::Stage;

    fn args(request: &str) -> OwnedArgs {
        request.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn only_work_counts_and_not_waiting_for_the_disk() {
        let stage = Stage::with(|config| {
            config.enable_debug_command = DebugCommands::Yes;
            config.slowlog_log_slower_than = 1000;
            config.latency_monitor_threshold = 1;
        });
        let ann = stage.client();
        ann.send("SET a 1");
        stage.pass_ms(5000);
        stage.commit();
        assert_eq!(ann.ask("SLOWLOG LEN"), "+OK :0");
        ann.ask("DEBUG SLEEP 0.25");
        let told = ann.ask("MULTI\nSET a 1\nDEBUG SLEEP 0.25\nEXEC\nSLOWLOG LEN");
        assert!(told.ends_with(" :2"), "EXEC is not named beside its command: {told}");
        stage.frontend.slow.log.borrow_mut().clear();
        ann.ask("DEBUG SLEEP 0.25");
        let log = stage.frontend.slow.log.borrow();
        let slow: Vec<_> = log.iter().map(|it| (it.microseconds, it.args.join(&b' '))).collect();
        assert_eq!(slow, [(250_000, b"DEBUG SLEEP 0.25".to_vec())]);
        let latency = stage.frontend.slow.latency.borrow();
        let series = latency.of(Event::Command).expect("it took 250 ms");
        assert_eq!(series.latest().milliseconds, 250);
        assert!(latency.of(Event::FastCommand).is_none());
    }

    #[test]
    fn a_command_is_looked_at_from_the_lower_threshold_on() {
        let stage = Stage::new();
        let apply = |slow_us, spike_ms, length| {
            {
                let mut config = stage.frontend.context.config.borrow_mut();
                config.slowlog_log_slower_than = slow_us;
                config.latency_monitor_threshold = spike_ms;
                config.slowlog_max_len = length;
            }
            stage.frontend.apply_settings();
            stage.frontend.slow.attention_ns.get()
        };
        assert_eq!(apply(10, 0, 1), 10_000);
        assert_eq!(apply(10_000, 3, 1), 3_000_000);
        assert_eq!(apply(0, 3, 1), 0, "0 logs every command");
        assert_eq!(apply(-1, 0, 1), OFF);
        assert_eq!(apply(10, 0, 0), OFF, "a log without room");
    }

    #[test]
    fn arguments_are_kept_of_what_may_be_slow() {
        let keeps = |request: &str, slow_us| {
            let stage = Stage::with(|config| config.slowlog_log_slower_than = slow_us);
            let args = args(request);
            stage.frontend.keeps_args(lookup::find(args.as_args()).unwrap(), args.as_args())
        };
        let many = format!("XADD s * {}", ["f"; SHORT_ARGS_MAX].join(" "));
        for (request, expected) in [
            ("SET a 1", false),
            ("XADD s * f v", false),
            ("XADD s 1-1 f v", false),
            ("XADD s MAXLEN 10 * f v", true),
            (&many, true),
            ("XTRIM s MAXLEN 10", true),
        ] {
            assert_eq!(keeps(request, 10_000), expected, "{request}");
            assert!(keeps(request, 10), "{request}");
            assert!(!keeps(request, -1), "{request}");
        }
    }

    #[test]
    fn a_failure_and_a_refusal_are_two_things() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("SET a x\nINCR a\nINCR a b\nMULTI\nINCR a\nEXEC");
        let row = lookup::find(args("INCR a").as_args()).unwrap();
        let stats = stage.frontend.metrics.call_stats();
        let (_, incr) = stats.iter().find(|(index, _)| *index == row.index()).expect("it was called");
        assert_eq!((incr.calls, incr.failed, incr.rejected), (2, 2, 1));
    }
}
