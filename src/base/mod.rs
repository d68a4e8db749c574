//! Small tools without a subject of their own: byte codec, checksum, digest of content, glob matching, the fail-stop latch.

pub mod crc;
pub mod digest;
pub mod glob;
pub mod latch;
pub mod wire;
