//! What is on the way between a frontend and an engine on another thread, in bytes: both count, the frontend looks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// All accesses are sequentially consistent: [`Load::has_room`] relies on an order between two variables.
#[derive(Debug, Default)]
pub struct Load {
    /// Orders that the engine has not taken, and outcomes that the frontend has not taken.
    passing: AtomicUsize,
    /// What the engine had in hand when it last said so.
    in_hand: AtomicUsize,
    /// The frontend was refused and wants to know of room.
    is_awaited: AtomicBool,
    room: Notify,
}

impl Load {
    /// Something is on its way to the other side.
    pub fn add(&self, bytes: usize) {
        self.passing.fetch_add(bytes, Ordering::SeqCst);
    }

    /// It has arrived.
    pub fn remove(&self, bytes: usize) {
        self.passing.fetch_sub(bytes, Ordering::SeqCst);
        self.tell();
    }

    /// What the engine has in hand now. Orders are counted here before they are removed above, so that none is missed.
    pub fn set_in_hand(&self, bytes: usize) {
        if self.in_hand.swap(bytes, Ordering::SeqCst) != bytes {
            self.tell();
        }
    }

    pub fn bytes(&self) -> usize {
        self.passing.load(Ordering::SeqCst) + self.in_hand.load(Ordering::SeqCst)
    }

    /// Whether there are fewer bytes than so many. If not, [`Load::room_made`] follows.
    pub fn has_room(&self, bytes_max: usize) -> bool {
        if self.bytes() < bytes_max {
            return true;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // What has gone before the line above was told to nobody.
        self.bytes() < bytes_max
    }

    /// There is less than when [`Load::has_room`] was last false.
    pub async fn room_made(&self) {
        self.room.notified().await;
    }

    fn tell(&self) {
        if self.is_awaited.load(Ordering::SeqCst) && self.is_awaited.swap(false, Ordering::SeqCst) {
            self.room.notify_one();
        }
    }
}
