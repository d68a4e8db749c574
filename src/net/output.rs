//! What a connection has been answered and has not been sent yet.
//!
//! Replies leave in the order of the requests although they are made out of order: a request that waits for its commit
//! opens a slot, and what is answered behind it is held until the slot is filled. Pushes (messages of subscriptions)
//! are no replies and pass between them.

use std::collections::VecDeque;

/// Names a slot for as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotNumber(pub u64);

#[derive(Debug)]
pub struct Output<T> {
    /// Ready to be sent, from `sent` on.
    bytes: Vec<u8>,
    sent: usize,
    /// Requests not answered yet, and the replies held behind them, in request order. The first one is never filled.
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot.
    first: u64,
    /// Bytes in filled slots.
    held: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Waiting(T),
    /// Its reply is dropped (CLIENT REPLY).
    Muted(T),
    Filled(Vec<u8>),
}

/// Memory that an idle connection keeps for its replies.
const KEPT_BYTES: usize = 4 * 1024;
const KEPT_SLOTS: usize = 256;

/// A slot that was filled.
#[derive(Debug, PartialEq, Eq)]
pub struct Filled<T> {
    /// Every request is answered now.
    pub drained: bool,
    /// What was kept with the slot.
    pub kept: T,
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Output { bytes: Vec::new(), sent: 0, slots: VecDeque::new(), first: 0, held: 0 }
    }
}

impl<T: Default> Output<T> {
    /// No request waits for its reply.
    pub fn is_drained(&self) -> bool {
        self.slots.is_empty()
    }

    /// Requests whose replies are not ready to be sent.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Bytes held for the client.
    pub fn unread_bytes(&self) -> usize {
        self.bytes.len() - self.sent + self.held
    }

    /// Bytes that could be sent now.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Forgets what could be sent now.
    pub fn discard_unsent(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// Memory taken, for CLIENT LIST.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.held + self.slots.capacity() * size_of::<Slot<T>>()
    }

    /// The number that the next slot gets.
    pub fn next_slot(&self) -> SlotNumber {
        SlotNumber(self.first + self.slots.len() as u64)
    }

    /// Keeps the place of a reply that comes later.
    pub fn open_slot(&mut self, muted: bool, kept: T) -> SlotNumber {
        let slot = self.next_slot();
        self.slots.push_back(if muted { Slot::Muted(kept) } else { Slot::Waiting(kept) });
        slot
    }

    /// What is kept with an open slot.
    pub fn slot_mut(&mut self, slot: SlotNumber) -> Option<&mut T> {
        let index = slot.0.checked_sub(self.first)? as usize;
        match self.slots.get_mut(index)? {
            Slot::Waiting(kept) | Slot::Muted(kept) => Some(kept),
            Slot::Filled(_) => None,
        }
    }

    /// Writes the reply of an open slot, and right behind it something that is no reply: that comes even if the reply is
    /// dropped. `None` if the slot was filled before.
    pub fn fill(
        &mut self,
        slot: SlotNumber,
        write: impl FnOnce(&mut Vec<u8>),
        behind: &[u8],
    ) -> Option<Filled<T>> {
        let index = slot.0.checked_sub(self.first)? as usize;
        let (muted, kept) = match self.slots.get_mut(index)? {
            Slot::Waiting(kept) => (false, std::mem::take(kept)),
            Slot::Muted(kept) => (true, std::mem::take(kept)),
            Slot::Filled(_) => return None,
        };
        if index > 0 {
            let mut reply = Vec::new();
            if !muted {
                write(&mut reply);
            }
            reply.extend_from_slice(behind);
            self.held += reply.len();
            self.slots[index] = Slot::Filled(reply);
            return Some(Filled { drained: false, kept });
        }
        if !muted {
            write(&mut self.bytes);
        }
        self.bytes.extend_from_slice(behind);
        self.pop();
        while let Some(Slot::Filled(reply)) = self.slots.front_mut() {
            let reply = std::mem::take(reply);
            self.held -= reply.len();
            self.bytes.extend_from_slice(&reply);
            self.pop();
        }
        Some(Filled { drained: self.slots.is_empty(), kept })
    }

    /// Writes the reply of a request that is answered at once, behind those before it.
    pub fn reply(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.slots.is_empty() {
            write(&mut self.bytes);
            return;
        }
        let mut reply = Vec::new();
        write(&mut reply);
        self.held += reply.len();
        self.slots.push_back(Slot::Filled(reply));
    }

    /// Writes something that is no reply.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
    }

    /// The first `len` unsent bytes have been sent.
    pub fn advance(&mut self, len: usize) {
        self.sent += len;
        assert!(self.sent <= self.bytes.len(), "more was sent than there was");
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        } else if self.sent >= self.bytes.len() / 2 && self.sent > KEPT_BYTES {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn pop(&mut self) {
        self.slots.pop_front();
        self.first += 1;
        if self.slots.is_empty() && self.slots.capacity() > KEPT_SLOTS {
            self.slots.shrink_to(KEPT_SLOTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> impl FnOnce(&mut Vec<u8>) {
        move |out| out.extend_from_slice(text.as_bytes())
    }

    #[test]
    fn what_a_deep_pipeline_took_is_given_back() {
        let mut output = Output::default();
        let slots: Vec<_> = (0..10_000).map(|_| output.open_slot(false)).collect();
        assert!(output.memory() > 10_000 * size_of::<Slot<T>>());
        for slot in slots {
            output.fill(slot, text("a"), b"");
        }
        output.discard_unsent();
        assert!(output.slots.capacity() <= 2 * KEPT_SLOTS, "{}", output.slots.capacity());
    }

    #[test]
    fn replies_leave_in_request_order() {
        let mut output = Output::default();
        output.reply(text("a"));
        let b = output.open_slot(false);
        let c = output.open_slot(false);
        output.reply(text("d"));
        assert!(!output.fill(c, text("c"), b"").0);
        assert_eq!(output.unsent(), b"a");
        assert_eq!(output.unread_bytes(), 3);
        assert!(output.fill(b, text("b"), b"").0);
        assert_eq!(output.unsent(), b"abcd");
        output.advance(4);
        assert!(output.is_drained() && output.unread_bytes() == 0);
    }

    #[test]
    fn a_push_passes_replies_that_wait() {
        let mut output = Output::default();
        let slot = output.open_slot(false);
        output.push(text(">"));
        assert_eq!(output.unsent(), b">");
        output.fill(slot, text("r"), b"");
        assert_eq!(output.unsent(), b">r");
    }

    #[test]
    fn what_follows_a_reply_stays_behind_it() {
        let mut output = Output::default();
        let first = output.open_slot(false);
        let muted = output.open_slot(true);
        output.reply(text("3"));
        output.fill(first, text("1"), b">");
        output.fill(muted, text("2"), b"!");
        assert_eq!(output.unsent(), b"1>!3");
        assert_eq!(output.unread_bytes(), 4);
    }

    #[test]
    fn a_muted_slot_keeps_order_and_says_nothing() {
        let mut output = Output::default();
        let muted = output.open_slot(true);
        let spoken = output.open_slot(false);
        output.fill(spoken, text("s"), b"");
        assert!(output.fill(muted, text("m"), b"").0);
        assert_eq!(output.unsent(), b"s");
    }

    #[test]
    fn what_was_sent_is_forgotten_in_steps() {
        let mut output = Output::default();
        output.reply(|out| out.resize(3 * KEPT_BYTES, b'x'));
        output.advance(2 * KEPT_BYTES);
        assert_eq!(output.unsent().len(), KEPT_BYTES);
        output.advance(KEPT_BYTES);
        assert_eq!(output.unread_bytes(), 0);
    }
}
