//! Authorities: what is read has one spelling, and every codec carries it unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::{
    Host, Parsed, Target,
    socks5::{Request, parse_request},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(host) = Host::parse(bytes) {
        check(&Target::new(host, 80).expect("the port is not 0"));
    }
    let Ok(authority) = str::from_utf8(bytes) else {
        return;
    };
    let target = Target::parse_or_port(authority, 443);
    if let Ok(target) = &target {
        check(target);
    }
    match Target::parse(authority) {
        Ok(explicit) => assert_eq!(Ok(explicit), target),
        Err(error) => {
            assert!(error.to_string().len() < 200);
            if let Ok(target) = target {
                assert_eq!(target.port(), 443);
            }
        }
    }
});

fn check(target: &Target) {
    assert_ne!(target.port(), 0);
    assert_eq!(target.to_string().parse().as_ref(), Ok(target));
    match target.host() {
        Host::Ip(ip) => assert_eq!(*ip, ip.to_canonical()),
        Host::Name(name) => check_name(name.as_str()),
    }
    let request = Request::Connect(target.clone());
    let written = request.encode();
    let read = Parsed::Whole {
        value: request,
        consumed: written.len(),
    };
    assert_eq!(parse_request(&written), Ok(read));
}

fn check_name(name: &str) {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    assert!(name.bytes().all(is_plain) && name.len() <= 253);
    assert!(name.split('.').all(|label| (1..=63).contains(&label.len())));
    let last = name.rsplit('.').next().unwrap_or_default();
    assert!(!last.bytes().all(|byte| byte.is_ascii_digit()));
}
