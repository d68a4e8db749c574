//! Tools without a subject of their own: byte codec, checksums, digest of content, LZF, glob matching,
//! fail-stop latch.

pub mod crc;
pub mod digest;
pub mod glob;
pub mod latch;
pub mod shared;
pub mod lzf;
pub mod wire;
