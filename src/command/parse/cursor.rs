//! A cursor over the arguments of a request.

use crate::model::args::{ArgList, Args};
use crate::model::reply::ReplyError;

/// The argument at `index`, which the row's arity guarantees.
pub fn at<'a>(args: Args<'a>, index: usize) -> &'a [u8] {
    args.get(index).expect("the arity was checked before the parser was called")
}

/// The arguments from `index` on, as a list in a typed value.
pub fn list(args: Args<'_>, index: usize) -> ArgList<'_> {
    ArgList::Args(args.from(index))
}

/// Compares a keyword, ignoring case.
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// `ERR <text>'<arg>'<rest>`, for texts that quote the client (at most 128 bytes of it).
pub fn quoting(before: &str, arg: &[u8], after: &str) -> ReplyError {
    let shown = &arg[..arg.len().min(128)];
    ReplyError::owned([before.as_bytes(), shown, after.as_bytes()].concat())
}

/// Redis `addReplySubcommandSyntaxError`: `args` begin with the container and the sub-command.
pub fn subcommand_syntax(args: Args<'_>) -> ReplyError {
    let container = String::from_utf8_lossy(at(args, 0)).to_ascii_uppercase();
    let after = format!("'. Try {container} HELP.");
    quoting("ERR unknown subcommand or wrong number of arguments for '", at(args, 1), &after)
}

/// A position among the arguments.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    args: Args<'a>,
    next: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor before the argument at `index`.
    pub fn new(args: Args<'a>, index: usize) -> Self {
        Cursor { args, next: index }
    }

    pub fn position(&self) -> usize {
        self.next
    }

    /// The number of remaining arguments.
    pub fn left(&self) -> usize {
        self.args.len().saturating_sub(self.next)
    }

    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.get(self.next)
    }

    pub fn take(&mut self) -> Option<&'a [u8]> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        Some(arg)
    }

    /// Takes the next argument if it is `word`.
    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|arg| is(arg, word));
        self.next += usize::from(found);
        found
    }

    /// Takes `word` and its argument; takes nothing if the argument is missing (Redis:
    /// `!strcasecmp(…) && moreargs`).
    pub fn take_option(&mut self, word: &str) -> Option<&'a [u8]> {
        if self.left() >= 2 && self.take_word(word) { self.take() } else { None }
    }

    /// Takes `count` arguments, or nothing if fewer remain.
    pub fn take_many(&mut self, count: usize) -> Option<Args<'a>> {
        if self.left() < count {
            return None;
        }
        let taken = self.rest().first(count);
        self.next += count;
        Some(taken)
    }

    /// Takes all remaining arguments.
    pub fn rest(&self) -> Args<'a> {
        self.args.from(self.next)
    }
}
