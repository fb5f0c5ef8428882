//! The work of a connection that speaks HTTP/1, and who does it.
//!
//! The engine's connection is a future: nothing is sent or read unless somebody polls it. A task of
//! its own does that, so that a connection that is kept hears when its server closes it. But while a
//! request waits for its answer and has no body to be sent meanwhile, the task would be woken only to
//! wake the one that waits, twice for each request. So whoever waits may **borrow** the connection and
//! poll it instead; what happens to it then wakes them, and the task sleeps.
//!
//! A request with a body leaves the work to the task: its body has to go on while nobody takes the
//! answer.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A connection's work.
pub(super) struct Wire {
    /// `None` once the connection has ended.
    work: RefCell<Option<Work>>,
    relay: Arc<Relay>,
    /// Leads to `relay`; what the connection is polled with, by whomever.
    waker: Waker,
    address: SocketAddr,
}

type Work = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

impl Wire {
    pub(super) fn new(
        address: SocketAddr,
        work: impl Future<Output = hyper::Result<()>> + 'static,
    ) -> Self {
        let relay = Arc::new(Relay::default());
        Self {
            work: RefCell::new(Some(Box::pin(work))),
            waker: Waker::from(Arc::clone(&relay)),
            relay,
            address,
        }
    }

    /// For the connection's task: does what there is to do, unless somebody has borrowed it. Ready
    /// when the connection has ended.
    pub(super) fn poll_by_task(&self, cx: &Context<'_>) -> Poll<()> {
        set(&mut self.relay.wakers().task, cx.waker());
        match self.relay.hands() {
            TASK => self.do_work(),
            _ => Poll::Pending,
        }
    }

    /// From now on the work is the caller's, until it is [given back](Self::give_back).
    pub(super) fn borrow(&self) {
        // Whoever still sees the hands before wakes in vain.
        self.relay.hands.store(BORROWER, Ordering::Release);
    }

    pub(super) fn is_borrowed(&self) -> bool {
        self.relay.hands() != TASK
    }

    /// Leaves the work to the task again. Nothing that happened meanwhile is lost.
    pub(super) fn give_back(&self) {
        self.relay.hands.store(TASK, Ordering::SeqCst);
        let mut wakers = self.relay.wakers();
        // Else a connection that is kept would keep the task of its last client.
        wakers.waiting = None;
        if self.relay.has_work.load(Ordering::SeqCst)
            && let Some(task) = &wakers.task
        {
            task.wake_by_ref();
        }
    }

    /// For a borrower: does the work and looks whether that brought what is `wanted`. That one is not
    /// woken by the work itself, which is done before each look.
    pub(super) fn poll_for<T>(
        &self,
        cx: &Context<'_>,
        wanted: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.borrow();
        // Its end is told to whoever is `wanted` from.
        let _ = self.do_work();
        let found = self.look(wanted);
        if found.is_pending() {
            self.wait(cx.waker());
            if !tokio::task::coop::has_budget_remaining() {
                // What is there may not have been given for that alone, and nothing else would tell.
                cx.waker().wake_by_ref();
            }
        }
        found
    }

    /// The same, if what is `wanted` may be there already.
    pub(super) fn poll_for_more<T>(
        &self,
        cx: &Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.borrow();
        let found = self.look(&mut wanted);
        if found.is_ready() {
            return found;
        }
        self.poll_for(cx, wanted)
    }

    /// Taking what is there tells the connection that there is room for more: that is no news to
    /// whoever takes it.
    fn look<T>(&self, wanted: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let had_work = self.relay.has_work.load(Ordering::SeqCst);
        let found = wanted(&mut Context::from_waker(Waker::noop()));
        // All that wakes a connection lives on its worker's thread, so nothing else came meanwhile.
        self.relay.has_work.store(had_work, Ordering::Release);
        found
    }

    fn wait(&self, waker: &Waker) {
        set(&mut self.relay.wakers().waiting, waker);
        self.relay.hands.store(WAITER, Ordering::SeqCst);
        if self.relay.has_work.load(Ordering::SeqCst) {
            waker.wake_by_ref();
        }
    }

    fn do_work(&self) -> Poll<()> {
        let mut work = self.work.borrow_mut();
        let Some(future) = &mut *work else {
            return Poll::Ready(());
        };
        self.relay.has_work.store(false, Ordering::Release);
        let mut cx = Context::from_waker(&self.waker);
        let Poll::Ready(ended) = future.as_mut().poll(&mut cx) else {
            return Poll::Pending;
        };
        *work = None;
        if let Err(error) = ended {
            tracing::debug!(address = %self.address, %error, "connection to a server ended");
        }
        Poll::Ready(())
    }
}

/// Passes on what wakes a connection to whoever does its work.
#[derive(Default)]
struct Relay {
    /// Whose the work is: [`TASK`], [`BORROWER`] or [`WAITER`].
    ///
    /// Written by `Wire`, read by `Relay::wake_by_ref`. Ordering: `SeqCst`, with `has_work`: either
    /// whoever changes hands sees that there is work, or whoever brings it sees the new hands.
    hands: AtomicU8,
    /// Whether the connection was woken since its work was done last.
    ///
    /// Set by `Relay::wake_by_ref`, cleared by `Wire::do_work` before it polls. Ordering: `SeqCst`
    /// with `hands`, as above. To clear it late would do no harm, and nothing is published by it.
    has_work: AtomicBool,
    /// Never contended: all that locks it runs on the worker's thread.
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    task: Option<Waker>,
    /// A borrower that has found nothing.
    waiting: Option<Waker>,
}

impl Relay {
    fn hands(&self) -> u8 {
        self.hands.load(Ordering::SeqCst)
    }

    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_work.store(true, Ordering::SeqCst);
        let hands = self.hands();
        if hands == BORROWER {
            // It looks before it waits, or gives back.
            return;
        }
        let wakers = self.wakers();
        let waker = match hands {
            TASK => &wakers.task,
            _ => &wakers.waiting,
        };
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
    }
}

fn set(waker: &mut Option<Waker>, to: &Waker) {
    match waker {
        Some(waker) => waker.clone_from(to),
        none => *none = Some(to.clone()),
    }
}

/// The connection's own task has the work. What a wire begins with.
const TASK: u8 = 0;
/// A borrower has it, and runs or will look again by itself.
const BORROWER: u8 = 1;
/// A borrower has it, and waits to be woken.
const WAITER: u8 = 2;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn new() -> (Arc<Self>, Waker) {
            let count = Arc::<Self>::default();
            (Arc::clone(&count), Waker::from(count))
        }

        fn take(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    /// Work that counts its polls and leaves its waker, and ends when it is told to.
    #[derive(Default)]
    struct Fake {
        polls: Cell<usize>,
        waker: RefCell<Option<Waker>>,
        is_over: Cell<bool>,
    }

    impl Fake {
        fn wire(self: &Rc<Self>) -> Wire {
            let fake = Rc::clone(self);
            let work = poll_fn(move |cx| {
                fake.polls.set(fake.polls.get() + 1);
                fake.waker.replace(Some(cx.waker().clone()));
                match fake.is_over.get() {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                }
            });
            Wire::new(([127, 0, 0, 1], 80).into(), work)
        }

        /// Something happens to the connection.
        fn wake(&self) {
            let waker = self.waker.borrow().clone();
            waker.expect("it was polled").wake();
        }
    }

    fn nothing(_: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    #[test]
    fn what_happens_wakes_whoever_has_the_work() {
        let fake = Rc::<Fake>::default();
        let wire = fake.wire();
        let (task, task_waker) = Count::new();
        let (guest, guest_waker) = Count::new();
        let by_task = || wire.poll_by_task(&Context::from_waker(&task_waker));
        assert!(by_task().is_pending());
        fake.wake();
        assert_eq!((task.take(), guest.take()), (1, 0));
        assert!(by_task().is_pending());
        wire.borrow();
        fake.wake();
        assert_eq!((task.take(), guest.take()), (0, 0), "it will look");
        let cx = Context::from_waker(&guest_waker);
        assert!(wire.poll_for(&cx, nothing).is_pending());
        fake.wake();
        assert_eq!((task.take(), guest.take()), (0, 1));
        let polls = fake.polls.get();
        assert!(by_task().is_pending());
        assert_eq!(fake.polls.get(), polls, "it is not the task's");
    }

    #[test]
    fn what_happened_while_it_was_borrowed_is_the_task_s_to_see() {
        let fake = Rc::<Fake>::default();
        let wire = fake.wire();
        let (task, task_waker) = Count::new();
        let (_, guest_waker) = Count::new();
        let cx = Context::from_waker(&guest_waker);
        assert!(
            wire.poll_by_task(&Context::from_waker(&task_waker))
                .is_pending()
        );
        assert!(wire.poll_for(&cx, nothing).is_pending());
        wire.give_back();
        assert_eq!(task.take(), 0, "all was seen");
        assert!(wire.poll_for(&cx, |_| Poll::Ready(())).is_ready());
        fake.wake();
        wire.give_back();
        assert_eq!(task.take(), 1);
    }

    #[test]
    fn a_look_is_no_news_and_what_the_work_asks_for_is() {
        let fake = Rc::<Fake>::default();
        let wire = fake.wire();
        let (task, task_waker) = Count::new();
        let (guest, guest_waker) = Count::new();
        let cx = Context::from_waker(&guest_waker);
        assert!(
            wire.poll_by_task(&Context::from_waker(&task_waker))
                .is_pending()
        );
        let taken = |_: &mut Context<'_>| {
            fake.wake();
            Poll::Ready(())
        };
        assert!(wire.poll_for(&cx, taken).is_ready());
        assert!(wire.poll_for_more(&cx, taken).is_ready());
        wire.give_back();
        assert_eq!((task.take(), guest.take()), (0, 0));
        // As a future does that would let others run.
        let restless = Wire::new(
            ([127, 0, 0, 1], 80).into(),
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            }),
        );
        assert!(restless.poll_for(&cx, nothing).is_pending());
        assert_eq!(guest.take(), 1);
    }

    #[test]
    fn the_end_is_seen_by_whoever_comes_upon_it() {
        let fake = Rc::<Fake>::default();
        let wire = fake.wire();
        let (_, waker) = Count::new();
        let cx = Context::from_waker(&waker);
        fake.is_over.set(true);
        assert!(wire.poll_for(&cx, nothing).is_pending());
        wire.give_back();
        assert!(wire.poll_by_task(&cx).is_ready());
        assert_eq!(fake.polls.get(), 1, "an end is polled once");
    }
}
