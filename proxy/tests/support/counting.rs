//! An allocator that counts what is asked of it.

#![allow(dead_code, unreachable_pub, reason = "each file uses its part")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts, and has another do the work.
pub struct Counting<A>(pub A);

/// What was asked for by now, by all threads but those that are left out.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub calls: u64,
    /// Of what grows, by how much.
    pub bytes: u64,
    /// Of these, what was given back.
    pub freed: u64,
}

impl Counts {
    /// Bytes that are held.
    pub fn held(self) -> u64 {
        self.bytes.saturating_sub(self.freed)
    }
}

/// Written by every thread that is counted, read by whoever measures. Ordering: `Relaxed`, because
/// what is measured has been waited for.
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Without a destructor, so that it may be asked at any time of a thread's life.
    static IS_LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// From now on what this thread asks for does not count.
pub fn leave_out_this_thread() {
    IS_LEFT_OUT.set(true);
}

/// The counts by now.
pub fn so_far() -> Counts {
    Counts {
        calls: CALLS.load(Ordering::Relaxed),
        bytes: BYTES.load(Ordering::Relaxed),
        freed: FREED.load(Ordering::Relaxed),
    }
}

fn count(bytes: usize) {
    if !IS_LEFT_OUT.get() {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn count_freed(bytes: usize) {
    if !IS_LEFT_OUT.get() {
        FREED.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            bytes: self.bytes - before.bytes,
            freed: self.freed - before.freed,
        }
    }
}

// SAFETY: every call goes to the inner allocator with the arguments it came with; counting touches
// no memory but two atomics and a flag that needs no allocation.
#[allow(unsafe_code)]
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        count_freed(layout.size().saturating_sub(size));
        // SAFETY: `place` came from the inner allocator with this layout.
        unsafe { self.0.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: `place` came from the inner allocator with this layout.
        unsafe { self.0.dealloc(place, layout) }
    }
}
