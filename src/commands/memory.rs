//! MEMORY, and the figures of INFO memory.

use crate::command::value::server::MemoryCommand;
use crate::engine::report::Report;
use crate::engine::submission::{EngineAnswer, Question};
use crate::env::allocator;
use crate::frontend::frontend::Frontend;
use crate::frontend::response::Response;
use crate::model::reply::Reply;
use crate::state::keyspace::Keyspace;
use std::rc::Rc;

/// The use of memory, in bytes.
pub struct Memory {
    /// Reported by the allocator.
    pub used: u64,
    pub peak: u64,
    /// The resident memory of the process, and the memory of the machine; zero if the system does not report
    /// it.
    pub resident: u64,
    pub system: u64,
    /// Used before any data was loaded.
    pub startup: u64,
    /// Used by connections: their requests, unread output and queued commands.
    pub clients: u64,
    pub keys: u64,
    /// Estimate for the tables of keys.
    pub tables: u64,
}

impl Memory {
    pub fn new(frontend: &Frontend, report: &Report) -> Memory {
        let connections = frontend.connections.all();
        let clients: usize = connections.values().map(|client| frontend.client_memory(client)).sum();
        Memory {
            used: allocator::allocated_bytes(),
            peak: allocator::peak_bytes(),
            resident: kilobytes("/proc/self/status", "VmRSS:") * 1024,
            system: kilobytes("/proc/meminfo", "MemTotal:") * 1024,
            startup: frontend.context.identity.startup_bytes,
            clients: clients as u64,
            keys: report.keys as u64,
            tables: (report.keys * Keyspace::BYTES_PER_KEY) as u64,
        }
    }

    /// Everything except data.
    pub fn overhead(&self) -> u64 {
        self.startup + self.clients + self.tables
    }

    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }
}

/// Bytes of a deadline in the order of deadlines, about.
const DEADLINE_BYTES: usize = 24;

/// MEMORY DOCTOR reports nothing below this (Redis `getMemoryDoctorReport`).
const DOCTOR_BYTES_MIN: u64 = 5 << 20;

pub fn execute(frontend: &Rc<Frontend>, command: MemoryCommand) -> Response<'static> {
    if command == MemoryCommand::Purge {
        allocator::give_back();
        return Reply::OK.into();
    }
    let frontend = frontend.clone();
    let make = move |answer: EngineAnswer| {
        let EngineAnswer::Report(report) = answer else { return answer.into_reply() };
        let memory = Memory::new(&frontend, &report);
        match command {
            MemoryCommand::Stats => statistics(&memory, &report),
            MemoryCommand::Doctor => {
                Reply::Verbatim(diagnosis(&memory, frontend.connections.all().len() as u64))
            }
            MemoryCommand::MallocStats | MemoryCommand::Purge => Reply::Verbatim(format!(
                "The allocator is the system's; these are the figures that are kept.\nallocated {}\npeak {}\nresident \
                 {}\n",
                memory.used, memory.peak, memory.resident
            )),
        }
    };
    Response::Ask(Question::Report { streams: false }, Box::new(make))
}

/// Redis 7.0 `memoryCommand`.
fn statistics(memory: &Memory, report: &Report) -> Reply {
    let number = |value: u64| Reply::Integer(value as i64);
    let percent = |part: u64, whole: u64| Reply::Double(part as f64 * 100.0 / whole.max(1) as f64);
    let ratio = Reply::Double(memory.resident as f64 / memory.used.max(1) as f64);
    let fragmentation = Reply::Integer(memory.resident as i64 - memory.used as i64);
    let net = memory.used.saturating_sub(memory.startup);
    let mut fields = vec![
        (Reply::Text("peak.allocated"), number(memory.peak)),
        (Reply::Text("total.allocated"), number(memory.used)),
        (Reply::Text("startup.allocated"), number(memory.startup)),
        (Reply::Text("replication.backlog"), number(0)),
        (Reply::Text("clients.slaves"), number(0)),
        (Reply::Text("clients.normal"), number(memory.clients)),
        (Reply::Text("cluster.links"), number(0)),
        (Reply::Text("aof.buffer"), number(0)),
        (Reply::Text("lua.caches"), number(0)),
        (Reply::Text("functions.caches"), number(0)),
    ];
    for (database, figures) in report.databases.iter().filter(|(_, figures)| figures.keys > 0) {
        let (count, expiring) = (figures.keys, figures.expiring);
        let main = count * Keyspace::BYTES_PER_KEY;
        let tables = vec![
            (Reply::Text("overhead.hashtable.main"), Reply::count(main)),
            (Reply::Text("overhead.hashtable.expires"), Reply::count(expiring * DEADLINE_BYTES)),
        ];
        fields.push((Reply::bulk(format!("db.{database}")), Reply::Map(tables)));
    }
    fields.extend([
        (Reply::Text("overhead.total"), number(memory.overhead())),
        (Reply::Text("keys.count"), number(memory.keys)),
        (Reply::Text("keys.bytes-per-key"), number(net.checked_div(memory.keys).unwrap_or(0))),
        (Reply::Text("dataset.bytes"), number(memory.dataset())),
        (Reply::Text("dataset.percentage"), percent(memory.dataset(), net)),
        (Reply::Text("peak.percentage"), percent(memory.used, memory.peak)),
        (Reply::Text("allocator.allocated"), number(memory.used)),
        (Reply::Text("allocator.active"), number(memory.used)),
        (Reply::Text("allocator.resident"), number(memory.resident)),
        (Reply::Text("allocator-fragmentation.ratio"), Reply::Double(1.0)),
        (Reply::Text("allocator-fragmentation.bytes"), number(0)),
        (Reply::Text("allocator-rss.ratio"), ratio.clone()),
        (Reply::Text("allocator-rss.bytes"), fragmentation.clone()),
        (Reply::Text("rss-overhead.ratio"), Reply::Double(1.0)),
        (Reply::Text("rss-overhead.bytes"), number(0)),
        (Reply::Text("fragmentation"), ratio),
        (Reply::Text("fragmentation.bytes"), fragmentation),
    ]);
    Reply::Map(fields)
}

/// The checks of Redis's doctor, in other words.
fn diagnosis(memory: &Memory, clients: u64) -> String {
    if memory.used < DOCTOR_BYTES_MIN {
        return "This server is empty or uses very little memory: nothing can be told from that.\n".into();
    }
    let mut report = String::new();
    let mut find = |found: bool, text: String| {
        if found {
            report.push_str(&text);
        }
    };
    find(
        memory.peak as f64 / memory.used as f64 > 1.5,
        format!(
            "* In the past {} were used, now it is {}. What the allocator keeps of that is used again by new data; \
             MEMORY PURGE gives it back.\n",
            human(memory.peak),
            human(memory.used)
        ),
    );
    find(
        memory.resident as f64 / memory.used as f64 > 1.4 && memory.resident > memory.used + (10 << 20),
        format!(
            "* The process takes {} for {} in use: memory is fragmented. MEMORY PURGE gives back what can be.\n",
            human(memory.resident),
            human(memory.used)
        ),
    );
    find(
        memory.clients.checked_div(clients).unwrap_or(0) > 200 * 1024,
        format!(
            "* {clients} clients hold {}. CLIENT LIST shows which of them do not take their replies (omem) or have \
             sent much (qbuf).\n",
            human(memory.clients)
        ),
    );
    find(
        memory.system > 0 && memory.resident > memory.system / 10 * 9,
        format!(
            "* The process takes {} of the machine's {}.\n",
            human(memory.resident),
            human(memory.system)
        ),
    );
    if report.is_empty() {
        return "Nothing is known to be wrong with the memory of this server.\n".into();
    }
    format!("Something about the memory of this server could be better:\n\n{report}")
}

/// The value of a line `name <number> kB` in a kernel file; 0 if it is missing.
fn kilobytes(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
}

/// `1.50M`, as Redis's `bytesToHuman` writes it.
pub fn human(bytes: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(3 * 1024 * 1024), "3.00M");
    }

    #[test]
    fn the_kernel_tells_of_this_process() {
        assert!(kilobytes("/proc/self/status", "VmRSS:") > 0 || !cfg!(target_os = "linux"));
        assert_eq!(kilobytes("/no/such/file", "VmRSS:"), 0);
    }
}
