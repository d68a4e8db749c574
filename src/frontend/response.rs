//! What a command comes to, as a value: the dispatcher writes it.

use crate::engine::submission::{Outcome, Question};
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::session::pending::Continuation;

pub enum Response<'a> {
    Reply(Reply),
    /// Frames that are no replies: confirmations of subscriptions.
    Pushes(Vec<Reply>),
    /// Nothing is said: CLIENT REPLY OFF and its like.
    Silence,
    /// The outcome came at once.
    Outcome(Outcome),
    /// The reply comes later, into the slot of this request.
    Pending(RequestId),
    /// The engine has to be asked first.
    Ask(Question<'a>, Continuation),
    /// It was not executed, and comes again.
    Hold(Why),
}

/// Why a request was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The requests before it must be answered first.
    NotDrained,
    Paused,
}

impl From<Reply> for Response<'_> {
    fn from(reply: Reply) -> Self {
        Response::Reply(reply)
    }
}
