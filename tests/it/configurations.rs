//! The other configurations of a node, each with a short form of the same tests. The modules called here run
//! in full with the default configuration; HEADWATER_TEST_FLAGS runs all of them with another one.

use crate::differential::{self, RESP2, RESP3};
use crate::support::server::{Server, binary_under_test, is_redis};
use crate::support::value::Value;
use crate::{kill, transcripts};
use std::path::Path;

const KILLS: usize = 5;

const SEQUENCES: usize = 250;

/// The tests that depend most on a key's partition and on the moment of applying.
const TRANSCRIPTS: &[&str] =
    &["blocking", "groups", "keys", "pending", "scan", "strings", "transactions", "watch", "xread"];

macro_rules! configurations {
    ($($name:ident: $flags:literal;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn acknowledged_writes_survive_kill_9() {
                run($flags, |flags| kill::survives(flags, KILLS, $flags.contains(SMALL)));
            }

            #[test]
            fn same_replies_as_redis() {
                run($flags, |flags| {
                    differential::compare(RESP2, flags, SEQUENCES);
                    differential::compare(RESP3, flags, SEQUENCES);
                });
            }

            #[test]
            fn same_transcripts() {
                run($flags, |flags| TRANSCRIPTS.iter().for_each(|name| transcripts::run(name, flags)));
            }

            #[test]
            fn reads_back_what_it_wrote() {
                run($flags, reads_back);
            }
        })*
    };
}

configurations! {
    raft: "--replication raft";
    partitions: "--partitions 4";
    raft_and_partitions: "--replication raft --partitions 4";
    relaxed: "--durability relaxed";
    relaxed_raft: "--durability relaxed --replication raft --sync-interval 1";
    flusher_thread: "--flush-policy thread";
    engine_thread: "--engine-thread yes";
    engine_thread_of_all: "--engine-thread yes --replication raft --partitions 4";
    small_files: "--journal-file-bytes 1mb --checkpoint-journal-bytes 1mb";
    small_files_of_all: "--journal-file-bytes 1mb --checkpoint-journal-bytes 1mb --replication raft --partitions 4 --flush-policy thread";
}

/// Small journal files, so that one life fills several; the load then adds ballast and requests checkpoints.
const SMALL: &str = "--journal-file-bytes";

fn run(flags: &str, test: impl FnOnce(&[&str])) {
    if std::env::var_os("HEADWATER_TEST_FLAGS").is_some() || is_redis(&binary_under_test()) {
        eprintln!("SKIPPED: another configuration was chosen");
        return;
    }
    test(&flags.split(' ').collect::<Vec<_>>());
}

/// Memory, a checkpoint, the journal, and both together hold the same data.
fn reads_back(flags: &[&str]) {
    let flags = [flags, &["--enable-debug-command", "local"]].concat();
    let mut server = Server::with(&flags);
    let mut expected = Vec::new();
    for round in 0..3 {
        let mut client = server.connect();
        for at in 0..40 {
            client.line(&format!("XADD stream{} * round {round} at {at}", at % 8));
            client.line(&format!("SET string{at} {round} EX 1000"));
        }
        client.line("DEL string7");
        for stream in 0..8 {
            client.line(&format!("XGROUP CREATE stream{stream} g{round} 0"));
            client.line(&format!("XREADGROUP GROUP g{round} c COUNT 2 STREAMS stream{stream} >"));
        }
        let before = images(&server);
        assert_ne!(before, expected, "the round changed nothing");
        expected = before;
        let ok = Value::Simple(b"OK".to_vec());
        assert_eq!(client.line("DEBUG RELOAD"), ok);
        assert_eq!(images(&server), expected, "DEBUG RELOAD, from the journal, round {round}");
        match round {
            0 => assert_eq!(client.line("SAVE"), ok),
            1 => assert_eq!(client.line("BGSAVE"), Value::Simple(b"Background saving started".to_vec())),
            _ => {}
        }
        if round == 0 {
            assert!(has_files(&server.data_dir().join("checkpoint")), "SAVE wrote no checkpoint");
            client.line("SET behind checkpoint");
            expected = images(&server);
            assert_eq!(client.line("DEBUG RELOAD"), ok);
            assert_eq!(images(&server), expected, "DEBUG RELOAD, from checkpoint and journal");
        }
        drop(client);
        if round == 1 {
            assert!(server.terminate().success());
        } else {
            server.kill();
        }
        server.restart();
        assert_eq!(images(&server), expected, "after a restart, round {round}");
    }
}

/// The content of every key as the server reports it.
fn images(server: &Server) -> Vec<String> {
    let mut client = server.connect();
    let mut keys: Vec<String> = client.line("KEYS *").elements().iter().map(Value::text).collect();
    keys.sort();
    let mut image = |key: String| {
        let digest = client.line(&format!("DEBUG DIGEST-VALUE {key}")).elements();
        format!("{key} {}", digest[0].text())
    };
    keys.drain(..).map(&mut image).collect()
}

fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// The configuration is visible in CONFIG GET and INFO.
#[test]
fn the_server_tells_its_configuration() {
    run("--durability relaxed --sync-interval 7 --partitions 4 --replication raft", |flags| {
        let server = Server::with(flags);
        let mut client = server.connect();
        for pair in flags.chunks(2) {
            let name = pair[0].trim_start_matches("--");
            let value = client.line(&format!("CONFIG GET {name}")).elements()[1].text();
            assert_eq!(value, pair[1], "CONFIG GET {name}");
        }
        let info = client.line("INFO everything").text();
        for line in ["durability:relaxed", "replication_committer:raft", "partitions:4"] {
            assert!(info.lines().any(|found| found.trim() == line), "no {line} in\n{info}");
        }
    });
}
