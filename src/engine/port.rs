//! The seam between a frontend and its engine. Only values cross it: by a call on one thread, by channels
//! between two.

use crate::engine::engine::Engine;
use crate::engine::parcel::Order;
use crate::engine::remote::Remote;
use crate::engine::submission::{Notice, Outcome, Work};
use crate::model::limits::IN_FLIGHT_BYTES_MAX;
use crate::model::request::RequestId;
use std::cell::RefCell;
use std::rc::Rc;

/// Where a frontend hands in its submissions.
pub enum Port {
    /// The engine is on this thread: submitting is a call, and an immediate outcome returns from it.
    Here(Rc<RefCell<Engine>>),
    /// The engine is on another thread: every outcome comes with a delivery.
    There(Rc<Remote>),
}

impl Port {
    /// See [`Engine::submit`].
    pub fn submit(&self, request: RequestId, work: Work<'_>) -> Option<Outcome> {
        match self {
            Port::Here(engine) => engine.borrow_mut().submit(request, work),
            Port::There(remote) => {
                remote.push(Order::Work(request, work));
                None
            }
        }
    }

    /// Whether fewer bytes are in flight than [`IN_FLIGHT_BYTES_MAX`].
    pub fn has_room(&self) -> bool {
        match self {
            Port::Here(engine) => engine.borrow().bytes_in_flight() < IN_FLIGHT_BYTES_MAX,
            Port::There(remote) => remote.has_room(),
        }
    }

    pub fn notice(&self, notice: Notice) {
        match self {
            Port::Here(engine) => engine.borrow_mut().notice(notice),
            Port::There(remote) => remote.push(Order::Notice(notice)),
        }
    }
}
