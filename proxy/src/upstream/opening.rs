//! Connections that are being opened, for those who would share them.
//!
//! A connection that speaks HTTP/2 takes many requests. When many come at once for a server to which
//! none is open, the first of them opens one and the others wait for that, or each would open its
//! own. They wait for one attempt: if it fails, or leads elsewhere, each goes on by itself, so that
//! a dead server is not tried by one after the other. If its client leaves meanwhile, the next of
//! them opens one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

/// How connections to one server are opened.
#[derive(Default)]
pub(super) struct Doorway {
    /// Whether the last one took one request at a time: then nobody waits for another's.
    is_single: Cell<bool>,
    opening: RefCell<Option<Rc<Attempt>>>,
}

/// What a request does that needs a new connection.
pub(super) enum Turn {
    /// Opens it.
    Mine(Opening),
    /// Waits for another's.
    Others(Waiting),
}

/// One attempt to open a connection; over when it is dropped.
#[must_use = "dropping it tells those who wait that it is over"]
pub(super) struct Opening(Rc<Attempt>);

/// The wait for the end of an attempt.
pub(super) struct Waiting(Rc<Attempt>);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Ended {
    /// Whoever made it left.
    #[default]
    Left,
    /// There is no connection to the server that others may share.
    Failed,
    /// There is one.
    Open,
}

#[derive(Default)]
struct Attempt {
    is_over: Cell<bool>,
    end: Cell<Ended>,
    ended: Notify,
}

impl Doorway {
    /// Whose turn it is to open a connection.
    pub(super) fn enter(&self) -> Turn {
        let mut opening = self.opening.borrow_mut();
        match &*opening {
            Some(attempt) if !attempt.is_over.get() => Turn::Others(Waiting(Rc::clone(attempt))),
            _ => {
                let attempt = Rc::new(Attempt::default());
                *opening = Some(Rc::clone(&attempt));
                Turn::Mine(Opening(attempt))
            }
        }
    }

    /// Whether the server, which may choose, chose connections of one request at a time.
    pub(super) fn is_single(&self) -> bool {
        self.is_single.get()
    }

    /// Notes what the server chose.
    pub(super) fn note_choice(&self, is_shared: bool) {
        self.is_single.set(!is_shared);
    }
}

impl Opening {
    /// Notes how it stands: that is how it ends, unless something else is noted.
    pub(super) fn note(&self, end: Ended) {
        self.0.end.set(end);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.is_over.set(true);
        self.0.ended.notify_waiters();
    }
}

impl Waiting {
    /// Waits for the end of the attempt.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing for the others.
    pub(super) async fn ended(self) -> Ended {
        let ended = self.0.ended.notified();
        if !self.0.is_over.get() {
            ended.await;
        }
        self.0.end.get()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    fn wait(doorway: &Doorway) -> Waiting {
        match doorway.enter() {
            Turn::Others(waiting) => waiting,
            Turn::Mine(_) => panic!("nobody is opening"),
        }
    }

    fn open(doorway: &Doorway) -> Opening {
        match doorway.enter() {
            Turn::Mine(opening) => opening,
            Turn::Others(_) => panic!("somebody is opening"),
        }
    }

    #[tokio::test]
    async fn one_opens_and_all_who_wait_hear_of_its_end() {
        let doorway = Doorway::default();
        for end in [Ended::Open, Ended::Failed, Ended::Left] {
            let opening = open(&doorway);
            let (first, second) = (wait(&doorway), wait(&doorway));
            let mut first = pin!(first.ended());
            let polled = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
            assert!(polled.is_pending(), "it waits for the end");
            if end != Ended::Left {
                opening.note(end);
            }
            drop(opening);
            assert_eq!(first.await, end);
            assert_eq!(second.ended().await, end, "one that asks late as well");
        }
        drop(open(&doorway));
    }
}
