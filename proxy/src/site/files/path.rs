//! From the path of a request to the name of a file.
//!
//! The path has its normal form already ([`crate::proto::path`]), by which the request was routed.
//! What is opened must be what was routed, so whatever a file system would read in another way has
//! no name here: an escaped separator, a segment that is empty. Dot segments are gone, and NUL was
//! refused.

use std::borrow::Cow;

use crate::proto::path::unescape;

/// The name of what is at `path`, relative to the root, in the bytes that the system has: without
/// slashes around it, empty for the root itself. `None` if there can be none.
#[must_use]
pub fn name(path: &str) -> Option<Cow<'_, [u8]>> {
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Cow::Borrowed(&[]));
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let bytes = path.as_bytes();
    if path.split('/').any(str::is_empty) || path.len() > NAME_MOST {
        return None;
    }
    if !bytes.contains(&b'%') {
        return Some(Cow::Borrowed(bytes));
    }
    let mut name = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match first {
            b'%' => unescape(rest)?,
            first => (*first, behind),
        };
        if *first == b'%' && matches!(byte, 0 | b'/' | b'\\') {
            return None;
        }
        name.push(byte);
        rest = behind;
    }
    // What is escaped needlessly is not in normal form.
    let has_dots = name.split(|&byte| byte == b'/').any(is_dots);
    (!has_dots).then_some(Cow::Owned(name))
}

/// Whether a segment of `name` begins with a dot, but for the folder that is there to be seen
/// (RFC 8615).
#[must_use]
pub fn is_hidden(name: &[u8]) -> bool {
    let name = match name.strip_prefix(WELL_KNOWN) {
        Some([]) => return false,
        Some([b'/', rest @ ..]) => rest,
        _ => name,
    };
    name.split(|&byte| byte == b'/')
        .any(|segment| segment.first() == Some(&b'.'))
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

const WELL_KNOWN: &[u8] = b".well-known";
/// Longer than any that a system opens.
const NAME_MOST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_system_has() {
        for (path, expected) in [
            ("/", Some(&b""[..])),
            ("/a", Some(b"a")),
            ("/a/", Some(b"a")),
            ("/a/b.html", Some(b"a/b.html")),
            ("/%C3%A4%20b", Some("\u{e4} b".as_bytes())),
            ("/a%25b", Some(b"a%b")),
            ("/%FF", Some(b"\xFF")),
            ("/a%0Ab", Some(b"a\nb")),
            ("/a;x=1", Some(b"a;x=1")),
            ("//", None),
            ("/a//b", None),
            ("//a", None),
            ("/a//", None),
            ("/a%2Fb", None),
            ("/a%5Cb", None),
            ("/a%00", None),
            ("/a%", None),
            ("/%2e%2e/b", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(name(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_begins_with_a_dot_is_hidden_but_for_what_is_well_known() {
        for (name, is_so) in [
            (&b""[..], false),
            (b"a.b", false),
            (b".git", true),
            (b"a/.git/config", true),
            (b".well-known", false),
            (b".well-known/acme-challenge/x", false),
            (b".well-known/.x", true),
            (b".well-knownx", true),
            (b"a/.well-known", true),
        ] {
            assert_eq!(is_hidden(name), is_so, "{}", name.escape_ascii());
        }
    }
}
