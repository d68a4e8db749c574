//! What the clients know of the server's data over all its lives, and the checks of every reply against it.

use super::channels::Channels;
use super::client::{Asked, Id, Op};
use super::leases::{Hand, How, LEASED, Leases, Moment};
use super::run::START_MS;
use super::unacknowledged::Unacknowledged;
use super::value::Value;
use super::watched::Watched;
use std::collections::btree_map::Entry::Vacant;
use std::collections::{BTreeMap, BTreeSet};

pub const LOGS: [&str; 2] = ["log0", "log1"];
pub const TRIMMED: &str = "trimmed";
pub const JOBS: [&str; 2] = ["jobs0", "jobs1"];

/// An automatic id is not further ahead of real time, whatever the wall clock shows.
const ID_AHEAD_MS: u64 = 1000;

macro_rules! ensure {
    ($holds:expr, $($why:tt)*) => {
        if !$holds {
            return Err(format!($($why)*));
        }
    };
}
pub(crate) use ensure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    None,
    Unknown,
    Done,
}

#[derive(Debug)]
struct Entry {
    token: u64,
    deletion: Progress,
    /// When it was acknowledged or read, by the monotonic clock.
    known_ms: u64,
}

#[derive(Debug)]
struct Job {
    owner: usize,
    acknowledgement: Progress,
}

#[derive(Default)]
struct Stream {
    entries: BTreeMap<Id, Entry>,
    issued: BTreeSet<u64>,
    by_token: BTreeMap<u64, Id>,
    /// Deleted or trimmed entries included.
    greatest: Id,
    /// Reads since the last verification: from where, and what they found.
    reads: Vec<(Id, Vec<Id>)>,
    jobs: BTreeMap<Id, Job>,
}

#[derive(Default)]
pub struct Knowledge {
    last_token: u64,
    streams: BTreeMap<&'static str, Stream>,
    /// Consumers that may own entries which they have not seen: a read of theirs was never answered.
    loose: BTreeSet<usize>,
    /// By key: the value that was acknowledged, and those that came behind it.
    values: BTreeMap<String, (Option<u64>, Vec<u64>)>,
    counters: BTreeMap<String, (i64, i64)>,
    transactions: BTreeMap<usize, (BTreeSet<u64>, BTreeSet<u64>)>,
    pub channels: Channels,
    pub leases: Leases,
    pub unacknowledged: Unacknowledged,
    pub watched: Watched,
    moment: Moment,
    /// The greatest time in an id that a client has chosen.
    pub explicit_ms: u64,
    pub acknowledged: u64,
    pub served: u64,
    pub raised: u64,
    /// Reads that were blocked and were served with what is new to a group, since the last look around.
    pub woken: Vec<Woken>,
}

pub struct Woken {
    pub stream: &'static str,
    pub group: &'static str,
    pub blocked_since: u64,
}

/// Who is answered, and when.
pub struct Asker {
    pub client: usize,
    pub connection: u64,
    pub blocked_since: Option<u64>,
    pub now_ms: u64,
    /// Idle times follow the monotonic clock.
    pub is_exact: bool,
}

pub fn value_key(asker: &Asker) -> String {
    format!("{{c{}}}v{}", asker.client, asker.connection)
}

pub fn counter_key(asker: &Asker) -> String {
    format!("{{c{}}}n{}", asker.client, asker.connection)
}

/// Ids with their tokens.
type Entries = Vec<(Id, u64)>;

fn entries_of(value: &Value) -> Entries {
    let entry = |value: &Value| {
        let parts = value.elements();
        (Id::parse(&parts[0].text()), parts[1].elements()[1].text().parse().expect("a token"))
    };
    value.elements().iter().map(entry).collect()
}

/// What a read found: the place of each stream among those that it asked for, and its entries.
fn parts_of<'n>(
    reply: &Value,
    asked: impl Iterator<Item = &'n str>,
) -> Result<Vec<(usize, Entries)>, String> {
    let asked: Vec<&str> = asked.collect();
    let mut parts = Vec::new();
    for part in reply.elements() {
        let name = part.elements()[0].text();
        let at = asked.iter().position(|it| *it == name).ok_or(format!("{name} was not asked for"))?;
        let found = entries_of(&part.elements()[1]);
        ensure!(!found.is_empty(), "{name}: a read was served with nothing");
        ensure!(parts.last().is_none_or(|(before, _)| *before < at), "{name} comes twice, or too late");
        parts.push((at, found));
    }
    ensure!(!parts.is_empty() || reply.is_null(), "a read was served with nothing");
    Ok(parts)
}

impl Knowledge {
    fn stream(&mut self, name: &'static str) -> &mut Stream {
        self.streams.entry(name).or_default()
    }

    pub fn new_token(&mut self, stream: &'static str) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        self.stream(stream).issued.insert(token);
        token
    }

    pub fn greatest(&self, stream: &str) -> Id {
        self.streams.get(stream).map_or(Id::default(), |it| it.greatest)
    }

    /// An entry that nobody else deletes.
    pub fn begin_delete(&mut self, stream: &'static str, choice: u64) -> Option<Id> {
        let live =
            self.stream(stream).entries.iter_mut().filter(|(_, entry)| entry.deletion == Progress::None);
        let mut live: Vec<_> = live.rev().take(10).collect();
        if live.is_empty() {
            return None;
        }
        let at = choice as usize % live.len();
        live[at].1.deletion = Progress::Unknown;
        Some(*live[at].0)
    }

    pub fn begin_acknowledge(&mut self, stream: &'static str, client: usize, choice: u64) -> Option<Id> {
        let mine = |job: &Job| job.owner == client && job.acknowledgement == Progress::None;
        let mut jobs: Vec<_> =
            self.stream(stream).jobs.iter_mut().filter(|(_, job)| mine(job)).take(5).collect();
        if jobs.is_empty() {
            return None;
        }
        let at = choice as usize % jobs.len();
        jobs[at].1.acknowledgement = Progress::Unknown;
        Some(*jobs[at].0)
    }

    pub fn begin_transaction(&mut self, client: usize) -> u64 {
        self.last_token += 1;
        self.transactions.entry(client).or_default().1.insert(self.last_token);
        self.last_token
    }

    pub fn begin_set(&mut self, key: String, value: u64) {
        self.values.entry(key).or_default().1.push(value);
    }

    pub fn begin_increment(&mut self, key: String) {
        self.counters.entry(key).or_default().1 += 1;
    }

    /// The connection is over, and this was not answered.
    pub fn never_answered(&mut self, client: usize, op: &Op) {
        match op {
            Op::GroupRead { .. } => _ = self.loose.insert(client),
            Op::LeaseRead { .. } | Op::Claim { .. } => self.leases.never_answered(client),
            Op::UnacknowledgedRead { .. } => self.unacknowledged.never_answered(),
            _ => {}
        }
    }

    fn learn(&mut self, name: &'static str, id: Id, token: u64, now_ms: u64) -> Result<(), String> {
        let stream = self.stream(name);
        ensure!(stream.issued.contains(&token), "{name}: {id} holds {token}, which was never sent there");
        if let Some(other) = stream.by_token.get(&token) {
            ensure!(*other == id, "{name}: {token} is at {other} and at {id}");
        }
        if let Some(entry) = stream.entries.get(&id) {
            ensure!(entry.token == token, "{name}: {id} held {} and holds {token}", entry.token);
        } else {
            stream.entries.insert(id, Entry { token, deletion: Progress::None, known_ms: now_ms });
            stream.by_token.insert(token, id);
        }
        stream.greatest = stream.greatest.max(id);
        Ok(())
    }

    /// Checks a reply and learns from it.
    pub fn answered(&mut self, asker: &Asker, op: &Op, reply: &Value) -> Result<(), String> {
        match op {
            Op::Anything | Op::Inspect | Op::Subscribe => return Ok(()),
            Op::SideRead { .. } => return Ok(()),
            Op::Add { is_explicit: true, .. } if reply.is_error() => {
                let text = reply.text();
                ensure!(
                    text.contains("equal or smaller than the target stream top item"),
                    "an error: {text}"
                );
                return Ok(());
            }
            _ => ensure!(!reply.is_error(), "an error: {reply}"),
        }
        match op.clone() {
            Op::Add { stream, token, floor, is_idempotent, .. } => {
                let id = Id::parse(&reply.text());
                // One that was sent twice is there once: `learn` sees to it.
                ensure!(is_idempotent || id > floor, "{stream}: {id} was given after {floor}");
                let latest_ms = START_MS + asker.now_ms + ID_AHEAD_MS;
                ensure!(id.0 <= latest_ms.max(self.explicit_ms), "{stream}: {id} is ahead of its time");
                self.acknowledged += 1;
                self.learn(stream, id, token, asker.now_ms)
            }
            Op::Delete { stream, id } => {
                ensure!(reply.integer() == 1, "{stream}: {id} was acknowledged, and there is none to delete");
                self.stream(stream).entries.get_mut(&id).expect("known").deletion = Progress::Done;
                Ok(())
            }
            Op::Read { streams, .. } => {
                let parts = parts_of(reply, streams.iter().map(|it| it.0))?;
                self.served += u64::from(asker.blocked_since.is_some() && !parts.is_empty());
                for (at, found) in parts {
                    let (stream, after) = streams[at];
                    let mut before = after;
                    for &(id, token) in &found {
                        ensure!(id > before, "{stream}: {id} was read behind {before}");
                        before = id;
                        self.learn(stream, id, token, asker.now_ms)?;
                    }
                    self.stream(stream).reads.push((after, found.iter().map(|it| it.0).collect()));
                }
                Ok(())
            }
            Op::GroupRead { streams, .. } => {
                let parts = parts_of(reply, streams.iter().copied())?;
                self.served += u64::from(asker.blocked_since.is_some() && !parts.is_empty());
                for (at, found) in parts {
                    let stream = streams[at];
                    for &(id, token) in &found {
                        self.learn(stream, id, token, asker.now_ms)?;
                        let job = Job { owner: asker.client, acknowledgement: Progress::None };
                        let before = self.stream(stream).jobs.insert(id, job);
                        ensure!(before.is_none(), "{stream}: {id} was delivered twice as new: {before:?}");
                    }
                    self.note_woken(asker, stream, "g");
                }
                Ok(())
            }
            Op::LeaseRead { claim_ms, asked, .. } => {
                let parts = parts_of(reply, [LEASED].into_iter())?;
                self.served += u64::from(asker.blocked_since.is_some() && !parts.is_empty());
                let rows = reply.elements().first().map(|it| it.elements()[1].elements()).unwrap_or_default();
                let mut is_new = claim_ms.is_none();
                for (row, (id, token)) in rows.iter().zip(parts.into_iter().flat_map(|it| it.1)) {
                    if let Some(claim_ms) = claim_ms {
                        let row = row.elements();
                        let (idle_ms, deliveries) = (row[2].integer() as u64, row[3].integer());
                        ensure!(deliveries == 0 || !is_new, "{LEASED}: {id} was claimed behind what is new");
                        ensure!(
                            deliveries == 0 || idle_ms >= claim_ms,
                            "{LEASED}: {id} was idle for {idle_ms} ms"
                        );
                        is_new = deliveries == 0;
                    }
                    let how = if is_new { How::New } else { How::Claimed(claim_ms.expect("not new")) };
                    self.take_lease(asker, asked, how, id, token)?;
                }
                if is_new && !rows.is_empty() {
                    self.note_woken(asker, LEASED, "g");
                }
                Ok(())
            }
            Op::Claim { idle_ms, is_auto, asked } => {
                let rows = if is_auto { reply.elements()[1].clone() } else { reply.clone() };
                for (id, token) in entries_of(&rows) {
                    self.take_lease(asker, asked, How::Claimed(idle_ms), id, token)?;
                }
                Ok(())
            }
            Op::Release { id } => {
                ensure!(reply.integer() == 1, "{LEASED}: {id} was pending, and there is none to acknowledge");
                let moment = self.next_moment();
                self.leases.acknowledged(id, moment);
                Ok(())
            }
            Op::UnacknowledgedRead { .. } => {
                let parts = parts_of(reply, [LEASED].into_iter())?;
                self.served += u64::from(asker.blocked_since.is_some() && !parts.is_empty());
                for (id, token) in parts.into_iter().flat_map(|it| it.1) {
                    self.learn(LEASED, id, token, asker.now_ms)?;
                    self.unacknowledged.delivered(id)?;
                    self.note_woken(asker, LEASED, "n");
                }
                Ok(())
            }
            Op::History { stream } => self.check_history(stream, asker, reply),
            Op::Acknowledge { stream, id } => {
                ensure!(reply.integer() == 1, "{stream}: {id} was pending, and there is none to acknowledge");
                self.stream(stream).jobs.get_mut(&id).expect("known").acknowledgement = Progress::Done;
                Ok(())
            }
            Op::Set { value } => {
                ensure!(*reply == Value::ok(), "SET: {reply}");
                let (known, behind) = self.values.get_mut(&value_key(asker)).expect("sent");
                *known = Some(value);
                behind.retain(|other| *other > value);
                Ok(())
            }
            Op::Get { value } => {
                let found = (!reply.is_null()).then(|| reply.text());
                let expected = value.map(|value| value.to_string());
                ensure!(found == expected, "GET: {found:?} instead of {expected:?}");
                Ok(())
            }
            Op::Increment { value } => {
                ensure!(reply.integer() == value, "INCR: {reply} instead of {value}");
                self.counters.get_mut(&counter_key(asker)).expect("sent").0 = value;
                Ok(())
            }
            // The client takes the value: see `Run::take_reply`.
            Op::GetWatched { least } => self.watched.found(reply, least).map(|_| ()),
            Op::ExecuteWatched { value } => {
                self.raised += u64::from(self.watched.executed(value, reply)?);
                Ok(())
            }
            Op::Exactly(expected) => {
                ensure!(*reply == expected, "{reply} instead of {expected}");
                Ok(())
            }
            Op::Execute { token } => {
                ensure!(reply.elements().len() == 3, "EXEC: {reply}");
                self.transactions.entry(asker.client).or_default().0.insert(token);
                Ok(())
            }
            Op::Publish { message } => {
                ensure!(reply.integer() >= 0, "PUBLISH: {reply}");
                if let Some((channel, number)) = message {
                    self.channels.published(channel, number);
                }
                Ok(())
            }
            Op::Anything | Op::Inspect | Op::Subscribe | Op::SideRead { .. } => unreachable!("above"),
        }
    }

    pub fn next_moment(&mut self) -> Moment {
        self.moment += 1;
        self.moment
    }

    fn note_woken(&mut self, asker: &Asker, stream: &'static str, group: &'static str) {
        let woken = |blocked_since| Woken { stream, group, blocked_since };
        self.woken.extend(asker.blocked_since.map(woken));
    }

    fn take_lease(
        &mut self,
        asker: &Asker,
        asked: Asked,
        how: How,
        id: Id,
        token: u64,
    ) -> Result<(), String> {
        self.learn(LEASED, id, token, asker.now_ms)?;
        let hand = Hand {
            client: asker.client,
            how,
            sent: asked.moment,
            sent_ms: asked.ms,
            answered: self.next_moment(),
            answered_ms: asker.now_ms,
        };
        self.leases.delivered(id, hand, asker.is_exact)
    }

    /// The ids of a stream that are known to be there.
    pub fn ids(&self, stream: &str) -> Vec<Id> {
        let entries = self.streams.get(stream).into_iter().flat_map(|it| &it.entries);
        entries.filter(|(_, entry)| entry.deletion == Progress::None).map(|(id, _)| *id).collect()
    }

    fn check_history(&mut self, name: &'static str, asker: &Asker, reply: &Value) -> Result<(), String> {
        let found = reply.elements().first().map(|it| it.elements()[1].elements()).unwrap_or_default();
        let ids: BTreeSet<Id> = found.iter().map(|it| Id::parse(&it.elements()[0].text())).collect();
        let is_loose = self.loose.contains(&asker.client);
        let jobs = &mut self.stream(name).jobs;
        for (id, job) in jobs.iter().filter(|(_, job)| job.owner == asker.client) {
            match job.acknowledgement {
                Progress::None => {
                    ensure!(ids.contains(id), "{name}: {id} is not pending for client {}", asker.client)
                }
                Progress::Done => ensure!(!ids.contains(id), "{name}: {id} was acknowledged and is pending"),
                Progress::Unknown => {}
            }
        }
        for id in ids {
            match jobs.get(&id) {
                Some(job) => {
                    ensure!(
                        job.owner == asker.client,
                        "{name}: {id} belongs to {} and to {}",
                        job.owner,
                        asker.client
                    );
                }
                None => {
                    ensure!(is_loose, "{name}: {id} is pending for client {}, never delivered", asker.client);
                    jobs.insert(id, Job { owner: asker.client, acknowledgement: Progress::None });
                }
            }
        }
        Ok(())
    }

    /// Compares a stream with what `XRANGE - +` found, and with its last id. `lost_before_ms`: what became known earlier may
    /// not be lost, `None`: nothing may.
    pub fn verify_stream(
        &mut self,
        name: &'static str,
        found: &Value,
        last: Id,
        lost_before_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(), String> {
        let found = entries_of(found);
        if let Some(pair) = found.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(format!("{name}: ids do not grow: {} and {}", pair[0].0, pair[1].0));
        }
        let present: BTreeMap<Id, u64> = found.iter().copied().collect();
        let first = found.first().map_or(Id(u64::MAX, 0), |it| it.0);
        let may_be_trimmed = |id: &Id| name == TRIMMED && *id < first;
        if let Some(bound_ms) = lost_before_ms {
            // Relaxed durability and a power cut: the newest may be gone.
            let stream = self.stream(name);
            for (id, entry) in &stream.entries {
                let is_lost =
                    !present.contains_key(id) && entry.deletion == Progress::None && !may_be_trimmed(id);
                ensure!(
                    !is_lost || entry.known_ms >= bound_ms,
                    "{name}: {id} is lost beyond the sync interval"
                );
            }
            let lost: Vec<Id> =
                stream.entries.keys().filter(|id| !present.contains_key(id)).copied().collect();
            for id in lost {
                let entry = stream.entries.remove(&id).expect("just seen");
                stream.by_token.remove(&entry.token);
            }
            for entry in stream.entries.values_mut() {
                entry.deletion = Progress::None;
            }
            stream.reads.clear();
            stream.greatest = last;
        }
        let stream = self.stream(name);
        ensure!(
            last >= stream.greatest,
            "{name}: {} was given, now last-generated-id is {last}",
            stream.greatest
        );
        for (id, entry) in &mut stream.entries {
            match (present.get(id), entry.deletion) {
                (Some(_), Progress::Done) => return Err(format!("{name}: {id} was deleted and is back")),
                (None, Progress::None) if !may_be_trimmed(id) => {
                    return Err(format!("{name}: acknowledged entry {id} ({}) is lost", entry.token));
                }
                (Some(_), _) => {}
                (None, _) => entry.deletion = Progress::Done,
            }
        }
        for (after, ids) in std::mem::take(&mut stream.reads) {
            let Some(upto) = ids.last() else { continue };
            let read: BTreeSet<Id> = ids.iter().copied().collect();
            let passed = present.keys().find(|id| **id > after && *id <= upto && !read.contains(id));
            if let Some(id) = passed {
                return Err(format!("{name}: a read from {after} to {upto} has passed over {id}"));
            }
        }
        for (id, token) in found {
            self.learn(name, id, token, now_ms)?;
        }
        self.stream(name).greatest = last;
        Ok(())
    }

    /// Compares a group with XINFO GROUPS and XPENDING. `is_restarted`: nothing is under way any more.
    pub fn verify_group(
        &mut self,
        name: &'static str,
        delivered: Id,
        rows: &Value,
        has_lost: bool,
        is_restarted: bool,
    ) -> Result<(), String> {
        let mut pending = BTreeMap::new();
        for row in rows.elements() {
            let parts = row.elements();
            let owner: usize = parts[1].text().trim_start_matches('c').parse().expect("a client's name");
            pending.insert(Id::parse(&parts[0].text()), owner);
        }
        if has_lost {
            let Stream { jobs, entries, .. } = self.stream(name);
            // What was acknowledged may be pending again, and what was pending may never have been delivered.
            let done = |id: &Id| (*id, Job { owner: 0, acknowledgement: Progress::Done });
            *jobs = entries.keys().filter(|id| **id <= delivered).map(done).collect();
            for (id, owner) in &pending {
                jobs.insert(*id, Job { owner: *owner, acknowledgement: Progress::None });
            }
            return Ok(());
        }
        let loose = self.loose.clone();
        let stream = self.stream(name);
        for (id, job) in &mut stream.jobs {
            ensure!(*id <= delivered, "{name}: {id} was delivered, now last-delivered-id is {delivered}");
            match (pending.get(id), job.acknowledgement) {
                (Some(_), Progress::Done) => {
                    return Err(format!("{name}: {id} was acknowledged and is pending again"));
                }
                (None, Progress::None) => return Err(format!("{name}: pending entry {id} is lost: {job:?}")),
                (Some(owner), _) if *owner != job.owner => {
                    return Err(format!("{name}: {id} belongs to {owner}, expected {job:?}"));
                }
                (Some(_), _) if is_restarted => job.acknowledgement = Progress::None,
                (Some(_), _) => {}
                (None, _) => job.acknowledgement = Progress::Done,
            }
        }
        for (id, owner) in pending {
            if let Vacant(job) = stream.jobs.entry(id) {
                ensure!(
                    loose.contains(&owner),
                    "{name}: {id} is pending for {owner}, which was answered without it"
                );
                job.insert(Job { owner, acknowledgement: Progress::None });
            }
        }
        let passed = stream.entries.iter().find(|(id, entry)| {
            **id <= delivered && entry.deletion == Progress::None && !stream.jobs.contains_key(id)
        });
        if let Some((id, _)) = passed {
            return Err(format!("{name}: {id} is behind last-delivered-id {delivered}, delivered to nobody"));
        }
        Ok(())
    }

    /// Every reader has been told to be gone.
    pub fn nothing_is_loose(&mut self) {
        self.loose.clear();
    }

    /// Keys whose value is to be verified, with what may be there.
    pub fn take_values(&mut self) -> Vec<(String, Vec<Option<String>>)> {
        let mut expected: Vec<_> = std::mem::take(&mut self.values)
            .into_iter()
            .map(|(key, (known, behind))| {
                let values = std::iter::once(known).chain(behind.into_iter().map(Some));
                (key, values.map(|value| value.map(|value| value.to_string())).collect())
            })
            .collect();
        for (key, (known, sent)) in std::mem::take(&mut self.counters) {
            let text = |count: i64| (count > 0).then(|| count.to_string());
            expected.push((key, (known..=sent).map(text).collect()));
        }
        expected
    }

    pub fn transacting(&self) -> Vec<usize> {
        self.transactions.keys().copied().collect()
    }

    pub fn verify_transactions(
        &mut self,
        client: usize,
        left: &Value,
        right: &Value,
        count: &Value,
        has_lost: bool,
    ) -> Result<(), String> {
        let tokens = |value: &Value| entries_of(value).into_iter().map(|it| it.1).collect::<Vec<_>>();
        let (left, right) = (tokens(left), tokens(right));
        ensure!(left == right, "a transaction of {client} was executed in part: {left:?} and {right:?}");
        let count = if count.is_null() { 0 } else { count.integer() as usize };
        ensure!(left.len() == count, "{} transactions of {client} counted {count}", left.len());
        let found: BTreeSet<u64> = left.iter().copied().collect();
        ensure!(found.len() == left.len(), "a transaction of {client} was executed twice: {left:?}");
        let (executed, sent) = self.transactions.get_mut(&client).expect("asked for");
        if has_lost {
            executed.retain(|token| found.contains(token));
        }
        let lost = executed.difference(&found).next();
        ensure!(lost.is_none(), "transaction {lost:?} of {client} is lost");
        let strange = found.difference(sent).next();
        ensure!(strange.is_none(), "transaction {strange:?} of {client} came from nowhere");
        *executed = found;
        Ok(())
    }
}
