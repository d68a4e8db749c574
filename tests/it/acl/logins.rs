//! Failed logins delay further logins of the same address, and nothing else (docs/reliability.md A9).
//! src/acl/throttle.rs tests the delays with a simulated clock.

use crate::support::client::{Client, PATIENCE};
use crate::support::server::Server;
use crate::support::value::Value;
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const WRONG: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// A client with another address of this machine.
fn connect_from(server: &Server, last: u8) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())
        .expect("an address of this machine");
    socket.connect(&server.address().into()).expect("a connection");
    Client::over(socket.into())
}

fn info(client: &mut Client, name: &str) -> u64 {
    let text = client.line("INFO stats").text();
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line of INFO");
    line.trim().parse().expect("a number")
}

#[test]
fn an_address_that_guesses_is_put_off_and_no_other() {
    let server = Server::with(&[
        "--login-failures-free",
        "3",
        "--login-backoff-max",
        "300ms",
        "--login-backoff-loopback",
        "yes",
    ]);
    let mut admin = server.connect();
    assert_eq!(admin.line("ACL SETUSER ann on >right +ping"), Value::ok());
    let mut guesser = connect_from(&server, 7);
    for _ in 0..4 {
        assert_eq!(guesser.line("AUTH ann wrong").text(), WRONG);
    }
    // The first delay is 100 ms, regardless of connection, user and password.
    let mut refused = 0;
    for line in ["AUTH ann wrong", "AUTH ann right", "AUTH nobody x", "HELLO 3 AUTH ann right"] {
        let reply = connect_from(&server, 7).line(line).text();
        refused +=
            u32::from(reply.starts_with("ERR Too many failed logins from this address, try again in "));
    }
    assert!(refused > 0, "nothing was put off");
    assert_eq!(connect_from(&server, 8).line("AUTH ann right"), Value::ok());
    assert_eq!(guesser.line("PING"), Value::Simple(b"PONG".to_vec()), "the connection itself goes on");
    // A login refused during the delay is no failure: the address may log in when the delay is over.
    let deadline = Instant::now() + PATIENCE;
    while connect_from(&server, 7).line("AUTH ann right") != Value::ok() {
        assert!(Instant::now() < deadline, "still put off");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(info(&mut admin, "throttled_logins") >= u64::from(refused));
    assert!(info(&mut admin, "acl_access_denied_auth") >= 4 + u64::from(refused));
    // The log contains checked logins, not those refused during a delay.
    let log = admin.line("ACL LOG").elements();
    let of =
        |name: &str| log.iter().filter(|entry| entry.field("username") == Some(Value::bulk(name))).count();
    assert_eq!((of("ann"), of("nobody")), (1, 0), "{log:?}");
}

#[test]
fn it_can_be_turned_off() {
    let server = Server::with(&["--login-failures-free", "0", "--login-backoff-loopback", "yes"]);
    let mut client = server.connect();
    for _ in 0..50 {
        assert_eq!(client.line("AUTH ann wrong").text(), WRONG);
    }
    assert_eq!(client.line("CONFIG SET login-failures-free 1 login-backoff-max 1h"), {
        Value::Error(b"ERR CONFIG SET failed (possibly related to argument 'login-backoff-max') - argument couldn't be parsed into an integer".to_vec())
    });
    assert_eq!(client.line("CONFIG SET login-failures-free 1 login-backoff-max 60s"), Value::ok());
    assert_eq!(client.line("AUTH ann wrong").text(), WRONG);
    assert_eq!(client.line("AUTH ann wrong").text(), WRONG);
    assert!(client.line("AUTH ann wrong").text().starts_with("ERR Too many failed logins"));
    assert_eq!(client.line("CONFIG SET login-failures-free 0"), Value::ok());
    assert_eq!(client.line("AUTH ann wrong").text(), WRONG);
}

/// EXEC decides at its start what commands behind a login may do; this must not reveal what the throttle
/// hides.
#[test]
fn a_transaction_does_not_tell_a_password_that_is_put_off() {
    let server = Server::with(&["--login-failures-free", "3", "--login-backoff-loopback", "yes"]);
    let mut admin = server.connect();
    admin.line("ACL SETUSER app on >right ~app* +@all");
    admin.line("ACL SETUSER bob on >b ~pub* +get +multi +exec +auth");
    let mut bob = server.connect();
    assert_eq!(bob.line("AUTH bob b"), Value::ok());
    let guesses = |bob: &mut Client, guesses: &[&str]| {
        bob.line("MULTI");
        for guess in guesses {
            bob.line(&format!("AUTH app {guess}"));
            bob.line("GET pub1");
        }
        bob.line("EXEC").elements()
    };
    // Many logins in one transaction: the right password is among those refused as too early.
    let many = guesses(&mut bob, &["1", "2", "3", "4", "5", "6", "right"]);
    let gets: Vec<bool> = many.iter().skip(1).step_by(2).map(Value::is_error).collect();
    assert_eq!(gets, [false; 7], "a wrong login must change nothing for the GET behind it");
    assert!(many[12].text().starts_with("ERR Too many failed logins"), "{}", many[12]);
    // The same one by one.
    for guess in ["wrong", "right"] {
        let told = guesses(&mut bob, &[guess]);
        assert!(told[0].text().starts_with("ERR Too many failed logins"), "{guess}: {}", told[0]);
        assert!(told[1].is_null(), "{guess}: {}", told[1]);
    }
}
