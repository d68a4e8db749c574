//! What is on disk: the journal and the checkpoints.

pub mod journal;
