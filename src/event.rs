//! What changed, for observers: each change of verdict once, told by whoever won the exchange.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

use crate::outcome::Cause;
use crate::snapshot::State;

/// A change of verdict made by a record.
///
/// The end of `fail_timeout` writes nothing and is no transition: it is told by the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Transition {
    /// Whose verdict changed.
    pub address: SocketAddr,
    /// The verdict before.
    pub from: State,
    /// The verdict now.
    pub to: State,
    /// The failure that took it down; `None` when it came up.
    pub cause: Option<Cause>,
    /// When, on the registry's clock.
    pub at: Duration,
}

/// A subscription: the transitions since it began, oldest first.
///
/// It holds a bounded number. When the reader falls behind, the oldest are dropped and counted:
/// no writer ever waits for an observer. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Transitions {
    queue: Arc<Queue>,
    hub: Arc<Hub>,
}

impl Transitions {
    /// The oldest transition not yet read.
    #[must_use]
    pub fn next(&self) -> Option<Transition> {
        self.queue.waiting.pop()
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
            let arrival = self.queue.arrival.notified();
            if let Some(transition) = self.next() {
                return transition;
            }
            arrival.await;
        }
    }
}

impl Drop for Transitions {
    fn drop(&mut self) {
        self.hub.leave(&self.queue);
    }
}

/// Who observes. Read on transitions only.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// How many subscribe, so that a transition nobody observes costs one load.
    ///
    /// Written by `join` and `leave`, read by `publish`. `Relaxed`: a subscriber is owed what
    /// comes after `subscribe` returned, and whoever handed it on has ordered that.
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
        Transitions {
            queue,
            hub: Arc::clone(self),
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
            at: Duration::ZERO,
        }
    }

    #[test]
    fn a_slow_observer_loses_the_oldest_and_learns_how_many() {
        let hub = Arc::new(Hub::default());
        let slow = hub.join(2);
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
        let second = hub.join(8);
        hub.publish(transition(2));
        drop(first);
        hub.publish(transition(3));
        assert_eq!(second.next(), Some(transition(2)));
        assert_eq!(second.next(), Some(transition(3)));
        assert_eq!(hub.queues.load().len(), 1);
    }
}
