//! Commands as data (the table) and as typed values (the parsers' results).
//!
//! A command is a row of the table, a typed value, and a handler elsewhere. Parsing decides everything that
//! does not depend on state, so a value has no invalid form. Read in this order: `spec`, `table`, `lookup`,
//! `value`, `parse`.

pub mod describe;
pub mod document;
pub mod keys;
pub mod lookup;
pub mod parse;
pub mod redact;
pub mod spec;
pub mod table;
pub mod value;
