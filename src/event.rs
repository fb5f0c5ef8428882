//! What changed, for observers: each change of verdict once, told by whoever won the exchange.
//!
//! A writer that has won its exchange may be held up before it tells, and the next one overtake it.
//! Waiting for it would make writers wait for each other, so the *reader* puts the two right: see
//! `sequence.rs`.

mod sequence;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

use self::sequence::Sequence;
use crate::outcome::Cause;
use crate::record::Life;
use crate::snapshot::State;
use crate::sync::{AtomicUsize, Ordering, fence};

/// A change of verdict.
///
/// What time alone changes (the end of a down time, of a lease, of a set-aside) writes nothing and
/// is no transition; neither is suspicion. A probe that fails is one, from probing to down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Transition {
    /// Whose verdict changed.
    pub address: SocketAddr,
    /// The verdict before.
    pub from: State,
    /// The verdict now.
    pub to: State,
    /// The failure that took it down, or the answer that set it aside; `None` for the rest.
    pub cause: Option<Cause>,
    /// How many results in a row that took: failures on the way down, successes on the way up.
    pub evidence: u8,
    /// Which change of the address this is, modulo 8.
    pub generation: u8,
    /// In which stay in a record the generation is counted.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) life: Life,
    /// When, on the registry's clock.
    pub at: Duration,
}

/// A subscription: the transitions since it began, oldest first.
///
/// The transitions of one address come in the order in which they happened, each once.
///
/// It holds a bounded number. When the reader falls behind, the oldest are dropped and counted:
/// no writer ever waits for an observer. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Transitions {
    queue: Arc<Queue>,
    hub: Arc<Hub>,
    sequence: Sequence,
}

impl Transitions {
    /// Tells where an address stood when the subscription began.
    pub(crate) fn begins_with(&mut self, address: SocketAddr, life: Life, generation: u8) {
        self.sequence.begins_with(address, life, generation);
    }

    /// How many were dropped because nobody read them in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }

    /// Waits for the next transition.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: a transition is taken only in the poll that returns it.
    #[cfg(feature = "tokio")]
    pub async fn recv(&mut self) -> Transition {
        loop {
            let queue = Arc::clone(&self.queue);
            let arrival = queue.arrival.notified();
            if let Some(transition) = self.next() {
                return transition;
            }
            arrival.await;
        }
    }
}

/// Ends for the moment when all that has come is read; goes on when more has.
impl Iterator for Transitions {
    type Item = Transition;

    fn next(&mut self) -> Option<Transition> {
        let queue = &self.queue;
        self.sequence.next(
            || queue.waiting.pop(),
            || queue.lost.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Transitions {
    fn drop(&mut self) {
        self.hub.leave(&self.queue);
    }
}

/// Who observes. Read on transitions only.
#[derive(Debug)]
pub(crate) struct Hub {
    /// How many subscribe, so that a transition nobody observes costs one load and a fence.
    ///
    /// Written by `join` and `leave`, read by `publish`. `Relaxed`, between `SeqCst` fences: a
    /// writer exchanges a word and then looks here; a subscriber adds itself and then looks at the
    /// words. One of the two sees the other, so a change that a new subscriber is not told of is
    /// one that it found already made.
    count: CachePadded<AtomicUsize>,
    /// Swapped whole by `join` and `leave`, so that publishing takes no lock.
    queues: ArcSwap<Vec<Arc<Queue>>>,
}

#[derive(Debug)]
struct Queue {
    waiting: ArrayQueue<Transition>,
    /// `Relaxed`: a count, nothing else.
    lost: AtomicU64,
    #[cfg(feature = "tokio")]
    arrival: tokio::sync::Notify,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            count: CachePadded::new(AtomicUsize::new(0)),
            queues: ArcSwap::default(),
        }
    }
}

impl Hub {
    pub(crate) fn join(self: &Arc<Self>, capacity: usize) -> Transitions {
        let queue = Arc::new(Queue {
            waiting: ArrayQueue::new(capacity.max(1)),
            lost: AtomicU64::new(0),
            #[cfg(feature = "tokio")]
            arrival: tokio::sync::Notify::new(),
        });
        self.queues.rcu(|queues| {
            let mut queues = Vec::clone(queues);
            queues.push(Arc::clone(&queue));
            queues
        });
        self.count.fetch_add(1, Ordering::Relaxed);
        fence("subscriber_fence");
        Transitions {
            queue,
            hub: Arc::clone(self),
            sequence: Sequence::default(),
        }
    }

    fn leave(&self, queue: &Arc<Queue>) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.queues.rcu(|queues| {
            let staying = queues.iter().filter(|other| !Arc::ptr_eq(other, queue));
            staying.cloned().collect::<Vec<_>>()
        });
    }

    pub(crate) fn publish(&self, transition: Transition) {
        fence("writer_fence");
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        for queue in self.queues.load().iter() {
            if queue.waiting.force_push(transition).is_some() {
                queue.lost.fetch_add(1, Ordering::Relaxed);
            }
            #[cfg(feature = "tokio")]
            queue.arrival.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(port: u16) -> Transition {
        Transition {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            from: State::Up,
            to: State::Down,
            cause: Some(Cause::Refused),
            evidence: 3,
            generation: 1,
            life: Life {
                place: 1,
                incarnation: 1,
            },
            at: Duration::ZERO,
        }
    }

    #[test]
    fn a_slow_observer_loses_the_oldest_and_learns_how_many() {
        let hub = Arc::new(Hub::default());
        let mut slow = hub.join(2);
        for port in 1..=5 {
            hub.publish(transition(port));
        }
        assert_eq!(slow.lost(), 3);
        assert_eq!(slow.next().map(|t| t.address.port()), Some(4));
        assert_eq!(slow.next().map(|t| t.address.port()), Some(5));
        assert_eq!(slow.next(), None);
    }

    #[test]
    fn every_observer_sees_what_comes_after_it_joined_and_nobody_after_it_left() {
        let hub = Arc::new(Hub::default());
        let first = hub.join(8);
        hub.publish(transition(1));
        let mut second = hub.join(8);
        hub.publish(transition(2));
        drop(first);
        hub.publish(transition(3));
        assert_eq!(second.next(), Some(transition(2)));
        assert_eq!(second.next(), Some(transition(3)));
        assert_eq!(hub.queues.load().len(), 1);
    }
}
