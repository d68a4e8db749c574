//! Tools without a subject of their own: byte codec, checksums, digest of content, LZF, glob matching,
//! mixed numbers, fail-stop latch, waits of one thread.

pub mod crc;
pub mod digest;
pub mod glob;
pub mod latch;
pub mod lzf;
pub mod mix;
pub mod race;
pub mod shared;
pub mod signal;
pub mod wire;
