//! What answers at a listener, as one worker has it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::force::{InForce, Listener};
use crate::error::Fault;
use crate::plan::listen::Engine;
use crate::serve::context::{Context, Place, Terms};
use crate::upstream::evidence::Evidences;
use crate::upstream::groups::Means;
use crate::{forward, site};

/// The rules of one listener. A connection keeps those it began with.
#[derive(Clone)]
pub(super) enum Rules {
    Forward(Rc<forward::rules::Rules>),
    Site(Rc<site::rules::Rules>),
}

impl Rules {
    /// Makes what is in force at `listener` ready for the `worker` of `context`.
    pub(super) fn new(
        force: &InForce,
        listener: &Listener,
        context: &Context,
        evidences: &Evidences,
        worker: usize,
    ) -> Self {
        let plan = Arc::clone(&force.plan);
        let means = Means {
            judge: &force.judge,
            evidences,
            own: force.own.clone(),
            ticks: &context.ticks,
            groups: &context.groups,
            tallies: &force.tallies,
            worker,
            generation: force.generation,
        };
        match &listener.engine {
            Engine::Forward(forward) => {
                let rules = forward::rules::Rules::new(plan, Arc::clone(forward), &means);
                Self::Forward(Rc::new(rules))
            }
            Engine::Front(front) => {
                let rules = site::rules::Rules::new(&plan, front, listener.tls.clone(), &means);
                Self::Site(Rc::new(rules))
            }
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        match self {
            Self::Forward(rules) => &rules.terms,
            Self::Site(rules) => &rules.terms,
        }
    }

    /// Whether a client at `ip` may use the listener. A site is for everybody; its routes may not
    /// be.
    pub(super) fn admits(&self, ip: IpAddr) -> bool {
        match self {
            Self::Forward(rules) => rules.forward.access().admits(ip),
            Self::Site(_) => true,
        }
    }

    /// Serves a connection to its end; one that is `barred` is only told why.
    pub(super) async fn serve(
        self,
        stream: TcpStream,
        client: SocketAddr,
        place: Place,
        barred: Option<Fault>,
    ) {
        // A task has the room for the largest of these, and is moved several times until it runs.
        match self {
            Self::Forward(rules) => {
                Box::pin(forward::serve(stream, client, place, rules, barred)).await;
            }
            Self::Site(rules) => site::serve(stream, client, place, rules, barred).await,
        }
    }
}
