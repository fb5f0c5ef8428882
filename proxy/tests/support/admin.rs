//! What the admin API of a proxy in this process says.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

use std::time::{Duration, Instant};

use risefall_proxy::plan::{Admin, Draft};
use serde_json::Value;

use crate::support::{Client, PATIENCE, Proxy, Response};

/// Has the proxy one.
pub fn with_admin(draft: &mut Draft) {
    draft.admin = Some(Admin::on("127.0.0.1:0".parse().unwrap()));
}

pub async fn admin(proxy: &Proxy, path: &str) -> Response {
    let at = proxy.running().admin_address().unwrap();
    let mut client = Client::connect(at).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send(request).await;
    client.response().await
}

pub async fn json(proxy: &Proxy, path: &str) -> Value {
    let answer = admin(proxy, path).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The value of one series.
pub async fn metric(proxy: &Proxy, series: &str) -> f64 {
    let answer = admin(proxy, "/metrics").await;
    let mut lines = answer.text().lines();
    let line = lines.find_map(|line| line.strip_prefix(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in {}", answer.text()));
    line.trim().parse().unwrap()
}

/// Waits until it is so.
pub async fn eventually(what: &str, is_done: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !is_done().await {
        assert!(start.elapsed() < PATIENCE, "never {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
