//! One worker's groups, across plans: what a reload does not touch keeps its turn, its counts and
//! its names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use risefall::Policy;
use risefall::judge::Judge;

use super::balance::Balance;
use super::group::{Group, Server};
use crate::net::guard::Guard;

/// The groups by name.
#[derive(Default)]
pub struct Groups(RefCell<HashMap<String, (Wanted, Rc<Group>)>>);

/// What makes a group another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its servers.
    pub servers: Vec<Server>,
    /// How one is chosen.
    pub balance: Balance,
    /// When one of them is down; `None` for the policy of the process.
    pub policy: Option<Arc<Policy>>,
    /// The addresses that this process listens on.
    pub own: Vec<SocketAddr>,
}

impl Groups {
    /// The group of that name: the one there is if it is the same, else a new one.
    pub fn get(&self, name: &str, wanted: Wanted, judge: &Arc<dyn Judge>) -> Rc<Group> {
        let judge: Arc<dyn Judge> = match (&wanted.policy, judge.registry()) {
            (Some(policy), Some(registry)) => Arc::new(registry.with_policy(Arc::clone(policy))),
            _ => Arc::clone(judge),
        };
        if let Some((known, group)) = self.0.borrow().get(name)
            && *known == wanted
            && group.judge().policy() == judge.policy()
        {
            return Rc::clone(group);
        }
        let guard = Guard::new(wanted.own.clone(), true);
        let servers = wanted.servers.clone();
        let group = Rc::new(Group::new(name, servers, wanted.balance, judge, guard));
        let entry = (wanted, Rc::clone(&group));
        self.0.borrow_mut().insert(name.to_owned(), entry);
        group
    }

    /// Forgets those that no plan has any more. Connections that have one keep it.
    pub fn retain(&self, is_wanted: impl Fn(&str) -> bool) {
        self.0.borrow_mut().retain(|name, _| is_wanted(name));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use risefall::Registry;

    use super::*;
    use crate::proto::Target;

    fn wanted(server: &str) -> Wanted {
        Wanted {
            servers: vec![Server {
                target: Target::parse(server).unwrap(),
                weight: 1,
                is_backup: false,
            }],
            balance: Balance::RoundRobin,
            policy: None,
            own: Vec::new(),
        }
    }

    #[test]
    fn a_group_stays_while_nothing_of_it_changes() {
        let groups = Groups::default();
        let registry = Registry::new(Policy::default());
        let judge: Arc<dyn Judge> = Arc::new(registry.clone());
        let first = groups.get("a", wanted("b:1"), &judge);
        // A reload makes another handle of the same registry.
        let again: Arc<dyn Judge> = Arc::new(registry.clone());
        assert!(Rc::ptr_eq(&first, &groups.get("a", wanted("b:1"), &again)));
        let moved = groups.get("a", wanted("b:2"), &judge);
        assert!(!Rc::ptr_eq(&first, &moved));
        let policy = Policy::builder().fail_timeout(Duration::from_secs(9));
        let policy = policy.build().unwrap();
        let other: Arc<dyn Judge> = Arc::new(registry.with_policy(policy));
        let judged = groups.get("a", wanted("b:2"), &other);
        assert!(!Rc::ptr_eq(&moved, &judged));
        groups.retain(|name| name != "a");
        assert!(!Rc::ptr_eq(
            &judged,
            &groups.get("a", wanted("b:2"), &other)
        ));
    }
}
