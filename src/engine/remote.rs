//! The frontend's side of an engine on another thread.
//!
//! Submissions are gathered until the frontend's other tasks have had their turn, and then sent as one batch.
//! A full channel delays the next batch, which grows meanwhile; its bound is the load in bytes ([`Load`]):
//! above the limit the frontend executes no more requests until some bytes have arrived.

use crate::engine::engine::Delivery;
use crate::engine::load::Load;
use crate::engine::parcel::{Batch, Order};
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

pub struct Remote {
    open: RefCell<Batch>,
    filled: Notify,
    orders: mpsc::Sender<Batch>,
    load: Arc<Load>,
    bytes_max: usize,
}

impl Remote {
    pub fn new(orders: mpsc::Sender<Batch>, load: Arc<Load>, bytes_max: usize) -> Remote {
        Remote { open: RefCell::default(), filled: Notify::new(), orders, load, bytes_max }
    }

    pub fn push(&self, order: Order<'_>) {
        let mut open = self.open.borrow_mut();
        if open.is_empty() {
            self.filled.notify_one();
        }
        let before = open.memory();
        open.push(order);
        self.load.add(open.memory() - before);
    }

    pub fn has_room(&self) -> bool {
        self.load.has_room(self.bytes_max)
    }

    /// Bytes under way between the two sides, and in the engine's hand.
    pub fn bytes(&self) -> usize {
        self.load.bytes()
    }

    /// Same as [`Load::room_made`].
    pub async fn room_made(&self) {
        self.load.room_made().await;
    }

    /// Sends submissions until the engine is gone.
    pub async fn carry(&self) {
        loop {
            self.filled.notified().await;
            let Ok(permit) = self.orders.reserve().await else { return };
            let batch = self.open.take();
            if !batch.is_empty() {
                permit.send(batch);
            }
        }
    }

    /// A delivery has arrived.
    pub fn note_arrival(&self, delivery: &Delivery) {
        self.load.remove(delivery.memory());
    }
}
