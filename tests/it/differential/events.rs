//! Keyspace notifications of random commands: the same events in the same order as in Redis.
//!
//! Not compared: `expired`, which follows each server's clock, and the events of consumers, which Redis
//! creates at other moments since 7.2.

use super::common_commands;
use super::generate::{Action, How, Sequence, full_name};
use crate::support::client::{Client, PATIENCE};
use crate::support::notation::join;
use crate::support::random::{Random, from_environment};
use crate::support::reference::redis_server;
use crate::support::server::{Server, binary_under_test};
use crate::support::value::Value;

const FLAGS: &[&str] = &["--notify-keyspace-events", "KEAn"];
const LEFT_OUT: &[&str] = &["expired", "xgroup-createconsumer", "xgroup-delconsumer"];

/// A server with a commanding and a listening client.
struct Side {
    speakers: Vec<Client>,
    control: Client,
    listener: Client,
}

impl Side {
    fn new(server: &Server) -> Side {
        let mut listener = server.connect();
        listener.line("PSUBSCRIBE __key*");
        Side { speakers: (0..2).map(|_| server.connect()).collect(), control: server.connect(), listener }
    }

    /// Sends the commands at once; returns their events, each as channel and payload.
    fn events(&mut self, speaker: usize, commands: &[Action], marker: &str) -> Vec<String> {
        self.speakers[speaker].pipeline(commands);
        self.control.command(&["PUBLISH", "__key-marker", marker]);
        let mut events = Vec::new();
        loop {
            let message = match self.listener.receive(PATIENCE).expect("a message") {
                Value::Array(parts) | Value::Push(parts) => parts,
                other => panic!("{other:?} is no message"),
            };
            let [_, _, channel, payload] = &message[..] else { panic!("{message:?} is no pmessage") };
            let (channel, payload) = (channel.text(), payload.text());
            match channel.as_str() {
                "__key-marker" if payload == marker => return events,
                "__key-marker" => {}
                _ => {
                    let is_left_out =
                        |event: &&str| payload == *event || channel.ends_with(&format!("__:{event}"));
                    if !LEFT_OUT.iter().any(is_left_out) {
                        events.push(format!("{channel} {payload}"));
                    }
                }
            }
        }
    }
}

/// Commands that subscribe, or change the connection or the server for later sequences.
const NOT_SENT: &[&str] = &["client", "config", "hello", "reset", "quit", "auth"];

/// Exchanges on one of two connections, with one reply per command.
fn exchanges(sequence: &Sequence) -> Vec<(usize, Vec<Action>)> {
    let is_sent = |command: &Action| {
        let name = full_name(command);
        let family = name.split('|').next().unwrap_or_default();
        !family.ends_with("subscribe") && !NOT_SENT.contains(&family)
    };
    let plain = sequence.exchanges().into_iter().filter(|(_, how, _)| *how == How::Plain);
    plain
        .map(|(speaker, _, mut commands)| {
            commands.retain(is_sent);
            (speaker % 2, commands)
        })
        .collect()
}

#[test]
fn same_events_as_redis() {
    let Some(redis) = redis_server() else { return };
    let under_test = Server::of(binary_under_test(), FLAGS);
    let reference = Server::of(redis, &[FLAGS, &["--appendonly", "no"]].concat());
    if under_test.is_partitioned() {
        return;
    }
    let mut random = Random::from_environment("events");
    let mut sides = [Side::new(&under_test), Side::new(&reference)];
    let common = common_commands(&under_test, &reference);
    let mut seen = 0;
    for number in 0..from_environment("HEADWATER_DIFF_SEQUENCES", 2_000) {
        for side in &mut sides {
            for speaker in &mut side.speakers {
                for line in ["DISCARD", "UNWATCH", "SELECT 0"] {
                    speaker.line(line);
                }
            }
            side.control.line("FLUSHALL");
        }
        let mut told = String::new();
        for (at, (speaker, commands)) in
            exchanges(&Sequence::random(&mut random, &common)).into_iter().enumerate()
        {
            told += &commands.iter().map(|args| format!("{speaker}> {}\n", join(args))).collect::<String>();
            let marker = format!("{number}-{at}");
            let [left, right] = sides.each_mut().map(|side| side.events(speaker, &commands, &marker));
            seen += left.len();
            assert!(
                left == right,
                "sequence {number}\n{told}HEADWATER:\n{}\nREDIS:\n{}\n",
                left.join("\n"),
                right.join("\n")
            );
        }
    }
    assert!(seen > 1_000, "only {seen} events were seen");
}
