//! Groups are judged as a whole, once a second, off the way of requests.

use risefall::Sweep;

use super::force::InForce;
use crate::telemetry::log;
use crate::upstream::evidence::Evidences;

/// Judges the servers of each upstream by what they did of late beside each other, and logs who is
/// worse than may be.
pub(super) fn judge(force: &InForce, evidences: &Evidences) {
    for upstream in force.plan.upstreams() {
        let Some(evidence) = evidences.find(upstream.name()) else {
            // No worker has asked for it yet.
            continue;
        };
        let group = evidence.group();
        let Sweep { outliers, .. } = group.sweep(group.now());
        for outlier in &outliers {
            log::outlier(upstream.name(), outlier);
        }
    }
}
