//! One client: its socket, its session, its output.

use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::observe::metrics::Metrics;
use crate::pubsub::registry::SubscriberId;
use crate::resp::writer;
use crate::server::address::Address;
use crate::server::meter::Meter;
use crate::server::output::{Output, SlotNumber};
use crate::server::session::Session;
use crate::server::socket::WriteHalf;
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

pub struct Connection {
    /// Counts up from 1; never reused.
    pub id: u64,
    pub peer: Address,
    pub local: Address,
    /// Milliseconds of the worker's clock.
    pub created_at_ms: u64,
    pub last_active_ms: Cell<u64>,
    pub session: RefCell<Session>,
    pub hold: Cell<Hold>,
    pub input_bytes: Cell<usize>,
    /// The client has not finished the greeting that its socket asks for (TLS).
    pub is_greeting: Cell<bool>,
    output: RefCell<Output>,
    socket: RefCell<WriteHalf>,
    waker: RefCell<Option<Waker>>,
    closing: Cell<Closing>,
    /// One of the next two is not empty.
    has_deferred: Cell<bool>,
    /// Frames that go out behind the reply at hand: messages that the client has sent to itself.
    deferred: RefCell<Vec<u8>>,
    /// The same of CLIENT TRACKING: they go first.
    deferred_invalidations: RefCell<Vec<u8>>,
    /// In the worker's list of connections to flush.
    pub flush_queued: Cell<bool>,
    /// Input that was not executed may begin with a complete request.
    pub resume: Cell<bool>,
    /// Where its latest command on keys went: what must come behind that goes the same way.
    pub last_partition: Cell<PartitionId>,
    /// Bytes of the answers to queries on their way, about.
    pub riding_bytes: Cell<usize>,
    /// Since when the soft limit of the output buffer has been exceeded.
    pub over_soft_limit_since_ms: Cell<Option<u64>>,
    /// The slot that the request at hand has opened, if it did.
    opened: Cell<Option<SlotNumber>>,
    metrics: Rc<Metrics>,
}

/// Why requests that have arrived are not executed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// They are.
    None,
    /// The requests before must be answered first.
    UntilSettled,
    /// CLIENT PAUSE.
    Paused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// When everything was answered and sent.
    AfterReplies,
    Now,
}

impl Connection {
    pub fn new(
        id: u64,
        peer: Address,
        local: Address,
        now_ms: u64,
        session: Session,
        socket: WriteHalf,
        metrics: Rc<Metrics>,
    ) -> Self {
        Connection {
            id,
            peer,
            local,
            created_at_ms: now_ms,
            last_active_ms: Cell::new(now_ms),
            session: RefCell::new(session),
            hold: Cell::new(Hold::None),
            input_bytes: Cell::new(0),
            is_greeting: Cell::new(socket.has_handshake()),
            output: RefCell::default(),
            socket: RefCell::new(socket),
            waker: RefCell::default(),
            closing: Cell::new(Closing::No),
            has_deferred: Cell::new(false),
            deferred: RefCell::default(),
            deferred_invalidations: RefCell::default(),
            flush_queued: Cell::new(false),
            resume: Cell::new(false),
            last_partition: Cell::new(PartitionId(0)),
            riding_bytes: Cell::new(0),
            over_soft_limit_since_ms: Cell::new(None),
            opened: Cell::new(None),
            metrics,
        }
    }

    pub fn subscriber(&self) -> SubscriberId {
        SubscriberId(self.id)
    }

    /// Answers the request at hand, behind those before it.
    pub fn reply(&self, reply: &Reply) {
        self.count_error(reply);
        let session = self.session.borrow();
        if !session.is_muted() {
            self.output.borrow_mut().reply(|out| writer::write(out, session.protocol, reply));
        }
    }

    /// Keeps the place of the reply to the request at hand.
    pub fn open_slot(&self) -> SlotNumber {
        let muted = self.session.borrow().is_muted();
        let slot = self.output.borrow_mut().open_slot(muted);
        self.opened.set(Some(slot));
        slot
    }

    /// The slot that was opened since this was asked last.
    pub fn take_opened(&self) -> Option<SlotNumber> {
        self.opened.take()
    }

    /// Notes what is known of the request that opened the slot; gives it back if it was answered already.
    pub fn measure(&self, slot: SlotNumber, meter: Meter) -> Option<Meter> {
        self.output.borrow_mut().measure(slot, meter)
    }

    /// Answers the request that opened the slot; frames that were deferred follow.
    /// [`Worker::answer`](crate::server::worker::Worker::answer) counts it too.
    pub fn fill(&self, slot: SlotNumber, reply: &Reply) -> Meter {
        self.count_error(reply);
        let protocol = self.session.borrow().protocol;
        let deferred = self.take_deferred();
        let write = |out: &mut Vec<u8>| writer::write(out, protocol, reply);
        let (settled, meter) = self.output.borrow_mut().fill(slot, write, &deferred);
        if settled && self.hold.get() == Hold::UntilSettled {
            self.hold.set(Hold::None);
            self.wake();
        }
        meter
    }

    /// Every error reply is in INFO errorstats, one that CLIENT REPLY OFF drops too.
    fn count_error(&self, reply: &Reply) {
        if let Reply::Error(error) = reply {
            self.metrics.note_error(error.code());
        }
    }

    /// Sends something that is no reply: a message of a subscription.
    pub fn push(&self, bytes: &[u8]) {
        self.output.borrow_mut().push(|out| out.extend_from_slice(bytes));
    }

    /// Writes a push frame.
    pub fn push_reply(&self, reply: &Reply) {
        let protocol = self.session.borrow().protocol;
        self.output.borrow_mut().push(|out| writer::write(out, protocol, reply));
    }

    /// Keeps a frame until the next reply is written ([`Connection::fill`], [`Connection::send_deferred`]).
    pub fn defer_own(&self, frame: &[u8]) {
        self.has_deferred.set(true);
        self.deferred.borrow_mut().extend_from_slice(frame);
    }

    /// The same for what the client is told of keys that it may have cached.
    pub fn defer_invalidation(&self, frame: &[u8]) {
        self.has_deferred.set(true);
        self.deferred_invalidations.borrow_mut().extend_from_slice(frame);
    }

    fn take_deferred(&self) -> Vec<u8> {
        if !self.has_deferred.replace(false) {
            return Vec::new();
        }
        let mut deferred = self.deferred_invalidations.take();
        let messages = self.deferred.take();
        if deferred.is_empty() {
            return messages;
        }
        deferred.extend_from_slice(&messages);
        deferred
    }

    pub fn send_deferred(&self) {
        let deferred = self.take_deferred();
        if !deferred.is_empty() {
            self.push(&deferred);
        }
    }

    pub fn is_settled(&self) -> bool {
        self.output.borrow().is_settled()
    }

    pub fn waiting(&self) -> usize {
        self.output.borrow().waiting()
    }

    /// Bytes that the client has not taken yet.
    pub fn output_bytes(&self) -> usize {
        self.output.borrow().unread_bytes()
    }

    pub fn output_memory(&self) -> usize {
        self.output.borrow().memory()
    }

    /// Sends what can be sent without waiting. Returns the bytes sent; what is left waits for
    /// [`Connection::poll_flush`].
    pub fn flush(&self) -> usize {
        if self.closing.get() == Closing::Now || self.is_greeting.get() {
            // What is not sent yet is dropped: a reply made by the closing itself must not go out.
            return 0;
        }
        let mut output = self.output.borrow_mut();
        let mut total = 0;
        while !output.unsent().is_empty() {
            match self.socket.borrow_mut().try_write(output.unsent()) {
                Ok(0) => break,
                Ok(sent) => {
                    output.advance(sent);
                    total += sent;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    drop(output);
                    self.close();
                    return total;
                }
            }
        }
        let left = !output.unsent().is_empty() || self.socket.borrow().has_unsent();
        drop(output);
        if left || self.closing.get() == Closing::AfterReplies {
            self.wake();
        }
        total
    }

    /// Sends; ready when nothing is left to send, pending (with the task registered) when the socket takes no more.
    pub fn poll_flush(
        &self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<usize>> {
        let mut output = self.output.borrow_mut();
        let mut total = 0;
        while !output.unsent().is_empty() {
            match self.socket.borrow_mut().poll_write(context, output.unsent()) {
                std::task::Poll::Ready(Ok(sent)) if sent > 0 => {
                    output.advance(sent);
                    total += sent;
                }
                std::task::Poll::Ready(Ok(_)) => {
                    return std::task::Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(Err(error)),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
        match self.socket.borrow_mut().poll_flush(context) {
            std::task::Poll::Ready(Ok(())) => std::task::Poll::Ready(Ok(total)),
            std::task::Poll::Ready(Err(error)) => std::task::Poll::Ready(Err(error)),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    }

    /// Goes on with the greeting of the socket; ready when requests may come.
    pub fn poll_greeting(
        &self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        self.set_waker(context.waker());
        if self.is_finished() {
            return std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = self.socket.borrow_mut().poll_handshake(context);
        if let std::task::Poll::Ready(Ok(())) = polled {
            self.is_greeting.set(false);
        }
        polled
    }

    /// The last thing that its task does: the client learns that it is over, if it can still be told.
    pub fn say_goodbye(&self) {
        if !self.is_greeting.get() {
            self.socket.borrow_mut().say_goodbye();
        }
    }

    /// Closes once everything is answered and sent; requests behind are not executed.
    pub fn close_after_replies(&self) {
        if self.closing.get() == Closing::No {
            self.closing.set(Closing::AfterReplies);
            self.wake();
        }
    }

    /// Closes as soon as its task runs.
    pub fn close(&self) {
        self.closing.set(Closing::Now);
        self.wake();
    }

    /// The same, and the client can tell from now on: who has killed it may go on as if it were gone.
    pub fn close_now(&self) {
        self.close();
        self.socket.borrow_mut().hang_up();
    }

    /// Closes as soon as its task runs; what was not sent until now is not sent any more.
    pub fn close_unanswered(&self) {
        self.output.borrow_mut().discard_unsent();
        self.close();
    }

    /// Closes because the client does not take what is sent to it. Returns whether it was not closing already.
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

    /// Whether the client has closed its side, though what it sent before is not read yet.
    pub fn has_peer_closed(&self) -> bool {
        self.socket.borrow().has_peer_closed()
    }

    pub fn is_closing(&self) -> bool {
        self.closing.get() != Closing::No
    }

    /// Its task should end now.
    pub fn is_finished(&self) -> bool {
        match self.closing.get() {
            Closing::No => false,
            Closing::Now => true,
            Closing::AfterReplies => {
                let output = self.output.borrow();
                output.is_settled() && output.unsent().is_empty() && !self.socket.borrow().has_unsent()
            }
        }
    }

    pub fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Has its task look around.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}
