//! Small tools without a subject of their own: byte codec, glob matching, the fail-stop latch.

pub mod glob;
pub mod wire;
