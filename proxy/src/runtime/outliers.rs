//! Groups are judged as a whole, once a second, off the way of requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::telemetry::log;
use crate::upstream::evidence::Evidences;

/// Looks at all groups again and again, for as long as it is polled. It waits for nothing else: a
/// name server that is silent must not keep anybody down.
pub(super) async fn look(shared: Arc<Shared>) {
    loop {
        judge(&shared.evidences);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Judges the servers of each group by what they did of late beside each other, and logs who is
/// worse than may be.
fn judge(evidences: &Evidences) {
    for (upstream, evidence) in evidences.all() {
        evidence.tidy(Instant::now());
        for outlier in evidence.sweep() {
            log::outlier(&upstream, &outlier);
        }
    }
}

/// As often as a group wants it at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);
