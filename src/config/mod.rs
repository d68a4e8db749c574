//! One row per setting; everything that reads or writes settings goes over the rows.

pub mod access;
pub mod config;
pub mod load;
pub mod settings;
