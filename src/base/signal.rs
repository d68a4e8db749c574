//! A wake-up between two tasks of one thread.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Notifications for one waiting task. One that finds nobody waiting is kept for the next wait; several count
/// as one. It costs a few instructions where tokio's `Notify`, which serves several threads, takes locks.
#[derive(Default)]
pub struct Signal {
    is_set: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl Signal {
    pub fn notify(&self) {
        if !self.is_set.replace(true)
            && let Some(waiter) = self.waiter.take()
        {
            waiter.wake();
        }
    }

    /// Returns at the next notification, or at once if there was one since the last wait. A second waiter at
    /// the same time takes the place of the first.
    pub fn notified(&self) -> Notified<'_> {
        Notified { signal: self }
    }
}

/// See [`Signal::notified`]. Dropping it ends the wait.
pub struct Notified<'a> {
    signal: &'a Signal,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.is_set.replace(false) {
            return Poll::Ready(());
        }
        let waiter = self.signal.waiter.take().filter(|waiter| waiter.will_wake(context.waker()));
        self.signal.waiter.set(Some(waiter.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        self.signal.waiter.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_notification_wakes_once_and_ends_one_wait() {
        let counter = Arc::new(Counter::default());
        let waker = counter.clone().into();
        let mut context = Context::from_waker(&waker);
        let signal = Signal::default();
        let mut wait = pin!(signal.notified());
        assert!(wait.as_mut().poll(&mut context).is_pending());
        signal.notify();
        signal.notify();
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert!(wait.poll(&mut context).is_ready());
        assert!(pin!(signal.notified()).poll(&mut context).is_pending());
    }

    #[test]
    fn a_notification_is_kept_for_a_wait_that_was_dropped_before_it_saw_it() {
        let counter = Arc::new(Counter::default());
        let waker = counter.clone().into();
        let mut context = Context::from_waker(&waker);
        let signal = Signal::default();
        assert!(pin!(signal.notified()).poll(&mut context).is_pending());
        signal.notify();
        assert!(pin!(signal.notified()).poll(&mut context).is_ready());
        assert_eq!(counter.0.load(Ordering::Relaxed), 0, "nobody waited any more");
    }
}
