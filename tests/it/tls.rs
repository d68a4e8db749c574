//! TLS: client certificates, error messages, certificate changes, closing and silent clients.

use crate::support::certificates::{self, Authority, Pair};
use crate::support::client::{Client, PATIENCE};
use crate::support::notation::split;
use crate::support::server::{Server, free_port, start_and_expect_exit};
use crate::support::value::Value;
use crate::support::wire::{Door, Wire};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A TLS server with more flags.
#[track_caller]
fn server(flags: &[&str]) -> Server {
    Server::with(&[&["--transport", "tls"], flags].concat())
}

/// A client with this certificate, or none.
fn client_with(
    server: &Server,
    pair: Option<&Pair>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<Client> {
    let config = Authority::of_tests().client_config(pair, &[version]);
    Client::through(&Door::Tls(server.address(), config))
}

fn is_served(server: &Server, pair: Option<&Pair>, version: &'static SupportedProtocolVersion) -> bool {
    let mut client = client_with(server, pair, version).expect("a connection");
    client.try_command(&["PING"]).is_ok_and(|reply| reply.text() == "PONG")
}

#[track_caller]
fn await_info(client: &mut Client, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !client.line("INFO").text().lines().any(|found| found == line) {
        assert!(Instant::now() < deadline, "no {line}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn both_versions_are_served() {
    let server = server(&[]);
    for version in VERSIONS {
        let mut client = client_with(&server, None, version).expect("a connection");
        // Larger than any buffer in between, in both directions.
        let large = "x".repeat(3_000_000);
        let commands: Vec<Vec<&str>> = (0..4).map(|_| vec!["ECHO", large.as_str()]).collect();
        let replies = client.pipeline(&commands);
        assert!(replies.iter().all(|reply| *reply == Value::bulk(&large)), "{version:?}");
        let many: Vec<Vec<&str>> = (0..20_000).map(|_| vec!["INCR", "n"]).collect();
        let last = client.pipeline(&many).pop().expect("replies");
        assert_eq!(client.line("GET n").text(), last.text(), "{version:?}");
        let info = client.line("CLIENT INFO").text();
        assert!(info.contains(" addr=127.0.0.1:") && info.contains(" flags=N "), "{info}");
        assert!(info.contains(&format!(" laddr={} ", server.address())), "{info}");
    }
    // `port` was 0, so this is the only listener.
    let mut client = server.connect();
    assert_eq!(client.line("CONFIG GET port").elements()[1], Value::bulk("0"));
    let tcp_port = format!("tcp_port:{}\r\n", server.port());
    let info = client.line("INFO server").text();
    assert!(info.contains(&tcp_port), "Redis tells the TLS port where there is no other");
    let listener = format!("\r\nlistener2:name=tls,bind=127.0.0.1,port={}\r\n", server.port());
    assert!(info.contains(&listener) && !info.contains("listener0"), "{info}");
}

#[test]
fn transcripts_hold_over_it() {
    for name in ["blocking", "hello", "protocol", "pubsub", "resp3", "strings", "transactions", "xread"] {
        crate::transcripts::run(name, &["--transport", "tls"]);
    }
}

#[test]
fn versions_and_suites_are_those_of_the_settings() {
    let server =
        server(&["--tls-protocols", "TLSv1.3", "--tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]);
    assert!(is_served(&server, None, &TLS13) && !is_served(&server, None, &TLS12));
    let mut client = client_with(&server, None, &TLS13).expect("a connection");
    client.line("PING");
    let Wire::Tls(stream) = client.wire() else { panic!("no TLS") };
    let suite = stream.conn.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(
        client.line("CONFIG SET tls-protocols TLSv1.2 tls-ciphers ECDHE-ECDSA-AES128-GCM-SHA256"),
        Value::ok()
    );
    assert!(is_served(&server, None, &TLS12) && !is_served(&server, None, &TLS13));
    assert_eq!(client.line("PING").text(), "PONG", "a connection outlives a change of the settings");
    let told = client.line("CONFIG GET tls-c*").elements();
    let told: Vec<String> = told.iter().map(Value::text).collect();
    assert!(told.contains(&"TLS_CHACHA20_POLY1305_SHA256".to_owned()), "{told:?}");
    for (setting, text) in [
        ("tls-protocols 'TLSv1.1 TLSv1.2'", "'TLSv1.1' is none of TLSv1.2, TLSv1.3"),
        ("tls-ciphers DEFAULT:!MEDIUM", "'DEFAULT' is none of ECDHE-ECDSA-AES256-GCM-SHA384, "),
        ("tls-ciphersuites AES", "'AES' is none of TLS_AES_256_GCM_SHA384, "),
        ("tls-key-file-pass secret", "Headwater supports only \"\" here"),
        ("tls-auth-clients-user CN", "Headwater supports only off here"),
        ("tls-auth-clients maybe", "argument(s) must be one of the following: no, yes, optional"),
        ("tls-port 1", "can't set immutable config"),
    ] {
        let reply = client.line(&format!("CONFIG SET {setting}")).text();
        assert!(reply.contains(text), "{setting}: {reply}");
    }
}

/// The server keeps sessions for returning clients, unless it is configured not to.
#[test]
fn a_client_that_comes_again_resumes_its_session() {
    let server = server(&[]);
    let mut control = server.connect();
    for (caching, expected) in [("yes", HandshakeKind::Resumed), ("no", HandshakeKind::Full)] {
        assert_eq!(control.line(&format!("CONFIG SET tls-session-caching {caching}")), Value::ok());
        for version in VERSIONS {
            let config = Authority::of_tests().client_config(None, &[version]);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let mut client =
                    Client::through(&Door::Tls(server.address(), config.clone())).expect("a connection");
                assert_eq!(client.line("PING").text(), "PONG");
                let Wire::Tls(stream) = client.wire() else { panic!("no TLS") };
                kinds.extend(stream.conn.handshake_kind());
            }
            assert_eq!(kinds, [HandshakeKind::Full, expected], "{caching}, {version:?}");
        }
    }
}

#[test]
fn redis_cli_comes_in() {
    let server = server(&["--tls-auth-clients", "yes"]);
    let pair = Authority::of_tests().client();
    let folder = server.tls_dir();
    let paths = [
        folder.join("authority.crt"),
        certificates::write(&folder, "client.crt", &pair.certificate),
        certificates::write(&folder, "client.key", &pair.key),
    ];
    let run = |with_certificate: bool| {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &server.port().to_string(), "--tls", "--cacert"]).arg(&paths[0]);
        if with_certificate {
            command.arg("--cert").arg(&paths[1]).arg("--key").arg(&paths[2]);
        }
        command.args(["XADD", "s", "1-1", "a", "1"]).output()
    };
    let Ok(output) = run(true) else {
        eprintln!("SKIPPED: no redis-cli here");
        return;
    };
    if String::from_utf8_lossy(&output.stderr).contains("Unrecognized option") {
        eprintln!("SKIPPED: this redis-cli has no TLS");
        return;
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1-1\n", "{output:?}");
    let refused = run(false).expect("redis-cli");
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("1-1"), "{refused:?}");
}

#[test]
fn certificates_of_clients_are_required_optional_or_not_asked_for() {
    let authority = Authority::of_tests();
    let (good, expired) = (authority.client(), authority.expired_client());
    let foreign = Authority::new().client();
    let for_servers = authority.server();
    let server = server(&["--tls-auth-clients", "yes", "--port", "0"]);
    let all: [Option<&Pair>; 5] = [None, Some(&good), Some(&expired), Some(&foreign), Some(&for_servers)];
    let mut control = client_with(&server, Some(&good), &TLS13).expect("a connection");
    for (policy, expected) in [
        ("yes", [false, true, false, false, false]),
        ("optional", [true, true, false, false, false]),
        ("no", [true, true, true, true, true]),
    ] {
        assert_eq!(control.line(&format!("CONFIG SET tls-auth-clients {policy}")), Value::ok());
        for version in VERSIONS {
            let served = all.map(|pair| is_served(&server, pair, version));
            assert_eq!(served, expected, "{policy}, {version:?}");
        }
    }
    // No refused client remains.
    await_info(&mut control, "connected_clients:1");
}

#[test]
fn a_directory_of_authorities_does_as_well() {
    let (first, second) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a directory");
    certificates::write(folder.path(), "first.pem", &first.pem);
    certificates::write(folder.path(), "second.pem", &second.pem);
    certificates::write(folder.path(), "README", "authorities of clients");
    let path = folder.path().display().to_string();
    let server = server(&["--tls-ca-cert-dir", &path]);
    server.connect().line("CONFIG SET tls-ca-cert-file '' tls-auth-clients yes");
    for pair in [first.client(), second.client()] {
        assert!(is_served(&server, Some(&pair), &TLS13));
    }
    assert!(!is_served(&server, Some(&Authority::of_tests().client()), &TLS13));
}

#[test]
fn a_new_certificate_serves_new_connections_and_old_ones_go_on() {
    let server = server(&[]);
    let mut old = server.connect();
    let shown = |client: &mut Client| {
        client.line("PING");
        let Wire::Tls(stream) = client.wire() else { panic!("no TLS") };
        stream.conn.peer_certificates().expect("a certificate")[0].clone()
    };
    let before = shown(&mut old);
    let pair = Authority::of_tests().server();
    let flags = certificates::install(&server.tls_dir(), &pair, Authority::of_tests());
    let (cert_file, key_file) = (&flags[1], &flags[3]);
    assert_eq!(shown(&mut server.connect()), before, "files are read when CONFIG SET says so");
    let renew = ["CONFIG", "SET", "tls-cert-file", cert_file, "tls-key-file", key_file];
    assert_eq!(old.command(&renew), Value::ok());
    assert_eq!(shown(&mut server.connect()), certificates::certificate(&pair.certificate));
    assert_eq!(shown(&mut old), before);

    // Invalid or mismatched files change nothing; the log names the reason.
    certificates::write(&server.tls_dir(), "server.key", &Authority::of_tests().server().key);
    for renew in [renew.to_vec(), vec!["CONFIG", "SET", "tls-cert-file", "/nowhere.crt"]] {
        let reply = old.command(&renew).text();
        assert_eq!(
            reply,
            "ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update TLS configuration. \
             Check server logs."
        );
    }
    assert!(server.log().contains("/nowhere.crt"), "{}", server.log());
    assert_eq!(old.line("CONFIG GET tls-cert-file").elements()[1], Value::bulk(cert_file));
    assert_eq!(shown(&mut server.connect()), certificates::certificate(&pair.certificate));
}

#[test]
fn a_start_that_cannot_be_says_which_file_and_why() {
    let folder = tempfile::tempdir().expect("a directory");
    let pair = Authority::of_tests().server();
    let port = free_port().to_string();
    let data = folder.path().join("data");
    let files = certificates::install(folder.path(), &pair, Authority::of_tests());
    let other = certificates::write(folder.path(), "other.key", &Authority::of_tests().server().key);
    let other = other.display().to_string();
    let (cert, key) = (files[1].as_str(), files[3].as_str());
    for (flags, words) in [
        (&[][..], &["tls-port needs tls-cert-file"][..]),
        (&["--tls-cert-file", cert], &["tls-port needs tls-key-file"]),
        (&["--tls-cert-file", cert, "--tls-key-file", key], &["tls-auth-clients needs tls-ca-cert-file"]),
        (
            &["--tls-cert-file", "/nowhere.crt", "--tls-key-file", key],
            &["tls-cert-file /nowhere.crt: No such file"],
        ),
        (
            &["--tls-cert-file", key, "--tls-key-file", key],
            &["tls-cert-file", "server.key", "no certificate"],
        ),
        (
            &["--tls-cert-file", cert, "--tls-key-file", &other, "--tls-auth-clients", "no"],
            &["other.key", "key"],
        ),
        (&["--tls-protocols", "TLSv1"], &["tls-protocols", "'TLSv1' is none of TLSv1.2, TLSv1.3"]),
    ] {
        let (status, text) = start_and_expect_exit(0, &data, &[&["--tls-port", &port], flags].concat());
        assert!(status.is_some_and(|status| !status.success()), "{flags:?} started: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
    }
    assert!(!data.exists(), "a refused start made the data directory");
}

#[test]
fn bytes_of_the_wrong_kind_are_refused_at_either_port() {
    let server = server(&["--loglevel", "debug"]);
    let mut good = server.connect();
    for bytes in [
        &b"PING\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0; 100],
        &[0x16; 100],
    ] {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(bytes).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // At most an alert.
        assert!(answer.len() <= 7, "{answer:?}");
        assert_eq!(good.line("PING").text(), "PONG");
    }
    let plain = Server::start();
    let config = Authority::of_tests().client_config(None, rustls::ALL_VERSIONS);
    let mut client = Client::through(&Door::Tls(plain.address(), config)).expect("a connection");
    let started = Instant::now();
    assert!(client.try_command(&["PING"]).is_err());
    assert!(started.elapsed() < Duration::from_secs(5), "the client was left to wait");
    assert_eq!(plain.connect().line("PING").text(), "PONG");
}

/// Protected mode sends its text once the client can read it.
#[test]
fn strangers_are_told_why_they_are_refused() {
    let Some(address) = crate::hostile::own_address() else { return };
    let server = server(&["--bind", "0.0.0.0"]);
    let outside = SocketAddr::new(address.ip(), server.port());
    let config = Authority::of_tests().client_config(None, rustls::ALL_VERSIONS);
    let mut client = Client::through(&Door::Tls(outside, config)).expect("a connection");
    let word = client.receive(PATIENCE).expect("a word").text();
    assert!(word.starts_with("DENIED Redis is running in protected mode"), "{word}");
    assert!(client.is_closed_within(PATIENCE));
    assert_eq!(server.connect().line("PING").text(), "PONG");
}

/// A client that stays silent, or sends half of the handshake, keeps its slot for ten seconds.
#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let server = server(&["--maxclients", "4"]);
    let mut good = server.connect();
    await_info(&mut good, "connected_clients:1");
    let silent = TcpStream::connect(server.address()).expect("a connection");
    let mut half = TcpStream::connect(server.address()).expect("a connection");
    half.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1]).expect("sent");
    let killed = TcpStream::connect(server.address()).expect("a connection");
    await_info(&mut good, "connected_clients:4");
    // They count, and the next client is dropped without a text, which it could not read.
    let mut refused = server.try_connect().expect("a connection");
    assert!(refused.try_command(&["PING"]).is_err());
    // A client with a completed handshake can be killed.
    let address = killed.local_addr().expect("an address");
    assert_eq!(good.line(&format!("CLIENT KILL {address}")), Value::ok());
    await_info(&mut good, "connected_clients:3");
    for mut stream in [silent, half, killed] {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let ended = stream.read(&mut [0; 64]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    await_info(&mut good, "connected_clients:1");
}

#[test]
fn the_end_of_a_connection_is_told() {
    let server = server(&[]);
    for version in VERSIONS {
        let mut client = client_with(&server, None, version).expect("a connection");
        assert_eq!(client.line("QUIT"), Value::ok());
        // Without close_notify this is an error in rustls.
        assert_eq!(client.wire().read(&mut [0; 8]).expect("a proper end"), 0, "{version:?}");
        // The client's end, announced or not, ends its blocked command.
        let mut other = server.connect();
        for says_so in [true, false] {
            let mut waiter = client_with(&server, None, version).expect("a connection");
            waiter.send(&split("XREAD BLOCK 0 STREAMS s $")).expect("sent");
            await_info(&mut other, "blocked_clients:1");
            if says_so {
                let Wire::Tls(stream) = waiter.wire() else { panic!("no TLS") };
                stream.conn.send_close_notify();
                stream.flush().expect("sent");
                await_info(&mut other, "blocked_clients:0");
            }
            drop(waiter);
            await_info(&mut other, "blocked_clients:0");
        }
    }
}

#[test]
fn a_killed_client_is_gone_in_every_state() {
    let server = server(&[]);
    let mut other = server.connect();
    other.line("XGROUP CREATE s g $ MKSTREAM");
    for state in ["SUBSCRIBE c", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "MULTI", "PING"] {
        let mut client = server.connect();
        let id = client.line("CLIENT ID").integer();
        client.send(&split(state)).expect("sent");
        let word = state.split(' ').next().expect("a word").to_ascii_lowercase();
        let deadline = Instant::now() + PATIENCE;
        while !other.line(&format!("CLIENT LIST ID {id}")).text().contains(&format!("cmd={word}")) {
            assert!(Instant::now() < deadline, "{state}");
        }
        assert_eq!(other.line(&format!("CLIENT KILL ID {id}")), Value::Integer(1), "{state}");
        assert!(client.is_closed_within(PATIENCE), "{state}");
    }
    await_info(&mut other, "connected_clients:1");
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = server(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut other = server.connect();
    let mut lazy = server.connect();
    lazy.line("SUBSCRIBE c");
    let message = "x".repeat(100_000);
    let deadline = Instant::now() + PATIENCE;
    while other.command(&["PUBLISH", "c", &message]) == Value::Integer(1) {
        assert!(Instant::now() < deadline, "it is still subscribed");
    }
    await_info(&mut other, "client_output_buffer_limit_disconnections:1");
    // It receives earlier replies as whole messages, and then the end.
    let mut messages = 0;
    while let Ok(message) = lazy.receive(PATIENCE) {
        assert_eq!(message.elements().len(), 3);
        messages += 1;
    }
    assert!(messages > 0);
}

/// Connections that break off at any byte of the handshake or behind it leave nothing.
#[test]
fn connections_that_break_off() {
    let server = server(&[]);
    let mut good = server.connect();
    // A client's first flight, recorded.
    let config = Authority::of_tests().client_config(None, rustls::ALL_VERSIONS);
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut session = rustls::ClientConnection::new(config, name).expect("a session");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a hello");
    for cut in 0..hello.len() {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.write_all(&hello[..cut]).expect("sent");
        if cut % 3 == 0 {
            // Garbage in the place of the next message.
            stream.write_all(&[0xff; 40]).expect("sent");
        }
    }
    for at in 0..30 {
        let mut client = server.connect();
        client.line("SUBSCRIBE c");
        if at % 2 == 0 {
            let Wire::Tls(stream) = client.wire() else { panic!("no TLS") };
            let _ = stream.sock.write_all(&[0x17, 3, 3, 0, 40, 1, 2, 3]);
        }
    }
    await_info(&mut good, "connected_clients:1");
    assert_eq!(good.line("PUBSUB NUMSUB c").elements()[1], Value::Integer(0));
}

#[test]
fn a_shutdown_sends_the_last_replies() {
    let mut server = server(&[]);
    let mut writer = server.connect();
    let many: Vec<u8> = (0..1000).flat_map(|_| b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n".to_vec()).collect();
    writer.send_bytes(&many).expect("sent");
    assert_eq!(writer.reply(PATIENCE).expect("the first"), Value::Integer(1));
    assert!(server.terminate().success());
    let mut answered = 1;
    while let Ok(Value::Integer(number)) = writer.reply(PATIENCE) {
        answered = number;
    }
    server.restart();
    let kept: i64 = server.connect().line("GET n").text().parse().expect("a number");
    assert!(kept >= answered, "{answered} were acknowledged, {kept} are there");
}

#[test]
fn files_are_read_at_the_start_only_when_tls_is_spoken() {
    let server = Server::with(&["--tls-cert-file", "/nowhere.crt"]);
    let mut client = server.connect();
    assert_eq!(client.line("CONFIG SET tls-key-file /nowhere.key"), Value::ok());
    assert!(!Path::new("/nowhere.key").exists());
}
