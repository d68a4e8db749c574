//! Persistent storage: the journal, the checkpoints and the data directory. Codes such as S2 are those of
//! docs/reliability.md.

pub mod checkpoint;
pub mod meta;
pub mod data_dir;
pub mod journal;
pub mod space;
