//! From a plan to running workers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::force::{self, Difference, InForce};
use super::standing::Standings;
use super::threads::{self, Crew, Door};
use super::{Order, Running, Services, Shared, StartError, memory};
use crate::admin::Report;
use crate::net::inherit::Inherited;
use crate::plan::Plan;
use crate::telemetry::tally::Tallies;
use crate::upstream::check::Checks;
use crate::upstream::evidence::Evidences;

/// Starts `plan`: listens, and serves until [`Running::drain`] or [`Running::cut`].
///
/// If the admin address cannot be had, the proxy goes on without it, unless it
/// [is needed](Services::is_admin_needed); see [`Running::admin_error`].
///
/// # Errors
///
/// A listener or a thread cannot be had.
pub fn start(plan: Plan, services: Services) -> Result<Running, StartError> {
    start_with(plan, services, Inherited::default())
}

/// Starts `plan` on the sockets that are `inherited`, as far as it asks for their addresses; the
/// others are closed.
///
/// # Errors
///
/// Those of [`start`].
pub fn start_with(
    plan: Plan,
    services: Services,
    mut inherited: Inherited,
) -> Result<Running, StartError> {
    let workers = plan.threads;
    let Difference {
        listeners, bound, ..
    } = Difference::of(&plan, &[], None, &mut inherited).map_err(StartError::Bind)?;
    for one in &inherited.listeners {
        tracing::warn!(address = %one.said, "a socket was passed that nothing listens on");
    }
    let (admin_door, admin_error) = open_admin(&plan, &services, inherited.admin.take())?;
    let admin = admin_door.as_ref().and_then(Door::address);
    let admin_path = admin_door.as_ref().and_then(Door::path);
    let admin_copy = admin_door.as_ref().and_then(Door::copy);
    let (leaving, is_leaving) = watch::channel(false);
    let (order, orders) = watch::channel(Order::Serve);
    let (draining, is_draining) = watch::channel(false);
    let cut = Arc::new(AtomicUsize::new(0));
    let own = listeners.iter().map(|one| one.address).chain(admin);
    let force = InForce {
        own: own.collect(),
        listeners,
        judge: services.judge,
        tallies: force::tallies(&plan, &Tallies::default()),
        plan: Arc::new(plan),
        generation: 1,
    };
    let force = Arc::new(ArcSwap::from_pointee(force));
    let memory = Arc::new(memory::Guard::new(workers));
    let evidences = Arc::<Evidences>::default();
    let checks = Arc::new(Checks::new(force.load().plan.limits.checks));
    let renewed = Arc::<Notify>::default();
    let counters: Arc<[_]> = (0..workers).map(|_| Arc::default()).collect();
    let shared = Arc::new(Shared {
        force: Arc::clone(&force),
        names: Arc::clone(&services.names),
        access: services.access,
        clients: Arc::default(),
        memory: Arc::clone(&memory),
        evidences: Arc::clone(&evidences),
        checks: Arc::clone(&checks),
        renewed: Arc::clone(&renewed),
        counters: Arc::clone(&counters),
        cut: Arc::clone(&cut),
    });
    let Crew {
        mut threads,
        senders,
        all_ended,
    } = Crew::start(workers, &shared, &orders)?;
    if let Some(door) = admin_door {
        let report = Report {
            force: Arc::clone(&force),
            standings: Standings::new(evidences, checks),
            counters: Arc::clone(&counters),
            memory,
            draining: is_draining,
            operator: services.operator,
            names: services.names,
            started: Instant::now(),
        };
        threads.push(threads::spawn_admin(door, report, all_ended, is_leaving)?);
    }
    let running = Running {
        force,
        counters,
        renewed,
        workers: senders,
        admin,
        admin_path,
        admin_error,
        admin_copy,
        leaving,
        order,
        draining,
        cut,
        threads,
    };
    running.give_out(bound);
    Ok(running)
}

/// Opens the admin address, if there is to be one; or why it cannot be had, if it may be missing.
fn open_admin(
    plan: &Plan,
    services: &Services,
    inherited: Option<OwnedFd>,
) -> Result<(Option<Door>, Option<String>), StartError> {
    let Some(admin) = plan.admin() else {
        return Ok((None, None));
    };
    match Door::open(&admin.at, inherited) {
        Ok(door) => Ok((Some(door), None)),
        Err(error) if services.is_admin_needed => Err(StartError::Admin(error)),
        Err(error) => Ok((None, Some(error))),
    }
}
