//! A connection that has become a tunnel: how long it may stand still, and how it ended.

use std::time::Duration;

use crate::error::Fault;
use crate::net::relay::{Ended, Patience};
use crate::net::ticks::Span;
use crate::serve::context::ONE_WAY;
use crate::serve::session::Session;

/// Begins to count what the tunnel moves, and how long it may live; gives how long it may stand
/// still. `idle` is the tunnel's own, if it has one.
pub(crate) fn begin(session: &Session, idle: Option<Span>) -> Patience {
    let spans = session.terms.spans;
    session.flow.moved.up.set(0);
    session.flow.moved.down.set(0);
    session.flow.watch.bound(spans.tunnel);
    let idle = idle.unwrap_or(spans.idle);
    Patience {
        idle,
        one_way: spans.one_way.min(idle),
        broken: spans.linger,
    }
}

/// Notes how a tunnel ended that may stand still for `own_idle`, or as long as all, and ends its access line. True if the client may still read what the
/// target said last.
pub(crate) fn finish(session: &Session, ended: Ended, own_idle: Option<Duration>) -> bool {
    let timeouts = &session.terms.plan.timeouts;
    let idle = own_idle.unwrap_or(timeouts.idle);
    let is_broken = matches!(ended, Ended::Broken(_));
    match ended {
        Ended::Closed => {}
        Ended::Idle | Ended::OneWay if session.flow.watch.is_over() => {
            session.note_fault(&Fault::Overlong {
                what: "tunnel",
                after: timeouts.tunnel.unwrap_or_default(),
            });
        }
        Ended::Idle => {
            session.note_fault(&Fault::Idle { after: idle });
        }
        Ended::OneWay => {
            session.note_fault(&Fault::Idle {
                after: idle.min(ONE_WAY),
            });
        }
        Ended::Broken(error) => {
            tracing::debug!(client = %session.client, %error, "tunnel broke");
            session.note_fault(&Fault::Cut("one side of the tunnel broke"));
        }
    }
    session.finish();
    is_broken
}
