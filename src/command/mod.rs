//! Commands as data (the table) and as values (what the parsers make).
//!
//! A command is a row of the table, a typed value, and a handler elsewhere. Parsing decides everything that can be
//! decided without state, so that a value has no invalid form. Read `spec`, `table`, `lookup`, `value`, `parse`.

pub mod describe;
pub mod document;
pub mod keys;
pub mod lookup;
pub mod parse;
pub mod redact;
pub mod spec;
pub mod table;
pub mod value;
