//! Commands about the server as a whole: CONFIG, INFO, DEBUG, SHUTDOWN and their like.

use crate::base::{crc, glob};
use crate::command::describe;
use crate::command::value::server::{DebugCommand, ServerCommand};
use crate::command::value::{Query, Write, key::KeyQuery, key::KeyWrite, key::ObjectAspect};
use crate::config::access;
use crate::config::config::Config;
use crate::model::args::ArgList;
use crate::model::log::PartitionId;
use crate::model::reply::{Reply, ReplyError};
use crate::server::connection::Connection;
use crate::server::dispatch::Flow;
use crate::server::ticket::{Place, Ticket};
use crate::server::tls::offer;
use crate::server::worker::Worker;
use crate::state::checkpoint;
use std::rc::Rc;
use std::time::Duration;

impl Worker {
    pub fn execute_server(&self, connection: &Rc<Connection>, command: &ServerCommand<'_>) -> Flow {
        match command {
            // What they tell, or do, is about everything before them.
            ServerCommand::Debug(
                DebugCommand::Reload
                | DebugCommand::Digest
                | DebugCommand::DigestValue { .. }
                | DebugCommand::Object { .. },
            )
            | ServerCommand::MemoryUsage { .. }
            | ServerCommand::Info { .. }
                if !connection.is_settled() =>
            {
                return Flow::HoldUntilSettled;
            }
            ServerCommand::Checkpoint { background: false, .. } => {
                self.checkpoint_askers.borrow_mut().push(Place::open(connection));
                self.checkpoint_wanted.notify_one();
            }
            ServerCommand::Shutdown { abort: false, .. } => {
                tracing::info!(peer = %connection.peer, "SHUTDOWN: stopping");
                connection.close_after_replies();
                self.stop.notify_one();
            }
            other => {
                let reply = self.server_reply(connection, other);
                connection.reply(&reply);
            }
        }
        Flow::Next
    }

    /// The reply inside EXEC, or of a command that is answered at once.
    pub fn server_reply(&self, connection: &Rc<Connection>, command: &ServerCommand<'_>) -> Reply {
        match command {
            ServerCommand::Command(query) => describe::answer(query),
            ServerCommand::ConfigGet { patterns } => {
                let pairs = access::get(&self.config.borrow(), patterns.iter());
                Reply::Map(
                    pairs.into_iter().map(|(name, value)| (Reply::Text(name), Reply::bulk(value))).collect(),
                )
            }
            ServerCommand::ConfigSet { pairs } => self.config_set(connection, pairs).into(),
            ServerCommand::ConfigResetStatistics => {
                self.metrics.reset();
                Reply::OK
            }
            ServerCommand::ConfigRewrite => Reply::error("ERR The server is running without a config file"),
            ServerCommand::Info { sections } => Reply::Verbatim(self.info(sections)),
            ServerCommand::Time => {
                let now = self.clock.now_micros();
                let parts = [now / 1_000_000, now % 1_000_000];
                Reply::Array(parts.map(|part| Reply::bulk(part.to_string())).into())
            }
            ServerCommand::Acl(command) => self.acl_reply(connection, command),
            ServerCommand::Debug(command) => self.debug(connection, command),
            ServerCommand::Shutdown { abort: true, .. } => Reply::error("ERR No shutdown in progress."),
            ServerCommand::Shutdown { .. } => {
                self.stop.notify_one();
                Reply::OK
            }
            ServerCommand::Checkpoint { answer, .. } => {
                self.checkpoint_wanted.notify_one();
                Reply::Status((*answer).into())
            }
            ServerCommand::LastSave => Reply::Integer((self.last_checkpoint_ms.get() / 1000) as i64),
            // There are no replicas and none can come: waiting would not change the answer.
            ServerCommand::Wait { .. } => Reply::Integer(0),
            // A reply in its place behind the writes: they are synced.
            ServerCommand::WaitAof { .. } => Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]),
            ServerCommand::Role => {
                Reply::Array(vec![Reply::Text("master"), Reply::Integer(0), Reply::Array(Vec::new())])
            }
            ServerCommand::MemoryUsage { key } => {
                let database = connection.session.borrow().database;
                let partition = self.partition(self.router.of_key(key)).borrow();
                match partition.machine().memory_usage(database, self.now(), key) {
                    Some(bytes) => Reply::count(bytes),
                    None => Reply::Nil,
                }
            }
            ServerCommand::Fixed(reply) => reply.clone(),
        }
    }

    fn config_set(&self, connection: &Connection, pairs: &ArgList<'_>) -> Result<Reply, ReplyError> {
        let mut config = self.config.borrow().clone();
        let changed = access::set(&mut config, in_pairs(pairs))?;
        self.renew_tls(&config, &changed)?;
        self.config.replace(config);
        self.log_stream_settings();
        self.listen_as_configured();
        self.follow_acl_settings();
        if changed.contains(&"requirepass") {
            tracing::info!("requirepass was set");
            self.set_default_password(connection);
        }
        Ok(Reply::OK)
    }

    /// Reads the files of TLS again when a setting of it was set, be it to what it was: that is how certificates are renewed.
    /// Connections that are there go on with what they have.
    fn renew_tls(&self, config: &Config, names: &[&'static str]) -> Result<(), ReplyError> {
        let Some(name) = names.iter().find(|name| name.starts_with("tls-")) else { return Ok(()) };
        if config.tls.port == 0 {
            return Ok(());
        }
        match offer::build(&config.tls) {
            Ok(offer) => {
                self.tls.replace(Some(offer));
                tracing::info!("new connections get the TLS certificate and settings of now");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "CONFIG SET: TLS stays as it was");
                Err(ReplyError::owned(format!(
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration. \
                     Check server logs."
                )))
            }
        }
    }

    /// Has the machines take over the settings of streams where they differ: those of nodes decide what `~` trims, and
    /// those of idempotency what a new stream remembers, so replicas must agree on them.
    pub fn log_stream_settings(&self) {
        let (entries, bytes, duration_s, ids) = {
            let config = self.config.borrow();
            let (duration_s, ids) = (config.stream_idmp_duration, config.stream_idmp_maxsize);
            (config.stream_node_max_entries, config.stream_node_max_bytes, duration_s, ids)
        };
        for id in (0..self.router.partitions()).map(PartitionId) {
            let known = self.partition(id).borrow().machine().node_limits();
            if (known.entries, known.bytes) != (entries, bytes) {
                let write = Write::Key(KeyWrite::SetStreamNodeLimits { entries, bytes });
                self.write(id, 0, write, Ticket::Internal);
            }
            let known = self.partition(id).borrow().machine().idempotency_limits();
            if (known.duration_s, known.ids) != (duration_s, ids) {
                let write = Write::Key(KeyWrite::SetIdempotencyLimits { duration_s, ids });
                self.write(id, 0, write, Ticket::Internal);
            }
        }
    }

    fn debug(&self, connection: &Connection, command: &DebugCommand<'_>) -> Reply {
        if !self.config.borrow().enable_debug_command.allows(connection.peer.is_local()) {
            return Reply::error(
                "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
                 from a local connection, otherwise you need to set this option in the configuration file, and then \
                 restart the server.",
            );
        }
        let database = connection.session.borrow().database;
        match command {
            DebugCommand::Sleep { milliseconds } => {
                std::thread::sleep(Duration::from_millis(*milliseconds));
                Reply::OK
            }
            DebugCommand::SetActiveExpire { on } => {
                self.expires_actively.set(*on);
                Reply::OK
            }
            DebugCommand::Reload => self.reload(),
            DebugCommand::Object { key } => self.debug_object(database, key),
            DebugCommand::Digest => Reply::Status(format!("{:040x}", self.digest()).into()),
            DebugCommand::DigestValue { keys } => {
                let digests = keys.iter().map(|key| {
                    let partition = self.partition(self.router.of_key(key)).borrow();
                    let image = partition.machine().key_image(database, self.now(), key);
                    Reply::bulk(format!("{:040x}", image.map_or(0, |image| crc::crc32c(&image))))
                });
                Reply::Array(digests.collect())
            }
            DebugCommand::Protocol { kind } => protocol_sample(kind),
            DebugCommand::Log { message } => {
                tracing::warn!(message = %message.escape_ascii(), "DEBUG LOG");
                Reply::OK
            }
            DebugCommand::StringMatchLength { length, pattern } => {
                let text = vec![b'a'; usize::try_from(*length).unwrap_or(0).min(STRING_MATCH_BYTES_MAX)];
                Reply::flag(glob::matches(pattern, &text))
            }
            DebugCommand::Accepted => Reply::OK,
        }
    }

    /// Drops the memory and rebuilds it from disk.
    fn reload(&self) -> Reply {
        if !self.is_idle() || self.checkpointing.get() {
            return Reply::error(
                "ERR DEBUG RELOAD wants a moment without a checkpoint and without writes of other clients, try again",
            );
        }
        match self.committer().rebuild(self) {
            Ok(()) => Reply::OK,
            Err(error) => {
                // What is in memory now may be anything.
                self.latch.trip(format!("DEBUG RELOAD: {error}"));
                self.stop.notify_one();
                Reply::Error(ReplyError::owned(format!("ERR Error trying to load the data: {error}")))
            }
        }
    }

    fn debug_object(&self, database: u32, key: &[u8]) -> Reply {
        let query = Query::Key(KeyQuery::Object { key, aspect: ObjectAspect::Encoding });
        let partition = self.router.of_key(key);
        let Reply::Bulk(encoding) = self.query(partition, database, &query) else {
            return Reply::Error(ReplyError::NO_SUCH_KEY);
        };
        let bytes =
            self.partition(partition).borrow().machine().memory_usage(database, self.now(), key).unwrap_or(0);
        Reply::Status(
            format!(
                "Value at:0x0 refcount:1 encoding:{} serializedlength:{bytes} lru:0 lru_seconds_idle:0",
                encoding.escape_ascii()
            )
            .into(),
        )
    }

    /// The same for equal data of all partitions.
    fn digest(&self) -> u32 {
        let mut digest = crc::crc32c(b"");
        for partition in self.partitions() {
            checkpoint::encode(partition.borrow().machine(), &mut |piece| {
                digest = crc::extend(digest, piece)
            });
        }
        digest
    }
}

fn in_pairs<'a>(list: &ArgList<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut items = list.iter();
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

/// DEBUG STRINGMATCH-LEN matches against this many bytes at the most.
const STRING_MATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// DEBUG PROTOCOL: one of each kind of reply, for authors of clients (Redis `debugCommand`).
fn protocol_sample(kind: &[u8]) -> Reply {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => Reply::Text("Hello World"),
        b"integer" => Reply::Integer(12345),
        b"null" => Reply::Nil,
        b"array" => Reply::Array((0..3).map(Reply::Integer).collect()),
        b"set" => Reply::Set((0..3).map(Reply::Integer).collect()),
        b"map" => {
            Reply::Map((0..3).map(|number| (Reply::Integer(number), Reply::flag(number == 1))).collect())
        }
        b"push" => Reply::Push(vec![Reply::Text("server-cpu-usage"), Reply::Integer(42)]),
        b"verbatim" => Reply::Verbatim("This is a verbatim\nstring".to_owned()),
        _ => Reply::error(
            "ERR Wrong protocol type name. Please use one of the following: \
             string|integer|null|array|set|map|push|verbatim",
        ),
    }
}
