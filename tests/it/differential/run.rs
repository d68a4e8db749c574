//! Plays one sequence on two servers at once and compares what comes back.

use super::difference::Known;
use super::generate::{Action, Sequence};
use crate::support::client::{Client, PATIENCE};
use crate::support::notation::encode;
use crate::support::server::Server;
use crate::support::value::Value;

/// Connections of a sequence: two that command, one that subscribes.
pub const CONNECTIONS: usize = 3;

pub enum Verdict {
    Same,
    Differs,
}

/// Commands sent at once on one connection, and what each server answered, as lines after known differences were removed.
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

pub struct Pair<'a> {
    servers: [&'a Server; 2],
    clients: Option<[Vec<Client>; 2]>,
    protocol: u8,
    marker: u64,
    known: Known,
}

impl<'a> Pair<'a> {
    pub fn new(left: &'a Server, right: &'a Server, protocol: u8) -> Pair<'a> {
        let known = Known::between(left.version(), right.version());
        Pair { servers: [left, right], clients: None, protocol, marker: 0, known }
    }

    pub fn play(&mut self, sequence: &Sequence) -> Outcome {
        let protocol = self.protocol;
        let open = |server: &Server| -> Vec<Client> {
            let connect = |_| if protocol == 3 { server.connect3() } else { server.connect() };
            // New connections are opened at the start and after a mismatch, which leaves data behind.
            server.connect().line("FLUSHALL");
            (0..CONNECTIONS).map(connect).collect()
        };
        let mut clients = match self.clients.take() {
            Some(clients) => clients,
            None => [open(self.servers[0]), open(self.servers[1])],
        };
        let mut exchanges = Vec::new();
        let mut verdict = Verdict::Same;
        for (connection, commands) in sequence.exchanges() {
            let exchange = self.exchange(&mut clients, connection, commands);
            let differs = exchange.left != exchange.right;
            exchanges.push(exchange);
            if differs {
                verdict = Verdict::Differs;
                break;
            }
        }
        if matches!(verdict, Verdict::Same) {
            for connection in 0..CONNECTIONS {
                let reset = Sequence::reset(connection);
                self.exchange(&mut clients, connection, reset);
            }
            self.clients = Some(clients);
        }
        Outcome { verdict, exchanges }
    }

    /// Sends commands and a PING behind them to both servers, and reads up to its answer.
    fn exchange(
        &mut self,
        clients: &mut [Vec<Client>; 2],
        connection: usize,
        commands: Vec<Action>,
    ) -> Exchange {
        self.marker += 1;
        let marker = format!("marker-{}", self.marker);
        let mut bytes = Vec::new();
        for command in &commands {
            encode(command, &mut bytes);
        }
        encode(&["PING", &marker], &mut bytes);
        let mut sides = [Vec::new(), Vec::new()];
        for side in clients.iter_mut() {
            side[connection].send_bytes(&bytes).expect("commands sent");
        }
        for (side, values) in clients.iter_mut().zip(&mut sides) {
            loop {
                match side[connection].receive(PATIENCE) {
                    Ok(value) if is_pong(&value, marker.as_bytes()) => break,
                    Ok(value) => values.push(value),
                    Err(error) => {
                        // The other side shows whether this was to be expected.
                        values.push(Value::Error(format!("connection: {error}").into_bytes()));
                        break;
                    }
                }
            }
        }
        let [left, right] = sides;
        let render = |values: Vec<Value>| -> Vec<String> {
            let values = self.known.remove(&commands, values);
            values.iter().flat_map(Value::lines).collect()
        };
        let (left, right) = (render(left), render(right));
        Exchange { connection, commands, left, right }
    }
}

fn is_pong(value: &Value, marker: &[u8]) -> bool {
    match value {
        Value::Bulk(bytes) => bytes == marker,
        // The answer of a RESP2 connection that is subscribed.
        Value::Array(items) => {
            items.len() == 2 && items[0] == Value::bulk("pong") && items[1] == Value::Bulk(marker.to_vec())
        }
        _ => false,
    }
}
