//! From the listeners there are to those that a plan asks for.

use std::net::SocketAddr;

use super::force::Listener;
use crate::net::inherit::Inherited;
use crate::net::listen::{self, BindError, Bound, Claim, Neighbours};
use crate::plan::listen::Listen;
use crate::plan::{Plan, overlap};

/// What has to change, with the sockets that it takes.
pub(super) struct Difference {
    /// Those that stay and those that are new, in the order of the plan.
    pub(super) listeners: Vec<Listener>,
    /// The sockets of the new ones.
    pub(super) bound: Vec<(u64, Bound)>,
    pub(super) removed: Vec<Listener>,
}

/// What one address of the plan gets.
enum Place<'a> {
    Kept(Listener),
    New(&'a Listen, Sockets),
}

/// Sockets that are to be listened on, or are already.
enum Sockets {
    Claim(Claim),
    Bound(Bound),
}

impl Difference {
    /// Finds out what has to be bound, and binds it. Listens on all of it or on nothing.
    ///
    /// # Errors
    ///
    /// Every address that cannot be had.
    pub(super) fn of(
        plan: &Plan,
        listeners: &[Listener],
        admin: Option<SocketAddr>,
        inherited: &mut Inherited,
    ) -> Result<Self, Vec<BindError>> {
        let own = listeners.iter().map(|one| one.address);
        let own: Vec<_> = own.chain(admin).collect();
        let mut left = listeners.to_vec();
        let (mut places, mut errors) = (Vec::new(), Vec::new());
        for wanted in plan.listens() {
            let place = match keep(&mut left, wanted) {
                Some(kept) => kept.map(Place::Kept),
                None => sockets_for(wanted, plan.threads(), &own, inherited)
                    .map(|sockets| Place::New(wanted, sockets)),
            };
            match place {
                Ok(place) => places.push(place),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let last = listeners.iter().map(|one| one.id).max().unwrap_or(0);
        let mut difference = Self {
            listeners: Vec::with_capacity(places.len()),
            bound: Vec::new(),
            removed: left,
        };
        let placed = difference.place(places, last, plan.threads());
        placed.map_err(|error| vec![error])?;
        Ok(difference)
    }

    /// Listens where nobody has listened; `last` is the highest number that a listener has.
    fn place(
        &mut self,
        places: Vec<Place<'_>>,
        mut last: u64,
        threads: usize,
    ) -> Result<(), BindError> {
        for place in places {
            let listener = match place {
                Place::Kept(listener) => listener,
                Place::New(wanted, sockets) => {
                    let bound = sockets.listen()?;
                    last += 1;
                    let listener = Listener::new(last, wanted, &bound, threads)?;
                    self.bound.push((last, bound));
                    listener
                }
            };
            self.listeners.push(listener);
        }
        Ok(())
    }
}

/// The one of those that are `left` which listens there already, serving what is `wanted` now.
fn keep(left: &mut Vec<Listener>, wanted: &Listen) -> Option<Result<Listener, BindError>> {
    let said = wanted.address;
    let nth = left.iter().position(|one| {
        // A port that the system chose is its owner's.
        one.said == said && (said.port() != 0 || one.owner() == wanted.owner())
    })?;
    let mut kept = left.remove(nth);
    Some(kept.serve(wanted).map(|()| kept))
}

/// Sockets for an address that this process does not listen on yet: inherited, or new.
fn sockets_for(
    wanted: &Listen,
    threads: usize,
    own: &[SocketAddr],
    inherited: &mut Inherited,
) -> Result<Sockets, BindError> {
    let address = wanted.address;
    let taken = inherited.take(&wanted.owner(), address, threads);
    if let Some(bound) = taken.map_err(|error| BindError { address, error })? {
        return Ok(Sockets::Bound(bound));
    }
    let neighbours = match own.iter().any(|own| overlap(*own, address)) {
        true => Neighbours::Own,
        false => Neighbours::None,
    };
    listen::claim(address, threads, neighbours).map(Sockets::Claim)
}

impl Sockets {
    fn listen(self) -> Result<Bound, BindError> {
        match self {
            Self::Claim(claim) => claim.listen(),
            Self::Bound(bound) => Ok(bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Draft, ForwardDraft};

    fn plan(forwards: &[(&str, &[&str])]) -> Plan {
        let forwards = forwards.iter().map(|(name, listen)| ForwardDraft {
            name: (*name).to_owned(),
            ..ForwardDraft::on(listen.iter().map(|at| at.parse().unwrap()).collect())
        });
        Draft {
            forwards: forwards.collect(),
            admin: None,
            threads: 1,
            ..Draft::default()
        }
        .resolve()
        .unwrap()
    }

    fn difference(plan: &Plan, listeners: &[Listener]) -> Difference {
        Difference::of(plan, listeners, None, &mut Inherited::default()).unwrap()
    }

    #[test]
    fn listeners_stay_by_their_address_even_under_another_name() {
        let first = difference(&plan(&[("a", &["127.0.0.1:0"])]), &[]);
        let at = first.listeners[0].address.to_string();
        let mut known = first.listeners.clone();
        known[0].said = first.listeners[0].address;
        let moved = difference(&plan(&[("b", &[&at])]), &known);
        assert!(moved.bound.is_empty() && moved.removed.is_empty());
        assert_eq!(moved.listeners[0].name(), "b");
        assert_eq!(moved.listeners[0].id, known[0].id);
    }

    #[test]
    fn a_port_that_the_system_chose_stays_with_its_name() {
        let both = plan(&[("a", &["127.0.0.1:0", "127.0.0.1:0"])]);
        let first = difference(&both, &[]);
        assert_eq!(first.bound.len(), 2);
        let again = difference(&both, &first.listeners);
        assert!(again.bound.is_empty() && again.removed.is_empty());
        let one = difference(&plan(&[("a", &["127.0.0.1:0"])]), &first.listeners);
        assert_eq!((one.bound.len(), one.removed.len()), (0, 1));
        let other = difference(&plan(&[("b", &["127.0.0.1:0"])]), &first.listeners);
        assert_eq!((other.bound.len(), other.removed.len()), (1, 2));
        assert!(other.listeners[0].id > first.listeners[1].id);
    }

    #[test]
    fn every_address_that_cannot_be_had_is_told() {
        let taken = [0, 0].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let at = taken
            .each_ref()
            .map(|one| one.local_addr().unwrap().to_string());
        let plan = plan(&[("a", &[&at[0]]), ("b", &["127.0.0.1:0", &at[1]])]);
        let errors = Difference::of(&plan, &[], None, &mut Inherited::default())
            .err()
            .unwrap();
        assert_eq!(errors.len(), 2);
    }
}
