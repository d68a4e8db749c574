//! The allocator: the system's, with a count of allocated bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// The system's allocator. Each thread counts for itself and adds its count to the sum now and then, so that
/// counting costs one addition.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static ALLOCATED: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static PENDING: Cell<i64> = const { Cell::new(0) };
}

/// Bytes that a thread counts before it adds them to the sum: the error of [`allocated_bytes`] per thread.
const PENDING_MAX: u64 = 64 * 1024;

/// Bytes that the process has allocated and not freed.
pub fn allocated_bytes() -> u64 {
    let pending = PENDING.try_with(Cell::get).unwrap_or(0);
    u64::try_from(ALLOCATED.load(Ordering::Relaxed) + pending).unwrap_or(0)
}

/// The maximum so far.
pub fn peak_bytes() -> u64 {
    u64::try_from(PEAK.load(Ordering::Relaxed)).unwrap_or(0).max(allocated_bytes())
}

/// Returns unused memory to the system, as far as the allocator can.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

/// Makes all threads allocate from one heap. With a heap for each thread, as glibc has it, what a thread has
/// allocated is reused by that thread only; recovery allocates the data, and another thread frees it.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;
        /// `M_ARENA_MAX` of malloc.h.
        const ARENA_MAX: c_int = -8;
        unsafe extern "C" {
            safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        mallopt(ARENA_MAX, 1);
    }
}

#[inline]
fn count(bytes: i64) {
    // Nothing is counted while a thread is destroyed.
    let _ = PENDING.try_with(|pending| {
        let sum = pending.get() + bytes;
        if sum.unsigned_abs() < PENDING_MAX {
            pending.set(sum);
        } else {
            pending.set(0);
            let now = ALLOCATED.fetch_add(sum, Ordering::Relaxed) + sum;
            PEAK.fetch_max(now, Ordering::Relaxed);
        }
    });
}

// SAFETY: all calls are passed on unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is the one of the called function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted() {
        // Other tests allocate beside this one, but not that much. Zeros that nobody touches take no memory.
        const BYTES: usize = 1 << 30;
        let before = allocated_bytes();
        let held = std::hint::black_box(vec![0u8; BYTES]);
        let with = allocated_bytes();
        assert!(with > before + BYTES as u64 / 2, "{before} {with}");
        assert!(peak_bytes() >= with);
        drop(held);
        give_back();
        assert!(allocated_bytes() < with - BYTES as u64 / 2);
    }
}
