//! Consumer groups: what was delivered to whom and is not acknowledged.

pub mod change;
pub mod claim;
pub mod group;
pub mod query;
pub mod read;
