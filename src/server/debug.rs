//! DEBUG: what test suites use of it.

use crate::base::{crc, glob};
use crate::command::value::key::{KeyQuery, ObjectAspect};
use crate::command::value::server::DebugCommand;
use crate::command::value::string::StringWrite;
use crate::command::value::{Query, Write};
use crate::model::reply::{Reply, ReplyError};
use crate::resp::writer::Protocol;
use crate::server::connection::Connection;
use crate::server::server_commands;
use crate::server::ticket::{Place, Ticket};
use crate::server::worker::Worker;
use crate::state::checkpoint;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

/// How often what cannot go on yet looks whether it can.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Keys that DEBUG POPULATE makes between two looks.
const POPULATE_AT_ONCE: u64 = 1000;

const NOT_ALLOWED: ReplyError = ReplyError::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
     from a local connection, otherwise you need to set this option in the configuration file, and then \
     restart the server.",
);

impl Worker {
    pub fn allows_debug(&self, connection: &Connection) -> bool {
        self.config.borrow().enable_debug_command.allows(connection.peer.is_local())
    }

    /// The reply inside EXEC, or of what is answered at once.
    pub fn debug(&self, connection: &Connection, command: &DebugCommand<'_>) -> Reply {
        if !self.allows_debug(connection) {
            return NOT_ALLOWED.into();
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
            DebugCommand::TableStatistics { database } => self.table_statistics(*database),
            DebugCommand::PauseCron { paused } => {
                self.cron_paused.set(*paused);
                Reply::OK
            }
            DebugCommand::Accepted => Reply::OK,
        }
    }

    /// DEBUG RELOAD: everybody is held until nothing is on its way and no checkpoint is being written, and goes on
    /// when the memory has been rebuilt.
    pub fn reload_for(self: &Rc<Self>, place: Place) {
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            // Another one keeps the pause that was under way before both.
            while worker.reloading.replace(true) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let before = worker.pause.suspend();
            while (!worker.is_idle() || worker.checkpointing.get()) && !worker.latch.is_tripped() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let reply = worker.reload();
            worker.pause.resume(before);
            worker.reloading.set(false);
            worker.answer_late(&place, &reply);
        });
    }

    /// Drops the memory and rebuilds it from disk.
    fn reload(&self) -> Reply {
        if !self.is_idle() || self.checkpointing.get() {
            return Reply::error("ERR DEBUG RELOAD cannot be in a transaction with writes");
        }
        self.take_lookups();
        match self.committer().rebuild() {
            Ok(machines) => {
                for (partition, machine) in self.partitions().zip(machines) {
                    partition.borrow_mut().replace_machine(machine);
                }
                self.forget_lookups();
                Reply::OK
            }
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
        let Reply::Text(encoding) = self.query(partition, database, &query) else {
            return Reply::Error(ReplyError::NO_SUCH_KEY);
        };
        let bytes = self
            .partition(partition)
            .borrow()
            .machine()
            .memory_usage(database, self.now(), key, 0)
            .unwrap_or(0);
        Reply::Status(
            format!(
                "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 \
                 lru_seconds_idle:0"
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

    /// DEBUG POPULATE: so many at once, then as many again when those are applied, so that no batch grows without bound.
    pub fn populate_for(self: &Rc<Self>, place: Place, count: u64, prefix: &[u8], size: Option<usize>) {
        let (worker, prefix) = (self.clone(), prefix.to_vec());
        let database = place.connection.session.borrow().database;
        tokio::task::spawn_local(async move {
            let mut next = 0;
            while next < count && !worker.latch.is_tripped() {
                let end = count.min(next + POPULATE_AT_ONCE);
                for number in next..end {
                    let key = [&prefix[..], b":", number.to_string().as_bytes()].concat();
                    let mut value = format!("value:{number}").into_bytes();
                    if let Some(size) = size {
                        value.resize(size, 0);
                    }
                    let write = Write::String(StringWrite::SetIfAbsent { key: &key, value: &value });
                    worker.write(worker.router.of_key(&key), database, &write, Ticket::Internal);
                }
                next = end;
                worker.next_rounds().await;
            }
            worker.answer_late(&place, &Reply::OK);
        });
    }

    /// Returns when what is in the open batches now was applied.
    async fn next_rounds(&self) {
        // A round may be under way that has sealed before: the one after it is over too when the second ends.
        let mut left = 2;
        let mut commits = self.metrics.commits.get();
        while left > 0 && !self.is_idle() && !self.latch.is_tripped() {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = self.metrics.commits.get();
            left -= i32::from(now != commits);
            commits = now;
        }
    }

    /// WAITAOF with relaxed durability: everything that is written is synced, or the time is over.
    pub fn sync_for(self: &Rc<Self>, place: Place, timeout_ms: u64) {
        let worker = self.clone();
        let (done, synced) = tokio::sync::oneshot::channel();
        tokio::task::spawn_local(async move {
            // Goes on when nobody waits any more.
            let result = worker.committer().sync().await;
            let _ = done.send(result.is_ok());
        });
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            let is_synced = match timeout_ms {
                0 => synced.await.unwrap_or(false),
                _ => match tokio::time::timeout(Duration::from_millis(timeout_ms), synced).await {
                    Ok(result) => result.unwrap_or(false),
                    Err(_) => false,
                },
            };
            worker.answer_late(&place, &server_commands::synced(is_synced));
        });
    }

    /// DEBUG HTSTATS
    fn table_statistics(&self, database: i64) -> Reply {
        let Some(database) = u32::try_from(database).ok().filter(|database| *database < self.databases())
        else {
            return Reply::error("ERR Out of range database");
        };
        let (mut keys, mut capacity, mut expiring) = (0, 0, 0);
        for partition in self.partitions() {
            for (_, table) in
                partition.borrow().machine().databases().filter(|(number, _)| *number == database)
            {
                keys += table.len();
                capacity += table.capacity();
                expiring += table.expiring();
            }
        }
        let mut text = String::new();
        for (name, elements, size) in [("Dictionary", keys, Some(capacity)), ("Expires", expiring, None)] {
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
}

/// DEBUG STRINGMATCH-LEN matches against this many bytes at the most.
const STRING_MATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// DEBUG PROTOCOL: one of each kind of reply, for authors of clients (Redis `debugCommand`).
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
