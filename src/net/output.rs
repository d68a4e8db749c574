//! The output of a connection: replies that are pending or unsent.
//!
//! Replies leave in request order although they are made out of order: a request that waits for its commit
//! opens a slot, and later replies are held until the slot is filled. Pushes (messages of subscriptions) are
//! not replies and pass between them.

use crate::resp::rope::Rope;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

/// Identifies an open slot. An output never reuses a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotNumber(pub u64);

/// `T` is the state kept with each waiting request.
#[derive(Debug)]
pub struct Output<T> {
    /// Ready to be sent.
    ready: Rope,
    /// Unanswered requests and the replies held behind them, in request order. The first slot is never
    /// filled.
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot.
    first: u64,
    /// Known bytes in filled slots.
    held: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Waiting(T),
    /// The reply will be dropped (CLIENT REPLY).
    Muted(T),
    Filled(Rope),
}

/// The result of filling a slot.
#[derive(Debug, PartialEq, Eq)]
pub struct Filled<T> {
    /// All requests are answered now.
    pub drained: bool,
    /// The state kept with the slot.
    pub kept: T,
}

/// Slots whose memory an idle connection keeps.
const KEPT_SLOTS: usize = 256;

/// Maximum buffers per send call.
const SLICES_MAX: usize = 32;

impl<T> Output<T> {
    /// No request waits for its reply.
    pub fn is_drained(&self) -> bool {
        self.slots.is_empty()
    }

    /// Requests whose replies are not ready to be sent.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Bytes held for the client. Each reference to a shared buffer counts in full; a lazy reply counts what
    /// it has produced.
    pub fn unread_bytes(&self) -> usize {
        self.ready.len() + self.held
    }

    /// Whether bytes are ready to send.
    pub fn has_unsent(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Discards the bytes that are ready to send.
    pub fn discard_unsent(&mut self) {
        self.ready.clear();
    }

    /// Memory for CLIENT LIST. A shared buffer counts as in [`Rope::memory`].
    pub fn memory(&self) -> usize {
        let held = self.slots.iter().map(|slot| match slot {
            Slot::Filled(reply) => reply.memory(),
            Slot::Waiting(_) | Slot::Muted(_) => 0,
        });
        self.ready.memory() + held.sum::<usize>() + self.slots.capacity() * size_of::<Slot<T>>()
    }

    /// The number of the next slot.
    pub fn next_slot(&self) -> SlotNumber {
        SlotNumber(self.first + self.slots.len() as u64)
    }

    /// Opens the slot of a later reply.
    pub fn open_slot(&mut self, muted: bool, kept: T) -> SlotNumber {
        let slot = self.next_slot();
        self.slots.push_back(if muted { Slot::Muted(kept) } else { Slot::Waiting(kept) });
        slot
    }

    /// The state kept with a slot; `None` if the slot was filled.
    pub fn slot_mut(&mut self, slot: SlotNumber) -> Option<&mut T> {
        let index = self.index(slot)?;
        match self.slots.get_mut(index) {
            Some(Slot::Waiting(kept) | Slot::Muted(kept)) => Some(kept),
            Some(Slot::Filled(_)) | None => None,
        }
    }

    /// Writes the reply of an open slot, followed by frames that are not replies: they are sent even if the
    /// reply is dropped. A filled slot keeps its first reply: the result is `None`, no reply is written, and
    /// the frames go out as a push.
    pub fn fill(
        &mut self,
        slot: SlotNumber,
        write: impl FnOnce(&mut Rope),
        behind: Option<Rope>,
    ) -> Option<Filled<T>> {
        let index = self.index(slot);
        let muted = match index.and_then(|index| self.slots.get(index)) {
            Some(Slot::Waiting(_)) => false,
            Some(Slot::Muted(_)) => true,
            Some(Slot::Filled(_)) | None => {
                append(&mut self.ready, behind);
                return None;
            }
        };
        if let Some(index @ 1..) = index
            && !cfg!(headwater_bug = "replies_in_wrong_order")
        {
            let mut reply = Rope::default();
            if !muted {
                write(&mut reply);
            }
            append(&mut reply, behind);
            self.held += reply.len();
            let before = std::mem::replace(&mut self.slots[index], Slot::Filled(reply));
            return before.into_kept().map(|kept| Filled { drained: false, kept });
        }
        if !muted {
            write(&mut self.ready);
        }
        append(&mut self.ready, behind);
        let kept = self.pop()?.into_kept()?;
        while let Some(Slot::Filled(_)) = self.slots.front() {
            if let Some(Slot::Filled(reply)) = self.pop() {
                self.held -= reply.len();
                self.ready.append(reply);
            }
        }
        Some(Filled { drained: self.slots.is_empty(), kept })
    }

    /// Writes the reply of a request that is answered at once, behind earlier replies.
    pub fn reply(&mut self, write: impl FnOnce(&mut Rope)) {
        if self.slots.is_empty() {
            write(&mut self.ready);
            return;
        }
        let mut reply = Rope::default();
        write(&mut reply);
        self.held += reply.len();
        self.slots.push_back(Slot::Filled(reply));
    }

    /// Writes a frame that is not a reply.
    pub fn push(&mut self, write: impl FnOnce(&mut Rope)) {
        write(&mut self.ready);
    }

    /// Appends a frame that is not a reply and that several outputs receive: a large one is referenced, not
    /// copied.
    pub fn push_shared(&mut self, bytes: &Bytes) {
        self.ready.push_shared(bytes);
    }

    /// The next bytes to send, as in [`Rope::as_slices`].
    pub fn as_slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.ready.as_slices(slices)
    }

    /// The next `len` bytes have been sent.
    pub fn advance(&mut self, len: usize) {
        self.ready.advance(len);
    }

    /// Sends with `write` until nothing is left or it fails; a write of no bytes is a failure. Returns the
    /// bytes sent.
    pub fn send(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> (usize, io::Result<()>) {
        let mut total = 0;
        loop {
            let mut slices = [IoSlice::new(b""); SLICES_MAX];
            let used = self.as_slices(&mut slices);
            if used == 0 {
                return (total, Ok(()));
            }
            match write(&slices[..used]) {
                Ok(0) => return (total, Err(ErrorKind::WriteZero.into())),
                Ok(sent) => {
                    self.advance(sent);
                    total += sent;
                }
                Err(error) => return (total, Err(error)),
            }
        }
    }

    fn index(&self, slot: SlotNumber) -> Option<usize> {
        slot.0.checked_sub(self.first).map(|index| index as usize)
    }

    fn pop(&mut self) -> Option<Slot<T>> {
        let slot = self.slots.pop_front();
        self.first += 1;
        if self.slots.is_empty() && self.slots.capacity() > KEPT_SLOTS {
            self.slots.shrink_to(KEPT_SLOTS);
        }
        slot
    }
}

#[inline]
fn append(rope: &mut Rope, behind: Option<Rope>) {
    if let Some(behind) = behind {
        rope.append(behind);
    }
}

impl<T> Slot<T> {
    fn into_kept(self) -> Option<T> {
        match self {
            Slot::Waiting(kept) | Slot::Muted(kept) => Some(kept),
            Slot::Filled(_) => None,
        }
    }
}

// A derived impl would require `T: Default`.
impl<T> Default for Output<T> {
    fn default() -> Self {
        Output { ready: Rope::default(), slots: VecDeque::new(), first: 0, held: 0 }
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
