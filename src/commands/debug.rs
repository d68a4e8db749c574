//! DEBUG, as far as test suites use it.

use crate::base::glob;
use crate::command::value::Write;
use crate::command::value::server::DebugCommand;
use crate::command::value::string::StringWrite;
use crate::engine::submission::{EngineAnswer, Notice, Outcome, Question, TableFacts, Work};
use crate::frontend::frontend::Frontend;
use crate::frontend::response::Response;
use crate::model::reply::{Reply, ReplyError};
use crate::model::request::RequestId;
use crate::net::connection::{Connection, Hold};
use crate::resp::writer::Protocol;
use crate::session::pending::{Completion, Pending, PopulateRun};
use crate::state::answer::Answer;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

/// Keys per step of DEBUG POPULATE: the next step follows when they are applied, so that no batch grows
/// without bound.
const POPULATE_AT_ONCE: u64 = 1000;

const NOT_ALLOWED: ReplyError = ReplyError::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
     from a local connection, otherwise you need to set this option in the configuration file, and then \
     restart the server.",
);

pub fn is_allowed(frontend: &Frontend, connection: &Connection) -> bool {
    frontend.context.config.borrow().enable_debug_command.allows(connection.peer.is_local())
}

/// The reply inside EXEC, or of a subcommand that does not wait.
pub fn execute<'a>(frontend: &Frontend, connection: &Connection, command: &DebugCommand<'a>) -> Response<'a> {
    if !is_allowed(frontend, connection) {
        return Reply::Error(NOT_ALLOWED).into();
    }
    let database = connection.session.borrow().database;
    match command {
        DebugCommand::Sleep { milliseconds } => {
            frontend.context.clock.stall(Duration::from_millis(*milliseconds));
            Reply::OK
        }
        DebugCommand::SetActiveExpire { on } => {
            frontend.port.notice(Notice::ExpiresActively(*on));
            Reply::OK
        }
        DebugCommand::Reload => {
            return Response::Ask(Question::ReloadNow, Box::new(EngineAnswer::into_reply));
        }
        DebugCommand::Object { key } => {
            return Response::Ask(Question::Object { database, key: Cow::Borrowed(key) }, Box::new(object));
        }
        DebugCommand::Digest => {
            let make = |answer| match answer {
                EngineAnswer::Digest(digest) => Reply::Status(format!("{digest:040x}").into()),
                other => other.into_reply(),
            };
            return Response::Ask(Question::Digest, Box::new(make));
        }
        DebugCommand::DigestValue { keys } => {
            let make = |answer| match answer {
                EngineAnswer::Digests(digests) => {
                    Reply::Array(digests.iter().map(|digest| Reply::bulk(format!("{digest:040x}"))).collect())
                }
                other => other.into_reply(),
            };
            let question =
                Question::DigestValues { database, keys: keys.iter().map(Cow::Borrowed).collect() };
            return Response::Ask(question, Box::new(make));
        }
        DebugCommand::Protocol { kind } => protocol_sample(kind, connection.session.borrow().protocol),
        DebugCommand::Log { message } => {
            tracing::warn!(message = %message.escape_ascii(), "DEBUG LOG");
            Reply::OK
        }
        DebugCommand::StringMatchLength { length, pattern } => {
            let text = vec![b'a'; usize::try_from(*length).unwrap_or(0).min(STRING_MATCH_BYTES_MAX)];
            Reply::flag(glob::matches(pattern, &text))
        }
        DebugCommand::Populate { .. } => {
            Reply::error("ERR DEBUG POPULATE cannot be in a transaction: it takes many rounds")
        }
        DebugCommand::TableStatistics { database } => {
            let Some(database) = u32::try_from(*database).ok().filter(|it| *it < frontend.databases()) else {
                return Reply::error("ERR Out of range database").into();
            };
            let make = |answer| match answer {
                EngineAnswer::Table(facts) => table_statistics(facts),
                other => other.into_reply(),
            };
            return Response::Ask(Question::TableStatistics { database }, Box::new(make));
        }
        DebugCommand::PauseCron { paused } => {
            frontend.cron_paused.set(*paused);
            frontend.port.notice(Notice::UpkeepPaused(*paused));
            Reply::OK
        }
        DebugCommand::Panic => panic!("asked for by DEBUG PANIC"),
        DebugCommand::Accepted => Reply::OK,
    }
    .into()
}

fn object(answer: EngineAnswer) -> Reply {
    match answer {
        EngineAnswer::Object(None) => Reply::Error(ReplyError::NO_SUCH_KEY),
        EngineAnswer::Object(Some(facts)) => Reply::Status(
            format!(
                "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:0 lru_seconds_idle:0",
                facts.encoding, facts.bytes
            )
            .into(),
        ),
        other => other.into_reply(),
    }
}

/// DEBUG RELOAD: holds all clients until nothing is in flight and the state is rebuilt.
pub fn reload(frontend: &Rc<Frontend>) -> Response<'static> {
    frontend.pause.suspend();
    let suspension = Suspension { frontend: frontend.clone() };
    let make = move |answer: EngineAnswer| {
        drop(suspension);
        answer.into_reply()
    };
    Response::Ask(Question::Reload, Box::new(make))
}

/// Holds all clients until it is dropped: with the answer, or with a client that does not wait for it.
struct Suspension {
    frontend: Rc<Frontend>,
}

impl Drop for Suspension {
    fn drop(&mut self) {
        self.frontend.pause.resume();
    }
}

/// DEBUG POPULATE.
pub fn populate(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    count: u64,
    prefix: &[u8],
    size: Option<usize>,
) -> Response<'static> {
    let database = connection.session.borrow().database;
    let run = PopulateRun { database, next: 0, count, prefix: prefix.to_vec(), size };
    let request = connection.open_slot(Pending::default());
    // Later requests see all the keys.
    connection.activity.hold.set(Hold::UntilDrained);
    populate_on(frontend, connection, request, run, Outcome::of(request, Answer::Done));
    Response::Pending(request)
}

/// The last keys of DEBUG POPULATE are applied: submits the next ones.
pub fn populate_on(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    request: RequestId,
    mut run: PopulateRun,
    mut outcome: Outcome,
) {
    loop {
        let reply = outcome.answer.into_reply();
        if matches!(reply, Reply::Error(_)) {
            return frontend.answer_late(connection, request, &reply, 0);
        }
        if run.next >= run.count {
            return frontend.answer_late(connection, request, &Reply::OK, 0);
        }
        let numbers = run.next..run.count.min(run.next + POPULATE_AT_ONCE);
        run.next = numbers.end;
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = numbers
            .map(|number| {
                let key = [&run.prefix[..], b":", number.to_string().as_bytes()].concat();
                let mut value = format!("value:{number}").into_bytes();
                if let Some(size) = run.size {
                    value.resize(size, 0);
                }
                (key, value)
            })
            .collect();
        let writes = pairs.iter().map(|(key, value)| Write::String(StringWrite::SetIfAbsent { key, value }));
        let work = Work::Fill { database: run.database, writes: writes.collect() };
        match frontend.port.submit(request, work) {
            Some(next) => outcome = next,
            None => {
                let then = Completion::Populate(Box::new(run));
                connection.with_pending(request, |pending| pending.then = Some(then));
                return;
            }
        }
    }
}

/// DEBUG HTSTATS.
fn table_statistics(facts: TableFacts) -> Reply {
    let mut text = String::new();
    let tables = [("Dictionary", facts.keys, Some(facts.capacity)), ("Expires", facts.expiring, None)];
    for (name, elements, size) in tables {
        let _ = write!(text, "[{name} HT]\nHash table 0 stats (main hash table):\n");
        if elements == 0 {
            text.push_str("No stats available for empty dictionaries\n");
            continue;
        }
        if let Some(size) = size {
            let _ = writeln!(text, " table size: {size}");
        }
        let _ = writeln!(text, " number of elements: {elements}");
    }
    Reply::Verbatim(text)
}

/// Maximum bytes that DEBUG STRINGMATCH-LEN matches against.
const STRING_MATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// DEBUG PROTOCOL: one sample of each kind of reply, for client authors (Redis `debugCommand`).
fn protocol_sample(kind: &[u8], protocol: Protocol) -> Reply {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => Reply::Text("Hello World"),
        b"integer" => Reply::Integer(12345),
        b"null" => Reply::Nil,
        b"array" => Reply::Array((0..3).map(Reply::Integer).collect()),
        b"set" => Reply::Set((0..3).map(Reply::Integer).collect()),
        b"map" => {
            Reply::Map((0..3).map(|number| (Reply::Integer(number), Reply::flag(number == 1))).collect())
        }
        b"push" if protocol == Protocol::Resp2 => Reply::error("ERR RESP2 is not supported by this command"),
        b"push" => Reply::Push(vec![Reply::Text("server-cpu-usage"), Reply::Integer(42)]),
        b"verbatim" => Reply::Verbatim("This is a verbatim\nstring".to_owned()),
        _ => Reply::error(
            "ERR Wrong protocol type name. Please use one of the following: \
             string|integer|null|array|set|map|push|verbatim",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::config::DebugCommands;
    use crate::node::testing::Stage;

    fn stage() -> Rc<Stage> {
        Stage::with(|config| {
            config.enable_debug_command = DebugCommands::Local;
            config.protected_mode = false;
        })
    }

    #[test]
    fn debug_is_for_those_who_are_allowed() {
        assert!(Stage::new().client().ask("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed"));
        let far = stage().client_from([192, 0, 2, 1]).unwrap();
        assert!(far.ask("DEBUG POPULATE 1").starts_with("-ERR DEBUG command not allowed"));
        assert_eq!(stage().client().ask("DEBUG SLEEP 0"), "+OK");
    }

    #[test]
    fn populate_makes_every_key_over_many_rounds_and_spares_those_there() {
        let ann = stage().client();
        let count = 2 * POPULATE_AT_ONCE + 1;
        ann.ask("SET key:7 mine");
        assert_eq!(ann.ask(&format!("DEBUG POPULATE {count}\nDBSIZE")), format!("+OK :{count}"));
        assert_eq!(ann.ask("GET key:7\nGET key:2000"), "$4 mine $10 value:2000");
        assert_eq!(ann.ask("DEBUG POPULATE 1 p 3\nSTRLEN p:0"), "+OK :3");
    }

    #[test]
    fn a_reload_that_is_under_way_holds_everybody_until_its_client_is_gone() {
        let stage = stage();
        let (ann, bob) = (stage.client(), stage.client());
        let Response::Ask(_, make) = reload(&stage.frontend) else { panic!("the engine is asked") };
        assert_eq!(ann.ask("PING"), "");
        bob.connection.open_slot(Pending { then: Some(Completion::Ask(make)), ..Pending::default() });
        stage.frontend.kill(&ann.connection, &bob.connection);
        bob.leave();
        assert_eq!(ann.ask("PING"), "+PONG +PONG");
    }
}
