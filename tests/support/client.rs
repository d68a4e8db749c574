//! A blocking client: one socket, RESP2 or RESP3, pipelining and raw bytes.

use crate::support::notation::{encode, split};
use crate::support::value::Value;
use crate::support::wire::{Door, Wire};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The time after which a missing reply fails the test; long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Client {
    wire: Wire,
    buffer: Vec<u8>,
    consumed: usize,
    pushes: VecDeque<Value>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        Client::through(&Door::Tcp(address))
    }

    /// Uses an established connection.
    pub fn over(stream: TcpStream) -> Client {
        Client { wire: Wire::Tcp(stream), buffer: Vec::new(), consumed: 0, pushes: VecDeque::new() }
    }

    pub fn through(door: &Door) -> io::Result<Client> {
        let wire = Wire::connect(door)?;
        wire.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { wire, buffer: Vec::new(), consumed: 0, pushes: VecDeque::new() })
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The TCP socket, for tests of TCP behaviour.
    pub fn stream(&self) -> &TcpStream {
        match &self.wire {
            Wire::Tcp(stream) => stream,
            other => panic!("this test is about TCP, and not about {other:?}"),
        }
    }

    /// Switches to RESP3.
    pub fn hello3(&mut self) {
        let reply = self.command(&["HELLO", "3"]);
        assert_eq!(reply.field("proto"), Some(Value::Integer(3)), "HELLO 3 answered {reply}");
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(args, &mut bytes);
        self.send_bytes(&bytes)
    }

    /// Sends a command and returns its reply; keeps pushes that arrive first.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(args)?;
        self.reply(PATIENCE)
    }

    /// Like `try_command`; a broken connection fails the test.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        match self.try_command(args) {
            Ok(value) => value,
            Err(error) => {
                let words: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
                panic!("no reply to {}: {error}", crate::support::notation::join(&words))
            }
        }
    }

    /// A command as typed into redis-cli.
    #[track_caller]
    pub fn line(&mut self, line: &str) -> Value {
        self.command(&split(line))
    }

    /// Sends all commands at once and returns all replies.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Value> {
        let mut bytes = Vec::new();
        for command in commands {
            encode(command, &mut bytes);
        }
        self.send_bytes(&bytes).expect("pipeline sent");
        commands.iter().map(|_| self.reply(PATIENCE).expect("a reply to each command")).collect()
    }

    /// The next reply that is not a push.
    pub fn reply(&mut self, patience: Duration) -> io::Result<Value> {
        let deadline = Instant::now() + patience;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now()))? {
                push @ Value::Push(_) => self.pushes.push_back(push),
                value => return Ok(value),
            }
        }
    }

    /// The next push, kept or new.
    pub fn push(&mut self, patience: Duration) -> io::Result<Value> {
        match self.pushes.pop_front() {
            Some(push) => Ok(push),
            None => self.receive(patience),
        }
    }

    /// The next value, push or not. `TimedOut` if none arrived in time; partial input stays for the next
    /// call.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Value> {
        self.receive_as(patience, |value, _| value)
    }

    /// The next value as raw bytes.
    pub fn receive_bytes(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        self.receive_as(patience, |_, bytes| bytes.to_vec())
    }

    fn receive_as<T>(&mut self, patience: Duration, take: impl Fn(Value, &[u8]) -> T) -> io::Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            let decoded = Value::decode(&self.buffer[self.consumed..])
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.0))?;
            if let Some((value, length)) = decoded {
                let taken = take(value, &self.buffer[self.consumed..self.consumed + length]);
                self.consumed += length;
                if self.consumed == self.buffer.len() {
                    self.buffer.clear();
                    self.consumed = 0;
                }
                return Ok(taken);
            }
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            self.fill(deadline)?;
        }
    }

    /// Reads what is available, at least as much again as an incomplete reply already holds, so that a large
    /// reply is not decoded again for each packet.
    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let wanted = self.buffer.len() * 2;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            // After the first read, takes only available bytes: the value may already be complete.
            let is_first = self.buffer.len() * 2 == wanted;
            self.wire.set_read_timeout(Some(if is_first { left } else { Duration::from_millis(1) }))?;
            let start = self.buffer.len();
            self.buffer.resize(start + 64 * 1024, 0);
            let outcome = self.wire.read(&mut self.buffer[start..]);
            self.buffer.truncate(start + outcome.as_ref().copied().unwrap_or(0));
            match outcome {
                Ok(0) if is_first => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(()),
                Ok(_) if self.buffer.len() >= wanted => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return if is_first { Err(ErrorKind::TimedOut.into()) } else { Ok(()) };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// True when the server closes the connection within `patience`; drops earlier replies.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return false,
                Err(_) => return true,
            }
        }
    }
}
