//! The front door of a partition: batches in, outcomes out.
