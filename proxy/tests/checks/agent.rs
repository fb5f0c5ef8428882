//! What a server says of itself when it is asked.

use risefall::check::Kind;

use super::admin::eventually;
use super::service::{Service, ask, by, checked, http, told, until_used};

#[tokio::test]
async fn a_server_that_says_drain_gets_no_requests_until_it_says_ready() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    one.says("drain # a new version comes");
    until_used(&proxy, "app", one.address(), false).await;
    let had = one.requests();
    ask(&proxy, 6).await;
    assert_eq!(one.requests(), had);
    let server = told(&proxy, "app", one.address()).await;
    assert_eq!(server["check"]["state"], "drained");
    assert_eq!(server["check_report"]["says"], "drain");
    assert_eq!(server["check_report"]["verdict"], "up");
    assert_eq!(
        server["reason"],
        "checks: it says drain, so it gets no new requests"
    );
    one.says("ready");
    until_used(&proxy, "app", one.address(), true).await;
    ask(&proxy, 4).await;
    assert!(one.requests() > had);
}

#[tokio::test]
async fn a_server_that_says_that_it_is_down_is_told_by_that() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    until_used(&proxy, "app", one.address(), true).await;
    one.says("down # disk full");
    until_used(&proxy, "app", one.address(), false).await;
    let server = told(&proxy, "app", one.address()).await;
    let why = server["reason"].as_str().unwrap();
    assert!(
        why.starts_with("checks: it says that it is down: disk full, "),
        "{why}"
    );
    one.says("up");
    until_used(&proxy, "app", one.address(), true).await;
}

#[tokio::test]
async fn a_server_that_wants_less_gets_less_and_is_not_down() {
    let (one, other) = (Service::start(&[200]).await, Service::start(&[200]).await);
    let proxy = checked(&[one.address(), other.address()], by(Kind::Http(http())));
    ask(&proxy, 1).await;
    let wants = async |percent: u8| {
        one.says(if percent == 0 { "0%" } else { "100%" });
        eventually("it gets what it wants", async || {
            told(&proxy, "app", one.address()).await["share_percent"] == percent
        })
        .await;
    };
    wants(0).await;
    let had = one.requests();
    ask(&proxy, 6).await;
    assert_eq!(one.requests(), had);
    let server = told(&proxy, "app", one.address()).await;
    assert_eq!(server["eligible"], true);
    assert_eq!(server["reason"], "gets 0 % of its share: it asks for 0 %");
    wants(100).await;
    ask(&proxy, 4).await;
    assert!(one.requests() > had);
}
