//! One row per setting; all code that reads or writes settings goes through the rows.

pub mod access;
#[allow(clippy::module_inception)] // a file is one noun, and this room has the noun of its name
pub mod config;
pub mod load;
pub mod rewrite;
pub mod setting;
pub mod settings;
pub mod tls_names;
pub mod value;
