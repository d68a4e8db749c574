//! ACL and its sub-commands.

use crate::model::args::ArgList;
use crate::model::reply::Reply;

#[derive(Debug, Clone, PartialEq)]
pub enum AclCommand<'a> {
    WhoAmI,
    Users,
    List,
    GetUser {
        name: &'a [u8],
    },
    /// The rules stay unparsed, because the validity of a rule depends on the user's earlier rules.
    SetUser {
        name: &'a [u8],
        rules: ArgList<'a>,
    },
    DeleteUsers {
        names: ArgList<'a>,
    },
    /// CAT without an argument.
    Categories,
    /// CAT
    CommandsOf {
        category: &'a [u8],
    },
    /// GENPASS: 1 to 4096 bits.
    GeneratePassword {
        bits: usize,
    },
    /// LOG: at most this many entries.
    Log {
        count: usize,
    },
    ResetLog,
    /// DRYRUN: asks whether the user may send the request.
    DryRun {
        user: &'a [u8],
        request: ArgList<'a>,
    },
    Load,
    Save,
    /// Fixed lines.
    Help(Reply),
}
