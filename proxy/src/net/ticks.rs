//! Deadlines of all connections of a worker, kept by one timer.
//!
//! A timer for each request or transfer would cost more than the transfer: it is armed and
//! disarmed thousands of times for each time it fires. So a deadline here is a number in a cell,
//! compared with a counter that one task advances. Arming costs one store, no clock is read, and a
//! deadline fires at most two sweeps late and never early.
//!
//! A watch has a second number for what must end whether anything moves or not.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The worker's coarse clock and everyone who waits on it.
#[derive(Clone)]
pub struct Ticks(Rc<Shared>);

/// A length of time in ticks, rounded up.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(u64);

/// One connection's deadline. Left out of the clock when dropped.
pub struct Watch {
    slot: Rc<Slot>,
    ticks: Ticks,
}

struct Shared {
    start: Instant,
    /// The time between two sweeps. It only shrinks: spans that were made for a longer one are
    /// late by that, and none is ever early.
    period: Cell<Duration>,
    now: Cell<u64>,
    /// `slots[i].place == i` for every `i`.
    slots: RefCell<Vec<Rc<Slot>>>,
}

struct Slot {
    place: Cell<usize>,
    /// `NEVER` while nothing is awaited.
    deadline: Cell<u64>,
    /// `NEVER` while it may take as long as it does.
    end: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Ticks {
    /// A clock for deadlines of which `shortest` is the shortest.
    #[must_use]
    pub fn new(shortest: Duration) -> Self {
        Self(Rc::new(Shared {
            start: Instant::now(),
            period: Cell::new(period(shortest)),
            now: Cell::new(0),
            slots: RefCell::default(),
        }))
    }

    /// How long to wait between two calls of [`Ticks::sweep`].
    #[must_use]
    pub fn period(&self) -> Duration {
        self.0.period.get()
    }

    /// Sees to it that deadlines as short as `shortest` are kept from the next sweep on.
    pub fn hasten(&self, shortest: Duration) {
        self.0.period.set(period(shortest).min(self.period()));
    }

    /// The current tick.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Puts a length of time into ticks.
    #[must_use]
    pub fn span(&self, time: Duration) -> Span {
        // The counter may be behind by the time between two sweeps.
        let ticks = (time + self.period()).as_nanos().div_ceil(TICK.as_nanos());
        Span(u64::try_from(ticks).unwrap_or(NEVER))
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
            end: Cell::new(NEVER),
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
        let passed = self.0.start.elapsed().as_nanos() / TICK.as_nanos();
        self.0.now.set(u64::try_from(passed).unwrap_or(NEVER - 1));
        for slot in self.0.slots.borrow().iter() {
            if slot.is_due(self.now()) {
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

    /// Sets the time until which all has to be over, whatever moves: `span` from now, or none.
    pub fn bound(&self, span: Option<Span>) {
        let end = span.map_or(NEVER, |span| self.ticks.now().saturating_add(span.0));
        self.slot.end.set(end);
    }

    /// Whether that time has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.slot.end.get() <= self.ticks.now()
    }

    /// How long the clock has run, as of its last sweep: for what is counted by the second.
    #[must_use]
    pub fn clock(&self) -> Duration {
        Duration::from_millis(self.ticks.now().saturating_mul(TICK_MS))
    }

    /// Whether the deadline or the end has come.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.slot.is_due(self.ticks.now())
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
    fn is_due(&self, now: u64) -> bool {
        self.deadline.get().min(self.end.get()) <= now
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

const NEVER: u64 = u64::MAX;
const TICK_MS: u64 = 5;
const TICK: Duration = Duration::from_millis(TICK_MS);
const PERIOD_MOST: Duration = Duration::from_millis(500);

/// An eighth of the shortest deadline is what all may be late by.
fn period(shortest: Duration) -> Duration {
    (shortest / 8).clamp(TICK, PERIOD_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_after_its_span_and_not_before() {
        let ticks = Ticks::new(Duration::from_millis(80));
        assert_eq!(ticks.period(), Duration::from_millis(10));
        let watch = ticks.watch();
        assert!(!watch.is_due());
        // Three ticks, and two for the sweep that is due.
        watch.arm(ticks.span(Duration::from_millis(15)));
        ticks.0.now.set(4);
        assert!(!watch.is_due());
        ticks.0.now.set(5);
        assert!(watch.is_due() && !watch.is_over());
        watch.arm(ticks.span(Duration::from_millis(10)));
        assert!(!watch.is_due());
    }

    #[test]
    fn an_end_comes_whatever_is_armed() {
        let ticks = Ticks::new(Duration::from_millis(40));
        let watch = ticks.watch();
        watch.bound(Some(ticks.span(Duration::from_millis(20))));
        for now in 1..5 {
            ticks.0.now.set(now);
            watch.arm(ticks.span(Duration::from_millis(20)));
            assert!(!watch.is_due(), "{now}");
        }
        ticks.0.now.set(5);
        watch.disarm();
        assert!(watch.is_due() && watch.is_over());
        watch.bound(None);
        assert!(!watch.is_due());
    }

    #[test]
    fn sweeps_come_more_often_for_shorter_deadlines_and_never_less() {
        let ticks = Ticks::new(Duration::from_secs(10));
        assert_eq!(ticks.period(), PERIOD_MOST);
        ticks.hasten(Duration::from_millis(400));
        assert_eq!(ticks.period(), Duration::from_millis(50));
        ticks.hasten(Duration::from_secs(10));
        assert_eq!(ticks.period(), Duration::from_millis(50));
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
