//! Which protocol a connection speaks, told from its first bytes.
//!
//! One port serves several protocols, and the first byte tells them apart: SOCKS starts with its
//! version number, TLS with the type of its first record (`0x16`, a handshake), HTTP with a letter
//! of its method. What is recognised but not served is recognised so that the error can name it.
//!
//! Only a carriage return takes more than a byte. It starts the signature of a PROXY header,
//! version 2, and it may also be one of the empty lines that HTTP tolerates before a request (RFC
//! 9112 §2.2), of which two are let through. The fifth byte settles it.

use super::is_token;

/// What the first bytes of a connection are the start of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Sniffed {
    /// Too few bytes to tell; five are always enough.
    NeedMore,
    /// SOCKS version 5.
    Socks5,
    /// SOCKS version 4 or 4a.
    Socks4,
    /// A TLS handshake.
    Tls,
    /// An HTTP/1 request, or the preface of HTTP/2, or a PROXY header of version 1: all are words
    /// in plain text, which the reader of the first line tells apart.
    Http,
    /// A PROXY header of version 2; its signature is seen only as far as it took to tell.
    ProxyV2,
    /// None of these.
    Unknown,
}

/// Tells the protocol of a connection that began with `bytes`.
pub fn sniff(bytes: &[u8]) -> Sniffed {
    match bytes {
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] | [b'\r', b'\n', b'\r', b'\n'] => {
            Sniffed::NeedMore
        }
        [0x05, ..] => Sniffed::Socks5,
        [0x04, ..] => Sniffed::Socks4,
        [0x16, ..] => Sniffed::Tls,
        [b'\r', b'\n', b'\r', b'\n', b'\0', ..] => Sniffed::ProxyV2,
        [b'\r', b'\n', b'\r', b'\n', byte, ..] | [b'\r', b'\n', byte, ..] | [byte, ..]
            if is_token(*byte) =>
        {
            Sniffed::Http
        }
        _ => Sniffed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST_DOUBT: usize = 4;

    #[test]
    fn the_first_bytes_name_the_protocol() {
        for (bytes, sniffed) in [
            (&b"\x05\x01\x00"[..], Sniffed::Socks5),
            (b"\x04\x01\x00\x50", Sniffed::Socks4),
            (b"\x16\x03\x01\x02\x00", Sniffed::Tls),
            (b"GET / HTTP/1.1", Sniffed::Http),
            (b"connect a:1", Sniffed::Http),
            (b"PRI * HTTP/2.0", Sniffed::Http),
            (b"PROXY TCP4 ", Sniffed::Http),
            (b"!x", Sniffed::Http),
            (b"\r\nGET /", Sniffed::Http),
            (b"\r\n\r\nGET /", Sniffed::Http),
            (b"\r\n\r\n\0\r\nQUIT\n", Sniffed::ProxyV2),
            (b"\r\n\r\n\r\nGET /", Sniffed::Unknown),
            (b"\r\n\0", Sniffed::Unknown),
            (b"\r\n\rG", Sniffed::Unknown),
            (b"\rGET", Sniffed::Unknown),
            (b"\nGET", Sniffed::Unknown),
            (b" GET", Sniffed::Unknown),
            (b"\0", Sniffed::Unknown),
            (b"\x15\x03", Sniffed::Unknown),
            (b"\x80\x2e\x01", Sniffed::Unknown),
            (b"\xC3\xB6", Sniffed::Unknown),
        ] {
            assert_eq!(sniff(bytes), sniffed, "{bytes:?}");
        }
    }

    #[test]
    fn more_bytes_end_a_doubt_but_change_no_answer() {
        for first in 0..=u8::MAX {
            for bytes in [
                vec![first; 6],
                vec![b'\r', first, first, first, first],
                vec![b'\r', b'\n', first, b'\n', first],
                vec![b'\r', b'\n', b'\r', b'\n', first],
            ] {
                let whole = sniff(&bytes);
                for cut in 0..bytes.len() {
                    let early = sniff(&bytes[..cut]);
                    assert!(
                        early == whole || early == Sniffed::NeedMore,
                        "{bytes:?} at {cut}"
                    );
                    assert!(early != Sniffed::NeedMore || cut <= LONGEST_DOUBT);
                }
            }
        }
    }
}
