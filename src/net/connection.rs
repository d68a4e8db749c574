//! A client connection: its socket, its session, its output.

use crate::model::limits::{OUTPUT_PAUSE_BYTES, PIPELINE_PENDING_MAX};
use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::model::request::{ConnectionId, RequestId};
use crate::net::address::Address;
use crate::net::output::{Filled, Output, SlotNumber};
use crate::net::socket::WriteHalf;
use crate::observe::metrics::Metrics;
use crate::pubsub::registry::SubscriberId;
use crate::resp::pieces;
use crate::resp::rope::Rope;
use crate::resp::writer;
use crate::session::pending::{BlockedRequest, Pending};
use crate::session::session::Session;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

pub struct Connection {
    pub id: ConnectionId,
    pub peer: Address,
    pub local: Address,
    pub session: RefCell<Session>,
    /// The blocked read of the connection, if it has one.
    pub blocked: RefCell<Option<BlockedRequest>>,
    pub activity: Activity,
    output: RefCell<Output<Pending>>,
    socket: RefCell<WriteHalf>,
    deferred: RefCell<Deferred>,
    /// `deferred` is not empty; checked with every reply.
    has_deferred: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    closing: Cell<Closing>,
    metrics: Rc<Metrics>,
}

/// State of a connection for its task and for the frontend's upkeep. Times are milliseconds of the monotonic
/// clock.
pub struct Activity {
    pub created_at_ms: u64,
    pub last_active_ms: Cell<u64>,
    /// Why requests that have arrived are not executed now.
    pub hold: Cell<Hold>,
    /// Input that was not executed may begin with a complete request.
    pub resume: Cell<bool>,
    pub input: Cell<InputUse>,
    /// The client has not finished the TLS handshake.
    pub is_handshaking: Cell<bool>,
    /// The connection is in the list of connections to flush.
    pub flush_queued: Cell<bool>,
    /// The partition of the latest command on keys; work that must follow the command goes there too.
    pub last_partition: Cell<PartitionId>,
    /// Maximum bytes that the answers to its queued reads may take.
    pub queued_read_bytes: Cell<usize>,
    /// Time since which the output buffer has exceeded its soft limit.
    pub over_soft_limit_since_ms: Cell<Option<u64>>,
}

/// What the input of a connection takes, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct InputUse {
    /// Received bytes. While a request is executed, it counts with all that came with it, as in Redis.
    pub held: usize,
    /// Room behind them in their buffer.
    pub free: usize,
    /// Arguments of the request that is executed, if it can look at clients.
    pub arguments: usize,
}

/// Frames that follow the reply to the current request.
#[derive(Default)]
struct Deferred {
    /// Invalidations of CLIENT TRACKING; they go first.
    invalidations: Rope,
    /// Messages that the client has published to itself.
    messages: Rope,
}

/// Why requests that have arrived are not executed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Requests are executed.
    None,
    /// The previous requests must be answered first.
    UntilDrained,
    /// CLIENT PAUSE.
    Paused,
    /// Too many bytes are in flight, over all clients.
    UntilRoom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Closing once everything is answered and sent.
    AfterReplies,
    Now,
}

/// Maximum bytes that [`Connection::flush`] sends before other connections have their turn: a lazy reply to a
/// fast reader has no end.
const FLUSH_BYTES_MAX: usize = 1024 * 1024;

impl Connection {
    pub fn new(
        id: ConnectionId,
        (peer, local): (Address, Address),
        now_ms: u64,
        session: Session,
        socket: WriteHalf,
        metrics: Rc<Metrics>,
    ) -> Self {
        Connection {
            id,
            peer,
            local,
            session: RefCell::new(session),
            blocked: RefCell::default(),
            activity: Activity {
                created_at_ms: now_ms,
                last_active_ms: Cell::new(now_ms),
                hold: Cell::new(Hold::None),
                resume: Cell::new(false),
                input: Cell::default(),
                is_handshaking: Cell::new(socket.has_handshake()),
                flush_queued: Cell::new(false),
                last_partition: Cell::new(PartitionId(0)),
                queued_read_bytes: Cell::new(0),
                over_soft_limit_since_ms: Cell::new(None),
            },
            output: RefCell::default(),
            socket: RefCell::new(socket),
            deferred: RefCell::default(),
            has_deferred: Cell::new(false),
            waker: RefCell::default(),
            closing: Cell::new(Closing::No),
            metrics,
        }
    }

    pub fn subscriber(&self) -> SubscriberId {
        SubscriberId(self.id.number)
    }

    /// Answers the current request, behind earlier replies.
    pub fn reply(&self, reply: &Reply) {
        self.count_error(reply);
        let session = self.session.borrow();
        if !session.is_muted() {
            self.output.borrow_mut().reply(|out| pieces::write(out, session.protocol, reply));
        }
    }

    /// The identity of the current request. Its slot opens only without an immediate outcome.
    pub fn next_request(&self) -> RequestId {
        RequestId { connection: self.id, reply_slot: self.output.borrow().next_slot().0 }
    }

    /// Opens the reply slot of the current request, with the state kept until its outcome comes.
    pub fn open_slot(&self, pending: Pending) -> RequestId {
        let muted = self.session.borrow().is_muted();
        let slot = self.output.borrow_mut().open_slot(muted, pending);
        RequestId { connection: self.id, reply_slot: slot.0 }
    }

    /// The state in the reply slot of a waiting request; `None` if it was answered.
    pub fn with_pending<R>(&self, request: RequestId, see: impl FnOnce(&mut Pending) -> R) -> Option<R> {
        self.output.borrow_mut().slot_mut(SlotNumber(request.reply_slot)).map(see)
    }

    /// Answers a waiting request; deferred frames follow. `None` if it was answered before.
    pub fn fill(&self, request: RequestId, reply: &Reply) -> Option<Pending> {
        let protocol = self.session.borrow().protocol;
        let deferred = self.take_deferred();
        let write = |out: &mut Rope| pieces::write(out, protocol, reply);
        let filled = self.output.borrow_mut().fill(SlotNumber(request.reply_slot), write, deferred);
        let Filled { drained, kept } = filled?;
        self.count_error(reply);
        if drained && self.activity.hold.get() == Hold::UntilDrained {
            self.activity.hold.set(Hold::None);
            self.wake();
        }
        Some(kept)
    }

    /// INFO errorstats counts every error reply, including those that CLIENT REPLY OFF drops.
    fn count_error(&self, reply: &Reply) {
        if let Reply::Error(error) = reply {
            self.metrics.note_error(error.code());
        }
    }

    /// Sends a frame outside the order of replies: a message of a subscription.
    pub fn push(&self, bytes: &[u8]) {
        self.output.borrow_mut().push(|out| out.extend_from_slice(bytes));
    }

    /// The same for a message that several connections receive.
    pub fn push_shared(&self, bytes: &Bytes) {
        self.output.borrow_mut().push_shared(bytes);
    }

    /// Writes a push frame.
    pub fn push_reply(&self, reply: &Reply) {
        let protocol = self.session.borrow().protocol;
        self.output.borrow_mut().push(|out| writer::write(out, protocol, reply));
    }

    /// Keeps a frame until the next reply is written ([`Connection::fill`], [`Connection::send_deferred`]).
    pub fn defer_own(&self, frame: &Bytes) {
        self.has_deferred.set(true);
        self.deferred.borrow_mut().messages.push_shared(frame);
    }

    /// The same for an invalidation of keys that the client may have cached.
    pub fn defer_invalidation(&self, frame: &[u8]) {
        self.has_deferred.set(true);
        self.deferred.borrow_mut().invalidations.extend_from_slice(frame);
    }

    #[inline]
    fn take_deferred(&self) -> Option<Rope> {
        if !self.has_deferred.replace(false) {
            return None;
        }
        let Deferred { mut invalidations, messages } = self.deferred.take();
        invalidations.append(messages);
        Some(invalidations)
    }

    #[inline]
    pub fn send_deferred(&self) {
        if let Some(deferred) = self.take_deferred() {
            self.output.borrow_mut().push(|out| out.append(deferred));
        }
    }

    /// All requests are answered.
    pub fn is_drained(&self) -> bool {
        self.output.borrow().is_drained()
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.output.borrow().waiting()
    }

    /// Whether pipeline and output are below the limits at which no more requests are executed.
    pub fn has_room(&self) -> bool {
        let output = self.output.borrow();
        output.waiting() < PIPELINE_PENDING_MAX && output.unread_bytes() < OUTPUT_PAUSE_BYTES
    }

    /// Bytes that the client has not received yet.
    pub fn output_bytes(&self) -> usize {
        self.output.borrow().unread_bytes()
    }

    pub fn output_memory(&self) -> usize {
        self.output.borrow().memory()
    }

    /// Sends as much as possible without waiting, about 1 MiB at most. Returns the bytes sent;
    /// [`Connection::poll_flush`] sends the rest.
    pub fn flush(&self) -> usize {
        if self.closing.get() == Closing::Now || self.activity.is_handshaking.get() {
            // Unsent bytes are dropped: a reply made while closing must not go out.
            return 0;
        }
        let mut output = self.output.borrow_mut();
        let mut socket = self.socket.borrow_mut();
        let mut allowed = FLUSH_BYTES_MAX;
        let (total, ended) = output.send(|slices| {
            if allowed == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let sent = socket.try_write(slices)?;
            allowed = allowed.saturating_sub(sent);
            Ok(sent)
        });
        if let Err(error) = ended
            && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::WriteZero)
        {
            drop((output, socket));
            self.close();
            return total;
        }
        let left = output.has_unsent() || socket.has_unsent();
        drop((output, socket));
        if left || self.closing.get() == Closing::AfterReplies {
            self.wake();
        }
        total
    }

    /// Sends; ready when nothing is left to send, pending (with the task registered) when the socket accepts
    /// no more.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut socket = self.socket.borrow_mut();
        let (total, ended) =
            self.output.borrow_mut().send(|slices| match socket.poll_write(context, slices) {
                Poll::Ready(written) => written,
                Poll::Pending => Err(ErrorKind::WouldBlock.into()),
            });
        match ended {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) => socket.poll_flush(context).map_ok(|()| total),
        }
    }

    /// Continues the TLS handshake; ready when requests may arrive.
    pub fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.set_waker(context.waker());
        if self.is_finished() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let polled = self.socket.borrow_mut().poll_handshake(context);
        if let Poll::Ready(Ok(())) = polled {
            self.activity.is_handshaking.set(false);
        }
        polled
    }

    /// Notifies the client of the close if the socket accepts it. The last act of the connection's task.
    pub fn say_goodbye(&self) {
        if !self.activity.is_handshaking.get() {
            self.socket.borrow_mut().say_goodbye();
        }
    }

    /// Closes once everything is answered and sent; later requests are not executed.
    pub fn close_after_replies(&self) {
        if self.closing.get() == Closing::No {
            self.closing.set(Closing::AfterReplies);
            self.wake();
        }
    }

    /// Closes when the connection's task runs next.
    pub fn close(&self) {
        self.closing.set(Closing::Now);
        self.wake();
    }

    /// The same, but visible to the client at once: the client that killed it may proceed as if it were gone.
    pub fn close_now(&self) {
        self.close();
        self.socket.borrow_mut().hang_up();
    }

    /// Closes when the connection's task runs next; unsent bytes are dropped.
    pub fn close_unanswered(&self) {
        self.output.borrow_mut().discard_unsent();
        self.close();
    }

    /// Closes because the client does not read its output. Returns whether it was not closing already.
    pub fn close_for_output(&self) -> bool {
        let is_news = self.closing.get() != Closing::Now;
        if is_news {
            tracing::warn!(peer = %self.peer, bytes = self.output_bytes(), "output buffer limit reached; closing");
            self.close();
        }
        is_news
    }

    /// As in [`WriteHalf::descriptor`].
    pub fn descriptor(&self) -> RawFd {
        self.socket.borrow().descriptor()
    }

    /// Whether the client has closed its side, even if its earlier bytes are still unread.
    pub fn has_peer_closed(&self) -> bool {
        self.socket.borrow().has_peer_closed()
    }

    pub fn is_closing(&self) -> bool {
        self.closing.get() != Closing::No
    }

    /// The task should end now.
    pub fn is_finished(&self) -> bool {
        match self.closing.get() {
            Closing::No => false,
            Closing::Now => true,
            Closing::AfterReplies => {
                let output = self.output.borrow();
                output.is_drained() && !output.has_unsent() && !self.socket.borrow().has_unsent()
            }
        }
    }

    pub fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Makes the connection's task check its state.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
