//! Users: what each kind of them may do with every command, where they are kept, and how logins are slowed down. How rules are written and told
//! is in tests/transcripts/acl_*.txt.

mod differential;
mod kept;
mod logins;
mod matrix;
mod requests;
