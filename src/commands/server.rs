//! Commands about the server as a whole: INFO, SHUTDOWN, checkpoints, WAIT and similar commands.

use crate::command::describe;
use crate::command::value::server::{CheckpointCommand, DebugCommand, ServerCommand};
use crate::commands::{acl, config, debug, info, latency, lolwut, memory};
use crate::engine::submission::{CheckpointAnswer, EngineAnswer, Notice, Question};
use crate::frontend::frontend::Frontend;
use crate::frontend::response::{Response, Why};
use crate::model::reply::Reply;
use crate::net::connection::Connection;
use crate::session::pending::Continuation;
use std::borrow::Cow;
use std::rc::Rc;

pub fn execute<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &ServerCommand<'a>,
) -> Response<'a> {
    match command {
        // Their reply or action concerns everything before them.
        ServerCommand::Debug(
            DebugCommand::Digest | DebugCommand::DigestValue { .. } | DebugCommand::Object { .. },
        )
        | ServerCommand::MemoryUsage { .. }
        | ServerCommand::Monitor
        | ServerCommand::Info { .. }
            if !connection.is_drained() =>
        {
            Response::Hold(Why::NotDrained)
        }
        ServerCommand::Monitor => frontend.push.monitor(&frontend.connections, connection).into(),
        ServerCommand::Checkpoint(CheckpointCommand::Save) => Response::Ask(Question::Save, reply_as_it_is()),
        ServerCommand::WaitAof { local: 1.., timeout_ms, .. } => {
            if !connection.is_drained() {
                return Response::Hold(Why::NotDrained);
            }
            Response::Ask(Question::Sync { timeout_ms: *timeout_ms }, Box::new(synced))
        }
        ServerCommand::Debug(DebugCommand::Reload) if debug::is_allowed(frontend, connection) => {
            debug::reload(frontend)
        }
        ServerCommand::Debug(DebugCommand::Populate { count, prefix, size })
            if debug::is_allowed(frontend, connection) =>
        {
            debug::populate(frontend, connection, *count, prefix, *size)
        }
        ServerCommand::Shutdown { abort: false, .. } => {
            tracing::info!(peer = %connection.peer, "SHUTDOWN: stopping");
            connection.close_after_replies();
            frontend.context.stop.notify_one();
            Response::Silence
        }
        other => reply_inside_exec(frontend, connection, other),
    }
}

/// The reply inside EXEC, or of a command that does not wait.
pub fn reply_inside_exec<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &ServerCommand<'a>,
) -> Response<'a> {
    match command {
        ServerCommand::Command(query) => describe::answer(query),
        ServerCommand::ConfigGet { patterns } => config::get(frontend, patterns),
        ServerCommand::ConfigSet { pairs } => config::set(frontend, connection, pairs).into(),
        ServerCommand::ConfigResetStatistics => {
            frontend.port.notice(Notice::ResetStatistics);
            frontend.metrics.reset();
            Reply::OK
        }
        ServerCommand::ConfigRewrite => config::rewrite(frontend),
        ServerCommand::Info { sections } => return info::execute(frontend, sections),
        ServerCommand::Time => {
            let now = frontend.context.clock.now_micros();
            let parts = [now / 1_000_000, now % 1_000_000];
            Reply::Array(parts.map(|part| Reply::bulk(part.to_string())).into())
        }
        ServerCommand::Acl(command) => acl::execute(frontend, connection, command),
        ServerCommand::Debug(command) => return debug::execute(frontend, connection, command),
        ServerCommand::Shutdown { abort: true, .. } => Reply::error("ERR No shutdown in progress."),
        ServerCommand::Shutdown { .. } => {
            frontend.context.stop.notify_one();
            Reply::OK
        }
        ServerCommand::Checkpoint(command) => {
            let command = *command;
            let make = move |answer| match answer {
                EngineAnswer::Checkpoint(answer) => checkpoint_reply(command, answer),
                other => other.into_reply(),
            };
            return Response::Ask(Question::BeginCheckpoint(command), Box::new(make));
        }
        // A transaction must not wait, and a monitor waits from then on (Redis `monitorCommand`).
        ServerCommand::Monitor => Reply::error("ERR MONITOR isn't allowed for DENY BLOCKING client"),
        ServerCommand::SlowLog(command) => latency::slow_log(frontend, *command),
        ServerCommand::Latency(command) => latency::latency(frontend, command),
        ServerCommand::LastSave => {
            let make = |answer| match answer {
                EngineAnswer::Report(report) => {
                    Reply::Integer((report.checkpoints.finished_at.0 / 1000) as i64)
                }
                other => other.into_reply(),
            };
            return Response::Ask(Question::Report { streams: false }, Box::new(make));
        }
        // There are no replicas, so waiting would not change the answer.
        ServerCommand::Wait { .. } => Reply::Integer(0),
        // A reply queued behind the writes: they are synced, unless durability is relaxed.
        ServerCommand::WaitAof { .. } => {
            let make = |answer| match answer {
                EngineAnswer::Report(report) => synced(EngineAnswer::Synced(report.syncs_each_commit)),
                other => other.into_reply(),
            };
            return Response::Ask(Question::Report { streams: false }, Box::new(make));
        }
        ServerCommand::Art { columns, rows } => {
            let chance = frontend.context.entropy.u64();
            Reply::Verbatim(lolwut::river(chance, *columns as usize, *rows as usize))
        }
        ServerCommand::Role => {
            let make = |answer| match answer {
                EngineAnswer::Report(report) => Reply::Array(vec![
                    Reply::Text("master"),
                    Reply::Integer(report.applied as i64),
                    Reply::Array(Vec::new()),
                ]),
                other => other.into_reply(),
            };
            return Response::Ask(Question::Report { streams: false }, Box::new(make));
        }
        ServerCommand::Memory(command) => return memory::execute(frontend, *command),
        ServerCommand::MemoryUsage { key, samples } => {
            let database = connection.session.borrow().database;
            let make = |answer| match answer {
                EngineAnswer::Size(bytes) => bytes.map_or(Reply::Nil, Reply::count),
                other => other.into_reply(),
            };
            let question = Question::MemoryUsage { database, key: Cow::Borrowed(key), samples: *samples };
            return Response::Ask(question, Box::new(make));
        }
        ServerCommand::Fixed(reply) => reply.clone(),
    }
    .into()
}

fn reply_as_it_is() -> Continuation {
    Box::new(EngineAnswer::into_reply)
}

/// The reply of BGSAVE and BGREWRITEAOF, and of SAVE inside a transaction.
fn checkpoint_reply(command: CheckpointCommand, answer: CheckpointAnswer) -> Reply {
    let is_scheduled = answer == CheckpointAnswer::Scheduled;
    let text = match command {
        _ if answer == CheckpointAnswer::AlreadyRunning => {
            return Reply::error("ERR Background save already in progress");
        }
        CheckpointCommand::BackgroundSave { .. } if is_scheduled => "Background saving scheduled",
        CheckpointCommand::BackgroundSave { .. } => "Background saving started",
        CheckpointCommand::Rewrite if is_scheduled => "Background append only file rewriting scheduled",
        CheckpointCommand::Rewrite => "Background append only file rewriting started",
        CheckpointCommand::Save => "OK",
    };
    Reply::Status(text.into())
}

/// The reply of WAITAOF: the number of synced journals, local and on replicas.
fn synced(answer: EngineAnswer) -> Reply {
    match answer {
        EngineAnswer::Synced(is_synced) => Reply::Array(vec![Reply::flag(is_synced), Reply::Integer(0)]),
        other => other.into_reply(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    #[test]
    fn what_a_checkpoint_command_is_told() {
        let told = |command, answer| match checkpoint_reply(command, answer) {
            Reply::Status(text) => text.into_owned(),
            Reply::Error(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            other => format!("{other:?}"),
        };
        let background = CheckpointCommand::BackgroundSave { schedule: false };
        assert_eq!(told(background, CheckpointAnswer::Started), "Background saving started");
        assert_eq!(told(background, CheckpointAnswer::Scheduled), "Background saving scheduled");
        assert!(
            told(CheckpointCommand::Save, CheckpointAnswer::AlreadyRunning).contains("already in progress")
        );
        assert_eq!(told(CheckpointCommand::Save, CheckpointAnswer::Started), "OK");
    }

    #[test]
    fn figures_include_what_the_same_client_has_sent_before() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.send("SET a 1\nINFO keyspace");
        assert_eq!(ann.told(), "");
        stage.commit();
        assert!(ann.told().contains("db0:keys=1,"));
    }

    #[test]
    fn a_monitor_is_not_made_inside_a_transaction() {
        let stage = Stage::new();
        let told = stage.client().ask("MULTI\nMONITOR\nEXEC");
        assert!(!stage.frontend.push.monitors.is_any(), "{told}");
    }

    #[test]
    fn shutdown_answers_what_came_before_it() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.send("SET a 1\nSHUTDOWN");
        stage.commit();
        assert_eq!(ann.told(), "+OK");
        stage.pass_ms(1000);
        assert!(stage.has_ended());
    }
}
