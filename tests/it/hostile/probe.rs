//! The good client: PING all the while, timed.

use crate::support::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What 95 of 100 PINGs must keep to. (All of them would measure the machine: tests share its cores.)
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

    /// Ends the probe; fails when the good client was not served in time.
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
