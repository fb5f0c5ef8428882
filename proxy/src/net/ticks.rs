//! Deadlines of all connections of a worker, kept by one timer.
//!
//! A timer for each request or transfer would cost more than the transfer: it is armed and
//! disarmed thousands of times for each time it fires. So a deadline here is a number in a cell,
//! compared with a counter that one task advances. Arming costs one store, no clock is read, and a
//! deadline fires at most two ticks late and never early.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The worker's coarse clock and everyone who waits on it.
#[derive(Clone)]
pub struct Ticks(Rc<Shared>);

/// A length of time in ticks, rounded up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span(u64);

/// One connection's deadline. Left out of the clock when dropped.
pub struct Watch {
    slot: Rc<Slot>,
    ticks: Ticks,
}

struct Shared {
    start: Instant,
    tick: Duration,
    now: Cell<u64>,
    /// `slots[i].place == i` for every `i`.
    slots: RefCell<Vec<Rc<Slot>>>,
}

struct Slot {
    place: Cell<usize>,
    /// `NEVER` while nothing is awaited.
    deadline: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Ticks {
    /// A clock for deadlines of which `shortest` is the shortest.
    #[must_use]
    pub fn new(shortest: Duration) -> Self {
        Self(Rc::new(Shared {
            start: Instant::now(),
            tick: (shortest / 8).clamp(TICK_LEAST, TICK_MOST),
            now: Cell::new(0),
            slots: RefCell::default(),
        }))
    }

    /// How often [`Ticks::sweep`] has to be called.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.0.tick
    }

    /// The current tick.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Puts a length of time into ticks.
    #[must_use]
    pub fn span(&self, time: Duration) -> Span {
        let ticks = time.as_nanos().div_ceil(self.0.tick.as_nanos());
        // One more, because the current tick is partly over.
        Span(u64::try_from(ticks).unwrap_or(NEVER).saturating_add(1))
    }

    /// Whether `span` has passed since the tick `then`.
    #[must_use]
    pub fn is_past(&self, then: u64, span: Span) -> bool {
        self.now() >= then.saturating_add(span.0)
    }

    /// A deadline of its own for one connection; not armed yet.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let mut slots = self.0.slots.borrow_mut();
        let slot = Rc::new(Slot {
            place: Cell::new(slots.len()),
            deadline: Cell::new(NEVER),
            waker: RefCell::default(),
        });
        slots.push(Rc::clone(&slot));
        Watch {
            slot,
            ticks: self.clone(),
        }
    }

    /// Advances the clock to the present and wakes everyone whose deadline has come.
    pub fn sweep(&self) {
        let passed = self.0.start.elapsed().as_nanos() / self.0.tick.as_nanos();
        self.0.now.set(u64::try_from(passed).unwrap_or(NEVER - 1));
        for slot in self.0.slots.borrow().iter() {
            if slot.deadline.get() <= self.now() {
                slot.wake();
            }
        }
    }

    /// Wakes everyone, so that they look at what else has changed.
    pub fn wake_all(&self) {
        for slot in self.0.slots.borrow().iter() {
            slot.wake();
        }
    }
}

impl Watch {
    /// Sets the deadline to `span` from now; an earlier one is forgotten.
    pub fn arm(&self, span: Span) {
        self.slot
            .deadline
            .set(self.ticks.now().saturating_add(span.0));
    }

    /// Forgets the deadline.
    pub fn disarm(&self) {
        self.slot.deadline.set(NEVER);
    }

    /// Whether the deadline has come.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.slot.deadline.get() <= self.ticks.now()
    }

    /// Has the current task woken when the deadline comes.
    pub fn register(&self, cx: &Context<'_>) {
        let mut waker = self.slot.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Ready when the deadline has come.
    pub fn poll_due(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_due() {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
    }

    /// Drives `future` to its end, or gives `None` when the deadline comes first.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_due(cx).map(|()| None),
        })
        .await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut slots = self.ticks.0.slots.borrow_mut();
        let place = self.slot.place.get();
        slots.swap_remove(place);
        if let Some(moved) = slots.get(place) {
            moved.place.set(place);
        }
    }
}

impl Slot {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

const NEVER: u64 = u64::MAX;
const TICK_LEAST: Duration = Duration::from_millis(5);
const TICK_MOST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_after_its_span_and_not_before() {
        let ticks = Ticks::new(Duration::from_millis(80));
        let watch = ticks.watch();
        assert!(!watch.is_due());
        watch.arm(ticks.span(Duration::from_millis(15)));
        ticks.0.now.set(2);
        assert!(!watch.is_due());
        ticks.0.now.set(3);
        assert!(watch.is_due());
        watch.arm(ticks.span(Duration::from_millis(10)));
        assert!(!watch.is_due());
    }

    #[test]
    fn dropped_watches_leave_the_others_in_place() {
        let ticks = Ticks::new(Duration::from_secs(1));
        let mut watches: Vec<_> = (0..5).map(|_| ticks.watch()).collect();
        for gone in [1, 3, 0] {
            drop(watches.remove(gone));
            let slots = ticks.0.slots.borrow();
            assert_eq!(slots.len(), watches.len());
            for (place, slot) in slots.iter().enumerate() {
                assert_eq!(slot.place.get(), place);
            }
        }
    }
}
