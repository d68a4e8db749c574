//! Large values are freed by a thread of their own: a million small pieces take a second.

use crate::env::threads::{self, Lane, Priority, Threads};
use std::io;
use std::sync::Arc;

/// Where large values are freed.
#[derive(Debug, Default)]
pub struct Disposal {
    /// `None`: at once, on the caller's thread.
    lane: Option<Arc<dyn Lane>>,
}

impl Disposal {
    pub fn elsewhere(threads: &dyn Threads) -> io::Result<Disposal> {
        Ok(Disposal { lane: Some(threads.start("disposal", Priority::Background)?) })
    }

    pub fn free<T: Send + 'static>(&self, value: T) {
        match &self.lane {
            // Nobody waits for the end.
            Some(lane) => drop(threads::run(lane, move || drop(value))),
            None => drop(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::threads::RealThreads;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    struct Tells(mpsc::Sender<ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[test]
    fn a_value_is_freed_elsewhere_or_at_once() {
        let (sender, freed) = mpsc::channel();
        Disposal::default().free(Tells(sender.clone()));
        assert_eq!(freed.recv(), Ok(thread::current().id()));
        Disposal::elsewhere(&RealThreads).unwrap().free(Tells(sender));
        assert_ne!(freed.recv().unwrap(), thread::current().id());
    }
}
