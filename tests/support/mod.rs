//! Shared by the tests of a running server: the server under test, a blocking client, values and their
//! notation.

pub mod certificates;
pub mod client;
pub mod keys;
pub mod mounted;
pub mod notation;
pub mod random;
pub mod reference;
pub mod server;
pub mod value;
pub mod wire;
