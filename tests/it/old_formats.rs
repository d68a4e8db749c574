//! Data directories of earlier formats, made by the servers of their time and kept for good: all of them hold
//! the same, and go on in the format of today. See docs/formats.md.

use crate::support::server::{Server, binary_under_test, is_redis};
use std::fs::{self, File};
use std::path::Path;

/// What every one of them answers: these words in this order.
const HELD: &[(&str, &[&str])] = &[
    ("GET {a}text", &["(nil)"]),
    ("GET {b}big", &["small"]),
    ("GET {b}binary", &["a\\x01b"]),
    ("EXPIRETIME {a}late", &["4102444800"]),
    ("GET {a}number", &["42"]),
    ("XLEN {a}jobs", &["6"]),
    ("XRANGE {b}log - +", &["2-1", "a", "1", "b", "2", "3-1", "c", "3"]),
    ("XPENDING {a}jobs g", &["4", "1700000000000-1", "1700000000000-5", "ann", "2", "bob", "2"]),
    ("XPENDING {a}jobs other", &["0", "(nil)", "(nil)", "(null array)"]),
    (
        "XADD {b}log 1-9 late 1",
        &["(error) ERR The ID specified in XADD is equal or smaller than the target stream top item"],
    ),
];

fn install(fixture: &Path, data: &Path) {
    for name in ["meta", "journal", "checkpoint"] {
        let from = fixture.join(name);
        let (to, files) = (data.join(name), fs::read_dir(&from));
        match files {
            Ok(files) => {
                fs::create_dir_all(&to).expect("a directory");
                for file in files {
                    let file = file.expect("a file").path();
                    fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
                }
            }
            Err(_) => drop(fs::copy(&from, &to).expect("a copy")),
        }
    }
    // The zeros behind the records are not kept.
    for line in fs::read_to_string(fixture.join("lengths")).expect("the lengths").lines() {
        let (file, bytes) = line.split_once(' ').expect("a name and a length");
        let file = File::options().write(true).open(data.join(file)).expect("a journal file");
        file.set_len(bytes.parse().expect("a length")).expect("zeros");
    }
}

fn verify(server: &Server, what: &str) {
    let mut client = server.connect();
    for (command, held) in HELD {
        let words = client.line(command).lines().join(" ");
        let mut rest = words.as_str();
        for word in *held {
            let at =
                rest.find(word).unwrap_or_else(|| panic!("{what}: {command} says {words}, not {held:?}"));
            rest = &rest[at + word.len()..];
        }
    }
}

#[test]
fn directories_of_every_format_hold_what_they_held_and_go_on() {
    if std::env::var_os("HEADWATER_TEST_FLAGS").is_some() || is_redis(&binary_under_test()) {
        eprintln!("SKIPPED: the directories are of a server with two partitions");
        return;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data_dirs");
    for name in ["journal_1", "journal_2", "journal_3"] {
        let mut server = Server::with(&["--partitions", "2", "--checkpoint-journal-bytes", "1048576"]);
        server.kill();
        fs::remove_dir_all(server.data_dir()).expect("the empty directory goes");
        fs::create_dir(server.data_dir()).expect("a directory");
        install(&fixtures.join(name), &server.data_dir());
        server.restart();
        verify(&server, name);
        let meta = fs::read_to_string(server.data_dir().join("meta")).expect("its meta");
        assert!(meta.starts_with("headwater-format 2\nrole solo\n"), "{name} was not converted: {meta}");
        assert_eq!(server.connect().line("SET {a}new 1").text(), "OK");
        server.kill();
        server.restart();
        verify(&server, name);
        assert_eq!(server.connect().line("SAVE").text(), "OK");
        assert!(server.terminate().success());
        server.restart();
        verify(&server, name);
        assert_eq!(server.connect().line("GET {a}new").text(), "1");
    }
}
