//! The lines of the HELP sub-commands; the texts are our own.

use crate::model::reply::Reply;
use std::borrow::Cow;

/// A sub-command with its arguments, and its effect.
pub type Lines = &'static [(&'static str, &'static str)];

/// Redis `addReplyHelp`: simple strings, HELP itself last.
pub fn reply(container: &str, lines: Lines) -> Reply {
    let title = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut out = vec![Reply::Status(Cow::Owned(title))];
    for &(usage, meaning) in lines.iter().chain(&[("HELP", "Print this help.")]) {
        out.push(Reply::Status(Cow::Borrowed(usage)));
        out.push(Reply::Status(Cow::Owned(format!("    {meaning}"))));
    }
    Reply::Array(out)
}

pub const XGROUP: Lines = &[
    (
        "CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <count>]",
        "Create a group that gets entries after the id.",
    ),
    ("CREATECONSUMER <key> <group> <consumer>", "Create a consumer in the group."),
    ("DELCONSUMER <key> <group> <consumer>", "Remove a consumer and its pending entries."),
    ("DESTROY <key> <group>", "Remove a group and its pending entries."),
    ("SETID <key> <group> <id|$> [ENTRIESREAD <count>]", "Move the id after which the group gets entries."),
];

pub const XINFO: Lines = &[
    ("CONSUMERS <key> <group>", "List the consumers of a group."),
    ("GROUPS <key>", "List the groups of a stream."),
    ("STREAM <key> [FULL [COUNT <count>]]", "Describe a stream."),
];

pub const OBJECT: Lines = &[
    ("ENCODING <key>", "Return the encoding of the value."),
    ("FREQ <key>", "Return the access frequency of the key, if it is counted."),
    ("IDLETIME <key>", "Return the seconds since the key was used."),
    ("REFCOUNT <key>", "Return the number of references to the value."),
];

pub const PUBSUB: Lines = &[
    ("CHANNELS [<pattern>]", "List channels with subscribers."),
    ("NUMPAT", "Count the patterns with subscribers."),
    ("NUMSUB [<channel> ...]", "Count the subscribers of channels."),
    ("SHARDCHANNELS [<pattern>]", "List shard channels with subscribers."),
    ("SHARDNUMSUB [<shardchannel> ...]", "Count the subscribers of shard channels."),
];

pub const CLIENT: Lines = &[
    ("CACHING (YES|NO)", "Include the next command in tracking (OPTIN) or exclude it (OPTOUT)."),
    ("GETNAME", "Return the name of this connection."),
    ("GETREDIR", "Return the connection that receives the tracking messages."),
    ("ID", "Return the id of this connection."),
    ("INFO", "Describe this connection."),
    ("KILL <ip:port>", "Close the connection of that address."),
    (
        "KILL <option> <value> [...]",
        "Close connections by ID, TYPE, ADDR, LADDR, USER, MAXAGE; SKIPME (yes|no).",
    ),
    ("LIST [TYPE (normal|master|replica|pubsub)] [ID <id> ...]", "Describe connections."),
    ("NO-EVICT (ON|OFF)", "Exempt this connection from eviction."),
    ("NO-TOUCH (ON|OFF)", "Stop reads from counting as use of keys."),
    ("PAUSE <timeout> [WRITE|ALL]", "Suspend commands for a number of milliseconds."),
    ("REPLY (ON|OFF|SKIP)", "Turn replies off and on."),
    ("SETINFO <option> <value>", "Set LIB-NAME or LIB-VER."),
    ("SETNAME <name>", "Name this connection."),
    (
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "Receive a message when keys change that this connection has read.",
    ),
    ("TRACKINGINFO", "Describe the tracking of this connection."),
    ("UNBLOCK <id> [TIMEOUT|ERROR]", "Unblock a connection."),
    ("UNPAUSE", "End a pause."),
];

pub const ACL: Lines = &[
    ("CAT [<category>]", "List the categories of commands, or the commands of one."),
    ("DELUSER <username> [<username> ...]", "Delete users."),
    ("DRYRUN <username> <command> [<arg> ...]", "Tell whether the user may send the request."),
    ("GENPASS [<bits>]", "Make a password of 256 bits, or of so many."),
    ("GETUSER <username>", "Describe a user field by field."),
    ("LIST", "Describe all users as the file of users has them."),
    ("LOAD", "Read the users from the file of users."),
    ("LOG [<count>|RESET]", "List what was denied lately, or forget it."),
    ("SAVE", "Write the users into the file of users."),
    ("SETUSER <username> <rule> [<rule> ...]", "Make a user, or change its rules."),
    ("USERS", "List the names of the users."),
    ("WHOAMI", "Return the name of the user of this connection."),
];

pub const COMMAND: Lines = &[
    ("(no subcommand)", "Describe all commands."),
    ("COUNT", "Count the commands."),
    ("DOCS [<name> ...]", "Document commands."),
    ("GETKEYS <command>", "Find the keys in a command."),
    ("GETKEYSANDFLAGS <command>", "Find the keys in a command, and its access to them."),
    ("INFO [<name> ...]", "Describe commands."),
    ("LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]", "List the names of commands."),
];

pub const CONFIG: Lines = &[
    ("GET <pattern> [...]", "Return settings."),
    ("RESETSTAT", "Reset the counters of INFO."),
    ("REWRITE", "Write the settings to the configuration file."),
    ("SET <directive> <value> [...]", "Change settings."),
];

pub const LATENCY: Lines = &[
    ("DOCTOR", "Report latencies with advice."),
    ("GRAPH <event>", "Draw the samples of an event."),
    ("HISTOGRAM [<command> ...]", "Return the latency distribution."),
    ("HISTORY <event>", "Return the samples of an event."),
    ("LATEST", "Return the latest sample of each event."),
    ("RESET [<event> ...]", "Clear the samples of events, or of all."),
];

pub const SLOWLOG: Lines = &[
    (
        "GET [<count>]",
        "Return the newest slow commands (default 10, -1 for all): id, Unix time, microseconds, arguments, client, name.",
    ),
    ("LEN", "Count the commands in the slow log."),
    ("RESET", "Empty the slow log."),
];

pub const MEMORY: Lines = &[
    ("DOCTOR", "Report memory problems."),
    ("MALLOC-STATS", "Return the allocator's statistics."),
    ("PURGE", "Return unused memory to the system."),
    ("STATS", "Describe the use of memory."),
    ("USAGE <key> [SAMPLES <count>]", "Estimate the memory of a key."),
];

pub const MODULE: Lines = &[("LIST", "List the modules: there are none.")];

pub const SCRIPT: Lines = &[
    ("EXISTS <sha1> [<sha1> ...]", "Check which scripts exist: none."),
    ("FLUSH [ASYNC|SYNC]", "Remove all scripts: there are none."),
];

pub const FUNCTION: Lines = &[
    ("FLUSH [ASYNC|SYNC]", "Remove all functions: there are none."),
    ("LIST [LIBRARYNAME <pattern>] [WITHCODE]", "List the functions: none."),
    ("STATS", "Describe the running function: there is none."),
];

pub const DEBUG: Lines = &[
    ("DIGEST", "Hash the whole keyspace."),
    ("DIGEST-VALUE <key> [<key> ...]", "Hash the values of keys."),
    ("HTSTATS <dbid> [full]", "Describe the tables of a database."),
    ("LOADAOF", "Drop memory and rebuild it from disk."),
    ("LOG <message>", "Write a message to the log."),
    ("OBJECT <key>", "Describe the representation of a value."),
    ("PANIC", "End the server as a fault of its own would."),
    ("PAUSE-CRON (0|1)", "Stop scheduled work, or resume it."),
    ("POPULATE <count> [<prefix>] [<size>]", "Create string keys."),
    ("PROTOCOL <type>", "Reply with a sample of the type."),
    ("RELOAD", "Drop memory and rebuild it from disk."),
    ("SET-ACTIVE-EXPIRE (0|1)", "Turn active expiry off and on."),
    ("SLEEP <seconds>", "Block the server for a time."),
    ("STRINGMATCH-LEN <len> <pattern>", "Match a long string against a pattern."),
];
