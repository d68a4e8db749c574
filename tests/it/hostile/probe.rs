//! The well-behaved client: sends PINGs and measures their latency.

use crate::support::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The latency bound for 95 of 100 PINGs. (A bound for all would measure the machine, whose cores the tests
/// share.)
const PONG_WITHIN: Duration = Duration::from_millis(100);

pub struct Probe {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Probe {
    pub fn start(server: &Server) -> Probe {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let mut client = server.connect();
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            while times.len() < 20 || !ends.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.line("PING");
                times.push(start.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            times
        });
        Probe { is_over, thread }
    }

    /// Ends the probe; fails if the client was not served in time.
    #[track_caller]
    pub fn assert_served(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().expect("the good client was served");
        times.sort();
        let at = times[times.len() * 95 / 100];
        assert!(
            at < PONG_WITHIN,
            "of {} PINGs, 95 of 100 took up to {at:?}, the last {:?}",
            times.len(),
            times.last()
        );
    }
}
