//! ACL and its sub-commands: who may do what.

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
    /// Rules are read by whoever keeps the users: which of them is wrong depends on those before it.
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
    /// LOG: so many entries at most.
    Log {
        count: usize,
    },
    ResetLog,
    /// DRYRUN: whether the user may send the request.
    DryRun {
        user: &'a [u8],
        request: ArgList<'a>,
    },
    Load,
    Save,
    /// Fixed lines.
    Help(Reply),
}
