//! What of a request a server is chosen by.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::{sticky, target::Asked};
use crate::upstream::group::{hash_of, key_of_client};
use crate::upstream::parent::KeyBy;

/// The key of a request that `client` makes.
pub(super) fn of(by: &KeyBy, client: IpAddr, asked: &Asked, headers: &HeaderMap) -> u64 {
    let said = match by {
        KeyBy::Client => None,
        KeyBy::Target => Some(asked.host().as_bytes()),
        KeyBy::Path => Some(asked.path().as_bytes()),
        KeyBy::Header(name) => headers.get(name).map(HeaderValue::as_bytes),
        KeyBy::Cookie(name) => sticky::cookie(name, headers),
    };
    said.map_or_else(|| key_of_client(client), hash_of)
}
