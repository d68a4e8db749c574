//! One seed: lives of the server one after the other, with load and faults, and what is verified between them.

use super::client::{Arrival, Client, Id, Op};
use super::counters::Counters;
use super::knowledge::{self, Asker, CHANNELS, JOBS, Knowledge, LOGS, TRIMMED, ensure};
use super::process::{Process, World};
use super::settings::Settings;
use super::value::Value;
use headwater::env::clock::Clock;
use headwater::env::entropy::{Entropy, SeededEntropy};
use headwater::env::manual_clock::ManualClock;
use headwater::env::sim_executor::SimExecutor;
use headwater::env::sim_fs::{Faults, SimFs, SyncScript};
use headwater::model::time::TimeMs;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What happened, line by line. Clones are the same one.
#[derive(Clone, Default)]
pub struct Trace {
    lines: Rc<RefCell<Vec<String>>>,
    is_printed: Rc<Cell<bool>>,
}

impl Trace {
    pub fn print(&self) {
        self.is_printed.set(true);
    }

    fn note(&self, line: String) {
        if self.is_printed.get() {
            println!("{line}");
        }
        self.lines.borrow_mut().push(line);
    }

    pub fn tail(&self) -> String {
        let lines = self.lines.borrow();
        let short = |line: &String| line.chars().take(LINE_CHARACTERS_MAX).collect::<String>();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(short).collect::<Vec<_>>().join("\n")
    }
}

pub struct Report {
    pub counters: Counters,
    pub trace: Vec<String>,
}

/// What a failure tells of what went before it.
const TAIL_LINES: usize = 30;
const LINE_CHARACTERS_MAX: usize = 200;

const START_MS: u64 = 1_700_000_000_000;

/// Streams that come and go, with groups that come and go.
const SIDE: [&str; 2] = ["{side}a", "{side}b"];

/// How long everything has to come to rest once nothing fails any more.
const REST_MS: u64 = 20_000;

/// Nothing that was acknowledged so long before a power cut is lost with relaxed durability, beyond its interval: a sync may
/// be slow, and one may be under way before it.
const SLACK_MS: u64 = 10_000;

struct Run {
    random: SeededEntropy,
    world: World,
    settings: Settings,
    process: Option<Process>,
    clients: Vec<Client>,
    connections: u64,
    knowledge: Knowledge,
    counters: Counters,
    trace: Trace,
    looks: u64,
    /// A sync was told to fail: the server may stop.
    may_stop: bool,
}

pub fn run(seed: u64, trace: Trace) -> Result<Report, String> {
    let random = SeededEntropy::new(seed);
    let settings = Settings::draw(&random);
    let clock = ManualClock::new(TimeMs(START_MS));
    let disk = SimFs::new(random.u64()).with_clock(clock.clone());
    disk.set_sync_time(settings.sync_time());
    let executor = if settings.is_fifo { SimExecutor::new() } else { SimExecutor::seeded(random.u64()) };
    let world = World { executor, clock, disk, settings: settings.clone() };
    trace.note(format!("{settings:?}"));
    let clients = (0..settings.clients).map(Client::new).collect();
    let mut run = Run {
        random,
        world,
        settings,
        process: None,
        clients,
        connections: 0,
        knowledge: Knowledge::default(),
        counters: Counters { seeds: 1, ..Counters::default() },
        trace,
        looks: 0,
        may_stop: false,
    };
    let result = run.lives();
    // Tasks hold what they wait for: the world ends before its clients do.
    if let Some(process) = run.process.take() {
        process.kill(&run.world, false);
    }
    result?;
    run.counters.simulated_ms = run.world.clock.monotonic_ms();
    let mut lines = run.trace.lines.take();
    lines.extend(run.world.disk.log());
    Ok(Report { counters: run.counters, trace: lines })
}

impl Run {
    fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn note(&self, line: String) {
        self.trace.note(format!("{:>12} {line}", self.world.clock.monotonic_us()));
    }

    fn now_ms(&self) -> u64 {
        self.world.clock.monotonic_ms()
    }

    fn lives(&mut self) -> Result<(), String> {
        self.start()?;
        self.set_up()?;
        let epochs = self.settings.epochs;
        for epoch in 0..=epochs {
            self.connect_all();
            let is_ended = self.load()?;
            if epoch == epochs && !is_ended {
                break;
            }
            self.end(is_ended)?;
        }
        self.heal();
        self.rest()?;
        self.verify_liveness()?;
        self.verify(None, false)
    }

    // ---- lives

    /// Returns whether the power was cut meanwhile.
    fn start(&mut self) -> Result<bool, String> {
        let mut is_power_cut = false;
        for attempt in 0.. {
            let seed = self.random.u64();
            // A start that is cut short: the next one begins from what that one has done.
            let is_cut = attempt < 2 && self.counters.starts > 0 && self.random.chance(15);
            if is_cut {
                let at = self.world.disk.operations() + 1 + self.below(20);
                self.world.disk.set_faults(Faults { crash_at_operation: Some(at), ..Faults::default() });
            }
            match Process::start(&self.world, seed) {
                Ok(process) if is_cut => {
                    // The fault would have come later: it is a kill, then.
                    self.note("killed right behind its start".to_owned());
                    process.kill(&self.world, false);
                }
                Ok(process) => {
                    self.note("started".to_owned());
                    self.process = Some(process);
                    self.counters.starts += 1;
                    return Ok(is_power_cut);
                }
                Err(why) if is_cut => {
                    self.note(format!("the start was cut short: {why}"));
                    self.counters.failed_starts += 1;
                    if self.random.chance(50) {
                        is_power_cut = true;
                        self.world.disk.crash();
                    } else {
                        self.world.disk.kill();
                    }
                }
                Err(why) => return Err(format!("the server does not start: {why}")),
            }
        }
        unreachable!("the third start is not cut short")
    }

    fn set_up(&mut self) -> Result<(), String> {
        let mut inspector = self.inspector();
        for stream in JOBS {
            let reply = self.ask(&mut inspector, &format!("XGROUP CREATE {stream} g 0 MKSTREAM"))?;
            ensure!(reply == Value::ok(), "XGROUP CREATE: {reply}");
        }
        self.hang_up(inspector);
        if self.settings.is_relaxed {
            // A power cut does not take the groups away.
            let synced = Duration::from_millis(self.settings.interval_ms + SLACK_MS);
            self.world.executor.run_for(&self.world.clock, synced);
        }
        Ok(())
    }

    /// Ends a life and begins the next one. `is_ended`: it has ended by itself.
    fn end(&mut self, is_ended: bool) -> Result<(), String> {
        let is_power_cut = is_ended || self.random.chance(50);
        let mut photograph = None;
        if !is_ended {
            match self.below(4) {
                0 => {
                    self.note("asked to stop".to_owned());
                    self.process.as_ref().expect("runs").ask_to_stop();
                    let ended = self.wait_for_end();
                    ensure!(ended.is_some(), "the server does not stop");
                    let ended = ended.expect("checked");
                    ensure!(
                        ended.is_ok() || self.may_stop,
                        "the server did not stop as it should: {ended:?}"
                    );
                    self.counters.stops += u64::from(ended.is_ok());
                }
                1 if !self.settings.is_relaxed || !is_power_cut => {
                    self.heal();
                    self.rest()?;
                    self.disconnect_all();
                    self.settle()?;
                    photograph = Some(self.photograph()?);
                }
                _ => {}
            }
        }
        self.read_all()?;
        let process = self.process.take().expect("runs");
        self.note(if is_power_cut { "the power is cut" } else { "killed" }.to_owned());
        process.kill(&self.world, is_power_cut);
        if is_power_cut {
            self.counters.power_cuts += 1;
        } else {
            self.counters.kills += 1;
            self.world.disk.set_faults(Faults::default());
        }
        self.may_stop = false;
        // What had been sent arrives.
        self.read_all()?;
        self.disconnect_all();
        self.world.disk.set_sync_time(self.settings.sync_time());
        let is_power_cut = self.start()? || is_power_cut;
        let lost_before_ms = (self.settings.is_relaxed && is_power_cut)
            .then(|| self.now_ms().saturating_sub(self.settings.interval_ms + SLACK_MS));
        self.verify(lost_before_ms, true)?;
        if let Some(before) = photograph.filter(|_| lost_before_ms.is_none()) {
            let after = self.photograph()?;
            ensure!(before == after, "what was at rest is not what came back:\n{before}\n{after}");
        }
        Ok(())
    }

    fn wait_for_end(&mut self) -> Option<Result<(), String>> {
        for _ in 0..10_000 {
            self.world.executor.run_until_idle();
            if let Some(ended) = self.process.as_ref().expect("runs").has_ended() {
                return Some(ended);
            }
            self.world.clock.advance_to_next_timer()?;
        }
        None
    }

    /// Nothing fails any more.
    fn heal(&mut self) {
        self.note("healed".to_owned());
        self.world.disk.set_sync_time(Duration::ZERO);
        self.world.disk.set_faults(Faults::default());
    }

    // ---- clients

    fn connect_all(&mut self) {
        for at in 0..self.clients.len() {
            self.connect(at);
        }
    }

    fn connect(&mut self, at: usize) {
        let is_subscriber = self.random.chance(15);
        self.connections += 1;
        let connection = self.connections;
        let Some(process) = &mut self.process else { return };
        let ends = process.connect();
        let client = &mut self.clients[at];
        client.connected(connection, ends);
        client.is_subscriber = is_subscriber;
        self.note(format!("c{at} connects"));
        if is_subscriber {
            let channels: Vec<_> = (0..CHANNELS).map(|channel| format!("channel{channel}")).collect();
            self.send(at, Op::Subscribe, format!("SUBSCRIBE {}", channels.join(" ")), None);
        }
    }

    fn disconnect_all(&mut self) {
        for at in 0..self.clients.len() {
            self.disconnect(at);
        }
    }

    fn disconnect(&mut self, at: usize) {
        let is_broken = self.random.chance(30);
        let client = &mut self.clients[at];
        if client.is_connected() {
            client.disconnect(is_broken);
            self.note(format!("c{at} disconnects"));
        }
        for sent in std::mem::take(&mut self.clients[at].waiting) {
            self.knowledge.never_answered(at, &sent.op);
        }
    }

    fn asker(&self, at: usize) -> Asker {
        let client = &self.clients[at];
        Asker {
            client: at,
            connection: client.connection,
            blocked_since: client.blocked_since,
            now_ms: self.world.clock.monotonic_ms(),
        }
    }

    fn send(&mut self, at: usize, op: Op, words: String, timeout_ms: Option<u64>) {
        self.note(format!("c{at} > {words}"));
        let deadline_ms = timeout_ms.map(|timeout_ms| self.now_ms() + timeout_ms);
        self.clients[at].send(op, words, deadline_ms);
        self.counters.commands += 1;
    }

    fn read(&mut self, at: usize) -> Result<bool, String> {
        match self.clients[at].read() {
            Arrival::Ended => {
                self.note(format!("c{at} is closed"));
                ensure!(
                    self.may_stop || self.process.as_ref().is_none_or(|it| it.has_ended().is_some()),
                    "the server closed the connection of client {at}"
                );
                self.disconnect(at);
                Ok(true)
            }
            Arrival::Replies(replies) => {
                let is_any = !replies.is_empty();
                for reply in replies {
                    self.note(format!("c{at} < {}", reply.to_string().replace('\n', " / ")));
                    self.take_reply(at, &reply)?;
                }
                Ok(is_any)
            }
        }
    }

    fn take_reply(&mut self, at: usize, reply: &Value) -> Result<(), String> {
        if self.clients[at].is_subscriber {
            let parts = reply.elements();
            return match parts[0].text().as_str() {
                "message" => {
                    self.knowledge.heard(self.clients[at].connection, &parts[1].text(), &parts[2].text())
                }
                _ => {
                    let _ = self.clients[at].waiting.pop_front();
                    Ok(())
                }
            };
        }
        let Some(sent) = self.clients[at].waiting.pop_front() else {
            return Err(format!("client {at} was sent {reply}, and has asked for nothing"));
        };
        let asker = self.asker(at);
        self.clients[at].blocked_since = None;
        // Once a sync has failed nothing more is written, and reads do not see what was refused.
        let is_refused = reply.is_error() || matches!(sent.op, Op::Get { .. } | Op::Increment { .. });
        let is_stopping =
            (self.may_stop && is_refused) || (reply.is_error() && reply.text().starts_with("UNKNOWN"));
        if is_stopping {
            self.knowledge.never_answered(at, &sent.op);
            return Ok(());
        }
        self.knowledge
            .answered(&asker, &sent.op, reply)
            .map_err(|why| format!("client {at}: {}: {why}", sent.words))
    }

    fn read_all(&mut self) -> Result<bool, String> {
        let mut is_any = false;
        for at in 0..self.clients.len() {
            is_any |= self.read(at)?;
        }
        Ok(is_any)
    }

    // ---- load

    /// Returns whether the server has ended by itself.
    fn load(&mut self) -> Result<bool, String> {
        for _ in 0..self.settings.steps {
            self.step()?;
            if let Some(ended) = self.process.as_ref().expect("runs").has_ended() {
                self.note(format!("the server has ended: {ended:?}"));
                ensure!(self.may_stop, "the server ended by itself: {ended:?}");
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn step(&mut self) -> Result<(), String> {
        let at = self.below(self.clients.len() as u64) as usize;
        match self.below(100) {
            0..30 => {
                if !self.clients[at].is_connected() {
                    self.connect(at);
                }
                let room = self.settings.pipeline as usize;
                while self.clients[at].waiting.len() < room && !self.clients[at].is_subscriber {
                    self.compose(at);
                    if self.random.chance(30) {
                        break;
                    }
                }
                let most = if self.random.chance(80) { usize::MAX } else { self.below(40) as usize };
                self.clients[at].flush(most);
            }
            30..40 => {
                self.clients[at].flush(usize::MAX);
            }
            40..50 => {
                self.read(at)?;
            }
            50..65 => {
                for _ in 0..=self.below(20) {
                    self.world.executor.turn();
                }
            }
            65..72 => {
                self.world.executor.run_until_idle();
            }
            72..82 => {
                self.world.clock.advance_to_next_timer();
            }
            82..86 => {
                self.world.clock.advance(self.below(50));
            }
            86..93 => self.settle()?,
            93..95 => {
                let is_connected = self.clients[at].is_connected();
                if is_connected {
                    self.disconnect(at);
                    self.counters.disconnects += 1;
                }
            }
            95 if self.settings.steps_clock => {
                let ms = [1, 50, 5_000, 3_600_000][self.below(4) as usize]
                    * if self.random.chance(50) { -1 } else { 1 };
                self.note(format!("the wall clock steps by {ms} ms"));
                self.world.clock.step_wall(ms);
                self.counters.clock_steps += 1;
            }
            96..98 => {
                let takes = Duration::from_millis(1 + self.below(3000));
                let nth = self.world.disk.syncs() + 1 + self.below(3);
                self.note(format!("sync {nth} will take {takes:?}"));
                self.world.disk.script_sync(nth, SyncScript { takes, fails: false });
                self.counters.slow_syncs += 1;
            }
            98 if self.random.chance(20) => {
                let nth = self.world.disk.syncs() + 1 + self.below(3);
                self.note(format!("sync {nth} will fail"));
                self.world.disk.set_faults(Faults { fail_sync: Some(nth), ..Faults::default() });
                self.may_stop = true;
                self.counters.failed_syncs += 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn compose(&mut self, at: usize) {
        let side = SIDE[self.below(2) as usize];
        let jobs = JOBS[self.below(2) as usize];
        let log = LOGS[self.below(2) as usize];
        if self.settings.is_crowded && self.random.chance(80) {
            if at == 0 {
                return self.add(at, JOBS[0]);
            }
            let words = format!("XREADGROUP GROUP g c{at} COUNT 1 BLOCK 0 STREAMS {} >", JOBS[0]);
            return self.send(at, Op::GroupRead { stream: JOBS[0], is_blocking: true }, words, None);
        }
        match self.below(100) {
            0..14 => self.add(at, log),
            14..28 => self.add(at, jobs),
            28..31 => self.add(at, TRIMMED),
            31..33 => {
                let words = format!("XTRIM {TRIMMED} MAXLEN {}", self.below(10));
                self.send(at, Op::Anything, words, None);
            }
            33..36 => {
                let choice = self.random.u64();
                if let Some(id) = self.knowledge.begin_delete(log, choice) {
                    self.send(at, Op::Delete { stream: log, id }, format!("XDEL {log} {id}"), None);
                }
            }
            36..42 => {
                let after = if self.random.chance(50) { self.knowledge.greatest(log) } else { Id::default() };
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let words = format!("XREAD COUNT {} {block}STREAMS {log} {after}", 1 + self.below(5));
                self.send(at, Op::Read { stream: log, after, is_blocking }, words, timeout_ms);
            }
            42..56 => {
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let count = if self.random.chance(70) {
                    format!("COUNT {} ", 1 + self.below(3))
                } else {
                    String::new()
                };
                let words = format!("XREADGROUP GROUP g c{at} {count}{block}STREAMS {jobs} >");
                self.send(at, Op::GroupRead { stream: jobs, is_blocking }, words, timeout_ms);
            }
            56..63 => {
                let choice = self.random.u64();
                if let Some(id) = self.knowledge.begin_acknowledge(jobs, at, choice) {
                    self.send(at, Op::Acknowledge { stream: jobs, id }, format!("XACK {jobs} g {id}"), None);
                }
            }
            63..66 => {
                let words = format!("XREADGROUP GROUP g c{at} STREAMS {jobs} 0");
                self.send(at, Op::History { stream: jobs }, words, None);
            }
            66..70 => {
                let value = self.random.u64() >> 1;
                let asker = self.asker(at);
                let value = self.clients[at].own_value.map_or(value >> 20, |before| before + 1);
                self.clients[at].own_value = Some(value);
                let key = knowledge::value_key(&asker);
                self.knowledge.begin_set(key.clone(), value);
                self.send(at, Op::Set { value }, format!("SET {key} {value}"), None);
            }
            70..75 => {
                let key = knowledge::value_key(&self.asker(at));
                self.send(at, Op::Get { value: self.clients[at].own_value }, format!("GET {key}"), None);
            }
            75..78 => {
                let key = knowledge::counter_key(&self.asker(at));
                self.clients[at].increments += 1;
                self.knowledge.begin_increment(key.clone());
                let value = self.clients[at].increments;
                self.send(at, Op::Increment { value }, format!("INCR {key}"), None);
            }
            78..81 => {
                let token = self.knowledge.begin_transaction(at);
                let queued = || Op::Exactly(Value::Simple(b"QUEUED".to_vec()));
                self.send(at, Op::Exactly(Value::ok()), "MULTI".to_owned(), None);
                self.send(at, queued(), format!("XADD {{t{at}}}left * t {token}"), None);
                self.send(at, queued(), format!("XADD {{t{at}}}right * t {token}"), None);
                self.send(at, queued(), format!("INCR {{t{at}}}both"), None);
                self.send(at, Op::Execute { token }, "EXEC".to_owned(), None);
            }
            81..84 => {
                let channel = self.below(CHANNELS as u64) as usize;
                let number = self.knowledge.next_publication(channel);
                // Two publishers may overtake each other on the way: one channel has one publisher.
                let mut words = format!("PUBLISH channel{channel} {number}");
                if at != channel {
                    words = format!("PUBLISH elsewhere{channel} {number}");
                }
                self.send(at, Op::Publish, words, None);
            }
            84..88 => {
                let text = format!("echo{}", self.below(1_000_000));
                self.send(at, Op::Exactly(Value::bulk(&text)), format!("ECHO {text}"), None);
            }
            88..90 => {
                let words = format!("SET {{c{at}}}x{} 1 PX {}", self.below(3), 1 + self.below(2000));
                self.send(at, Op::Exactly(Value::ok()), words, None);
            }
            90..92 => {
                let words = if self.random.chance(60) { "SAVE" } else { "BGSAVE" };
                self.counters.checkpoints += 1;
                self.send(at, Op::Anything, words.to_owned(), None);
            }
            92 if self.random.chance(50) => {
                self.send(at, Op::Anything, "DEBUG RELOAD".to_owned(), None);
            }
            _ => self.compose_side(at, side),
        }
    }

    fn compose_side(&mut self, at: usize, side: &'static str) {
        let other = SIDE[usize::from(side == SIDE[0])];
        let words = match self.below(10) {
            0..3 => format!("XADD {side} * t 1"),
            3 => format!("XGROUP CREATE {side} g 0 MKSTREAM"),
            4 => format!("XGROUP DESTROY {side} g"),
            5 => format!("DEL {side}"),
            6 => format!("RENAME {side} {other}"),
            7 => format!("XADD {side} MAXLEN 1 * t 1"),
            _ => {
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let words = format!("XREADGROUP GROUP g c{at} {block}STREAMS {side} >");
                return self.send(at, Op::SideRead { key: side, is_blocking }, words, timeout_ms);
            }
        };
        self.send(at, Op::Anything, words, None);
    }

    /// `BLOCK n `, or nothing; the timeout, if there is one; whether it blocks.
    fn draw_block(&self) -> (String, Option<u64>, bool) {
        match self.below(4) {
            0 => (String::new(), None, false),
            1 => {
                let ms = 1 + self.below(2000);
                (format!("BLOCK {ms} "), Some(ms), true)
            }
            _ => ("BLOCK 0 ".to_owned(), None, true),
        }
    }

    fn add(&mut self, at: usize, stream: &'static str) {
        let token = self.knowledge.new_token(stream);
        let floor = self.knowledge.greatest(stream);
        // A clock that steps by an hour lets ids be forgotten.
        let is_idempotent = self.random.chance(15) && !self.settings.steps_clock;
        let idempotent = if is_idempotent { format!("IDMP p{at} {token} ") } else { String::new() };
        let words = format!("XADD {stream} {idempotent}* t {token}");
        let op = Op::Add { stream, token, floor, is_idempotent };
        self.send(at, op.clone(), words.clone(), None);
        if is_idempotent && self.random.chance(50) {
            // Sent again, as by a producer that has lost its reply.
            self.send(at, op, words, None);
        }
    }

    // ---- looking around

    /// Lets everything happen that happens without time, and looks at who was served.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            let mut is_moved = false;
            for at in 0..self.clients.len() {
                is_moved |= self.clients[at].flush(usize::MAX) > 0;
            }
            let turns = self.world.executor.run_until_idle();
            is_moved |= self.read_all()?;
            if !is_moved && turns == 0 {
                break;
            }
        }
        for (stream, since) in std::mem::take(&mut self.knowledge.woken) {
            let waits = |client: &&Client| {
                client.blocked_since.is_some_and(|earlier| earlier < since)
                    && matches!(client.waiting.front().map(|it| &it.op), Some(Op::GroupRead { stream: its, .. }) if *its == stream)
            };
            if let Some(client) = self.clients.iter().find(waits) {
                return Err(format!(
                    "client {} waits on {stream}, and one that came later was served",
                    client.number
                ));
            }
        }
        self.looks += 1;
        for client in &mut self.clients {
            let is_blocked = client.waiting.len() == 1
                && client.is_connected()
                && !client.has_unsent()
                && client.waiting[0].op.may_wait();
            if is_blocked && client.blocked_since.is_none() {
                client.blocked_since = Some(self.looks);
            }
        }
        Ok(())
    }

    /// Lets time pass until nobody waits but reads that may.
    fn rest(&mut self) -> Result<(), String> {
        let end_ms = self.now_ms() + REST_MS;
        while self.now_ms() < end_ms {
            self.settle()?;
            if let Some(ended) = self.process.as_ref().expect("runs").has_ended() {
                ensure!(self.may_stop, "the server ended by itself: {ended:?}");
                self.end(true)?;
                self.connect_all();
                self.heal();
            }
            let is_at_rest = self.clients.iter().all(|client| {
                client.waiting.front().is_none_or(|it| it.op.may_wait() && it.deadline_ms.is_none())
            });
            if is_at_rest && self.now_ms() + REST_MS >= end_ms + 3000 {
                break;
            }
            if self.world.clock.advance_to_next_timer().is_none() {
                break;
            }
        }
        // Reads behind those that wait, and time for what looks at the state by the clock.
        for _ in 0..50 {
            self.world.clock.advance_to_next_timer();
            self.settle()?;
        }
        for client in &self.clients {
            if let Some(sent) = client.waiting.front() {
                let may_wait =
                    sent.op.may_wait() && sent.deadline_ms.is_none_or(|it| it + 100 > self.now_ms());
                ensure!(may_wait, "client {} was never answered: {}", client.number, sent.words);
            }
        }
        Ok(())
    }

    /// Whoever is still blocked has nothing to be served with.
    fn verify_liveness(&mut self) -> Result<(), String> {
        let mut inspector = self.inspector();
        for at in 0..self.clients.len() {
            let Some(sent) = self.clients[at].waiting.front() else { continue };
            let (op, words) = (sent.op.clone(), sent.words.clone());
            match op {
                Op::Read { stream, after, .. } => {
                    let found = self.ask(&mut inspector, &format!("XRANGE {stream} ({after} + COUNT 1"))?;
                    ensure!(found.elements().is_empty(), "client {at} waits: {words}, and there is {found}");
                }
                Op::GroupRead { stream: key, .. } | Op::SideRead { key, .. } => {
                    let Some(delivered) = self.delivered(&mut inspector, key)? else {
                        return Err(format!("client {at} waits: {words}, and the group is gone"));
                    };
                    let found = self.ask(&mut inspector, &format!("XRANGE {key} ({delivered} + COUNT 1"))?;
                    ensure!(found.elements().is_empty(), "client {at} waits: {words}, and there is {found}");
                }
                _ => {}
            }
        }
        self.hang_up(inspector);
        Ok(())
    }

    // ---- the inspector

    fn inspector(&mut self) -> Client {
        self.connections += 1;
        let mut client = Client::new(usize::MAX);
        client.connected(self.connections, self.process.as_mut().expect("runs").connect());
        client
    }

    fn hang_up(&mut self, mut inspector: Client) {
        inspector.disconnect(false);
        self.world.executor.run_until_idle();
    }

    fn ask(&mut self, inspector: &mut Client, words: &str) -> Result<Value, String> {
        inspector.send(Op::Inspect, words.to_owned(), None);
        let end_ms = self.now_ms() + REST_MS;
        loop {
            inspector.flush(usize::MAX);
            let turns = self.world.executor.run_until_idle();
            match inspector.read() {
                Arrival::Ended => return Err(format!("closed instead of an answer to {words}")),
                Arrival::Replies(mut replies) if !replies.is_empty() => {
                    inspector.waiting.clear();
                    let reply = replies.remove(0);
                    self.note(format!("   {words}: {}", reply.to_string().replace('\n', " / ")));
                    return Ok(reply);
                }
                Arrival::Replies(_) if turns > 0 => {}
                Arrival::Replies(_) => {
                    ensure!(self.now_ms() < end_ms, "never answered: {words}");
                    ensure!(self.world.clock.advance_to_next_timer().is_some(), "never answered: {words}");
                }
            }
        }
    }

    /// `None`: there is no such group.
    fn delivered(&mut self, inspector: &mut Client, stream: &str) -> Result<Option<Id>, String> {
        let groups = self.ask(inspector, &format!("XINFO GROUPS {stream}"))?;
        if groups.is_error() {
            return Ok(None);
        }
        let group =
            groups.elements().into_iter().find(|it| it.field("name").is_some_and(|name| name.text() == "g"));
        Ok(group.and_then(|it| it.field("last-delivered-id")).map(|id| Id::parse(&id.text())))
    }

    fn last_id(&mut self, inspector: &mut Client, stream: &str) -> Result<Id, String> {
        let info = self.ask(inspector, &format!("XINFO STREAM {stream}"))?;
        Ok(if info.is_error() {
            Id::default()
        } else {
            Id::parse(&info.field("last-generated-id").expect("in XINFO").text())
        })
    }

    fn verify(&mut self, lost_before_ms: Option<u64>, is_restarted: bool) -> Result<(), String> {
        self.counters.verifications += 1;
        let mut inspector = self.inspector();
        let has_lost = lost_before_ms.is_some();
        let now_ms = self.now_ms();
        for stream in LOGS.into_iter().chain(JOBS).chain([TRIMMED]) {
            let found = self.ask(&mut inspector, &format!("XRANGE {stream} - +"))?;
            let last = self.last_id(&mut inspector, stream)?;
            self.knowledge.verify_stream(stream, &found, last, lost_before_ms, now_ms)?;
        }
        for stream in JOBS {
            let rows = self.ask(&mut inspector, &format!("XPENDING {stream} g - + 1000000"))?;
            let delivered =
                self.delivered(&mut inspector, stream)?.ok_or(format!("{stream}: the group is gone"))?;
            self.knowledge.verify_group(stream, delivered, &rows, has_lost, is_restarted)?;
        }
        if is_restarted {
            self.knowledge.nothing_is_loose();
        }
        for (key, expected) in self.knowledge.take_values() {
            let found = self.ask(&mut inspector, &format!("GET {key}"))?;
            let found = (!found.is_null()).then(|| found.text());
            ensure!(
                has_lost || expected.contains(&found),
                "{key} is {found:?}, expected one of {expected:?}"
            );
        }
        for client in self.knowledge.transacting() {
            let left = self.ask(&mut inspector, &format!("XRANGE {{t{client}}}left - +"))?;
            let right = self.ask(&mut inspector, &format!("XRANGE {{t{client}}}right - +"))?;
            let count = self.ask(&mut inspector, &format!("GET {{t{client}}}both"))?;
            self.knowledge.verify_transactions(client, &left, &right, &count, has_lost)?;
        }
        self.hang_up(inspector);
        self.counters.entries = self.knowledge.acknowledged;
        self.counters.blocked = self.knowledge.served;
        Ok(())
    }

    /// Everything of the streams, as a text.
    fn photograph(&mut self) -> Result<String, String> {
        let mut inspector = self.inspector();
        let mut text = String::new();
        for stream in LOGS.into_iter().chain(JOBS).chain([TRIMMED]).chain(SIDE) {
            text += &self.ask(&mut inspector, &format!("XINFO STREAM {stream} FULL COUNT 0"))?.to_string();
            text += "\n";
        }
        self.hang_up(inspector);
        Ok(text)
    }
}
