//! What an operator does to an address: overrides, and taking them back.
//!
//! A page of another site can have a browser send a plain form here. It cannot add a field of its
//! own without asking first (a CORS preflight, which nobody answers), so an action needs that
//! field; and a browser that tells where a request comes from must say that it comes from here.

use std::net::SocketAddr;

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use percent_encoding::percent_decode_str;
use risefall::Registry;

/// What is done to one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Up,
    Down,
    Drain,
    Release,
    Reset,
}

/// Where a path under `/endpoints/` leads: `ADDR`, or `ADDR/ACTION`.
pub(super) fn parse(rest: &str) -> Result<(SocketAddr, Option<Action>), String> {
    let (address, action) = match rest.split_once('/') {
        Some((address, action)) => (address, Some(action)),
        None => (rest, None),
    };
    let address = percent_decode_str(address).decode_utf8_lossy();
    let address = address.parse().map_err(|_| {
        format!("found the address {address:?}, expected one such as 192.0.2.7:443\n")
    })?;
    let action = match action {
        None => None,
        Some("up") => Some(Action::Up),
        Some("down") => Some(Action::Down),
        Some("drain") => Some(Action::Drain),
        Some("release") => Some(Action::Release),
        Some("reset") => Some(Action::Reset),
        Some(other) => {
            return Err(format!(
                "found the action {other:?}, expected up, down, drain, release or reset\n"
            ));
        }
    };
    Ok((address, action))
}

impl Action {
    /// Does it, and says what has been done.
    pub(super) fn apply(self, registry: &Registry, address: SocketAddr) -> String {
        let done = match self {
            Self::Up => {
                registry.force_up(address);
                "is forced up until it is released"
            }
            Self::Down => {
                registry.force_down(address);
                "is forced down until it is released"
            }
            Self::Drain => {
                registry.drain(address);
                "is drained: no new connections until it is released"
            }
            Self::Release => {
                registry.release(address);
                "is released, with nothing held against it"
            }
            Self::Reset => {
                registry.reset(address);
                "is reset: all that was held against it is forgotten"
            }
        };
        tracing::info!(%address, "an operator has spoken: address {done}");
        format!("{address} {done}\n")
    }
}

/// Whether a request that acts comes from this machine's operator, and not from a page of another
/// site in the operator's browser.
pub(super) fn is_meant(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let is_own_origin = says(&ORIGIN).is_none_or(|origin| {
        origin
            .strip_prefix(b"http://")
            .is_some_and(|origin| says(&HOST) == Some(origin))
    });
    let is_own_site = says(&SEC_FETCH_SITE).is_none_or(|site| site == b"same-origin");
    headers.contains_key(&ACTION) && is_own_origin && is_own_site
}

pub(super) const NOT_MEANT: &str =
    "an action needs the field X-Risefall-Action, and may not come from another site\n";
const ACTION: HeaderName = HeaderName::from_static("x-risefall-action");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_address_and_what_to_do() {
        let address = "[2001:db8::7]:443".parse().unwrap();
        for path in ["[2001:db8::7]:443/drain", "%5B2001:db8::7%5D%3A443/drain"] {
            assert_eq!(parse(path), Ok((address, Some(Action::Drain))), "{path}");
        }
        assert_eq!(parse("[2001:db8::7]:443"), Ok((address, None)));
        for path in [
            "",
            "a:1",
            "127.0.0.1:1/",
            "127.0.0.1:1/kill",
            "127.0.0.1:1/up/",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_page_of_another_site_cannot_act() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter().map(|&(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            fields.collect::<HeaderMap>()
        };
        let own = ("host", "127.0.0.1:9901");
        let act = ("x-risefall-action", "1");
        assert!(is_meant(&headers(&[own, act])));
        assert!(is_meant(&headers(&[
            own,
            act,
            ("origin", "http://127.0.0.1:9901"),
            ("sec-fetch-site", "same-origin"),
        ])));
        for refused in [
            &[own][..],
            &[own, act, ("origin", "http://evil.example")],
            &[own, act, ("origin", "null")],
            &[own, act, ("origin", "https://127.0.0.1:9901")],
            &[own, act, ("sec-fetch-site", "cross-site")],
            &[own, act, ("sec-fetch-site", "same-site")],
        ] {
            assert!(!is_meant(&headers(refused)), "{refused:?}");
        }
    }
}
