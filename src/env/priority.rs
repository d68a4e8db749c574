//! Priorities of background threads.

/// Lowers the calling thread's priority where processors are few: it writes checkpoints or prepares files. If
/// the system refuses, nothing is lost.
pub fn lower_own() {
    // On Linux the priority belongs to the thread.
    let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
}

const BACKGROUND_NICE: i32 = 10;
