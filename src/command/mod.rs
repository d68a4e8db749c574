//! Commands as data (the table) and as values (what the parsers make).
//!
//! A command is a row of the table, a typed value, and a handler elsewhere. Parsing decides everything that can be
//! decided without state, so that a value has no invalid form.

pub mod value;
