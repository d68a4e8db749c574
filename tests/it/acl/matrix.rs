//! Every command × every kind of user × alone, in a pipeline, between MULTI and EXEC, and blocked during a
//! change of rules (docs/reliability.md A1, A2).

use super::requests::{self, Request, first_subcommands};
use crate::support::client::{Client, PATIENCE};
use crate::support::keys::concerns_all_slots;
use crate::support::server::Server;
use crate::support::value::Value;
use headwater::command::spec::{Flag, Flags};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Allowed,
    Command,
    Key,
    Channel,
}

/// A kind of user: its rules, and whether they allow the command, the keys and the channels of a request.
struct Kind {
    name: &'static str,
    rules: String,
    allows: fn(&Request) -> Verdict,
}

fn when(allowed: bool, verdict: Verdict) -> Verdict {
    if allowed { Verdict::Allowed } else { verdict }
}

fn kinds() -> Vec<Kind> {
    let kind = |name, rules: &str, allows| Kind { name, rules: rules.to_owned(), allows };
    vec![
        kind("full", "+@all ~* &*", |_| Verdict::Allowed),
        kind("no command", "-@all ~* &*", |_| Verdict::Command),
        kind("commands by category", "-@all +@read +@connection ~* &*", |request| {
            when(request.is_in("@read") || request.is_in("@connection"), Verdict::Command)
        }),
        kind("all but some categories", "+@all -@write -@dangerous ~* &*", |request| {
            when(!request.is_in("@write") && !request.is_in("@dangerous"), Verdict::Command)
        }),
        kind("sub-commands only", &format!("-@all {} ~* &*", first_subcommands()), |request| {
            when(request.is_first_subcommand(), Verdict::Command)
        }),
        kind("no keys", "+@all resetkeys &*", |request| when(!request.asks().keys, Verdict::Key)),
        kind("other keys", "+@all ~other* ~kk &*", |request| when(!request.asks().keys, Verdict::Key)),
        kind("keys to read", "+@all %R~k* &*", |request| when(!request.asks().writes, Verdict::Key)),
        kind("keys to write", "+@all %W~k &*", |request| when(!request.asks().reads, Verdict::Key)),
        kind("keys by two patterns", "+@all %R~k* %W~k &*", |request| {
            let asks = request.asks();
            // One key that is read and written needs one pattern for both; two keys do not.
            let needs_both = request.row.keys.iter().any(|spec| {
                use headwater::command::spec::KeyFlag::{Access, Delete, Insert, Update, VariableFlags};
                spec.has(Access)
                    && !spec.has(VariableFlags)
                    && [Delete, Insert, Update].iter().any(|flag| spec.has(*flag))
            });
            when(!(asks.keys && needs_both), Verdict::Key)
        }),
        kind("no channels", "+@all ~* resetchannels", |request| {
            when(!request.asks().channels, Verdict::Channel)
        }),
        kind("other channels", "+@all ~* &other &1-", |request| {
            when(!request.asks().channels, Verdict::Channel)
        }),
        kind("a selector", "-@all +ping (+@read ~k &1-1) (+@all -@read ~k)", |request| {
            let (reads, asks) = (request.is_in("@read"), request.asks());
            when(request.row.name == "ping" || reads || !asks.channels, Verdict::Channel)
        }),
    ]
}

/// Never executed, even if allowed: it stops the server.
const NOT_EXECUTED: [&str; 1] = ["shutdown"];

/// Rows that need no login need no permission either.
fn verdict(kind: &Kind, request: &Request) -> Verdict {
    if request.row.flags.has(Flag::NoAuth) { Verdict::Allowed } else { (kind.allows)(request) }
}

fn refusal(verdict: Verdict, request: &Request) -> Option<String> {
    let text = refusal_of(verdict, request)?;
    // A refused EXEC ends its transaction.
    let prefix = if request.row.name == "exec" { "EXECABORT Transaction discarded because of: " } else { "" };
    Some(format!("{prefix}{text}"))
}

fn refusal_of(verdict: Verdict, request: &Request) -> Option<String> {
    match verdict {
        Verdict::Allowed => None,
        Verdict::Command => {
            Some(format!("NOPERM User u has no permissions to run the '{}' command", request.row.full_name()))
        }
        Verdict::Key => Some("NOPERM No permissions to access a key".to_owned()),
        Verdict::Channel => Some("NOPERM No permissions to access a channel".to_owned()),
    }
}

fn refusal_at_exec(verdict: Verdict) -> Option<String> {
    let why = match verdict {
        Verdict::Allowed => return None,
        Verdict::Command => "no permission to execute the command or subcommand",
        Verdict::Key => "no permission to touch the specified keys",
        Verdict::Channel => "no permission to access one of the channels used as arguments",
    };
    Some(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed \
         for the following reason: {why}"
    ))
}

#[track_caller]
fn expect(reply: &Value, wanted: Option<&str>, what: &str) {
    let text = reply.text();
    match wanted {
        Some(wanted) => {
            assert!(reply.is_error() && text == wanted, "{what}\nwanted {wanted}\ngot    {reply}")
        }
        None => assert!(!text.starts_with("NOPERM"), "{what}\ngot    {reply}"),
    }
}

struct Matrix {
    server: Server,
    admin: Client,
}

impl Matrix {
    fn start() -> Matrix {
        let server = Server::start();
        let admin = server.connect();
        Matrix { server, admin }
    }

    /// Replaces the rules of user `u`.
    fn set(&mut self, rules: &str) {
        let reply = self.admin.line(&format!("ACL SETUSER u reset on nopass {rules}"));
        assert_eq!(reply, Value::ok(), "{rules}");
    }

    fn log_in(&self) -> Client {
        let mut client = self.server.connect();
        assert_eq!(client.line("AUTH u x"), Value::ok());
        client
    }

    fn each(&mut self, mut test: impl FnMut(&mut Matrix, &Kind, &Request, Verdict, &str)) {
        let requests = requests::all();
        for kind in kinds() {
            self.set(&kind.rules);
            let mut denied = 0;
            for request in &requests {
                let verdict = verdict(&kind, request);
                denied += usize::from(verdict != Verdict::Allowed);
                let what =
                    format!("{} by a user with {} ({})", request.words.join(" "), kind.name, kind.rules);
                test(self, &kind, request, verdict, &what);
            }
            assert!(denied > 0 || kind.name == "full", "{} denies nothing", kind.name);
            assert!(denied < requests.len(), "{} allows nothing", kind.name);
        }
    }
}

fn may_be_executed(request: &Request) -> bool {
    !NOT_EXECUTED.contains(&request.row.full_name())
}

#[test]
fn sent_alone() {
    Matrix::start().each(|matrix, _, request, verdict, what| {
        if verdict != Verdict::Allowed || may_be_executed(request) {
            let reply = matrix.log_in().command(&request.words);
            expect(&reply, refusal(verdict, request).as_deref(), what);
        }
    });
}

/// The user changes between two requests of one packet.
#[test]
fn in_a_pipeline() {
    let mut matrix = Matrix::start();
    assert_eq!(matrix.admin.line("ACL SETUSER full on nopass +@all ~* &*"), Value::ok());
    matrix.each(|matrix, _, request, verdict, what| {
        if verdict == Verdict::Allowed {
            // Covered above; some of them end the connection or turn its replies off.
            return;
        }
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let pipeline = [
            words("AUTH full x"),
            words("AUTH u x"),
            request.words.clone(),
            words("AUTH full x"),
            words("PING"),
        ];
        let replies = matrix.server.connect().pipeline(&pipeline);
        expect(&replies[2], refusal(verdict, request).as_deref(), what);
        assert_eq!(replies[4], Value::Simple(b"PONG".to_vec()), "{what}");
    });
}

fn may_be_queued(server: &Server, request: &Request) -> bool {
    let words: Vec<Vec<u8>> = request.words.iter().map(|word| word.clone().into_bytes()).collect();
    let spans_partitions = server.is_partitioned() && concerns_all_slots(&words);
    let stays_out = [Flags::IMMEDIATE_IN_MULTI, Flags::NO_MULTI];
    !spans_partitions && !stays_out.into_iter().any(|flag| request.row.flags.contains(flag))
}

/// The rules change after MULTI: a command that is no longer allowed is refused when it is queued, and EXEC
/// fails.
#[test]
fn queued() {
    let mut matrix = Matrix::start();
    matrix.each(|matrix, kind, request, verdict, what| {
        if !may_be_queued(&matrix.server, request) {
            return;
        }
        matrix.set("+@all ~* &*");
        let mut client = matrix.log_in();
        assert_eq!(client.line("MULTI"), Value::ok());
        matrix.set(&kind.rules);
        let reply = client.command(&request.words);
        expect(&reply, refusal(verdict, request).as_deref(), what);
        matrix.set("+@all ~* &*");
        if verdict == Verdict::Allowed {
            assert_eq!(reply, Value::Simple(b"QUEUED".to_vec()), "{what}");
            assert_eq!(client.line("DISCARD"), Value::ok());
        } else {
            assert!(client.line("EXEC").text().starts_with("EXECABORT"), "{what}");
        }
        matrix.set(&kind.rules);
    });
}

/// The rules change between queueing and EXEC: EXEC refuses only the commands that are no longer allowed.
#[test]
fn executed() {
    let mut matrix = Matrix::start();
    matrix.each(|matrix, kind, request, verdict, what| {
        if !may_be_queued(&matrix.server, request)
            || (verdict == Verdict::Allowed && !may_be_executed(request))
        {
            return;
        }
        matrix.set("+@all ~* &*");
        let mut client = matrix.log_in();
        assert_eq!(client.line("MULTI"), Value::ok());
        assert_eq!(client.command(&request.words), Value::Simple(b"QUEUED".to_vec()), "{what}");
        matrix.set(&format!("{} +exec", kind.rules));
        let reply = client.line("EXEC");
        matrix.set(&kind.rules);
        if request.row.container == Some("client") && request.row.name == "reply" {
            return;
        }
        let elements = reply.elements();
        let [inner] = &elements[..] else { panic!("{what}\ngot {reply}") };
        expect(inner, refusal_at_exec(verdict).as_deref(), what);
    });
}

/// The rules change during the wait: the read is served, or refused when it would be served.
#[test]
fn blocked_then_revoked() {
    let requests = requests::blocking();
    assert!(requests.len() >= 2, "XREAD and XREADGROUP block");
    let mut matrix = Matrix::start();
    for request in &requests {
        for kind in kinds() {
            let verdict = verdict(&kind, request);
            let what = format!("{} by a user with {}", request.words.join(" "), kind.name);
            matrix.admin.line("FLUSHALL");
            assert_eq!(matrix.admin.line("XGROUP CREATE k 1-1 $ MKSTREAM"), Value::ok());
            matrix.set("+@all ~* &*");
            let mut client = matrix.log_in();
            // The id that waits for new entries.
            let mut words = request.words.clone();
            let new = if request.row.flags.has(Flag::Write) { ">" } else { "$" };
            *words.last_mut().expect("an id") = new.to_owned();
            client.send(&words).expect("sent");
            wait_until_blocked(&mut matrix.admin);
            matrix.set(&kind.rules);
            assert!(
                client.reply(Duration::from_millis(5)).is_err(),
                "{what}: answered before it could be served"
            );
            matrix.admin.line("XADD k 5-1 f v");
            let reply = client.reply(PATIENCE).expect("served or refused");
            expect(&reply, refusal(verdict, request).as_deref(), &what);
            let pending = matrix.admin.line("XPENDING k 1-1");
            let delivered = verdict == Verdict::Allowed && request.row.flags.has(Flag::Write);
            assert_eq!(pending.elements()[0], Value::Integer(i64::from(delivered)), "{what}");
        }
    }
}

fn wait_until_blocked(admin: &mut Client) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !admin.line("INFO clients").text().contains("blocked_clients:1") {
        assert!(std::time::Instant::now() < deadline, "it does not block");
        std::thread::sleep(Duration::from_millis(1));
    }
}
