//! The outside world as traits: files, clock, entropy. The only room with `unsafe`.

pub mod allocator;
pub mod clock;
pub mod entropy;
pub mod fs;
pub mod priority;
pub mod process;
pub mod replace;
pub mod sim_fs;
