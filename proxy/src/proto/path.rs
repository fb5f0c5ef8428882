//! Paths of requests in one spelling.
//!
//! A proxy that chooses by one reading of a path while the server behind it acts by another can be
//! led around its own rules. So a path has a normal form, and that form is what routes are matched
//! with and what is sent on:
//!
//! - Escapes of letters, digits, `-`, `.`, `_` and `~` are undone, since they mean the same
//!   (RFC 3986 §6.2.2.2); the digits of all others are upper case. What is not ASCII is escaped.
//! - `.` and `..` are resolved, escaped or not. One that leads above the root is refused.
//! - An escaped slash or backslash stays escaped. Repeated slashes stay.
//! - Refused is what servers are known to read in different ways: an escape without two digits, an
//!   escaped NUL, a backslash, and `.` or `..` that is told from a dot segment only by an escaped
//!   slash or backslash, or by parameters behind it (`..;x`).
//!
//! Rules in a plan have the same form, so that both sides of a comparison do. Paths are compared with
//! more escapes undone, that of the slash among them, and with repeated slashes as one
//! ([`compared`]): what is behind a route may do all that, and must not be reached around one by
//! `%40` in place of `@`, by `%2F` or by `//`.

use std::borrow::Cow;

/// The normal form of `path`; borrowed if it has that form already.
///
/// # Errors
///
/// What is refused, see the [module](self).
pub fn normal(path: &str) -> Result<Cow<'_, str>, PathError> {
    let segments = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    resolve(segments).map(Cow::Owned)
}

/// `path`, which is in normal form, as it is compared with others: with every escape of a visible
/// ASCII character undone but those of `%` and `\\`, which would be read as something else, and with
/// one slash where there are several. Without dot segments, as the normal form is.
#[must_use]
pub fn compared(path: &str) -> Cow<'_, str> {
    let mut behind = path.bytes().skip(1);
    // Without a branch, which becomes vector code.
    let is_other = path.bytes().fold(false, |found, byte| {
        found | (byte == b'%') | ((byte == b'/') & (behind.next() == Some(b'/')))
    });
    if !is_other {
        return Cow::Borrowed(path);
    }
    let mut text = unescaped(path);
    let mut before = '\0';
    text.retain(|now| std::mem::replace(&mut before, now) != '/' || now != '/');
    Cow::Owned(text)
}

/// Where the segments of `path`, which is in normal form, begin, however many slashes are in front
/// of each, escaped or not.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = usize> {
    let slashes = memchr::memchr2_iter(b'/', b'%', path.as_bytes());
    let mut end = None;
    slashes.filter_map(move |at| {
        let behind = without_slash(path.get(at..)?)?;
        let is_first = end != Some(at);
        end = Some(path.len() - behind.len());
        is_first.then_some(at)
    })
}

/// What is behind the slashes at the start of `path`, which is in normal form.
pub(crate) fn without_slashes(mut path: &str) -> &str {
    while let Some(behind) = without_slash(path) {
        path = behind;
    }
    path
}

fn without_slash(path: &str) -> Option<&str> {
    path.strip_prefix('/').or_else(|| path.strip_prefix("%2F"))
}

/// With the escapes undone that mean the same.
fn unescaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        match unescape(rest.as_bytes().get(before.len()..).unwrap_or_default()) {
            Some((byte, _)) if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\') => {
                text.push(char::from(byte));
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                text.push('%');
                rest = behind;
            }
        }
    }
    text.push_str(rest);
    text
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Something else in front.
    #[error("found a path that does not begin with \"/\"")]
    NotAbsolute,
    /// An escape that is none.
    #[error("found \"%\" in the path without two hexadecimal digits behind it")]
    Escape,
    /// An escaped NUL.
    #[error("found \"%00\" in the path")]
    Nul,
    /// A byte that has to be escaped.
    #[error("found \"{}\" in the path, expected it escaped", .byte.escape_ascii())]
    Byte {
        /// The first such byte.
        byte: u8,
    },
    /// More steps up than down.
    #[error("found a path that leads above the root")]
    AboveRoot,
    /// What some take for a dot segment and others do not.
    #[error(
        "found \".\" or \"..\" beside an escaped slash or backslash, or parameters, in the path"
    )]
    HiddenDots,
}

/// The byte that is escaped at the start of `text`, and what lies behind it.
pub(crate) fn unescape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = text else {
        return None;
    };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    Some((u8::try_from(high * 16 + low).ok()?, rest))
}

/// Appends `byte`, escaped.
pub(crate) fn push_escaped(byte: u8, out: &mut String) {
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
        out.push(digit.to_ascii_uppercase());
    }
}

/// Whether a path is in normal form beyond doubt.
fn is_plain(path: &[u8]) -> bool {
    // Two loops without a branch, which become vector code.
    let has_special = path.iter().fold(false, |found, &byte| {
        found | (byte == b'%') | (byte >= 0x7F) | is_refused(byte)
    });
    let mut behind = path.iter().skip(1);
    let has_dots = path.iter().fold(false, |found, &byte| {
        found | ((byte == b'/') & (behind.next() == Some(&b'.')))
    });
    !has_special && !has_dots
}

const fn is_refused(byte: u8) -> bool {
    (byte <= b' ') | (byte == b'\\') | (byte == b'?') | (byte == b'#') | (byte == 0x7F)
}

/// Writes what follows the first slash in normal form.
fn resolve(segments: &str) -> Result<String, PathError> {
    let mut path = String::with_capacity(segments.len() + 1);
    let mut rest = Some(segments);
    while let Some(text) = rest {
        let (segment, behind) = match text.split_once('/') {
            Some((segment, behind)) => (segment, Some(behind)),
            None => (text, None),
        };
        rest = behind;
        let start = path.len();
        path.push('/');
        push_segment(segment, &mut path)?;
        let is_dots = match path.get(start..).unwrap_or_default() {
            "/." => {
                path.truncate(start);
                true
            }
            "/.." => {
                path.truncate(start);
                let above = path.rfind('/').ok_or(PathError::AboveRoot)?;
                path.truncate(above);
                true
            }
            written if hides_dots(written) => return Err(PathError::HiddenDots),
            _ => false,
        };
        if is_dots && rest.is_none() {
            path.push('/');
        }
    }
    Ok(path)
}

fn push_segment(segment: &str, path: &mut String) -> Result<(), PathError> {
    let mut rest = segment.as_bytes();
    while let [first, behind @ ..] = rest {
        if *first == b'%' {
            let (byte, behind) = unescape(rest).ok_or(PathError::Escape)?;
            match byte {
                0 => return Err(PathError::Nul),
                byte if is_unreserved(byte) => path.push(char::from(byte)),
                byte => push_escaped(byte, path),
            }
            rest = behind;
            continue;
        }
        match *first {
            byte if is_refused(byte) => return Err(PathError::Byte { byte }),
            byte if byte.is_ascii() => path.push(char::from(byte)),
            byte => push_escaped(byte, path),
        }
        rest = behind;
    }
    Ok(())
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a segment with its slash, which is no dot segment, would have one for those who undo
/// escapes first or drop parameters.
fn hides_dots(segment: &str) -> bool {
    let segment = segment.strip_prefix('/').unwrap_or(segment);
    let mut parts = segment.split("%2F").flat_map(|part| part.split("%5C"));
    segment.contains('.') && parts.any(is_dots)
}

/// Whether a part of a segment is one or two dots, with or without parameters.
fn is_dots(part: &str) -> bool {
    part.strip_prefix('.').is_some_and(|rest| {
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        rest.is_empty() || rest.starts_with(';') || rest.starts_with("%3B")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_normal_stays_as_it_is() {
        for path in [
            "/",
            "//",
            "/a",
            "/a/",
            "/a//b",
            "/a/b.html",
            "/a..b/c.",
            "/a;x=../b",
            "/a%2Fb%5C%25%3F%20",
            "/a:b@c!$&'()*+,=~_-",
            "/...",
            "/.well-known/x",
            "/{\"a\"}|^[]",
        ] {
            assert_eq!(normal(path).as_deref(), Ok(path));
        }
        assert!(matches!(
            normal("/a/b.html?".trim_end_matches('?')),
            Ok(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn one_meaning_has_one_spelling() {
        for (path, form) in [
            ("/%61dmin", "/admin"),
            ("/%41%2d%5F%7e%2E%39", "/A-_~.9"),
            ("/a%2fb%5c", "/a%2Fb%5C"),
            ("/%c3%a4", "/%C3%A4"),
            ("/\u{e4}", "/%C3%A4"),
            ("/%252e%252E", "/%252e%252E"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e%2E/c", "/c"),
            ("/a/.%2e/c", "/c"),
            ("/a//../b", "/a/b"),
            ("/a/..//b", "//b"),
            ("//..", "/"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(form), "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/%", PathError::Escape),
            ("/%4", PathError::Escape),
            ("/%4g", PathError::Escape),
            ("/%+1", PathError::Escape),
            ("/%4/1", PathError::Escape),
            ("/%u002e", PathError::Escape),
            ("/a%00.html", PathError::Nul),
            ("/a\\b", PathError::Byte { byte: b'\\' }),
            ("/a b", PathError::Byte { byte: b' ' }),
            ("/a\rb", PathError::Byte { byte: b'\r' }),
            ("/a\x7Fb", PathError::Byte { byte: 0x7F }),
            ("/a?b", PathError::Byte { byte: b'?' }),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/a", PathError::AboveRoot),
            ("/a/..;/b", PathError::HiddenDots),
            ("/a/..;x=1/b", PathError::HiddenDots),
            ("/a/%2e.%3b/b", PathError::HiddenDots),
            ("/a/..%2fb", PathError::HiddenDots),
            ("/a/..%5Cb", PathError::HiddenDots),
            ("/a/b%2f..", PathError::HiddenDots),
            ("/a/b%2F%2e%2e%2Fc", PathError::HiddenDots),
            ("/public/..%2fadmin", PathError::HiddenDots),
            ("/public%2f..%2fadmin", PathError::HiddenDots),
            ("/public%2f../admin", PathError::HiddenDots),
            ("/%2e%2e%2fadmin", PathError::HiddenDots),
            ("/.%2fadmin", PathError::HiddenDots),
            ("/%2f./admin", PathError::HiddenDots),
            ("/a%2f%2e%2fb", PathError::HiddenDots),
            ("/a/.;x/b", PathError::HiddenDots),
        ] {
            assert_eq!(normal(path), Err(error), "{path}");
        }
    }

    #[test]
    fn what_is_one_file_is_one_path_when_compared() {
        for (path, same) in [
            ("/team%40x/a", "/team@x/a"),
            ("/%7Bt%7D", "/{t}"),
            ("/a%3Bb%2Cc%3D", "/a;b,c="),
            ("/a%3Fb%23", "/a?b#"),
            ("/a%20b%C3%A4", "/a%20b%C3%A4"),
            ("/a%2Fb%5Cc%25d", "/a/b%5Cc%25d"),
            ("/%2Fa%2F/%2F", "/a/"),
            ("/a%252Fb", "/a%252Fb"),
            ("/%2540", "/%2540"),
            ("//a///b/", "/a/b/"),
            ("//", "/"),
            ("/a//%40//%2F/", "/a/@/"),
            ("/a", "/a"),
        ] {
            assert_eq!(compared(path), same);
            assert_eq!(compared(&compared(path)), same, "{path}");
        }
    }

    #[test]
    fn a_segment_begins_with_slashes_in_any_spelling() {
        for (path, starts) in [
            ("/", &[0][..]),
            ("/a/b", &[0, 2]),
            ("//a%2F/b%2f%25", &[0, 3]),
            ("/a%2Fb", &[0, 2]),
            ("%2F%2F/a%2F", &[0, 8]),
            ("/a%252Fb", &[0]),
        ] {
            assert!(segments(path).eq(starts.iter().copied()), "{path}");
        }
        assert_eq!(without_slashes("/%2F/%2Fa/%2F"), "a/%2F");
    }

    #[test]
    fn a_normal_form_is_its_own_and_has_no_way_up() {
        let parts = [
            "/", "/", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "%00", "%61", "a", ";", "%",
            "\\", "\u{e4}",
        ];
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..100_000 {
            let len = random.usize(..10);
            let path: String = (0..len).filter_map(|_| random.choice(parts)).collect();
            let Ok(form) = normal(&format!("/{path}")).map(Cow::into_owned) else {
                continue;
            };
            assert!(form.starts_with('/') && form.is_ascii(), "{path} {form}");
            assert!(
                form.split('/').all(|part| part != "." && part != ".."),
                "{path} {form}"
            );
            assert_eq!(normal(&form).as_deref(), Ok(&*form), "{path}");
            let compared = compared(&form);
            assert_eq!(normal(&compared).as_deref(), Ok(&*compared), "{path}");
        }
    }
}
