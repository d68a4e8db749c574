//! The clients' knowledge of the server's data over all its lives: acknowledged and possible effects.

use super::WORKERS;
use crate::support::client::Client;
use crate::support::value::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// A number that is written into one entry only.
pub type Token = u64;

/// The outcome of an operation on a pending entry.
pub enum Outcome {
    Acknowledged,
    OwnedBy(usize),
}

#[derive(Default)]
pub struct Knowledge {
    last_token: Token,
    streams: HashMap<&'static str, StreamKnowledge>,
    jobs: BTreeMap<Id, Job>,
    /// Workers whose last XREADGROUP was not answered: they may own entries that they never saw.
    unanswered_reads: HashSet<usize>,
    counters: [Counter; WORKERS],
    values: [Register; WORKERS],
    transactions: [Transactions; WORKERS],
}

#[derive(Default)]
struct StreamKnowledge {
    entries: BTreeMap<Id, Entry>,
    unknown: HashSet<Token>,
    /// Tokens absent after a restart: they must not appear later.
    absent: HashSet<Token>,
}

struct Entry {
    token: Token,
    deletion: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    None,
    Unknown,
    Done,
}

/// An entry that was delivered to the group.
#[derive(Debug)]
struct Job {
    owner: usize,
    claimed_by: Option<usize>,
    acknowledgement: Progress,
    is_busy: bool,
}

#[derive(Default)]
struct Counter {
    known: i64,
    unknown: i64,
}

#[derive(Default)]
struct Register {
    known: Option<u64>,
    unknown: Option<u64>,
}

#[derive(Default)]
struct Transactions {
    executed: HashSet<Token>,
    unknown: HashSet<Token>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Id(u64, u64);

impl Id {
    fn parse(text: &str) -> Id {
        let (ms, sequence) = text.split_once('-').unwrap_or_else(|| panic!("entry id {text}"));
        Id(ms.parse().expect("milliseconds"), sequence.parse().expect("a sequence"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl Knowledge {
    pub fn new_token(&mut self, stream: &'static str) -> Token {
        self.last_token += 1;
        self.streams.entry(stream).or_default().unknown.insert(self.last_token);
        self.last_token
    }

    pub fn added(&mut self, stream: &'static str, token: Token, id: &str) {
        let known = self.streams.entry(stream).or_default();
        known.unknown.remove(&token);
        let before = known.entries.insert(Id::parse(id), Entry { token, deletion: Progress::None });
        assert!(before.is_none(), "id {id} of {stream} was given twice");
    }

    pub fn begin_delete(&mut self, choice: u64) -> Option<String> {
        let events = self.streams.get_mut("events")?;
        let live =
            events.entries.iter_mut().rev().take(50).filter(|(_, entry)| entry.deletion == Progress::None);
        let (id, entry) = live.take(1 + choice as usize % 20).last()?;
        entry.deletion = Progress::Unknown;
        Some(id.to_string())
    }

    pub fn deleted(&mut self, id: &str) {
        let events = self.streams.get_mut("events").expect("events");
        events.entries.get_mut(&Id::parse(id)).expect("a known entry").deletion = Progress::Done;
    }

    pub fn begin_read(&mut self, worker: usize) {
        self.unanswered_reads.insert(worker);
    }

    pub fn delivered(&mut self, worker: usize, ids: &[String]) {
        self.unanswered_reads.remove(&worker);
        for id in ids {
            let job =
                Job { owner: worker, claimed_by: None, acknowledgement: Progress::None, is_busy: false };
            let before = self.jobs.insert(Id::parse(id), job);
            assert!(before.is_none(), "{id} was delivered twice as new: {before:?}");
        }
    }

    pub fn begin_acknowledge(&mut self, worker: usize) -> Option<String> {
        let (id, job) = self.idle_job(worker)?;
        job.is_busy = true;
        job.acknowledgement = Progress::Unknown;
        Some(id.to_string())
    }

    pub fn begin_claim(&mut self, from: usize, by: usize) -> Option<String> {
        let (id, job) = self.idle_job(from)?;
        job.is_busy = true;
        job.claimed_by = Some(by);
        Some(id.to_string())
    }

    fn idle_job(&mut self, owner: usize) -> Option<(Id, &mut Job)> {
        let mut jobs = self.jobs.iter_mut();
        let (id, job) = jobs
            .find(|(_, job)| job.owner == owner && !job.is_busy && job.acknowledgement == Progress::None)?;
        Some((*id, job))
    }

    pub fn settle(&mut self, id: &str, outcome: Outcome) {
        let job = self.jobs.get_mut(&Id::parse(id)).expect("a known job");
        job.is_busy = false;
        match outcome {
            Outcome::Acknowledged => job.acknowledgement = Progress::Done,
            Outcome::OwnedBy(worker) => {
                job.owner = worker;
                job.claimed_by = None;
            }
        }
    }

    pub fn begin_increment(&mut self, worker: usize) {
        self.counters[worker].unknown += 1;
    }

    pub fn incremented(&mut self, worker: usize, value: i64) {
        let counter = &mut self.counters[worker];
        assert_eq!(value, counter.known + counter.unknown, "INCR of counter{worker}");
        *counter = Counter { known: value, unknown: 0 };
    }

    pub fn begin_set(&mut self, worker: usize, value: u64) {
        self.values[worker].unknown = Some(value);
    }

    pub fn set(&mut self, worker: usize, value: u64) {
        self.values[worker] = Register { known: Some(value), unknown: None };
    }

    pub fn begin_transaction(&mut self, worker: usize) -> Token {
        self.last_token += 1;
        self.transactions[worker].unknown.insert(self.last_token);
        self.last_token
    }

    pub fn executed(&mut self, worker: usize, token: Token) {
        self.transactions[worker].unknown.remove(&token);
        self.transactions[worker].executed.insert(token);
    }

    /// Number of acknowledged additions.
    pub fn acknowledged(&self) -> usize {
        self.streams.values().map(|stream| stream.entries.len()).sum()
    }

    /// Compares everything with the restarted server, and resolves unknown outcomes.
    pub fn verify(&mut self, client: &mut Client) -> Result<(), String> {
        for name in ["events", "jobs"] {
            let found = entries(client, name);
            let last = last_id(client, name);
            self.streams.entry(name).or_default().verify(name, &found, last)?;
        }
        self.verify_group(client)?;
        for worker in 0..WORKERS {
            self.verify_counter(client, worker)?;
            self.verify_value(client, worker)?;
            self.verify_transactions(client, worker)?;
        }
        Ok(())
    }

    fn verify_group(&mut self, client: &mut Client) -> Result<(), String> {
        let groups = client.line("XINFO GROUPS jobs");
        if groups.is_error() {
            return Err(format!("jobs is gone: {groups}"));
        }
        let group = groups.elements().first().cloned().ok_or("the group is gone")?;
        let delivered = Id::parse(&group.field("last-delivered-id").ok_or("no last-delivered-id")?.text());
        let mut pending = BTreeMap::new();
        for row in client.line("XPENDING jobs g - + 10000000").elements() {
            let parts = row.elements();
            let owner = parts[1].text().trim_start_matches('w').parse::<usize>().expect("a worker's name");
            pending.insert(Id::parse(&parts[0].text()), owner);
        }
        for (id, job) in &mut self.jobs {
            if *id > delivered {
                return Err(format!(
                    "{id} was delivered, but the group forgot: last-delivered-id is lost at {delivered}"
                ));
            }
            match (pending.get(id), job.acknowledgement) {
                (Some(_), Progress::Done) => {
                    return Err(format!("{id} was acknowledged and is pending again"));
                }
                (None, Progress::None) => return Err(format!("pending entry {id} is lost: {job:?}")),
                (Some(owner), _) if *owner != job.owner && Some(*owner) != job.claimed_by => {
                    return Err(format!("{id} belongs to worker {owner}, expected {job:?}"));
                }
                (Some(owner), _) => {
                    *job = Job {
                        owner: *owner,
                        claimed_by: None,
                        acknowledgement: Progress::None,
                        is_busy: false,
                    };
                }
                (None, _) => job.acknowledgement = Progress::Done,
            }
        }
        for (id, owner) in pending {
            if self.jobs.contains_key(&id) {
                continue;
            }
            if !self.unanswered_reads.contains(&owner) {
                return Err(format!("{id} is pending for worker {owner}, which was answered without it"));
            }
            let job = Job { owner, claimed_by: None, acknowledgement: Progress::None, is_busy: false };
            self.jobs.insert(id, job);
        }
        self.unanswered_reads.clear();
        let jobs = &self.streams["jobs"];
        match jobs.entries.keys().find(|id| **id <= delivered && !self.jobs.contains_key(id)) {
            Some(id) => {
                Err(format!("{id} is lost: behind last-delivered-id {delivered}, delivered to nobody"))
            }
            None => Ok(()),
        }
    }

    fn verify_counter(&mut self, client: &mut Client, worker: usize) -> Result<(), String> {
        let counter = &mut self.counters[worker];
        let value = client.line(&format!("GET counter{worker}")).text().parse().unwrap_or(0);
        if value < counter.known || value > counter.known + counter.unknown {
            return Err(format!(
                "counter{worker} is {value}, acknowledged {} (lost), unanswered {}",
                counter.known, counter.unknown
            ));
        }
        *counter = Counter { known: value, unknown: 0 };
        Ok(())
    }

    fn verify_value(&mut self, client: &mut Client, worker: usize) -> Result<(), String> {
        let register = &mut self.values[worker];
        let value = client.line(&format!("GET value{worker}")).text().parse().ok();
        if value != register.known && (value.is_none() || value != register.unknown) {
            return Err(format!("value{worker} is {value:?}, {:?} is lost", register.known));
        }
        *register = Register { known: value, unknown: None };
        Ok(())
    }

    fn verify_transactions(&mut self, client: &mut Client, worker: usize) -> Result<(), String> {
        let tokens = |client: &mut Client, name: &str| -> Vec<Token> {
            entries(client, &format!("{{{worker}}}{name}")).into_iter().map(|(_, token)| token).collect()
        };
        let (left, right) = (tokens(client, "left"), tokens(client, "right"));
        if left != right {
            return Err(format!(
                "a transaction of worker {worker} was executed in part: {left:?} and {right:?}"
            ));
        }
        let count = client.line(&format!("GET {{{worker}}}both")).text().parse().unwrap_or(0);
        if left.len() != count {
            return Err(format!("{} transactions of worker {worker} counted {count}", left.len()));
        }
        let found: HashSet<Token> = left.iter().copied().collect();
        if found.len() != left.len() {
            return Err(format!("a transaction of worker {worker} was executed twice: {left:?}"));
        }
        let known = &mut self.transactions[worker];
        if let Some(token) = known.executed.difference(&found).next() {
            return Err(format!("acknowledged transaction {token} is lost"));
        }
        if let Some(token) =
            found.iter().find(|token| !known.executed.contains(token) && !known.unknown.contains(token))
        {
            return Err(format!("transaction {token} came from nowhere"));
        }
        known.executed = found;
        known.unknown.clear();
        Ok(())
    }
}

impl StreamKnowledge {
    fn verify(&mut self, name: &str, found: &[(Id, Token)], last: Option<Id>) -> Result<(), String> {
        if let Some(pair) = found.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(format!("{name}: ids do not grow: {} and {}", pair[0].0, pair[1].0));
        }
        if let Some((newest, _)) = self.entries.last_key_value()
            && last.is_none_or(|last| last < *newest)
        {
            return Err(format!(
                "{name}: {newest} was given, now last-generated-id is {last:?}: ids are lost"
            ));
        }
        let by_id: HashMap<Id, Token> = found.iter().copied().collect();
        for (id, entry) in &mut self.entries {
            match (by_id.get(id), entry.deletion) {
                (Some(_), Progress::Done) => return Err(format!("{name}: {id} was deleted and is back")),
                (None, Progress::None) => return Err(format!("{name}: acknowledged entry {id} is lost")),
                (Some(token), _) if *token != entry.token => {
                    return Err(format!("{name}: {id} holds {token}, was added with {}", entry.token));
                }
                (Some(_), _) => entry.deletion = Progress::None,
                (None, _) => entry.deletion = Progress::Done,
            }
        }
        for (id, token) in found {
            if self.entries.contains_key(id) {
                continue;
            }
            if !self.unknown.remove(token) {
                let was_absent =
                    if self.absent.contains(token) { ", absent after an earlier restart" } else { "" };
                return Err(format!("{name}: {id} with {token} is there twice or from nowhere{was_absent}"));
            }
            self.entries.insert(*id, Entry { token: *token, deletion: Progress::None });
        }
        self.absent.extend(self.unknown.drain());
        Ok(())
    }
}

fn entries(client: &mut Client, stream: &str) -> Vec<(Id, Token)> {
    let entry = |value: &Value| {
        let parts = value.elements();
        (Id::parse(&parts[0].text()), parts[1].elements()[1].text().parse().expect("a token"))
    };
    client.line(&format!("XRANGE {stream} - +")).elements().iter().map(entry).collect()
}

fn last_id(client: &mut Client, stream: &str) -> Option<Id> {
    let info = client.line(&format!("XINFO STREAM {stream}"));
    if info.is_error() {
        return None;
    }
    info.field("last-generated-id").map(|id| Id::parse(&id.text()))
}

impl fmt::Display for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.jobs.values().filter(|job| job.acknowledgement == Progress::Done).count();
        let transactions: usize = self.transactions.iter().map(|known| known.executed.len()).sum();
        write!(
            f,
            "{} entries, {} delivered, {done} of them acknowledged, {transactions} transactions",
            self.acknowledged(),
            self.jobs.len()
        )
    }
}
