//! Small tools without a subject of their own: byte codec, checksum, glob matching, the fail-stop latch.

pub mod crc;
pub mod glob;
pub mod latch;
pub mod wire;
