//! From a plan to running workers.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::watch;

use super::difference::Difference;
use super::force::InForce;
use super::shared::Shared;
use super::threads::{self, Crew, Door};
use super::{AdminEnd, Order, Running, Services, StartError};
use crate::net::inherit::Inherited;
use crate::plan::Plan;

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
    let Difference {
        listeners, bound, ..
    } = Difference::of(&plan, &[], None, &mut inherited).map_err(StartError::Bind)?;
    for one in &inherited.listeners {
        tracing::warn!(address = %one.said, "a socket was passed that nothing listens on");
    }
    let (door, admin) = open_admin(&plan, &services, inherited.admin.take())?;
    let force = InForce::first(plan, services.judge, listeners, admin.address);
    let shared = Arc::new(Shared::new(force, services.names, services.access));
    let (leaving, is_leaving) = watch::channel(false);
    let (order, orders) = watch::channel(Order::Serve);
    let (draining, is_draining) = watch::channel(false);
    let Crew {
        mut threads,
        senders,
        all_ended,
    } = Crew::start(&shared, &orders)?;
    if let Some(door) = door {
        let report = shared.report(services.operator, is_draining);
        threads.push(threads::spawn_admin(door, report, all_ended, is_leaving)?);
    }
    let running = Running {
        shared,
        workers: senders,
        admin,
        leaving,
        order,
        draining,
        threads,
    };
    running.give_out(bound);
    Ok(running)
}

/// Opens the admin address, if there is to be one; or tells why it cannot be had, if it may be
/// missing.
fn open_admin(
    plan: &Plan,
    services: &Services,
    inherited: Option<OwnedFd>,
) -> Result<(Option<Door>, AdminEnd), StartError> {
    let Some(admin) = plan.admin() else {
        return Ok((None, AdminEnd::default()));
    };
    match Door::open(&admin.at, inherited) {
        Ok(door) => {
            let end = door.end();
            Ok((Some(door), end))
        }
        Err(error) if services.is_admin_needed => Err(StartError::Admin(error)),
        Err(error) => {
            let error = Some(error);
            let end = AdminEnd {
                error,
                ..AdminEnd::default()
            };
            Ok((None, end))
        }
    }
}
