//! Puts the transitions of each address into the order in which they happened.
//!
//! Every transition carries its address's generation, one more than the one before it. One that
//! comes too early is held until the one it overtook has come: that one's writer is between its
//! exchange and its telling. If anything was lost on the way nobody need come any more, and what
//! is held is let go as it is.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::Transition;
use crate::record::Life;

/// What has been read and what is held back.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The last transition read of each address: its stay in a record and its generation. Of
    /// those that had changed before the subscription began, what they were then.
    read: HashMap<SocketAddr, (Life, u8)>,
    /// `read` was cleared: what is not in it may have changed before.
    is_forgetful: bool,
    held: Vec<Transition>,
    ready: VecDeque<Transition>,
    lost: u64,
}

impl Sequence {
    /// Tells where an address stood when the subscription began.
    pub(super) fn begins_with(&mut self, address: SocketAddr, life: Life, generation: u8) {
        self.read.insert(address, (life, generation));
    }

    pub(super) fn next(
        &mut self,
        mut pop: impl FnMut() -> Option<Transition>,
        lost: impl Fn() -> u64,
    ) -> Option<Transition> {
        loop {
            if let Some(transition) = self.ready.pop_front() {
                return Some(transition);
            }
            let arrived = pop();
            let lost = lost();
            if lost != self.lost || self.held.len() > HELD_MOST {
                self.lost = lost;
                self.let_go();
                self.forget();
            }
            match arrived {
                Some(transition) => self.take(transition),
                None if self.ready.is_empty() => return None,
                None => {}
            }
        }
    }

    fn take(&mut self, transition: Transition) {
        if self.is_early(&transition) {
            self.held.push(transition);
            return;
        }
        self.pass(transition);
        while let Some(at) = self.held.iter().position(|held| !self.is_early(held)) {
            let next = self.held.swap_remove(at);
            self.pass(next);
        }
    }

    /// Whether a transition of the same address that happened before it has not come yet.
    fn is_early(&self, transition: &Transition) -> bool {
        let generation = match self.read.get(&transition.address) {
            Some(&(life, generation)) if life == transition.life => generation,
            _ if self.is_forgetful => return false,
            // A new incarnation begins with generation 0, and its first transition has 1.
            _ => 0,
        };
        let ahead = transition.generation.wrapping_sub(generation) & GENERATIONS;
        (2..=FARTHEST).contains(&ahead)
    }

    fn pass(&mut self, transition: Transition) {
        if self.read.len() >= ADDRESSES_MOST {
            self.forget();
        }
        let place = (transition.life, transition.generation);
        self.read.insert(transition.address, place);
        self.ready.push_back(transition);
    }

    /// Where the addresses stood is not known any more.
    fn forget(&mut self) {
        self.read.clear();
        self.is_forgetful = true;
    }

    fn let_go(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.sort_by_key(|transition| transition.at);
        held.into_iter()
            .for_each(|transition| self.pass(transition));
    }
}

/// The mask of a generation.
const GENERATIONS: u8 = 0b111;
/// Farther ahead is behind: the generation has turned over.
const FARTHEST: u8 = 4;
/// So many writers are not held up at once.
const HELD_MOST: usize = 64;
/// Addresses of which the last generation is remembered.
const ADDRESSES_MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::snapshot::State;

    fn transition(port: u16, generation: u8) -> Transition {
        Transition {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            from: State::Up,
            to: State::Down,
            cause: None,
            evidence: 1,
            generation: generation & GENERATIONS,
            life: Life {
                place: 1,
                incarnation: 1,
            },
            at: Duration::from_millis(generation.into()),
        }
    }

    /// What is read of `arriving`, (port, generation) in the order of telling.
    fn read(arriving: &[(u16, u8)], lost: u64) -> Vec<(u16, u8)> {
        let mut sequence = Sequence::default();
        let mut queue: VecDeque<_> = arriving
            .iter()
            .map(|&(port, generation)| transition(port, generation))
            .collect();
        let left = Cell::new(queue.len());
        let mut pop = || {
            let next = queue.pop_front();
            left.set(queue.len());
            next
        };
        // What is lost is lost when the last has been told.
        let losses = || if left.get() == 0 { lost } else { 0 };
        let mut seen = Vec::new();
        while let Some(next) = sequence.next(&mut pop, losses) {
            seen.push((next.address.port(), next.generation));
        }
        seen
    }

    #[test]
    fn what_overtook_waits_for_what_it_overtook() {
        let told = [(1, 1), (1, 3), (2, 1), (1, 2), (1, 4)];
        assert_eq!(read(&told, 0), [(1, 1), (2, 1), (1, 2), (1, 3), (1, 4)]);
        assert_eq!(read(&[(1, 2), (1, 1)], 0), [(1, 1), (1, 2)]);
    }

    #[test]
    fn a_subscription_goes_on_from_where_its_addresses_stood() {
        let mut sequence = Sequence::default();
        let known = transition(1, 5);
        sequence.begins_with(known.address, known.life, known.generation);
        let mut queue = VecDeque::from([transition(1, 7), transition(1, 6)]);
        let mut next = || {
            sequence
                .next(|| queue.pop_front(), || 0)
                .map(|next| next.generation)
        };
        assert_eq!([next(), next(), next()], [Some(6), Some(7), None]);
    }

    #[test]
    fn the_turn_of_the_generation_is_no_gap() {
        let told: Vec<_> = (1..20).map(|generation| (1, generation)).collect();
        let expected: Vec<_> = (1..20).map(|generation| (1, generation & 7)).collect();
        assert_eq!(read(&told, 0), expected);
    }

    #[test]
    fn nothing_is_held_for_what_was_lost() {
        assert_eq!(read(&[(1, 1), (1, 3)], 0), [(1, 1)]);
        assert_eq!(read(&[(1, 1), (1, 3)], 1), [(1, 1), (1, 3)]);
    }
}
