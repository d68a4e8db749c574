//! How long commands take: INFO commandstats and latencystats, the slow log, the latency monitor.
//!
//! The time of a command is the time that the worker spends on it. For most that is one piece: its arguments are read, it
//! is executed, its reply is written. A write has two: it is read and put into the open batch, and, once that is
//! committed, applied and answered. Waiting is no work and does not count: neither for the disk (that is told by INFO
//! commits and by the events of the latency monitor), nor of a blocked read, nor for a turn.
//!
//! The clock is read once at the end of each piece, which is the beginning of the next one, and once when a run of pieces
//! begins. What is to be told of a request whose reply is owed is kept in the slot of that reply.

use crate::command::redact;
use crate::command::spec::{Flags, Row};
use crate::command::table::TABLE;
use crate::model::args::{Args, OwnedArgs};
use crate::model::reply::Reply;
use crate::observe::latency::{Event, LatencyMonitor, Sample};
use crate::observe::slow_log::{self, SlowCommand, SlowLog};
use crate::server::connection::Connection;
use crate::server::output::SlotNumber;
use crate::server::ticket::Place;
use crate::server::worker::Worker;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What is known of a request that waits for its reply.
#[derive(Debug, Default)]
pub struct Meter {
    /// Of the command table, plus one; 0: none.
    row: u16,
    /// Arguments that it had, or 65,535.
    args: u16,
    /// Spent on it so far.
    nanoseconds: u32,
    /// Its arguments, if they are kept.
    kept: Option<Box<KeptArgs>>,
}

#[derive(Debug)]
enum KeptArgs {
    /// As they came, the first [`slow_log::ARGS_MAX`].
    Whole(OwnedArgs),
    /// As the slow log shows them.
    Shown(Vec<Vec<u8>>),
}

impl Meter {
    fn row(&self) -> Option<&'static Row> {
        TABLE.get(usize::from(self.row.checked_sub(1)?))
    }

    /// The arguments that were kept, or else the name alone and how many there were besides.
    fn args(&self, row: &Row) -> Vec<Vec<u8>> {
        match self.kept.as_deref() {
            Some(KeptArgs::Whole(args)) => {
                let shown = redact::shown(row, args.as_args());
                return slow_log::shorten(shown, usize::from(self.args)).collect();
            }
            Some(KeptArgs::Shown(args)) => return args.clone(),
            None => {}
        }
        let name = row.full_name().to_ascii_uppercase();
        let mut args: Vec<Vec<u8>> = name.split('|').map(|part| part.as_bytes().to_vec()).collect();
        match usize::from(self.args).saturating_sub(args.len()) {
            0 => {}
            more => args.push(format!("... ({more} more arguments)").into_bytes()),
        }
        args
    }
}

/// Where what took long is noted, and from when on.
pub struct SlowCommands {
    pub log: RefCell<SlowLog>,
    pub latency: RefCell<LatencyMonitor>,
    /// From here on a command is looked at: the lesser of the next two.
    attention_ns: Cell<u64>,
    /// `slowlog-log-slower-than`; the greatest number is "off".
    slow_ns: Cell<u64>,
    /// `latency-monitor-threshold`; the greatest number is "off".
    spike_ns: Cell<u64>,
}

const OFF: u64 = u64::MAX;

impl Default for SlowCommands {
    fn default() -> Self {
        SlowCommands {
            log: RefCell::default(),
            latency: RefCell::default(),
            attention_ns: Cell::new(OFF),
            slow_ns: Cell::new(OFF),
            spike_ns: Cell::new(OFF),
        }
    }
}

/// With a threshold below this, the arguments of every write are kept until it is applied; above, only of those that may
/// take so long.
const EVERYTHING_BELOW_NS: u64 = 1_000_000;

/// A write of constant time for each argument may take long from so many on.
const SHORT_ARGS_MAX: usize = 64;

/// Arguments of no more bytes are kept as they are: that is soon done.
const WHOLE_BYTES_MAX: usize = 1024;

impl Worker {
    /// The settings that are looked at with every command, in the form in which they are. Call whenever settings change.
    pub fn take_over_settings(&self) {
        let config = self.config.borrow();
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

    /// The request at hand was executed, and answered unless it has opened this slot.
    pub fn note_request(
        &self,
        connection: &Rc<Connection>,
        row: &'static Row,
        args: Args<'_>,
        opened: Option<SlotNumber>,
        failed: bool,
    ) {
        let nanoseconds = self.stopwatch.lap();
        if let Some(slot) = opened {
            self.metrics.note_begun(row.index());
            let meter = Meter {
                row: row.index() as u16 + 1,
                args: u16::try_from(args.len()).unwrap_or(u16::MAX),
                nanoseconds: u32::try_from(nanoseconds).unwrap_or(u32::MAX),
                kept: self.keeps_args(row, args).then(|| Box::new(keep(row, args))),
            };
            if let Some(answered) = connection.measure(slot, meter) {
                self.finish_measured(connection, &answered, 0, failed);
            }
            return;
        }
        self.metrics.note_executed(row.index(), nanoseconds, failed);
        if nanoseconds >= self.slow.attention_ns.get() {
            self.note_slow(connection, row, nanoseconds, || shown(row, args).collect());
        }
    }

    /// Whether the arguments of a request are kept until it is answered.
    fn keeps_args(&self, row: &Row, args: Args<'_>) -> bool {
        let slow_ns = self.slow.slow_ns.get();
        slow_ns != OFF && (slow_ns < EVERYTHING_BELOW_NS || may_take_long(row, args))
    }

    /// Writes a reply that was owed, at the end of the work on it.
    pub fn answer(&self, place: &Place, reply: &Reply) {
        self.answer_after(place, reply, 0);
    }

    /// The same, when so much of the work was measured already.
    pub fn answer_after(&self, place: &Place, reply: &Reply, before_ns: u64) {
        let meter = place.fill(reply);
        self.queue_flush(&place.connection);
        let nanoseconds = before_ns + self.stopwatch.lap();
        self.finish_measured(&place.connection, &meter, nanoseconds, matches!(reply, Reply::Error(_)));
    }

    /// Writes a reply that was owed, of a command that has waited: only the time before counts.
    pub fn answer_late(&self, place: &Place, reply: &Reply) {
        let meter = place.fill(reply);
        self.queue_flush(&place.connection);
        self.finish_measured(&place.connection, &meter, 0, matches!(reply, Reply::Error(_)));
    }

    /// The end of a transaction. If it was slow but no command by its share, the slow log names EXEC.
    pub fn answer_exec(&self, place: &Place, reply: &Reply, nanoseconds: u64, share_ns: u64) {
        let meter = place.fill(reply);
        self.queue_flush(&place.connection);
        let total_ns = nanoseconds + self.stopwatch.lap();
        self.finish_measured(&place.connection, &meter, total_ns, false);
        let Some(row) = meter.row() else { return };
        let slow_ns = self.slow.slow_ns.get();
        if total_ns >= slow_ns && share_ns < slow_ns {
            self.log_slow(&place.connection, total_ns, meter.args(row));
        }
        if self.monitors.is_any() {
            let exec: OwnedArgs = [&b"EXEC"[..]].into_iter().collect();
            self.feed_monitors(&place.connection, row, exec.as_args());
        }
    }

    fn finish_measured(&self, connection: &Rc<Connection>, meter: &Meter, more_ns: u64, failed: bool) {
        let Some(row) = meter.row() else { return };
        let nanoseconds = more_ns + u64::from(meter.nanoseconds);
        self.metrics.note_finished(row.index(), nanoseconds, failed);
        if nanoseconds >= self.slow.attention_ns.get() {
            self.note_slow(connection, row, nanoseconds, || meter.args(row));
        }
    }

    /// A command of a transaction was executed.
    pub fn note_inside_exec(
        &self,
        connection: &Rc<Connection>,
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
            unix_seconds: self.now().0 / 1000,
            microseconds: nanoseconds / 1000,
            args,
            address: connection.peer.to_string(),
            name: connection.session.borrow().name.clone(),
        };
        self.slow.log.borrow_mut().push(command, self.config.borrow().slowlog_max_len);
    }

    /// Something took so long: the latency monitor wants to know from its threshold on.
    pub fn note_event(&self, event: Event, nanoseconds: u64) {
        if nanoseconds >= self.slow.spike_ns.get() {
            let sample = Sample { unix_seconds: self.now().0 / 1000, milliseconds: nanoseconds / 1_000_000 };
            self.slow.latency.borrow_mut().note(event, sample);
        }
    }
}

/// Whether the execution of a command can take longer than a moment.
fn may_take_long(row: &Row, args: Args<'_>) -> bool {
    if row.is_constant_time() {
        return args.len() > SHORT_ARGS_MAX;
    }
    // XADD trims only behind options; without them the id comes first.
    let is_plain_add =
        || args.get(2).and_then(|arg| arg.first()).is_some_and(|byte| *byte == b'*' || byte.is_ascii_digit());
    row.name != "xadd" || args.len() > SHORT_ARGS_MAX || !is_plain_add()
}

/// A request as the slow log shows it.
fn shown<'a>(row: &Row, args: Args<'a>) -> impl Iterator<Item = Vec<u8>> {
    slow_log::shorten(redact::shown(row, args.first(slow_log::ARGS_MAX)), args.len())
}

fn keep(row: &Row, args: Args<'_>) -> KeptArgs {
    let first = args.first(slow_log::ARGS_MAX);
    if first.iter().map(<[u8]>::len).sum::<usize>() <= WHOLE_BYTES_MAX {
        KeptArgs::Whole(OwnedArgs::copy(first))
    } else {
        KeptArgs::Shown(shown(row, args).collect())
    }
}
