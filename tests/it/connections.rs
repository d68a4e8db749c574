//! Connections from their first byte to their end, in every state: the replies owed to a client, and the
//! traces it leaves. Codes such as P11 are those of docs/reliability.md.

use crate::support::client::{Client, PATIENCE};
use crate::support::notation::{encode, split};
use crate::support::server::{Server, binary_under_test, is_redis};
use crate::support::value::Value;
use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn encoded(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        encode(&split(line), &mut bytes);
    }
    bytes
}

/// Repeats a request until its reply is as wished: the effect of another connection may arrive later.
#[track_caller]
fn await_reply(client: &mut Client, line: &str, wished: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = client.line(line);
        if wished(&reply) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} still answers {reply}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn await_info(client: &mut Client, line: &str) {
    await_reply(client, "INFO", |info| info.text().lines().any(|found| found == line));
}

/// The replies after a client closed its sending side behind a pipeline, up to the server's close.
fn replies_after_shutdown(server: &Server, lines: &[&str]) -> String {
    let mut client = server.connect();
    client.send_bytes(&encoded(lines)).expect("sent");
    let wire = client.wire();
    wire.end_sending().expect("half closed");
    wire.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut all = String::new();
    wire.read_to_string(&mut all).expect("replies, then the end");
    all
}

#[test]
fn a_hangup_of_the_terminal_does_not_stop_the_server() {
    let server = Server::start();
    let mut client = server.connect();
    let sent = std::process::Command::new("kill").args(["-HUP", &server.pid().to_string()]).status();
    assert!(sent.expect("kill -HUP").success());
    // This connection lives only as long as the process.
    for _ in 0..3 {
        assert_eq!(client.line("SET k v").text(), "OK");
    }
}

#[test]
fn a_half_closed_client_gets_the_replies_to_what_it_sent() {
    let server = Server::start();
    let replies = replies_after_shutdown(&server, &["XADD s 1-1 a 1", "XLEN s", "SET k v", "GET k", "PING"]);
    assert_eq!(replies, "$3\r\n1-1\r\n:1\r\n+OK\r\n$1\r\nv\r\n+PONG\r\n");
    let replies =
        replies_after_shutdown(&server, &["MULTI", "INCR n", "PUBLISH c m", "EXEC", "SUBSCRIBE c", "PING"]);
    assert_eq!(
        replies,
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:0\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    );
    let mut other = server.connect();
    await_reply(&mut other, "PUBSUB NUMSUB c", |reply| reply.elements()[1] == Value::Integer(0));
    await_info(&mut other, "connected_clients:1");
}

#[test]
fn a_half_closed_client_gets_long_replies_too() {
    let server = Server::start();
    let value = "v".repeat(500_000);
    server.connect().command(&["SET", "big", &value]);
    let replies = replies_after_shutdown(&server, &["GET big"; 40]);
    assert_eq!(replies.len(), 40 * ("$500000\r\n".len() + value.len() + 2));
}

/// The outputs of all recipients reference large values, which leave in pieces between small replies.
#[test]
fn large_values_come_through_whole() {
    let text = |first: u32| (first..first + 50_000).map(|n| n.to_string()).collect::<String>();
    for transport in ["tcp", "unix", "tls"] {
        let server = Server::with(&["--transport", transport]);
        let mut client = server.connect();
        let values: Vec<String> = (0..4).map(text).collect();
        let mut commands = Vec::new();
        for value in &values {
            commands.extend([
                vec!["SET", "k", value],
                vec!["GET", "k"],
                vec!["PING"],
                vec!["ECHO", &value[..8192]],
            ]);
        }
        let mut expected = Vec::new();
        for value in &values {
            let pong = Value::Simple(b"PONG".to_vec());
            expected.extend([Value::ok(), Value::bulk(value), pong, Value::bulk(&value[..8192])]);
        }
        assert!(client.pipeline(&commands) == expected, "{transport}");
        let mut subscribers: Vec<_> = (0..3).map(|_| server.connect()).collect();
        subscribers.push(client);
        for subscriber in &mut subscribers {
            subscriber.hello3();
            subscriber.send(&["SUBSCRIBE", "c"]).expect("sent");
            subscriber.push(PATIENCE).expect("a confirmation");
        }
        // All subscribers read only afterwards, including the publisher.
        let publisher = subscribers.last_mut().expect("there are four");
        let publish: Vec<_> = values.iter().map(|value| vec!["PUBLISH", "c", value]).collect();
        let mut bytes = Vec::new();
        publish.iter().for_each(|args| encode(args, &mut bytes));
        publisher.send_bytes(&bytes).expect("sent");
        for _ in &values {
            assert_eq!(publisher.reply(PATIENCE).expect("a reply"), Value::Integer(4));
        }
        for subscriber in &mut subscribers {
            for value in &values {
                let message = ["message", "c", value].map(Value::bulk);
                assert!(
                    subscriber.push(PATIENCE).expect("a message") == Value::Push(message.into()),
                    "{transport}"
                );
            }
        }
    }
}

#[test]
fn a_wait_ends_with_its_client() {
    let server = Server::start();
    let mut other = server.connect();
    other.line("XGROUP CREATE s g $ MKSTREAM");
    for line in ["XREAD BLOCK 0 STREAMS s $", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"] {
        // Half closed, closed, and closed with more input than is read meanwhile.
        for more in [0, 50, 30_000] {
            let mut client = server.connect();
            client.send(&split(line)).expect("sent");
            await_info(&mut other, "blocked_clients:1");
            if more > 0 {
                client.send_bytes(&encoded(&["SET behind 1"]).repeat(more)).expect("sent");
            }
            client.wire().end_sending().expect("half closed");
            await_info(&mut other, "blocked_clients:0");
            await_info(&mut other, "connected_clients:1");
        }
    }
    other.line("XADD s 1-1 a 1");
    assert_eq!(other.line("XPENDING s g").elements()[0], Value::Integer(0));
    assert_eq!(other.line("EXISTS behind"), Value::Integer(0));
}

#[test]
fn a_reply_skipped_is_skipped_once_even_if_its_command_was_held() {
    let server = Server::start();
    for held in ["WATCH k", "HELLO 2", "INFO server", "XREAD BLOCK 1 STREAMS s 5-5", "MEMORY USAGE s"] {
        let replies = replies_after_shutdown(
            &server,
            &["XADD s * a 1", "CLIENT REPLY SKIP", held, "ECHO after", "CLIENT REPLY ON"],
        );
        assert!(replies.ends_with("\r\n$5\r\nafter\r\n+OK\r\n"), "{held}: {replies:?}");
        assert_eq!(replies.matches("\r\n").count(), 5, "{held}: {replies:?}");
    }
}

#[test]
fn pushes_come_through_while_replies_are_off() {
    let server = Server::start();
    let mut client = server.connect3();
    client.send_bytes(&encoded(&["CLIENT REPLY OFF", "PING", "SUBSCRIBE c", "SET k v"])).expect("sent");
    assert_eq!(client.push(PATIENCE).expect("a confirmation").elements()[0], Value::bulk("subscribe"));
    let mut other = server.connect();
    assert_eq!(other.line("PUBLISH c m"), Value::Integer(1));
    assert_eq!(client.push(PATIENCE).expect("a message").elements()[2], Value::bulk("m"));
    assert_eq!(client.line("CLIENT REPLY ON"), Value::ok());
    assert_eq!(client.line("GET k"), Value::bulk("v"));
}

#[test]
fn who_is_killed_is_gone_for_the_next_command() {
    let server = Server::start();
    let mut other = server.connect();
    other.line("XGROUP CREATE s g $ MKSTREAM");
    for state in [
        "SUBSCRIBE c",
        "PSUBSCRIBE *",
        "SSUBSCRIBE c",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
        "XREAD BLOCK 0 STREAMS s $",
        "MULTI",
        "PING",
    ] {
        other.line("XGROUP SETID s g $");
        let mut client = server.connect();
        let id = client.line("CLIENT ID").integer();
        client.send(&split(state)).expect("sent");
        let word = split(state)[0].to_ascii_lowercase();
        let cmd = format!("cmd={}", String::from_utf8_lossy(&word));
        await_reply(&mut other, &format!("CLIENT LIST ID {id}"), |list| list.text().contains(&cmd));
        let replies = other.pipeline(&[
            split(&format!("CLIENT KILL ID {id}")),
            split(&format!("CLIENT LIST ID {id}")),
            split("PUBLISH c m"),
            split("SPUBLISH c m"),
            split("XADD s * a 1"),
            split("XPENDING s g"),
            split(&format!("CLIENT UNBLOCK {id}")),
        ]);
        assert_eq!(replies[0], Value::Integer(1), "{state}");
        assert_eq!(replies[1], Value::bulk(""), "{state}");
        assert_eq!((&replies[2], &replies[3]), (&Value::Integer(0), &Value::Integer(0)), "{state}");
        assert_eq!(replies[5].elements()[0], Value::Integer(0), "{state}: an entry went to a killed reader");
        assert_eq!(replies[6], Value::Integer(0), "{state}");
        assert!(client.is_closed_within(PATIENCE), "{state}");
    }
    await_info(&mut other, "connected_clients:1");
}

/// Redis closes the connection without a reply: an empty reply would look like a timeout.
#[test]
fn a_blocked_reader_that_is_killed_gets_no_reply() {
    let server = Server::start();
    let mut other = server.connect();
    other.line("XGROUP CREATE s g $ MKSTREAM");
    for state in ["XREAD BLOCK 0 STREAMS s $", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"] {
        let mut client = server.connect();
        let id = client.line("CLIENT ID").integer();
        client.send(&split(state)).expect("sent");
        await_info(&mut other, "blocked_clients:1");
        assert_eq!(other.line(&format!("CLIENT KILL ID {id}")), Value::Integer(1), "{state}");
        let error = client.receive(PATIENCE).expect_err(state);
        assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{state}: {error}");
    }
}

#[test]
fn a_client_that_kills_itself_gets_its_replies() {
    let server = Server::start();
    let mut client = server.connect();
    let id = client.line("CLIENT ID").integer();
    let kill = format!("CLIENT KILL ID {id} SKIPME no");
    client.send_bytes(&encoded(&["SET k 1", "MULTI", &kill, "INCR k", "EXEC", "SET k 9"])).expect("sent");
    for _ in 0..4 {
        client.reply(PATIENCE).expect("a reply before the end");
    }
    let replies = client.reply(PATIENCE).expect("the reply of EXEC");
    assert_eq!(replies, Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
    assert!(client.is_closed_within(PATIENCE));
    assert_eq!(server.connect().line("GET k"), Value::bulk("2"));
}

/// P11: a subscription in a transaction must end, even if its client is gone when the transaction is applied.
#[test]
fn no_subscription_outlives_its_client() {
    let server = Server::start();
    let mut other = server.connect();
    for _ in 0..100 {
        let mut client = server.connect();
        client
            .send_bytes(&encoded(&[
                "MULTI",
                "SUBSCRIBE c",
                "SSUBSCRIBE c",
                "PSUBSCRIBE c*",
                "INCR n",
                "EXEC",
            ]))
            .expect("sent");
        drop(client);
    }
    await_info(&mut other, "connected_clients:1");
    let empty = |reply: &Value| reply.elements()[1] == Value::Integer(0);
    await_reply(&mut other, "PUBSUB NUMSUB c", empty);
    await_reply(&mut other, "PUBSUB SHARDNUMSUB c", empty);
    assert_eq!(other.line("PUBSUB NUMPAT"), Value::Integer(0));
}

#[test]
fn quit_waits_for_the_writes_before_it() {
    let server = Server::start();
    let mut client = server.connect();
    let mut lines = vec!["INCR n"; 5000];
    lines.extend(["QUIT", "INCR n"]);
    client.send_bytes(&encoded(&lines)).expect("sent");
    for at in 1..=5000 {
        assert_eq!(client.reply(PATIENCE).expect("a reply"), Value::Integer(at));
    }
    assert_eq!(client.reply(PATIENCE).expect("goodbye"), Value::ok());
    assert!(client.is_closed_within(PATIENCE));
    assert_eq!(server.connect().line("GET n"), Value::bulk("5000"));
}

/// Lets an operator match the output of `lsof` and `ss` to the clients.
#[test]
fn clients_are_told_with_their_descriptors() {
    let server = Server::start();
    let mut client = server.connect();
    let others: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let list = client.line("CLIENT LIST").text();
    let numbers: std::collections::BTreeSet<&str> =
        list.split(' ').filter_map(|field| field.strip_prefix("fd=")).collect();
    assert_eq!(numbers.len(), 1 + others.len(), "{list}");
    for number in numbers {
        let target = std::fs::read_link(format!("/proc/{}/fd/{number}", server.pid())).expect("an open file");
        assert!(target.to_string_lossy().starts_with("socket:"), "{number}: {target:?}");
    }
}

#[test]
fn a_pause_holds_and_lets_go() {
    let server = Server::start();
    let mut other = server.connect();
    let mut writer = server.connect();
    other.line("CLIENT PAUSE 100000 WRITE");
    writer.send_bytes(&encoded(&["GET k", "MULTI", "SET k v", "EXEC"])).expect("sent");
    assert_eq!(writer.reply(PATIENCE).expect("a read"), Value::Null);
    await_info(&mut other, "blocked_clients:1");
    // A client that leaves during the pause is forgotten, and its commands are not executed.
    let mut gone = server.connect();
    gone.send(&split("SET gone 1")).expect("sent");
    await_info(&mut other, "blocked_clients:2");
    drop(gone);
    await_info(&mut other, "blocked_clients:1");
    assert_eq!(other.line("EXISTS k"), Value::Integer(0));
    other.line("CLIENT UNPAUSE");
    for _ in 0..2 {
        writer.reply(PATIENCE).expect("OK, QUEUED");
    }
    assert_eq!(writer.reply(PATIENCE).expect("the reply of EXEC"), Value::Array(vec![Value::ok()]));
    assert_eq!(other.line("EXISTS gone"), Value::Integer(0));
    // The pause also ends by itself.
    other.line("CLIENT PAUSE 50");
    assert_eq!(writer.line("SET k w"), Value::ok());
}

#[test]
fn one_too_many_is_told_so() {
    let server = Server::with(&["--maxclients", "2"]);
    if !server.is_plain_tcp() {
        return;
    }
    // The client that awaited the start may still be connected.
    let deadline = Instant::now() + PATIENCE;
    let mut held: Vec<Client> = Vec::new();
    while held.len() < 2 {
        assert!(Instant::now() < deadline);
        let mut client = server.connect();
        if client.try_command(&["PING"]).is_ok_and(|reply| !reply.is_error()) {
            held.push(client);
        }
    }
    for _ in 0..20 {
        let mut third = server.connect();
        let reply = third.receive(PATIENCE).expect("a reason");
        assert_eq!(reply.text(), "ERR max number of clients reached");
        assert!(third.is_closed_within(PATIENCE));
    }
}

#[test]
fn sigterm_answers_what_was_sent_and_closes_who_waits() {
    let mut server = Server::start();
    let mut writer = server.connect();
    let mut waiter = server.connect();
    let mut other = server.connect();
    waiter.send(&split("XREAD BLOCK 0 STREAMS s $")).expect("sent");
    await_info(&mut other, "blocked_clients:1");
    writer.send_bytes(&encoded(&["INCR n"; 1000])).expect("sent");
    let mut answered = 0;
    assert_eq!(writer.reply(PATIENCE).expect("the first"), Value::Integer(1));
    let started = Instant::now();
    assert!(server.terminate().success());
    assert!(started.elapsed() < Duration::from_secs(5));
    while let Ok(Value::Integer(number)) = writer.reply(PATIENCE) {
        answered = number;
    }
    assert!(waiter.is_closed_within(PATIENCE));
    server.restart();
    let kept: i64 = server.connect().line("GET n").text().parse().expect("a number");
    assert!(kept >= answered, "{answered} were acknowledged, {kept} are there");
}

#[test]
fn a_reload_inside_a_transaction_is_harmless() {
    let server = Server::with(&["--enable-debug-command", "local"]);
    let mut client = server.connect();
    client.line("SET k v");
    client.line("MULTI");
    client.line("INCR n");
    client.line("DEBUG RELOAD");
    client.line("DEBUG DIGEST");
    client.line("INFO");
    client.line("EXEC");
    assert_eq!(client.line("DEBUG RELOAD"), Value::ok());
    assert_eq!(client.line("GET n"), Value::bulk("1"));
}

#[test]
fn random_keys_differ() {
    let server = Server::start();
    let mut client = server.connect();
    for key in 0..10 {
        client.line(&format!("SET {key} v"));
    }
    let seen: std::collections::BTreeSet<String> =
        (0..200).map(|_| client.line("RANDOMKEY").text().to_string()).collect();
    assert!(seen.len() > 3, "{seen:?}");
}

/// P10: many patterns cost linear, not quadratic time.
#[test]
fn many_patterns_of_one_client() {
    let server = Server::start();
    let mut client = server.connect();
    let mut bytes = Vec::new();
    let names: Vec<String> = (0..50_000).map(|at| format!("pattern-{at}-*")).collect();
    let args: Vec<&str> = std::iter::once("PSUBSCRIBE").chain(names.iter().map(String::as_str)).collect();
    encode(&args, &mut bytes);
    let started = Instant::now();
    client.send_bytes(&bytes).expect("sent");
    for _ in &names {
        client.receive(PATIENCE).expect("a confirmation");
    }
    let mut other = server.connect();
    assert_eq!(other.line("PUBSUB NUMPAT"), Value::Integer(50_000));
    drop(client);
    await_reply(&mut other, "PUBSUB NUMPAT", |reply| *reply == Value::Integer(0));
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
}

/// A pause is not idleness of the client, and a monitoring client may stay silent.
#[test]
fn who_is_held_or_monitors_is_not_idle() {
    let server = Server::start();
    let (mut held, mut monitor, mut other) = (server.connect(), server.connect(), server.connect());
    assert_eq!(monitor.line("MONITOR"), Value::ok());
    assert_eq!(other.line("CONFIG SET timeout 1"), Value::ok());
    assert_eq!(other.line("CLIENT PAUSE 3500 ALL"), Value::ok());
    let began = Instant::now();
    held.send(&["PING"]).expect("sent");
    assert_eq!(held.receive(PATIENCE).expect("a reply").text(), "PONG");
    assert!(began.elapsed() > Duration::from_secs(3), "the pause was no pause");
    let told = monitor.receive(PATIENCE).expect("what is monitored").text();
    assert!(told.contains("] \"CONFIG\"") || told.contains("] \"PING\""), "{told}");
}

#[test]
fn two_reloads_at_once_let_everybody_go_on() {
    let server = Server::with(&["--enable-debug-command", "local"]);
    if server.is_redis() {
        return;
    }
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send_bytes(&encoded(&["SET x 1", "DEBUG RELOAD", "DEBUG RELOAD"])).expect("sent");
    for _ in 0..3 {
        assert_eq!(client.receive(PATIENCE).expect("a reply"), Value::ok());
    }
    assert_eq!(other.line("GET x"), Value::bulk("1"));
}

/// Regression: each key was compared with all keys before it, which blocked the server for half a minute.
#[test]
fn many_keys_are_watched_at_once() {
    let server = Server::start();
    let mut client = server.connect();
    let keys: Vec<String> = (0..100_000).map(|key| format!("{{x}}{key}")).collect();
    let watch: Vec<&str> = ["WATCH"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    if server.is_redis() {
        return;
    }
    let began = Instant::now();
    assert_eq!(client.command(&watch), Value::ok());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(client.line("CLIENT INFO").text().contains(" watch=100000 "));
}

/// A client's names and awaited keys count as its memory.
#[test]
fn names_and_keys_waited_for_are_counted() {
    let server = Server::start();
    if server.is_redis() {
        return;
    }
    let total = |line: &str| -> usize {
        let field = line.split(' ').find_map(|field| field.strip_prefix("tot-mem=")).expect("tot-mem");
        field.parse().expect("a number")
    };
    let (mut client, mut other) = (server.connect(), server.connect());
    let id = client.line("CLIENT ID").text();
    let list = format!("CLIENT LIST ID {id}");
    let before = total(&other.line(&list).text());
    client.line(&format!("CLIENT SETNAME {}", "n".repeat(100_000)));
    let named = total(&other.line(&list).text());
    assert!(named >= before + 100_000, "{before} {named}");
    let keys = (0..1_000).map(|key| format!("key-{key}")).collect::<Vec<_>>();
    let ids = vec!["0".to_owned(); keys.len()];
    let read = [vec!["XREAD".into(), "BLOCK".into(), "0".into(), "STREAMS".into()], keys, ids].concat();
    client.send(&read).expect("sent");
    await_info(&mut other, "blocked_clients:1");
    let waiting = total(&other.line(&list).text());
    assert!(waiting >= named + 100 * 1_000, "{named} {waiting}");
}

/// While writes are paused, due keys are invisible to readers and nothing is deleted, as in Redis.
#[test]
fn nothing_is_deleted_while_writes_are_paused() {
    let server = Server::start();
    let (mut client, mut listener) = (server.connect(), server.connect());
    client.line("CONFIG SET notify-keyspace-events Ex");
    listener.line("SUBSCRIBE __keyevent@0__:expired");
    client.line("SET k v PX 100");
    assert_eq!(client.line("CLIENT PAUSE 1200 WRITE"), Value::ok());
    let began = Instant::now();
    await_reply(&mut client, "GET k", Value::is_null);
    let message = listener.receive(PATIENCE).expect("a message").elements();
    assert_eq!(message[2], Value::bulk("k"));
    assert!(began.elapsed() >= Duration::from_millis(1_150), "told after {:?}", began.elapsed());
}

/// The journal needs descriptors too: a low limit reduces the number of clients, and no client can stop the
/// server.
#[test]
fn clients_leave_the_journal_its_files() {
    let binary = binary_under_test();
    if is_redis(&binary) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("headwater");
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n 64\nexec {} \"$@\"\n", binary.display()))
        .expect("a script");
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("executable");
    let server = Server::of(script, &["--journal-file-bytes", "1mb"]);
    let mut client = server.connect();
    let clients = client.line("CONFIG GET maxclients").elements()[1].text();
    if clients == "10000" {
        eprintln!("SKIPPED: this user may raise every limit");
        return;
    }
    assert_eq!(clients, "32");
    let refused = client.line("CONFIG SET maxclients 5000").text();
    assert!(
        refused.ends_with("not able to handle the specified number of clients, try with 32"),
        "{refused}"
    );
    let crowd: Vec<_> = (0..80).filter_map(|_| server.try_connect().ok()).collect();
    let value = "v".repeat(100_000);
    for key in 0..60 {
        assert_eq!(client.command(&["SET", &format!("k{key}"), &value]), Value::ok());
    }
    assert_eq!(client.line("SAVE"), Value::ok());
    drop(crowd);
}
