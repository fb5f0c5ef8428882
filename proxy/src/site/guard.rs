//! Who may ask: a name and a password, by the Basic scheme of HTTP (RFC 7617).

use data_encoding::BASE64;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::plan::users::Users;

/// The name of the user who asks; `None` if it is none of `users`, or does not say so.
pub(super) fn user<'a>(users: &'a Users, headers: &HeaderMap) -> Option<&'a str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(said), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, credentials) = said.as_bytes().split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    users.find(&BASE64.decode(credentials.trim_ascii()).ok()?)
}

/// How a client is asked who it is. `realm` tells which of its passwords is meant.
pub(super) fn challenge(realm: &str) -> HeaderValue {
    // The name of a site needs no escapes.
    HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
        .unwrap_or(HeaderValue::from_static("Basic realm=\"site\""))
}

const SCHEME: &[u8] = b"Basic ";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(users: &'a Users, said: &[&str]) -> Option<&'a str> {
        let value = |said: &&str| (AUTHORIZATION, HeaderValue::from_str(said).unwrap());
        user(users, &said.iter().map(value).collect())
    }

    #[test]
    fn a_user_is_who_says_name_and_password() {
        // alice:hunter2, and é:ü
        let (alice, other) = ("YWxpY2U6aHVudGVyMg==", "w6k6w7w=");
        let users = Users::new([("alice", "hunter2"), ("é", "ü")]);
        for said in [
            format!("Basic {alice}"),
            format!("basic {alice}"),
            format!("BASIC   {alice} "),
        ] {
            assert_eq!(asked(&users, &[&said]), Some("alice"), "{said}");
        }
        assert_eq!(asked(&users, &[&format!("Basic {other}")]), Some("é"));
    }

    #[test]
    fn nobody_is_who_says_it_otherwise() {
        let users = Users::new([("alice", "hunter2")]);
        for said in [
            "",
            "Basic",
            "Basic ",
            "Basic alice:hunter2",
            "Bearer YWxpY2U6aHVudGVyMg==",
            "BasicYWxpY2U6aHVudGVyMg==",
            "Basic YWxpY2U6aHVudGVyMg",
            "Basic YWxpY2U6aHVudGVyMQ==",
            "Basic YWxpY2U=",
            "Basic YWxpY2U6aHVudGVyMg==,",
        ] {
            assert_eq!(asked(&users, &[said]), None, "{said}");
        }
        assert_eq!(asked(&users, &[]), None);
        let right = "Basic YWxpY2U6aHVudGVyMg==";
        assert_eq!(asked(&users, &[right, right]), None, "which of them?");
    }

    #[test]
    fn a_client_is_told_for_what() {
        let asked = challenge("shop");
        assert_eq!(asked, "Basic realm=\"shop\", charset=\"UTF-8\"");
    }
}
