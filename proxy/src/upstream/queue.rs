//! Requests that wait until a server may be had again.
//!
//! A line, first come first served, of bounded length. Only its head is ever called: by a request
//! that ends at a full server, by a change of the group's addresses, and, because health changes on
//! other threads, by a short timer of its own. It looks for a server; if it finds one it leaves the
//! line, and its leaving calls the next, until somebody finds none. So one event empties the line
//! as far as there is room, in order, and a server that comes back costs the line one look every
//! few milliseconds, however long it is.
//!
//! Who waits anew has everything before them: whoever gets in line forgets which servers it has
//! tried, or a head that may use none of those that are up would be in everybody's way. Who left
//! with a server that refused it comes back to the head: it has waited longer than the others.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The line for one group, in one worker.
#[derive(Debug, Default)]
pub struct Queue {
    line: RefCell<VecDeque<Rc<Slot>>>,
    length: Cell<usize>,
}

/// A place in the line. Dropped, it is given up, and the next is called.
#[derive(Debug)]
#[must_use = "a place that is dropped is given up"]
pub struct Place {
    slot: Rc<Slot>,
    queue: Rc<Queue>,
}

/// The line is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many requests wait for a server; the limit is {limit}")]
pub struct Full {
    /// How many may wait.
    pub limit: usize,
}

/// No server was to be had in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no server was to be had in time")]
pub struct TimedOut;

#[derive(Debug, Default)]
struct Slot {
    is_called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    /// A line for at most `length`.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self {
            line: RefCell::default(),
            length: Cell::new(length),
        }
    }

    /// Changes the bound for those that come.
    pub fn adjust(&self, length: usize) {
        self.length.set(length);
    }

    /// Whether nobody waits. If somebody does, whoever comes goes behind them: what is free by now
    /// is theirs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.line.borrow().len()
    }

    /// Gets in line.
    ///
    /// # Errors
    ///
    /// There is no room.
    pub fn enter(self: &Rc<Self>) -> Result<Place, Full> {
        let limit = self.length.get();
        let mut line = self.line.borrow_mut();
        if line.len() >= limit {
            return Err(Full { limit });
        }
        let slot = Rc::<Slot>::default();
        line.push_back(Rc::clone(&slot));
        Ok(self.place(slot))
    }

    /// Gets back in line, at its head, after a place was given up for a server that was none. There
    /// is always room: as many as leave may come back.
    pub fn enter_again(self: &Rc<Self>) -> Place {
        let slot = Rc::<Slot>::default();
        self.line.borrow_mut().push_front(Rc::clone(&slot));
        self.place(slot)
    }

    fn place(self: &Rc<Self>, slot: Rc<Slot>) -> Place {
        let queue = Rc::clone(self);
        Place { slot, queue }
    }

    /// Calls the head: a server may be had. Costs next to nothing while nobody waits.
    pub fn call(&self) {
        if let Some(head) = self.line.borrow().front() {
            head.call();
        }
    }

    fn is_head(&self, slot: &Rc<Slot>) -> bool {
        let line = self.line.borrow();
        line.front().is_some_and(|head| Rc::ptr_eq(head, slot))
    }
}

impl Place {
    /// Waits until it is worth looking for a server: when called as the head, and as the head every
    /// [`LOOK_EVERY`] besides, or after `retry_in` if that is sooner.
    ///
    /// Whoever finds a server takes it first, so that it counts as busy, and drops the place then.
    ///
    /// # Errors
    ///
    /// `deadline` is past.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the place stays until it is dropped, and so does a call.
    pub async fn wait(
        &mut self,
        deadline: Instant,
        retry_in: Option<Duration>,
    ) -> Result<(), TimedOut> {
        let look = retry_in.map_or(LOOK_EVERY, |time| time.clamp(LOOK_LEAST, LOOK_EVERY));
        let until = if self.queue.is_head(&self.slot) {
            deadline.min(Instant::now() + look)
        } else {
            // It becomes the head by being called.
            deadline
        };
        let slot = &self.slot;
        let called = poll_fn(|cx| {
            if slot.is_called.take() {
                return Poll::Ready(());
            }
            let mut waker = slot.waker.borrow_mut();
            match &mut *waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        });
        match timeout_at(until, called).await {
            Err(_) if until == deadline => Err(TimedOut),
            _ => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_head = self.queue.is_head(&self.slot);
        let mut line = self.queue.line.borrow_mut();
        // The oldest wait at the front, and they are the first to go.
        let place = line.iter().position(|one| Rc::ptr_eq(one, &self.slot));
        if let Some(place) = place {
            line.remove(place);
        }
        drop(line);
        if was_head {
            self.queue.call();
        }
    }
}

impl Slot {
    fn call(&self) {
        self.is_called.set(true);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// How late the line may be to learn that a server is up again.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What is due at once may be somebody else's already.
const LOOK_LEAST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// Servers as a count of free places, as requests see them.
    struct Fake {
        queue: Rc<Queue>,
        free: Cell<usize>,
        served: RefCell<Vec<usize>>,
        looks: Cell<usize>,
    }

    impl Fake {
        fn new(length: usize) -> Rc<Self> {
            Rc::new(Self {
                queue: Rc::new(Queue::new(length)),
                free: Cell::new(0),
                served: RefCell::default(),
                looks: Cell::new(0),
            })
        }

        fn take(&self) -> bool {
            self.looks.set(self.looks.get() + 1);
            let free = self.free.get();
            self.free.set(free.saturating_sub(1));
            free > 0
        }

        async fn ask(self: Rc<Self>, who: usize) {
            let mut place = self.queue.enter().unwrap();
            loop {
                place.wait(Instant::now() + LONG, None).await.unwrap();
                if self.take() {
                    self.served.borrow_mut().push(who);
                    return;
                }
            }
        }
    }

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_came_first_is_served_first_as_far_as_there_is_room() {
        let local = tokio::task::LocalSet::new();
        let fake = Fake::new(10);
        local
            .run_until(async {
                let tasks: Vec<_> = (0..5)
                    .map(|who| tokio::task::spawn_local(Rc::clone(&fake).ask(who)))
                    .collect();
                settle().await;
                fake.free.set(3);
                fake.queue.call();
                settle().await;
                assert_eq!(*fake.served.borrow(), [0, 1, 2]);
                assert_eq!(fake.queue.len(), 2);
                // The head, which had no call to go on with, finds out by itself.
                fake.free.set(2);
                for task in tasks {
                    task.await.unwrap();
                }
                assert_eq!(*fake.served.borrow(), [0, 1, 2, 3, 4]);
            })
            .await;
    }

    #[tokio::test]
    async fn one_that_gives_up_passes_its_call_on() {
        let local = tokio::task::LocalSet::new();
        let fake = Fake::new(10);
        local
            .run_until(async {
                let first = tokio::task::spawn_local(Rc::clone(&fake).ask(0));
                let second = tokio::task::spawn_local(Rc::clone(&fake).ask(1));
                settle().await;
                fake.free.set(1);
                fake.queue.call();
                // Called, and gone before it could look.
                first.abort();
                second.await.unwrap();
                assert_eq!(*fake.served.borrow(), [1]);
                assert!(fake.queue.is_empty());
            })
            .await;
    }

    #[tokio::test]
    async fn only_the_head_is_called() {
        let local = tokio::task::LocalSet::new();
        let fake = Fake::new(1000);
        local
            .run_until(async {
                for who in 0..1000 {
                    tokio::task::spawn_local(Rc::clone(&fake).ask(who));
                }
                settle().await;
                let before = fake.looks.get();
                fake.queue.call();
                settle().await;
                assert!(fake.looks.get() - before <= 3, "{}", fake.looks.get());
            })
            .await;
    }

    #[tokio::test]
    async fn the_line_is_bounded_and_so_is_the_wait() {
        let queue = Rc::new(Queue::new(1));
        let mut place = queue.enter().unwrap();
        assert_eq!(queue.enter().unwrap_err(), Full { limit: 1 });
        assert_eq!(place.wait(Instant::now(), None).await, Err(TimedOut));
        // A call that came in time counts, whatever the clock says.
        queue.call();
        assert_eq!(place.wait(Instant::now(), None).await, Ok(()));
        drop(place);
        assert!(queue.enter().is_ok());
        queue.adjust(0);
        assert_eq!(queue.enter().unwrap_err(), Full { limit: 0 });
    }

    #[tokio::test]
    async fn who_comes_back_is_the_head_though_the_line_is_full() {
        let queue = Rc::new(Queue::new(1));
        drop(queue.enter().unwrap());
        let mut next = queue.enter().unwrap();
        let mut back = queue.enter_again();
        assert_eq!(queue.len(), 2);
        queue.call();
        assert_eq!(next.wait(Instant::now(), None).await, Err(TimedOut));
        assert_eq!(back.wait(Instant::now(), None).await, Ok(()));
        drop(back);
        assert_eq!(next.wait(Instant::now(), None).await, Ok(()));
    }

    #[tokio::test]
    async fn a_wait_that_is_dropped_keeps_its_place_and_its_call() {
        let queue = Rc::new(Queue::new(2));
        let mut first = queue.enter().unwrap();
        let _second = queue.enter().unwrap();
        drop(first.wait(Instant::now() + LONG, None));
        queue.call();
        assert_eq!(first.wait(Instant::now(), None).await, Ok(()));
        assert_eq!(queue.len(), 2);
    }
}
