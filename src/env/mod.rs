//! The outside world as traits: files, clock, timers, threads, entropy. The only room with `unsafe`.
//!
//! The tenants of the simulation are here too, and need no operating system: [`sim_fs`], [`manual_clock`],
//! [`sim_threads`], [`sim_pipe`] and what runs it all, [`sim_executor`].

pub mod allocator;
pub mod clock;
pub mod counted_fs;
pub mod disposal;
pub mod entropy;
pub mod fs;
pub mod manual_clock;
pub mod priority;
pub mod process;
pub mod read_on_demand;
pub mod replace;
mod sim_disk;
pub mod sim_executor;
pub mod sim_fs;
pub mod sim_pipe;
pub mod sim_threads;
pub mod threads;
