//! The bounds of the server on one page; Redis's own where Redis has one (Redis 8.0 `config.c`,
//! `networking.c`).

/// Most `partitions` of a data directory.
pub const PARTITIONS_MAX: u16 = 256;

/// Arguments of one request (Redis: 1024 × 1024).
pub const REQUEST_ARGS_MAX: usize = 1024 * 1024;

/// Bytes of one argument, unless `proto-max-bulk-len` says otherwise.
pub const BULK_BYTES_DEFAULT: u64 = 512 * 1024 * 1024;

/// Bytes of an inline request and of a `*`/`$` header line (Redis `PROTO_INLINE_MAX_SIZE`).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of unparsed input of one connection, unless `client-query-buffer-limit` says otherwise.
pub const QUERY_BUFFER_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;

/// Before authentication: arguments of one request, bytes of one argument, bytes of input (Redis 6.2.6,
/// CVE-2021-32675).
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
pub const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16 * 1024;
pub const UNAUTHENTICATED_QUERY_BUFFER_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of replies that an unauthenticated client may leave unread (docs/reliability.md P2, CVE-2025-21605).
pub const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 1024;

/// Commands of one connection that await their commit; at this number the server pauses reading from it.
pub const PIPELINE_PENDING_MAX: usize = 16 * 1024;

/// Bytes of unsent replies at which the server pauses reading from a connection.
pub const OUTPUT_PAUSE_BYTES: usize = 1024 * 1024;

/// Maximum bytes of the answers to a client's queued reads: its next query waits until they are sent.
pub const QUEUED_READ_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Maximum bytes of gathered ops and ops in flight, of all clients of an engine: above it no requests are
/// executed until some of the ops are applied. One request may exceed it.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Maximum bytes of entries that a reply copies while the state is borrowed; bodies beyond it stay in the
/// stream until they are sent.
pub const ENTRIES_COPIED_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one op in the log, and so the most that `proto-max-bulk-len` and `client-query-buffer-limit` allow.
/// A record holds 2 GiB: there is room for the batch that the op joins, and for what the committer adds.
pub const OP_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024 - 64 * 1024 * 1024;

/// Bytes of encoded ops in one log entry; a larger batch is cut into several entries.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Stream node size: `stream-node-max-entries`, `stream-node-max-bytes` (Redis defaults).
pub const STREAM_NODE_ENTRIES_DEFAULT: u32 = 100;
pub const STREAM_NODE_BYTES_DEFAULT: u32 = 4096;

/// `stream-idmp-duration` and `stream-idmp-maxsize`: seconds for which a stream remembers an idempotent id,
/// and ids per producer (Redis 8.6 defaults and bounds).
pub const IDEMPOTENCY_DURATION_S_DEFAULT: u32 = 100;
pub const IDEMPOTENCY_DURATION_S_MAX: u32 = 86_400;
pub const IDEMPOTENCY_IDS_DEFAULT: u32 = 100;
pub const IDEMPOTENCY_IDS_MAX: u32 = 10_000;

/// Bytes that one RESTORE payload may expand to: decompressed strings, plus field names as often as entries
/// share them. Far above the need of a real stream in a payload of [`BULK_BYTES_DEFAULT`].
pub const RESTORED_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

/// Longest key name and string value (Redis: 512 MiB).
pub const STRING_BYTES_MAX: u64 = 512 * 1024 * 1024;

const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX < UNAUTHENTICATED_QUERY_BUFFER_BYTES_MAX);
const _: () = assert!(UNAUTHENTICATED_ARGS_MAX < REQUEST_ARGS_MAX);
const _: () = assert!(BULK_BYTES_DEFAULT <= QUERY_BUFFER_BYTES_DEFAULT);
const _: () = assert!(QUERY_BUFFER_BYTES_DEFAULT <= OP_BYTES_MAX as u64);
const _: () = assert!(OP_BYTES_MAX < u32::MAX as usize, "spans of arguments are 32-bit");
