//! Users: the commands that each kind of user may send, persistence, delays after failed logins. The syntax
//! and the description of rules are in tests/transcripts/acl_*.txt.

mod differential;
mod kept;
mod logins;
mod matrix;
mod requests;
