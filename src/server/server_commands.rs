//! Commands about the server as a whole: CONFIG, INFO, DEBUG, SHUTDOWN and their like.

use crate::command::describe;
use crate::command::value::server::{CheckpointCommand, DebugCommand, ServerCommand};
use crate::command::value::{Write, key::KeyWrite};
use crate::config::config::Config;
use crate::config::{access, rewrite};
use crate::env::process;
use crate::model::args::ArgList;
use crate::model::log::PartitionId;
use crate::model::reply::{Reply, ReplyError};
use crate::server::art;
use crate::server::connection::Connection;
use crate::server::dispatch::Flow;
use crate::server::ticket::{Place, Ticket};
use crate::server::tls::offer;
use crate::server::worker::Worker;
use std::io;
use std::rc::Rc;

impl Worker {
    pub fn execute_server(self: &Rc<Self>, connection: &Rc<Connection>, command: &ServerCommand<'_>) -> Flow {
        match command {
            // What they tell, or do, is about everything before them.
            ServerCommand::Debug(
                DebugCommand::Digest | DebugCommand::DigestValue { .. } | DebugCommand::Object { .. },
            )
            | ServerCommand::MemoryUsage { .. }
            | ServerCommand::Monitor
            | ServerCommand::Info { .. }
                if !connection.is_settled() =>
            {
                return Flow::HoldUntilSettled;
            }
            ServerCommand::Monitor => {
                let reply = self.monitor(connection);
                connection.reply(&reply);
            }
            // Redis refuses it while a checkpoint is being written; here that may be one that nobody has asked for.
            ServerCommand::Checkpoint(CheckpointCommand::Save) => {
                self.checkpoint_askers.borrow_mut().push(Place::open(connection));
                self.checkpoint_wanted.notify_one();
            }
            ServerCommand::WaitAof { local: 1.., timeout_ms, .. }
                if self.committer().sync_due_in().is_some() =>
            {
                if !connection.is_settled() {
                    return Flow::HoldUntilSettled;
                }
                self.sync_for(Place::open(connection), *timeout_ms);
            }
            ServerCommand::Debug(DebugCommand::Reload) if self.allows_debug(connection) => {
                self.reload_for(Place::open(connection));
            }
            ServerCommand::Debug(DebugCommand::Populate { count, prefix, size })
                if self.allows_debug(connection) =>
            {
                self.populate_for(Place::open(connection), *count, prefix, *size);
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
                    pairs.into_iter().map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect(),
                )
            }
            ServerCommand::ConfigSet { pairs } => self.config_set(connection, pairs).into(),
            ServerCommand::ConfigResetStatistics => {
                self.metrics.reset();
                Reply::OK
            }
            ServerCommand::ConfigRewrite => self.config_rewrite(),
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
            ServerCommand::Checkpoint(command) => self.begin_checkpoint(*command),
            // A transaction must not wait, and what monitors begins to wait (Redis `monitorCommand`).
            ServerCommand::Monitor => Reply::error("ERR MONITOR isn't allowed for DENY BLOCKING client"),
            ServerCommand::SlowLog(command) => self.slow_log(*command),
            ServerCommand::Latency(command) => self.latency(command),
            ServerCommand::LastSave => Reply::Integer((self.last_checkpoint_ms.get() / 1000) as i64),
            // There are no replicas and none can come: waiting would not change the answer.
            ServerCommand::Wait { .. } => Reply::Integer(0),
            // A reply in its place behind the writes: they are synced, unless durability is relaxed.
            ServerCommand::WaitAof { .. } => synced(self.committer().sync_due_in().is_none()),
            ServerCommand::Art { columns, rows } => {
                Reply::Verbatim(art::river(self.entropy.u64(), *columns as usize, *rows as usize))
            }
            ServerCommand::Role => Reply::Array(vec![
                Reply::Text("master"),
                Reply::Integer(self.applied() as i64),
                Reply::Array(Vec::new()),
            ]),
            ServerCommand::Memory(command) => self.memory_command(*command),
            ServerCommand::MemoryUsage { key, samples } => {
                let database = connection.session.borrow().database;
                let partition = self.partition(self.router.of_key(key)).borrow();
                match partition.machine().memory_usage(database, self.now(), key, *samples) {
                    Some(bytes) => Reply::count(bytes),
                    None => Reply::Nil,
                }
            }
            ServerCommand::Fixed(reply) => reply.clone(),
        }
    }

    fn config_rewrite(&self) -> Reply {
        let mut config = self.config.borrow_mut();
        let Some(path) = config.config_file.clone() else {
            return Reply::error("ERR The server is running without a config file");
        };
        let written = self.acl.as_settings(&config).map_err(io::Error::other).and_then(|users| {
            rewrite::rewrite(&config, users.as_deref(), &path)?;
            Ok(users)
        });
        match written {
            Ok(users) => {
                if let Some(users) = users {
                    config.users = users;
                }
                tracing::info!(path = %path.display(), "CONFIG REWRITE executed with success");
                Reply::OK
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "CONFIG REWRITE failed");
                Reply::Error(ReplyError::owned(format!("ERR Rewriting config file: {error}")))
            }
        }
    }

    fn config_set(&self, connection: &Connection, pairs: &ArgList<'_>) -> Result<Reply, ReplyError> {
        let mut config = self.config.borrow().clone();
        let changed = access::set(&mut config, in_pairs(pairs))?;
        if changed.contains(&"maxclients") {
            let possible = process::files_for_clients(config.maxclients as u64);
            if possible < config.maxclients as u64 {
                return Err(ReplyError::owned(format!(
                    "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to \
                     handle the specified number of clients, try with {possible}"
                )));
            }
        }
        self.renew_tls(&config, &changed)?;
        self.config.replace(config);
        self.take_over_settings();
        self.log_stream_settings();
        self.listen_as_configured();
        self.follow_acl_settings();
        if changed.contains(&"loglevel") {
            self.log_levels.set(self.config.borrow().loglevel);
        }
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
                self.write(id, 0, &write, Ticket::Internal);
            }
            let known = self.partition(id).borrow().machine().idempotency_limits();
            if (known.duration_s, known.ids) != (duration_s, ids) {
                let write = Write::Key(KeyWrite::SetIdempotencyLimits { duration_s, ids });
                self.write(id, 0, &write, Ticket::Internal);
            }
        }
    }
}

fn in_pairs<'a>(list: &ArgList<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut items = list.iter();
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

/// What WAITAOF answers: journals that have it here and on replicas.
pub fn synced(is_synced: bool) -> Reply {
    Reply::Array(vec![Reply::flag(is_synced), Reply::Integer(0)])
}
