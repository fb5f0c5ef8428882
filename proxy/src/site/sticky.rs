//! The cookie by which a client keeps its server (RFC 6265).
//!
//! It holds the server's number on the hash ring, which is made of its address: whoever can guess that
//! can tell that it is right. A client may write what it likes there: at worst it chooses a server
//! that others are given by chance.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};

use crate::plan::upstream::Sticky;

/// The server that the client had last, if it says so.
pub(super) fn read(sticky: &Sticky, headers: &HeaderMap) -> Option<u64> {
    let value = cookie(&sticky.cookie, headers)?;
    let value = std::str::from_utf8(value).ok()?;
    let is_ours = value.len() == DIGITS && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(value, 16).ok().filter(|_| is_ours)
}

/// The cookie for a client that `had` another server, or none; `is_tls` tells how it came.
pub(super) fn write(
    sticky: &Sticky,
    had: Option<u64>,
    now: u64,
    is_tls: bool,
) -> Option<HeaderValue> {
    if had == Some(now) {
        return None;
    }
    let mut cookie = format!(
        "{}={now:016x}; Path=/; HttpOnly; SameSite=Lax",
        sticky.cookie
    );
    if let Some(age) = sticky.max_age {
        cookie.push_str(&format!("; Max-Age={}", age.as_secs()));
    }
    if sticky.secure.unwrap_or(is_tls) {
        cookie.push_str("; Secure");
    }
    HeaderValue::try_from(cookie).ok()
}

/// The value of the first cookie of that name.
pub(super) fn cookie<'a>(name: &str, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).iter();
    let cookies = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
    let mut values = cookies.filter_map(|cookie| {
        let cookie = cookie.trim_ascii();
        let value = cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        Some(quoted.unwrap_or(value))
    });
    values.next()
}

const DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sticky() -> Sticky {
        Sticky {
            cookie: "srv".to_owned(),
            max_age: Some(Duration::from_secs(60)),
            secure: Some(true),
        }
    }

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let fields = cookies
            .iter()
            .map(|one| (COOKIE, HeaderValue::from_static(one)));
        fields.collect()
    }

    #[test]
    fn what_was_written_is_read_back_wherever_it_stands() {
        let written = write(&sticky(), None, 0xbeef, false).unwrap();
        let written = written.to_str().unwrap();
        assert_eq!(
            written,
            "srv=000000000000beef; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        for cookies in [
            &["srv=000000000000beef"][..],
            &["a=b; srv=000000000000beef; c=d"],
            &["a=b", "srv=\"000000000000beef\""],
        ] {
            assert_eq!(
                read(&sticky(), &headers(cookies)),
                Some(0xbeef),
                "{cookies:?}"
            );
        }
    }

    #[test]
    fn it_is_for_tls_alone_where_it_came_by_tls_or_that_was_said() {
        for (said, is_tls, is_secure) in [
            (None, true, true),
            (None, false, false),
            (Some(true), false, true),
            (Some(false), true, false),
        ] {
            let sticky = Sticky {
                secure: said,
                ..sticky()
            };
            let written = write(&sticky, None, 1, is_tls).unwrap();
            let written = written.to_str().unwrap();
            assert_eq!(written.ends_with("; Secure"), is_secure, "{said:?}");
        }
    }

    #[test]
    fn another_cookie_or_a_made_up_value_names_nobody() {
        for cookie in [
            "xsrv=000000000000beef",
            "srv=beef",
            "srv=+00000000000beef",
            "srv",
            "",
        ] {
            assert_eq!(read(&sticky(), &headers(&[cookie])), None, "{cookie}");
        }
        assert_eq!(
            write(&sticky(), Some(7), 7, true),
            None,
            "it has it already"
        );
    }
}
