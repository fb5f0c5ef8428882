//! The schedule and what answers mean, without a socket and by a passed clock.

use super::*;

fn target(text: &str) -> Target {
    Target::parse(text).unwrap()
}

fn server(text: &str) -> Server {
    Server {
        target: target(text),
        is_srv: text.starts_with('_'),
        weight: 1,
        is_backup: false,
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(lasts: &[u8], ttl: Option<u64>) -> Result<Answer, Fault> {
    Ok(Answer::Name(Found {
        addresses: lasts.iter().copied().map(address).collect(),
        ttl: ttl.map(seconds),
    }))
}

fn lost() -> Result<Answer, Fault> {
    Err(Fault::NameTimedOut {
        name: "a".into(),
        after: seconds(5),
    })
}

/// Offers of `host N`, priority, weight; the addresses of host N end in N.
fn service(offers: &[(u8, u16, u16)], lost: &[u8], ttl: Option<u64>) -> Answer {
    let offers = offers.iter().map(|&(nth, priority, weight)| {
        let target = target(&format!("host{nth}.internal:80"));
        let offer = Offer {
            target,
            priority,
            weight,
        };
        (offer, (!lost.contains(&nth)).then(|| vec![address(nth)]))
    });
    Answer::Service(Service {
        offers: offers.collect(),
        ttl: ttl.map(seconds),
    })
}

fn lasts(lookups: &Lookups) -> Vec<u16> {
    let spots = lookups.spots().into_iter();
    let lasts = spots.map(|spot| match spot.address.ip() {
        std::net::IpAddr::V4(ip) => u16::from(ip.octets()[3]),
        std::net::IpAddr::V6(_) => 0,
    });
    lasts.collect()
}

#[test]
fn a_name_is_due_at_once_then_when_its_answer_holds_no_longer() {
    for (ttl, life) in [
        (Some(0), seconds(1)),
        (Some(7), seconds(7)),
        (Some(86_400), seconds(3600)),
        (None, seconds(30)),
    ] {
        let now = Instant::now();
        let mut lookups = Lookups::new(&[server("a:80")], now);
        assert!(!lookups.is_settled() && lookups.next() == Some(now));
        assert_eq!(lookups.start(now).len(), 1);
        assert!(lookups.is_looking() && lookups.next().is_none());
        assert!(lookups.start(now).is_empty(), "one at a time");
        assert_eq!(lookups.note(0, name(&[1], ttl), now), None);
        assert!(lookups.is_settled() && !lookups.is_looking());
        assert_eq!(lookups.next(), Some(now + life), "{ttl:?}");
        assert!(lookups.start(now + life - seconds(1) / 2).is_empty());
        assert_eq!(lookups.start(now + life).len(), 1);
    }
}

#[test]
fn each_server_has_a_time_of_its_own_and_an_address_none() {
    let now = Instant::now();
    let servers = ["a:80", "10.0.0.9:80", "b:80"].map(server);
    let mut lookups = Lookups::new(&servers, now);
    assert_eq!(lasts(&lookups), [9]);
    assert_eq!(lookups.start(now).len(), 2);
    lookups.note(0, name(&[1], Some(60)), now);
    assert!(!lookups.is_settled());
    lookups.note(2, name(&[2], Some(5)), now);
    assert!(lookups.is_settled());
    let due = lookups.start(now + seconds(5));
    assert_eq!(due.iter().map(|one| one.0).collect::<Vec<_>>(), [2]);
    assert_eq!(lookups.next(), Some(now + seconds(60)));
    let fixed = Lookups::new(&[server("10.0.0.9:80")], now);
    assert!(fixed.is_settled() && fixed.next().is_none());
}

#[test]
fn a_lost_name_keeps_its_addresses_and_is_tried_again_after_growing_pauses() {
    let mut now = Instant::now();
    let mut lookups = Lookups::new(&[server("a:80")], now);
    lookups.note(0, name(&[1, 2], Some(60)), now);
    for (nth, pause) in [5, 10, 20, 30, 30, 30].into_iter().enumerate() {
        let failures = lookups.note(0, lost(), now);
        assert_eq!(failures, u32::try_from(nth + 1).ok());
        assert_eq!(lookups.next(), Some(now + seconds(pause)));
        assert_eq!(lasts(&lookups), [1, 2]);
        now += seconds(pause);
        assert_eq!(lookups.start(now).len(), 1);
    }
    lookups.note(0, name(&[3], Some(60)), now);
    assert_eq!(lasts(&lookups), [3]);
    lookups.note(0, lost(), now);
    assert_eq!(lookups.next(), Some(now + seconds(5)), "from the start");
    assert_eq!(lookups.fault().token(), "dns_timeout");
}

#[test]
fn an_address_of_two_names_is_one_and_an_order_says_nothing() {
    let now = Instant::now();
    let mut lookups = Lookups::new(&["a:80", "b:80"].map(server), now);
    lookups.note(0, name(&[2, 1], None), now);
    lookups.note(1, name(&[3, 1], None), now);
    assert_eq!(lasts(&lookups), [1, 2, 3]);
    lookups.note(0, name(&[1, 2], None), now);
    assert_eq!(lasts(&lookups), [1, 2, 3]);
    // Nor does that of two records for one address.
    let mut lookups = Lookups::new(&[server("_http._tcp.api:1")], now);
    let offers = [(1, 10, 5), (1, 20, 9)];
    for offers in [offers, [offers[1], offers[0]]] {
        lookups.note(0, Ok(service(&offers, &[], None)), now);
        assert!(!lookups.spots()[0].is_backup);
    }
}

#[test]
fn the_first_priority_is_usual_and_the_others_are_backups() {
    let now = Instant::now();
    let mut lookups = Lookups::new(&[server("_http._tcp.api:1")], now);
    let answer = service(&[(1, 20, 5), (2, 10, 0), (3, 10, 7)], &[], Some(9));
    lookups.note(0, Ok(answer), now);
    let spots = lookups.spots();
    let spots: Vec<_> = spots
        .iter()
        .map(|one| (one.weight, one.is_backup))
        .collect();
    assert_eq!(spots, [(5, true), (1, false), (7, false)]);
    assert_eq!(lookups.next(), Some(now + seconds(9)));
}

#[test]
fn weights_that_are_too_high_are_scaled_down_together() {
    let offers = |weights: &[u16]| -> Vec<_> {
        let offers = weights.iter().map(|&weight| Offer {
            target: target("a:80"),
            priority: 0,
            weight,
        });
        offers.map(|offer| (offer, ())).collect()
    };
    for (raw, share, expected) in [
        (&[0, 1, 256][..], 1, &[1, 1, 256][..]),
        (&[0, 100, 65_535], 1, &[1, 1, 256]),
        (&[30_000, 60_000], 1, &[128, 256]),
        (&[1, 2], 3, &[3, 6]),
        (&[1, 2], u16::MAX, &[128, 256]),
        (&[0, 0], 9, &[1, 1]),
    ] {
        assert_eq!(weights(&offers(raw), share), expected);
    }
}

#[test]
fn an_offer_whose_addresses_are_lost_keeps_them_and_is_asked_for_soon() {
    let now = Instant::now();
    let mut lookups = Lookups::new(&[server("_http._tcp.api:1")], now);
    let offers = [(1, 0, 1), (2, 0, 1)];
    lookups.note(0, Ok(service(&offers, &[], Some(60))), now);
    lookups.note(0, Ok(service(&offers, &[2], Some(60))), now);
    assert_eq!(lasts(&lookups), [1, 2]);
    assert_eq!(lookups.next(), Some(now + seconds(5)));
    lookups.note(0, Ok(service(&offers[..1], &[], Some(60))), now);
    assert_eq!(lasts(&lookups), [1], "what is offered no longer goes");
    let failures = lookups.note(0, Ok(service(&offers[1..], &[2], None)), now);
    assert_eq!(failures, Some(1), "nothing is found");
    assert_eq!(lasts(&lookups), [1]);
}
