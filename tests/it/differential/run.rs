//! Plays one sequence on two servers at once and compares the replies.

use super::difference::Known;
use super::generate::{Action, Common, How, Sequence, words};
use crate::support::client::{Client, PATIENCE};
use crate::support::notation::encode;
use crate::support::server::Server;
use crate::support::value::Value;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Connections of a sequence: commanding ones, subscribing ones, and one for blocked reads.
pub const CONNECTIONS: usize = 5;
/// The first connections send the commands.
pub const COMMANDING: usize = 2;
pub const SUBSCRIBERS: [usize; 2] = [2, 3];
pub const BLOCKED: usize = 4;

/// Longer than the life of a key with one millisecond left.
const EXPIRY: Duration = Duration::from_millis(4);

pub enum Verdict {
    Same,
    Differs,
}

/// Commands sent at once on one connection, and each server's replies as lines without the accepted
/// differences.
pub struct Exchange {
    pub connection: usize,
    pub commands: Vec<Vec<Vec<u8>>>,
    pub left: Vec<String>,
    pub right: Vec<String>,
}

pub struct Outcome {
    pub verdict: Verdict,
    pub exchanges: Vec<Exchange>,
}

/// The connections to one server.
struct Side {
    clients: Vec<Client>,
    /// Queries the state of the other connections.
    control: Client,
    /// Id of the connection for blocked reads.
    blocked_id: i64,
}

pub struct Pair<'a> {
    servers: [&'a Server; 2],
    sides: Option<[Side; 2]>,
    protocol: u8,
    marker: u64,
    known: Known,
    /// The blocked read.
    waiting: Option<Action>,
}

impl<'a> Pair<'a> {
    pub fn new(left: &'a Server, right: &'a Server, protocol: u8, common: &Common) -> Pair<'a> {
        let known = Known::between(left.version(), right.version(), common.clone());
        Pair { servers: [left, right], sides: None, protocol, marker: 0, known, waiting: None }
    }

    pub fn play(&mut self, sequence: &Sequence) -> Outcome {
        let protocol = self.protocol;
        let mut sides =
            self.sides.take().unwrap_or_else(|| self.servers.map(|server| Side::open(server, protocol)));
        self.waiting = None;
        let mut exchanges = Vec::new();
        let mut verdict = Verdict::Same;
        let last = (BLOCKED, How::Blocks, Vec::new());
        for (connection, how, commands) in sequence.exchanges().into_iter().chain([last]) {
            for exchange in self.exchange(&mut sides, connection, how, commands) {
                let differs = exchange.left != exchange.right;
                exchanges.push(exchange);
                if differs {
                    verdict = Verdict::Differs;
                }
            }
            if matches!(verdict, Verdict::Differs) {
                break;
            }
        }
        if matches!(verdict, Verdict::Same) {
            for connection in 0..CONNECTIONS {
                let mut reset = vec![words("RESET"), words(&format!("HELLO {protocol}"))];
                if connection == CONNECTIONS - 1 {
                    reset.push(words("FLUSHALL"));
                }
                self.send_and_read(&mut sides, connection, reset);
            }
            self.sides = Some(sides);
        }
        Outcome { verdict, exchanges }
    }

    fn exchange(
        &mut self,
        sides: &mut [Side; 2],
        connection: usize,
        how: How,
        commands: Vec<Action>,
    ) -> Vec<Exchange> {
        match how {
            How::Plain => vec![self.send_and_read(sides, connection, commands)],
            How::ToTheEnd => {
                let [left, right] =
                    sides.each_mut().map(|side| scan(&mut side.clients[connection], &commands[0]));
                vec![Exchange { connection, commands, left, right }]
            }
            How::Expires => {
                let key = &commands[0][1];
                let exists = vec![b"EXISTS".to_vec(), key.clone()];
                let first = self.send_and_read(sides, connection, commands);
                std::thread::sleep(EXPIRY);
                let second = self.send_and_read(sides, connection, vec![exists]);
                // Redis deletes a due key on access or ten times a second; Headwater only ten times a second.
                let deadline = Instant::now() + PATIENCE;
                let told = |side: &mut Side| (side.is_blocked(), side.clients[connection].line("DBSIZE"));
                while told(&mut sides[0]) != told(&mut sides[1]) && Instant::now() < deadline {
                    std::thread::sleep(EXPIRY);
                }
                vec![first, second]
            }
            How::Blocks => {
                let mut exchanges = Vec::new();
                if let Some(command) = self.waiting.take() {
                    exchanges.push(self.end_waiting(sides, command));
                }
                if let Some(command) = commands.into_iter().next() {
                    sides.iter_mut().for_each(|side| side.block(&command));
                    let [left, right] = [0, 1].map(|_| vec!["(waits, or is answered below)".to_owned()]);
                    exchanges.push(Exchange { connection, commands: vec![command.clone()], left, right });
                    self.waiting = Some(command);
                }
                exchanges
            }
        }
    }

    /// Ends a pending blocked read and compares its reply.
    fn end_waiting(&mut self, sides: &mut [Side; 2], command: Action) -> Exchange {
        for side in sides.iter_mut() {
            // Unblocks nothing if the reply has arrived already.
            side.control.line(&format!("CLIENT UNBLOCK {}", side.blocked_id));
        }
        let mut answers = self.answers(sides, BLOCKED, &[]);
        if answers.iter().flatten().any(|value| self.known.is_answered_too_early(value)) {
            answers = [Vec::new(), Vec::new()];
        }
        let [left, right] = answers.map(|values| {
            let values = values.into_iter().map(|value| self.known.remove_from_blocked(&command, value));
            values.flat_map(|value| value.lines()).collect()
        });
        Exchange { connection: BLOCKED, commands: vec![command], left, right }
    }

    fn send_and_read(&mut self, sides: &mut [Side; 2], connection: usize, commands: Vec<Action>) -> Exchange {
        let [left, right] = self.answers(sides, connection, &commands).map(|values| {
            let values = self.known.remove(&commands, values);
            values.iter().flat_map(Value::lines).collect()
        });
        Exchange { connection, commands, left, right }
    }

    /// Sends commands and a final PING to both servers, and reads up to its reply. Connections that both
    /// closed are opened again.
    fn answers(&mut self, sides: &mut [Side; 2], connection: usize, commands: &[Action]) -> [Vec<Value>; 2] {
        self.marker += 1;
        let marker = format!("marker-{}", self.marker);
        let mut bytes = Vec::new();
        for command in commands {
            encode(command, &mut bytes);
        }
        encode(&["PING", &marker], &mut bytes);
        for side in sides.iter_mut() {
            // The read reports a connection that was closed meanwhile.
            let _ = side.clients[connection].send_bytes(&bytes);
        }
        let answers = sides.each_mut().map(|side| answers_before(&mut side.clients[connection], &marker));
        if answers.iter().all(|values| values.last() == Some(&closed())) {
            for (side, server) in sides.iter_mut().zip(self.servers) {
                side.clients[connection] = connect(server, self.protocol);
            }
        }
        answers
    }
}

impl Side {
    fn open(server: &Server, protocol: u8) -> Side {
        let mut control = server.connect();
        // Connections are opened at the start and after a mismatch, which leaves data behind.
        control.line("FLUSHALL");
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| connect(server, protocol)).collect();
        let blocked_id = clients[BLOCKED].line("CLIENT ID").integer();
        Side { clients, control, blocked_id }
    }

    /// Sends a read and waits until it is answered or blocked.
    fn block(&mut self, command: &Action) {
        self.clients[BLOCKED].send(command).expect("a read sent");
        let wanted = format!(" cmd={} ", String::from_utf8_lossy(&command[0]).to_lowercase());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.control.line(&format!("CLIENT LIST ID {}", self.blocked_id)).text();
            if line.contains(&wanted) {
                // Follows it in the log, so the read has been applied.
                self.control.line("DEL none");
                return;
            }
            assert!(Instant::now() < deadline, "a read does not arrive: {line}");
        }
    }
}

impl Side {
    /// Whether the read on the blocking connection is pending.
    fn is_blocked(&mut self) -> bool {
        let line = self.control.line(&format!("CLIENT LIST ID {}", self.blocked_id)).text();
        line.contains(" flags=b ")
    }
}

fn connect(server: &Server, protocol: u8) -> Client {
    if protocol == 3 { server.connect3() } else { server.connect() }
}

/// Marks the end of the replies of a connection that the server has closed.
pub fn closed() -> Value {
    Value::Error(b"connection closed".to_vec())
}

/// The values before the reply to the marker.
fn answers_before(client: &mut Client, marker: &str) -> Vec<Value> {
    let mut values = Vec::new();
    loop {
        match client.receive(PATIENCE) {
            Ok(value) if is_pong(&value, marker.as_bytes()) => return values,
            Ok(value) => values.push(value),
            Err(error) if [ErrorKind::TimedOut, ErrorKind::InvalidData].contains(&error.kind()) => {
                // The other side shows whether this is expected.
                values.push(Value::Error(format!("connection: {error}").into_bytes()));
                return values;
            }
            Err(_) => {
                values.push(closed());
                return values;
            }
        }
    }
}

/// The keys of a whole SCAN, sorted, without duplicates; or the first other reply.
fn scan(client: &mut Client, command: &Action) -> Vec<String> {
    let mut keys = Vec::new();
    let mut command = command.clone();
    for _ in 0..10_000 {
        let reply = client.command(&command);
        let Value::Array(mut parts) = reply else { return reply.lines() };
        let found = parts.pop().expect("keys of SCAN");
        keys.extend(found.elements().iter().map(Value::text));
        command[1] = parts.pop().expect("a cursor").text().into_bytes();
        if command[1] == b"0" {
            keys.sort();
            keys.dedup();
            return keys;
        }
    }
    vec!["SCAN comes to no end".into()]
}

fn is_pong(value: &Value, marker: &[u8]) -> bool {
    match value {
        Value::Bulk(bytes) => bytes == marker,
        // The reply on a subscribed RESP2 connection.
        Value::Array(items) => {
            items.len() == 2 && items[0] == Value::bulk("pong") && items[1] == Value::Bulk(marker.to_vec())
        }
        _ => false,
    }
}
