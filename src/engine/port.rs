//! The seam between a frontend and its engine. Only values cross it: by a call on one thread, by channels
//! between two.

use crate::engine::engine::Engine;
use crate::engine::parcel::Order;
use crate::engine::remote::Remote;
use crate::engine::report;
use crate::engine::submission::{EngineAnswer, LOADING, Notice, Outcome, Question, Work};
use crate::env::clock::Clock;
use crate::model::limits::IN_FLIGHT_BYTES_MAX;
use crate::model::request::RequestId;
use crate::model::time::TimeMs;
use crate::observe::loading::Loading;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// An engine that is being read from disk.
pub struct Later {
    pub loading: Arc<Loading>,
    pub began_at: TimeMs,
    pub began_ms: u64,
    port: OnceCell<Port>,
}

impl Later {
    pub fn new(loading: Arc<Loading>, clock: &dyn Clock) -> Rc<Later> {
        let (began_at, began_ms) = (clock.now(), clock.monotonic_ms());
        Rc::new(Later { loading, began_at, began_ms, port: OnceCell::new() })
    }

    /// The engine is there.
    pub fn open(&self, port: Port) {
        assert!(self.port.set(port).is_ok(), "an engine comes once");
    }
}

/// Where a frontend hands in its submissions.
pub enum Port {
    /// The engine is on this thread: submitting is a call, and an immediate outcome returns from it.
    Here(Rc<RefCell<Engine>>),
    /// The engine is on another thread: every outcome comes with a delivery.
    There(Rc<Remote>),
    /// The engine comes later. Until then it has nothing to report, and other work is refused; it hears no
    /// notices, so the frontend repeats what holds when the engine has come.
    Later(Rc<Later>),
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
            Port::Later(later) => match (later.port.get(), work) {
                (Some(port), work) => port.submit(request, work),
                (None, Work::Question(Question::Report { .. })) => {
                    Some(Outcome::of(request, EngineAnswer::Report(Box::default())))
                }
                (None, _) => Some(Outcome::of(request, LOADING)),
            },
        }
    }

    /// The engine that has not come yet.
    #[inline]
    pub fn loading(&self) -> Option<&Later> {
        match self {
            Port::Later(later) if later.port.get().is_none() => Some(later),
            _ => None,
        }
    }

    /// Whether fewer bytes are in flight than [`IN_FLIGHT_BYTES_MAX`].
    pub fn has_room(&self) -> bool {
        match self {
            Port::Here(engine) => engine.borrow().bytes_in_flight() < IN_FLIGHT_BYTES_MAX,
            Port::There(remote) => remote.has_room(),
            Port::Later(later) => later.port.get().is_none_or(Port::has_room),
        }
    }

    /// Bytes that the data will grow by when everything in flight is applied; an estimate.
    pub fn growth(&self) -> usize {
        match self {
            Port::Here(engine) => report::growth(&engine.borrow()),
            Port::There(remote) => remote.bytes(),
            Port::Later(later) => later.port.get().map_or(0, Port::growth),
        }
    }

    pub fn notice(&self, notice: Notice) {
        match self {
            Port::Here(engine) => engine.borrow_mut().notice(notice),
            Port::There(remote) => remote.push(Order::Notice(notice)),
            Port::Later(later) => {
                if let Some(port) = later.port.get() {
                    port.notice(notice);
                }
            }
        }
    }
}
