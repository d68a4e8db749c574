//! The result of a command, as a value: the dispatcher writes it.

use crate::engine::submission::{Outcome, Question};
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::session::pending::Continuation;

pub enum Response<'a> {
    Reply(Reply),
    /// Frames that are not replies: confirmations of subscriptions.
    Pushes(Vec<Reply>),
    /// No reply: CLIENT REPLY OFF and similar commands.
    Silence,
    /// An immediate outcome.
    Outcome(Outcome),
    /// The reply comes later, into the slot of this request.
    Pending(RequestId),
    /// The engine must answer a question first.
    Ask(Question<'a>, Continuation),
    /// The request was not executed and will be retried.
    Hold(Why),
}

/// Why a request was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The previous requests must be answered first.
    NotDrained,
    Paused,
}

impl From<Reply> for Response<'_> {
    fn from(reply: Reply) -> Self {
        Response::Reply(reply)
    }
}
