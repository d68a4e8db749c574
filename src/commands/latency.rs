//! SLOWLOG and LATENCY.

use crate::command::lookup;
use crate::command::table::{self, TABLE};
use crate::command::value::server::{LatencyCommand, SlowLogCommand};
use crate::frontend::frontend::Frontend;
use crate::model::args::ArgList;
use crate::model::reply::{Reply, ReplyError};
use crate::observe::histogram::Histogram;
use crate::observe::latency::{Event, LatencyMonitor, Sample};
use crate::observe::slow_log::SlowCommand;

pub fn slow_log(frontend: &Frontend, command: SlowLogCommand) -> Reply {
    let mut log = frontend.slow.log.borrow_mut();
    match command {
        SlowLogCommand::Get { count } => {
            let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
            Reply::Array(log.iter().take(count).map(slow_command).collect())
        }
        SlowLogCommand::Len => Reply::count(log.len()),
        SlowLogCommand::Reset => {
            log.clear();
            Reply::OK
        }
    }
}

pub fn latency(frontend: &Frontend, command: &LatencyCommand<'_>) -> Reply {
    let mut monitor = frontend.slow.latency.borrow_mut();
    let now_seconds = frontend.wall_time().0 / 1000;
    match command {
        LatencyCommand::Latest => {
            let latest = monitor.series().map(|(event, series)| {
                let Sample { unix_seconds, milliseconds } = series.latest();
                let numbers = [unix_seconds, milliseconds, series.max].map(number);
                Reply::Array([Reply::Text(event.name())].into_iter().chain(numbers).collect())
            });
            Reply::Array(latest.collect())
        }
        LatencyCommand::History { event } => {
            let series = Event::find(event).and_then(|event| monitor.of(event));
            let samples = series
                .into_iter()
                .flat_map(|series| series.samples())
                .map(|sample| Reply::Array(vec![number(sample.unix_seconds), number(sample.milliseconds)]));
            Reply::Array(samples.collect())
        }
        LatencyCommand::Reset { events } => {
            let named = events.iter().filter_map(Event::find);
            let events: Vec<Event> = if events.is_empty() { Event::ALL.to_vec() } else { named.collect() };
            Reply::count(events.into_iter().filter(|event| monitor.reset(*event)).count())
        }
        LatencyCommand::Graph { event } => {
            let found = Event::find(event).and_then(|event| Some((event, monitor.of(event)?)));
            match found {
                Some((event, series)) => Reply::Verbatim(LatencyMonitor::graph(event, series, now_seconds)),
                None => {
                    let text = [b"ERR No samples available for event '", *event, b"'"].concat();
                    Reply::Error(ReplyError::owned(text))
                }
            }
        }
        LatencyCommand::Doctor => {
            let is_on = frontend.context.config.borrow().latency_monitor_threshold > 0;
            Reply::Verbatim(monitor.report(now_seconds, is_on))
        }
        LatencyCommand::Histogram { commands } => histograms(frontend, commands),
    }
}

/// A container stands for its subcommands; commands without calls are omitted (Redis
/// `latencySpecificCommandsFillCDF`).
fn histograms(frontend: &Frontend, commands: &ArgList<'_>) -> Reply {
    let mut found = Vec::new();
    if commands.is_empty() {
        frontend.metrics.each_histogram(&mut |row, histogram| found.push(described(row, histogram)));
    }
    for row in commands.iter().filter_map(lookup::by_full_name) {
        let subcommands = table::subcommands(row.name).filter(|_| row.container.is_none());
        for row in [row].into_iter().chain(subcommands) {
            found.extend(
                frontend.metrics.with_histogram(row.index(), |histogram| described(row.index(), histogram)),
            );
        }
    }
    Reply::Map(found)
}

fn number(value: u64) -> Reply {
    Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn slow_command(command: &SlowCommand) -> Reply {
    Reply::Array(vec![
        number(command.id),
        number(command.unix_seconds),
        number(command.microseconds),
        Reply::Array(command.args.iter().map(Reply::bulk).collect()),
        Reply::bulk(&command.address),
        Reply::bulk(&command.name),
    ])
}

fn described(row: usize, histogram: &Histogram) -> (Reply, Reply) {
    let counts = histogram.cumulative().into_iter().map(|(bound, count)| (number(bound), number(count)));
    let fields = vec![
        (Reply::Text("calls"), number(histogram.total())),
        (Reply::Text("histogram_usec"), Reply::Map(counts.collect())),
    ];
    (Reply::Text(TABLE[row].full_name()), Reply::Map(fields))
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;
    use crate::observe::latency::Event;

    #[test]
    fn reset_counts_the_series_that_there_were() {
        let stage = Stage::with(|config| config.latency_monitor_threshold = 1);
        let ann = stage.client();
        stage.frontend.note_event(Event::Command, 5_000_000);
        stage.frontend.note_event(Event::FastCommand, 999_999);
        assert_eq!(ann.ask("LATENCY LATEST"), "*1 *4 $7 command :1000 :5 :5");
        assert_eq!(ann.ask("LATENCY RESET fast-command nosuch\nLATENCY RESET\nLATENCY RESET"), ":0 :1 :0");
        assert_eq!(ann.ask("LATENCY GRAPH command"), "-ERR No samples available for event 'command'");
    }

    #[test]
    fn the_slow_log_gives_the_newest_first() {
        let ann = Stage::with(|config| config.slowlog_log_slower_than = 0).client();
        ann.ask("ECHO a\nECHO b");
        let newest = ann.ask("SLOWLOG GET 1");
        assert!(newest.starts_with("*1 ") && newest.contains("$4 ECHO $1 b"), "{newest}");
        assert_eq!(ann.ask("SLOWLOG RESET\nSLOWLOG LEN"), "+OK :1", "the reset itself");
    }

    #[test]
    fn a_container_has_the_histograms_of_its_subcommands() {
        let ann = Stage::new().client();
        ann.ask("CLIENT ID\nCLIENT GETNAME\nPING\nPING");
        let told = ann.ask("LATENCY HISTOGRAM client nosuch get");
        assert!(
            told.starts_with("*4 ") && told.contains("client|id") && told.contains("client|getname"),
            "{told}"
        );
        assert!(ann.ask("LATENCY HISTOGRAM ping").starts_with("*2 $4 ping *4 $5 calls :2 "));
    }
}
