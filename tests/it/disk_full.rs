//! S12: a small disk fills up. What adds data is refused, everything else goes on, and so do writes when there
//! is space again. One process lives through all of it.

use crate::support::client::Client;
use crate::support::mounted::Mounted;
use crate::support::server::Server;
use crate::support::value::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 64 << 20;
const NEARLY_FULL: &str = "MISCONF No space left on device: the disk is nearly full (disk-reserve). Commands that add \
                           data are refused; reads, XACK, XDEL, XTRIM, DEL, EXPIRE and SAVE work.";
const FULL: &str = "MISCONF No space left on device: the disk is full and the journal waits. All writes are refused; \
                    reads work.";

/// A server whose data directory is a disk of its own.
fn on_a_disk(mount: impl FnOnce(&Path) -> Option<Mounted>) -> Option<(Server, Mounted)> {
    let mut server = Server::start();
    if server.is_redis() {
        return None;
    }
    server.kill();
    let dir = server.data_dir();
    fs::remove_dir_all(&dir).expect("an empty place");
    fs::create_dir(&dir).expect("a directory");
    let mounted = mount(&dir)?;
    server.restart();
    Some((server, mounted))
}

fn field(client: &mut Client, name: &str) -> u64 {
    let info = client.line("INFO persistence").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")[..])).expect("a field");
    line.trim().parse().expect("a number")
}

/// Waits until a figure of INFO is what it should be.
#[track_caller]
fn await_field(client: &mut Client, name: &str, value: u64) {
    let began = Instant::now();
    while field(client, name) != value {
        assert!(began.elapsed() < Duration::from_secs(20), "{name} is {}", field(client, name));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Adds entries until one is refused. Returns how many were acknowledged.
fn fill(client: &mut Client, payload: &str) -> (i64, Value) {
    for added in 0.. {
        let reply = client.try_command(&["XADD", "s", "*", "v", payload]).expect("a reply");
        if reply.is_error() {
            return (added, reply);
        }
        assert!(added < 100_000, "a small disk has no end");
    }
    unreachable!("it returned");
}

/// Another program takes all the space.
fn take_all_space(at: &Path) {
    let mut file = File::create(at).expect("a file");
    for piece in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; piece]).is_ok() {}
    }
    let _ = file.sync_all();
}

fn exactly_these_work(client: &mut Client, acknowledged: i64) {
    for request in ["XADD s * f v", "SET a 1", "XGROUP CREATE s h 0", "COPY s t", "INCR a"] {
        assert_eq!(client.line(request).text(), NEARLY_FULL, "{request}");
    }
    assert_eq!(client.line("XLEN s"), Value::Integer(acknowledged));
    assert_eq!(client.line("XRANGE s - + COUNT 3").elements().len(), 3);
    let read = client.line("XREADGROUP GROUP g ann COUNT 2 STREAMS s >");
    let entries = read.elements()[0].elements()[1].elements();
    for entry in &entries {
        let id = entry.elements()[0].text();
        assert_eq!(client.line(&format!("XACK s g {id}")), Value::Integer(1));
    }
    assert_eq!(client.line("XPENDING s g").elements()[0], Value::Integer(0));
    assert_eq!(client.line("DEL nothing"), Value::Integer(0));
    assert_eq!(client.line("EXPIRE s 100000"), Value::Integer(1));
    assert_eq!(client.line("PERSIST s"), Value::Integer(1));
    assert_eq!(client.line("PUBLISH c m"), Value::Integer(0));
    assert_eq!(client.line("CONFIG GET disk-reserve").elements()[1].text(), "auto");
    assert_eq!(client.line("MULTI"), Value::ok());
    assert_eq!(client.line("XLEN s").text(), "QUEUED");
    assert_eq!(client.line("EXEC").elements(), [Value::Integer(acknowledged)]);
    assert_eq!(client.line("MULTI"), Value::ok());
    assert_eq!(client.line("SET a 1").text(), NEARLY_FULL);
    assert!(client.line("EXEC").text().starts_with("EXECABORT"));
}

/// The fault table of a disk that fills up, on one file system.
fn fill_up_and_recover(mut server: Server) {
    let dir = server.data_dir();
    let mut client = server.connect();
    assert_eq!(client.line("XGROUP CREATE s g $ MKSTREAM"), Value::ok());
    assert_eq!(field(&mut client, "disk_low"), 0);
    let payload = "x".repeat(16 << 10);
    let (mut acknowledged, refused) = fill(&mut client, &payload);
    assert_eq!(refused.text(), NEARLY_FULL);
    assert!(acknowledged > 2500, "{acknowledged} entries of 16 KiB on 64 MiB");
    eprintln!("{acknowledged} entries of 16 KiB were acknowledged on 64 MiB, then refused");
    let pid = server.pid();
    assert_eq!((field(&mut client, "disk_low"), field(&mut client, "disk_full")), (1, 0));
    let reserve = field(&mut client, "disk_reserve_bytes");
    assert!((3 << 20..=4 << 20).contains(&reserve), "{reserve}");
    exactly_these_work(&mut client, acknowledged);
    assert!(field(&mut client, "disk_refused_writes") >= 6);

    // All of it fits nowhere: neither asked for nor unasked, and not again and again.
    let told = client.line("SAVE").text();
    assert!(told.contains("does not fit"), "{told}");
    assert_eq!(fs::read_dir(dir.join("checkpoint")).expect("a folder").count(), 0);
    std::thread::sleep(Duration::from_secs(4));
    let tries = server.log().matches("the checkpoint failed").count();
    assert!((2..=5).contains(&tries), "{tries} tries in 4 s\n{}", server.log());
    eprintln!("{tries} checkpoints were tried in 4 s, the one that was asked for included");

    // Another program takes what is left, and the server is killed and starts, three times.
    let foreign = dir.join("foreign");
    take_all_space(&foreign);
    assert_eq!(server.pid(), pid);
    for _ in 0..3 {
        exactly_these_work(&mut client, acknowledged);
        server.kill();
        server.restart();
        client = server.connect();
        assert_eq!(field(&mut client, "disk_low"), 1);
    }
    let lives = server.log().matches(" is ready on ").count();
    assert_eq!(
        lives,
        5,
        "the first on another disk, this disk's first, and three restarts\n{}",
        server.log()
    );

    // The operator frees space, though the disk has none: writes go on by themselves.
    let first = client.line("XRANGE s - + COUNT 1").elements()[0].elements()[0].text();
    assert_eq!(client.line(&format!("XDEL s {first}")), Value::Integer(1));
    assert_eq!(client.line("XTRIM s MAXLEN 20"), Value::Integer(acknowledged - 21));
    acknowledged = 20;
    assert_eq!(client.line("SAVE"), Value::ok(), "{}", server.log());
    let began = Instant::now();
    await_field(&mut client, "disk_low", 0);
    eprintln!("writes were accepted {} ms after SAVE", began.elapsed().as_millis());
    assert!(!client.line("XADD s * v small").is_error());
    acknowledged += 1;
    let (added, refused) = fill(&mut client, &payload);
    assert_eq!(refused.text(), NEARLY_FULL);
    assert!(added > 1500, "{added} entries fit again");
    eprintln!("after XTRIM and SAVE {added} more were acknowledged");
    acknowledged += added;

    // Or another program does.
    fs::remove_file(&foreign).expect("the file");
    await_field(&mut client, "disk_low", 0);
    assert!(!client.line("XADD s * v small").is_error());
    acknowledged += 1;
    let began = Instant::now();
    while !dir.join("reserve").exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "the reserve is not made again");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    server.restart();
    assert_eq!(server.connect().line("XLEN s"), Value::Integer(acknowledged));
    assert_eq!(server.log().matches(" is ready on ").count(), 6, "nobody else ended a process");
    eprintln!("{acknowledged} entries are there after a kill; every process lived until it was killed");
    server.kill();
}

#[test]
fn a_full_disk_of_ext4_refuses_what_adds_data_until_there_is_space() {
    if let Some((server, _mounted)) = on_a_disk(|at| Mounted::ext4(at, DISK_BYTES)) {
        fill_up_and_recover(server);
    }
}

#[test]
fn a_full_tmpfs_refuses_what_adds_data_until_there_is_space() {
    if let Some((server, _mounted)) = on_a_disk(|at| Mounted::tmpfs(at, "size=64m")) {
        fill_up_and_recover(server);
    }
}

/// Without any reserve: a write that was accepted waits, and is acknowledged when there is space.
#[test]
fn a_full_disk_loses_nothing() {
    let Some((mut server, _mounted)) = on_a_disk(|at| Mounted::tmpfs(at, "size=32m")) else { return };
    let dir = server.data_dir();
    let (mut client, mut writer) = (server.connect(), server.connect());
    assert_eq!(client.line("CONFIG SET disk-reserve 0"), Value::ok());
    await_field(&mut client, "disk_reserve_bytes", 0);
    assert!(!dir.join("reserve").exists());
    take_all_space(&dir.join("foreign"));
    let payload = "x".repeat(64 << 10);
    let mut acknowledged = 0;
    loop {
        writer.send(&["XADD", "s", "*", "v", &payload]).expect("sent");
        match writer.reply(Duration::from_secs(2)) {
            Ok(reply) => assert!(!reply.is_error(), "{reply}"),
            Err(_) => break,
        }
        acknowledged += 1;
        assert!(acknowledged < 1000, "a full disk takes more and more");
    }
    await_field(&mut client, "disk_full", 1);
    for request in ["XADD s * f v", "DEL s", "XTRIM s MAXLEN 1"] {
        assert_eq!(client.line(request).text(), FULL, "{request}");
    }
    assert_eq!(client.line("XLEN s"), Value::Integer(acknowledged));
    assert!(client.line("INFO persistence").text().contains("aof_last_write_status:err"));
    fs::remove_file(dir.join("foreign")).expect("the file");
    let reply = writer.reply(Duration::from_secs(5)).expect("the write is acknowledged");
    assert!(!reply.is_error(), "{reply}");
    await_field(&mut client, "disk_full", 0);
    assert_eq!(client.line("SET a 1"), Value::ok());

    // Full once more: an orderly stop ends, and says what it could not write.
    take_all_space(&dir.join("foreign"));
    acknowledged += 1;
    while writer.send(&["XADD", "s", "*", "v", &payload]).is_ok()
        && writer.reply(Duration::from_secs(2)).is_ok()
    {
        acknowledged += 1;
    }
    let status = server.terminate();
    assert!(!status.success(), "{status}");
    fs::remove_file(dir.join("foreign")).expect("the file");
    server.restart();
    assert_eq!(
        server.connect().line("XLEN s"),
        Value::Integer(acknowledged),
        "R4: nothing acknowledged is lost"
    );
    server.kill();
}
