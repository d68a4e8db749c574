//! Parsers: from the arguments of a request to a typed value, one function for each row of the table.
//!
//! A parser is called with as many arguments as its row's arity allows. Errors have Redis's texts, and where several
//! things are wrong the one that Redis finds first (7.2 to 8.0, the function named at each parser). What Redis looks
//! up in the keyspace before it reads an argument is found by the machine later: then the error of syntax is answered
//! instead of the one of state.

pub mod client;
pub mod connection;
pub mod cursor;
pub mod debug;
pub mod group;
pub mod help;
pub mod introspection;
pub mod key;
pub mod number;
pub mod pubsub;
pub mod server;
pub mod stream;
pub mod string;
pub mod transaction;
