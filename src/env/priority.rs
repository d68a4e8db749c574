//! The scheduling of threads that must not stand in the worker's way.

/// Has the calling thread yield to others where processors are few: it writes checkpoints or makes files
/// ready. What the system does not grant is no loss.
pub fn lower_own() {
    // On Linux the priority belongs to the thread.
    let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
}

const BACKGROUND_NICE: i32 = 10;
