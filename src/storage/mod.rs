//! What is on disk: the journal and the checkpoints.

pub mod checkpoint;
pub mod data_dir;
pub mod journal;
