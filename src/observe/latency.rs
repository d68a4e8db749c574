//! Slow events: LATENCY (Redis `latency.c`).

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Samples kept per event, at most one per second (Redis `LATENCY_TS_LEN`).
const SAMPLES_MAX: usize = 160;

/// The observed events. Names are Redis's where Redis has the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A command whose row is not `fast`.
    Command,
    FastCommand,
    /// A sync of the journal that replies waited for.
    Sync,
    /// One round: from sealing the batch to its last reply, sync and execution included.
    Commit,
    /// A checkpoint. It is written beside the traffic, which does not wait for it.
    Checkpoint,
    /// The deletion of due keys.
    ExpireCycle,
}

impl Event {
    pub const ALL: [Event; 6] = [
        Event::Command,
        Event::FastCommand,
        Event::Sync,
        Event::Commit,
        Event::Checkpoint,
        Event::ExpireCycle,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Event::Command => "command",
            Event::FastCommand => "fast-command",
            Event::Sync => "aof-fsync-always",
            Event::Commit => "journal-commit",
            Event::Checkpoint => "checkpoint",
            Event::ExpireCycle => "expire-cycle",
        }
    }

    /// Finds an event by name, ignoring case.
    pub fn find(name: &[u8]) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Advice for LATENCY DOCTOR.
    const fn advice(self) -> &'static str {
        match self {
            Event::Command => {
                "SLOWLOG GET names the commands that take long. Ask for fewer entries at once (COUNT), trim large \
                 streams with ~, and delete them in steps."
            }
            Event::FastCommand => {
                "Even short commands were late: something else has the processor. Look for other processes, a slow \
                 virtual machine, swapping."
            }
            Event::Sync => {
                "Syncs of the journal are slow: replies to writes wait for the disk. Use a local disk with a fast \
                 fsync, and keep others from it. With durability relaxed replies do not wait for it."
            }
            Event::Commit => "A round of commands took long: see the syncs and the commands above.",
            Event::Checkpoint => {
                "Checkpoints take long. Clients do not wait for them, but they share the disk with the journal: a \
                 larger checkpoint-journal-bytes makes them rarer."
            }
            Event::ExpireCycle => "Many keys are due at once, or large ones: spread their deadlines.",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub unix_seconds: u64,
    pub milliseconds: u64,
}

#[derive(Debug, Default)]
pub struct Series {
    /// Oldest first; never empty.
    samples: VecDeque<Sample>,
    /// Milliseconds of the longest occurrence since LATENCY RESET.
    pub max: u64,
}

impl Series {
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> {
        self.samples.iter().copied()
    }

    pub fn latest(&self) -> Sample {
        *self.samples.back().expect("a series begins with a sample")
    }

    fn milliseconds(&self) -> impl Iterator<Item = u64> {
        self.samples().map(|sample| sample.milliseconds)
    }
}

#[derive(Debug, Default)]
pub struct LatencyMonitor {
    series: BTreeMap<Event, Series>,
}

impl LatencyMonitor {
    /// Records an occurrence; keeps the longest of each second.
    pub fn note(&mut self, event: Event, sample: Sample) {
        let series = self.series.entry(event).or_default();
        series.max = series.max.max(sample.milliseconds);
        match series.samples.back_mut() {
            Some(last) if last.unix_seconds == sample.unix_seconds => {
                last.milliseconds = last.milliseconds.max(sample.milliseconds);
            }
            _ => series.samples.push_back(sample),
        }
        if series.samples.len() > SAMPLES_MAX {
            series.samples.pop_front();
        }
    }

    pub fn series(&self) -> impl Iterator<Item = (Event, &Series)> {
        self.series.iter().map(|(event, series)| (*event, series))
    }

    pub fn of(&self, event: Event) -> Option<&Series> {
        self.series.get(&event)
    }

    /// Forgets an event; returns whether it had samples.
    pub fn reset(&mut self, event: Event) -> bool {
        self.series.remove(&event).is_some()
    }

    /// LATENCY GRAPH of a series (Redis `latencyCommandGenSparkeline`).
    pub fn graph(event: Event, series: &Series, now_seconds: u64) -> String {
        let (low, high) =
            (series.milliseconds().min().unwrap_or(0), series.milliseconds().max().unwrap_or(0));
        let mut out = format!(
            "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
            event.name(),
            series.max,
            "-".repeat(GRAPH_COLUMNS)
        );
        let bars: Vec<(u64, String)> = series
            .samples()
            .map(|sample| (sample.milliseconds, age(now_seconds.saturating_sub(sample.unix_seconds))))
            .collect();
        for columns in bars.chunks(GRAPH_COLUMNS) {
            draw(&mut out, columns, low, high);
        }
        out
    }

    /// LATENCY DOCTOR.
    pub fn report(&self, now_seconds: u64, is_on: bool) -> String {
        if self.series.is_empty() {
            return match is_on {
                true => "No latency spike was observed since the monitor was turned on.\n".into(),
                false => {
                    "The latency monitor is off. Turn it on with CONFIG SET latency-monitor-threshold <milliseconds>: \
                     what takes longer is then noted.\n"
                        .into()
                }
            };
        }
        let mut out = String::from("Latency spikes were observed:\n\n");
        for (number, (event, series)) in (1..).zip(self.series()) {
            let count = series.samples.len() as u64;
            let average = series.milliseconds().sum::<u64>() / count;
            let deviation = series.milliseconds().map(|ms| ms.abs_diff(average)).sum::<u64>() / count;
            let oldest = series.samples[0].unix_seconds;
            let period = now_seconds.saturating_sub(oldest).max(1) as f64 / count as f64;
            let _ = writeln!(
                out,
                "{number}. {}: {count} latency spikes (average {average}ms, mean deviation {deviation}ms, period \
                 {period:.2} sec). Worst all time event {}ms.",
                event.name(),
                series.max
            );
        }
        out.push_str("\nWhat can be done:\n\n");
        for event in self.series.keys() {
            let _ = writeln!(out, "- {}", event.advice());
        }
        out
    }
}

const GRAPH_COLUMNS: usize = 80;

/// Lines of a graph.
const GRAPH_ROWS: usize = 4;

/// Marks of a bar within a line, from low to high (Redis `sparklineRenderRange`).
const MARKS: [char; 3] = ['_', 'o', '#'];

/// An age in two or three characters.
fn age(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Draws bars over their labels; labels run from top to bottom.
fn draw(out: &mut String, bars: &[(u64, String)], low: u64, high: u64) {
    let steps = (MARKS.len() * GRAPH_ROWS) as f64;
    let relative = (high - low).max(1) as f64;
    for row in (0..GRAPH_ROWS).rev() {
        for (value, _) in bars {
            let step = ((value - low) as f64 * steps / relative) as i64;
            let level = (step.clamp(0, steps as i64 - 1)) - (row * MARKS.len()) as i64;
            out.push(match usize::try_from(level) {
                Err(_) => ' ',
                Ok(level) if level < MARKS.len() => MARKS[level],
                Ok(_) => '|',
            });
        }
        out.push('\n');
    }
    let height = bars.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
    out.push_str(&" ".repeat(bars.len()));
    out.push('\n');
    for line in 0..height {
        out.extend(bars.iter().map(|(_, label)| label.chars().nth(line).unwrap_or(' ')));
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(samples: &[(u64, u64)]) -> LatencyMonitor {
        let mut monitor = LatencyMonitor::default();
        for &(unix_seconds, milliseconds) in samples {
            monitor.note(Event::Command, Sample { unix_seconds, milliseconds });
        }
        monitor
    }

    #[test]
    fn the_longest_of_a_second_is_kept() {
        let monitor = monitor(&[(1, 5), (1, 9), (1, 7), (2, 1)]);
        let series = monitor.of(Event::Command).unwrap();
        let kept: Vec<_> =
            series.samples().map(|sample| (sample.unix_seconds, sample.milliseconds)).collect();
        assert_eq!(kept, [(1, 9), (2, 1)]);
        assert_eq!((series.max, series.latest().milliseconds), (9, 1));
    }

    #[test]
    fn samples_are_bounded_and_reset() {
        let samples: Vec<_> = (0..200).map(|second| (second, second)).collect();
        let mut monitor = monitor(&samples);
        assert_eq!(monitor.of(Event::Command).unwrap().samples().len(), SAMPLES_MAX);
        assert!(monitor.reset(Event::Command) && !monitor.reset(Event::Command));
    }

    #[test]
    fn names_are_found_in_any_case() {
        for event in Event::ALL {
            assert_eq!(Event::find(event.name().to_uppercase().as_bytes()), Some(event));
        }
        assert_eq!(Event::find(b"fork"), None);
    }

    #[test]
    fn a_graph_shows_each_sample_over_its_age() {
        let monitor = monitor(&[(100, 303), (101, 200), (102, 250)]);
        let graph = LatencyMonitor::graph(Event::Command, monitor.of(Event::Command).unwrap(), 162);
        let head = "command - high 303 ms, low 200 ms (all time high 303 ms)";
        let lines: Vec<&str> = graph.lines().collect();
        assert_eq!(lines[0], head);
        assert_eq!(lines[1], "-".repeat(80));
        assert_eq!(lines[2..], ["#  ", "|  ", "| #", "|_|", "   ", "111", "mmm"]);
    }

    #[test]
    fn the_report_names_events_and_what_to_do() {
        let monitor = monitor(&[(100, 300), (101, 200)]);
        let report = monitor.report(102, true);
        assert!(report.contains(
            "1. command: 2 latency spikes (average 250ms, mean deviation 50ms, period 1.00 sec). Worst all time event 300ms."
        ));
        assert!(report.contains("SLOWLOG GET"));
        assert!(LatencyMonitor::default().report(1, false).contains("is off"));
    }
}
