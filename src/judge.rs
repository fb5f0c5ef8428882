//! The seam between dialling and judging. Hidden: it exists so that benches can put a rival in the
//! registry's place and drive the same dials through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Key;
use crate::admit::Admission;
pub use crate::connect::{Won, connect, connect_in_order};
use crate::journal::JournalEntry;
use crate::outcome::{Cause, Outcome};
use crate::policy::Policy;
pub use crate::record::Ticket;
use crate::registry::Registry;
use crate::snapshot::{State, Status};

/// What a dial asks and tells. A rival needs the first seven; the rest follows from them.
pub trait Judge: Send + Sync {
    /// Whether the address must not be dialled.
    fn is_fall_down(&self, address: &SocketAddr) -> bool;
    /// A dial was answered.
    fn record_success(&self, address: SocketAddr);
    /// A dial failed by the peer's fault.
    fn record_failure(&self, address: SocketAddr, cause: Cause);
    /// The address at this moment.
    fn status(&self, address: &SocketAddr) -> Status;
    /// Every address with something against it.
    fn statuses(&self) -> Vec<Status>;
    /// First failures that found no room.
    fn overflow(&self) -> u64;
    /// The policy in force.
    fn policy(&self) -> &Policy;

    /// The registry itself, where an operator may override what it holds.
    fn registry(&self) -> Option<&Registry> {
        None
    }

    /// The last changes of the address, oldest first.
    fn journal(&self, address: &SocketAddr) -> Vec<JournalEntry> {
        let _ = address;
        Vec::new()
    }

    /// What is to be known of an address before it is dialled.
    fn standing(&self, address: &SocketAddr) -> Standing {
        let state = if self.is_fall_down(address) {
            State::Down
        } else {
            State::Up
        };
        Standing { state, usual: None }
    }

    /// Asks to dial the address.
    fn try_admit(&self, address: &SocketAddr) -> Admission {
        match self.standing(address).state {
            state if state.is_down() => Admission::Deny {
                state,
                retry_in: self.status(address).retry_in,
            },
            _ => Admission::Pass,
        }
    }

    /// A dial begins.
    fn begin(&self, address: &SocketAddr) -> Ticket {
        let _ = address;
        Ticket::default()
    }

    /// The dial of the ticket has ended after `took`.
    fn end(&self, address: SocketAddr, ticket: Ticket, outcome: Outcome, took: Duration) {
        let _ = (ticket, took);
        match outcome {
            Outcome::Success => self.record_success(address),
            Outcome::Failed(cause) => self.record_failure(address, cause),
            _ => {}
        }
    }

    /// The dial of the ticket has been silent for longer than usual.
    fn note_silence(&self, address: SocketAddr, ticket: Ticket) {
        let _ = (address, ticket);
    }

    /// Whether the one race of the moment against the suspect is the caller's.
    fn claim_race(&self, address: &SocketAddr) -> bool {
        let _ = address;
        false
    }
}

/// What is known of an address before it is dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The verdict.
    pub state: State,
    /// How long a connect usually takes, where that is known.
    pub usual: Option<Duration>,
}

impl Judge for Registry {
    fn is_fall_down(&self, address: &SocketAddr) -> bool {
        Registry::is_fall_down(self, address)
    }

    fn record_success(&self, address: SocketAddr) {
        self.add_rise_up(address);
    }

    fn record_failure(&self, address: SocketAddr, cause: Cause) {
        Registry::record_failure(self, address, cause);
    }

    fn status(&self, address: &SocketAddr) -> Status {
        Registry::status(self, address)
    }

    fn statuses(&self) -> Vec<Status> {
        Registry::statuses(self)
    }

    fn overflow(&self) -> u64 {
        Registry::overflow(self)
    }

    fn policy(&self) -> &Policy {
        Registry::policy(self)
    }

    fn registry(&self) -> Option<&Registry> {
        Some(self)
    }

    fn journal(&self, address: &SocketAddr) -> Vec<JournalEntry> {
        Registry::journal(self, address)
    }

    fn standing(&self, address: &SocketAddr) -> Standing {
        let case = self.case(self.shared().subject(Key::of(address)));
        let (state, usual) = self.shared().standing(case);
        Standing { state, usual }
    }

    fn try_admit(&self, address: &SocketAddr) -> Admission {
        Registry::try_admit(self, address)
    }

    fn begin(&self, address: &SocketAddr) -> Ticket {
        self.shared()
            .ticket(self.shared().subject(Key::of(address)), None)
    }

    fn end(&self, address: SocketAddr, ticket: Ticket, outcome: Outcome, took: Duration) {
        let case = self.case(self.shared().subject(Key::of(&address)));
        self.shared()
            .end(case, None, ticket, outcome, || Some(took));
    }

    fn note_silence(&self, address: SocketAddr, ticket: Ticket) {
        let case = self.case(self.shared().subject(Key::of(&address)));
        self.shared().note_silence(case, ticket);
    }

    fn claim_race(&self, address: &SocketAddr) -> bool {
        let case = self.case(self.shared().subject(Key::of(address)));
        self.shared().claim_race(case)
    }
}

/// Whoever refers to a judge is one.
macro_rules! forward_to_what_it_refers_to {
    ($reference:ty) => {
        impl<J: Judge + ?Sized> Judge for $reference {
            fn is_fall_down(&self, address: &SocketAddr) -> bool {
                (**self).is_fall_down(address)
            }

            fn record_success(&self, address: SocketAddr) {
                (**self).record_success(address);
            }

            fn record_failure(&self, address: SocketAddr, cause: Cause) {
                (**self).record_failure(address, cause);
            }

            fn status(&self, address: &SocketAddr) -> Status {
                (**self).status(address)
            }

            fn statuses(&self) -> Vec<Status> {
                (**self).statuses()
            }

            fn overflow(&self) -> u64 {
                (**self).overflow()
            }

            fn policy(&self) -> &Policy {
                (**self).policy()
            }

            fn registry(&self) -> Option<&Registry> {
                (**self).registry()
            }

            fn journal(&self, address: &SocketAddr) -> Vec<JournalEntry> {
                (**self).journal(address)
            }

            fn standing(&self, address: &SocketAddr) -> Standing {
                (**self).standing(address)
            }

            fn try_admit(&self, address: &SocketAddr) -> Admission {
                (**self).try_admit(address)
            }

            fn begin(&self, address: &SocketAddr) -> Ticket {
                (**self).begin(address)
            }

            fn end(&self, address: SocketAddr, ticket: Ticket, outcome: Outcome, took: Duration) {
                (**self).end(address, ticket, outcome, took);
            }

            fn note_silence(&self, address: SocketAddr, ticket: Ticket) {
                (**self).note_silence(address, ticket);
            }

            fn claim_race(&self, address: &SocketAddr) -> bool {
                (**self).claim_race(address)
            }
        }
    };
}

forward_to_what_it_refers_to!(Arc<J>);
forward_to_what_it_refers_to!(&J);
