//! The load between a frontend and an engine on another thread, in bytes: both sides count, the frontend
//! checks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// All accesses are sequentially consistent: [`Load::has_room`] relies on an order between two variables.
#[derive(Debug, Default)]
pub struct Load {
    /// Orders that the engine has not taken, and outcomes that the frontend has not taken.
    passing: AtomicUsize,
    /// The engine's last reported load.
    in_hand: AtomicUsize,
    /// The frontend was refused and waits for room.
    is_awaited: AtomicBool,
    room: Notify,
}

impl Load {
    /// Bytes begin their transfer to the other side.
    pub fn add(&self, bytes: usize) {
        self.passing.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Bytes have arrived.
    pub fn remove(&self, bytes: usize) {
        self.passing.fetch_sub(bytes, Ordering::SeqCst);
        self.tell();
    }

    /// Reports the engine's current load. Orders are counted here before they are removed above, so that no
    /// byte is missed.
    pub fn set_in_hand(&self, bytes: usize) {
        if self.in_hand.swap(bytes, Ordering::SeqCst) != bytes {
            self.tell();
        }
    }

    pub fn bytes(&self) -> usize {
        self.passing.load(Ordering::SeqCst) + self.in_hand.load(Ordering::SeqCst)
    }

    /// Whether the load is below `bytes_max`. If not, [`Load::room_made`] will report room.
    pub fn has_room(&self, bytes_max: usize) -> bool {
        if self.bytes() < bytes_max {
            return true;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // A decrease before the previous line notified no one, so the load is read again.
        self.bytes() < bytes_max
    }

    /// Waits until the load is lower than when [`Load::has_room`] last returned false.
    pub async fn room_made(&self) {
        self.room.notified().await;
    }

    fn tell(&self) {
        if self.is_awaited.load(Ordering::SeqCst) && self.is_awaited.swap(false, Ordering::SeqCst) {
            self.room.notify_one();
        }
    }
}
