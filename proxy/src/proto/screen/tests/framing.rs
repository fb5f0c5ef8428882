//! What of a head or a body is refused, and why.

use super::super::Violation;
use super::{chunked, judge, post};

#[test]
fn request_lines_have_one_shape() {
    for (line, violation) in [
        ("GET /", Violation::RequestLine),
        ("GET", Violation::RequestLine),
        (" GET / HTTP/1.1", Violation::RequestLine),
        ("GET  / HTTP/1.1", Violation::RequestLine),
        ("GET /  HTTP/1.1", Violation::RequestLine),
        ("GET / HTTP/1.1 ", Violation::RequestLine),
        ("GET /a b HTTP/1.1", Violation::RequestLine),
        ("GET /\ta HTTP/1.1", Violation::RequestLine),
        ("GET\t/ HTTP/1.1", Violation::RequestLine),
        ("G@T / HTTP/1.1", Violation::RequestLine),
        ("GET / http/1.1", Violation::RequestLine),
        ("GET / HTTP/1.10", Violation::RequestLine),
        ("GET / HTTP/1,1", Violation::RequestLine),
        ("GET / HTTP/0.9", Violation::Version),
        ("GET / HTTP/1.2", Violation::Version),
        ("PRI * HTTP/2.0", Violation::Version),
        ("GET /\0 HTTP/1.1", Violation::ControlByte),
        ("GET /\x7f HTTP/1.1", Violation::ControlByte),
        ("GET /\r HTTP/1.1", Violation::BareCr),
    ] {
        let stream = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(judge(stream.as_bytes()), Err(violation), "{line:?}");
    }
    let latin1 = b"GET /\xfc HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(judge(latin1), Err(Violation::RequestLine));
}

#[test]
fn every_line_ends_in_cr_lf_and_nowhere_else() {
    for (stream, violation) in [
        (&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], Violation::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Violation::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Violation::BareLf),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Violation::BareCr),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n",
            Violation::BareCr,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0\r\n\r\n",
            Violation::ControlByte,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n",
            Violation::ControlByte,
        ),
        (
            b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Violation::EmptyLines,
        ),
    ] {
        assert_eq!(judge(stream), Err(violation), "{stream:?}");
    }
    assert_eq!(judge(&chunked("1;a\n")), Err(Violation::BareLf));
    assert_eq!(judge(&chunked("0\r\nX: a\n")), Err(Violation::BareLf));
}

#[test]
fn fields_that_parsers_read_differently_are_refused() {
    for (fields, violation) in [
        (" X: a\r\n", Violation::Folding),
        ("X: a\r\n b\r\n", Violation::Folding),
        ("X: a\r\n\tb: c\r\n", Violation::Folding),
        ("X\r\n", Violation::NoColon),
        ("X : a\r\n", Violation::SpaceBeforeColon),
        ("Content-Length\t: 5\r\n", Violation::SpaceBeforeColon),
        (": a\r\n", Violation::FieldName),
        ("X Y: a\r\n", Violation::FieldName),
        ("X(: a\r\n", Violation::FieldName),
        ("\u{fc}: a\r\n", Violation::FieldName),
        ("Host: a\r\n", Violation::SeveralHosts),
        ("host: b\r\n", Violation::SeveralHosts),
    ] {
        assert_eq!(judge(&post(fields, "")), Err(violation), "{fields:?}");
    }
    for host in ["a b", "a,b", "a@b", "a/b", "a?b", "\u{fc}", "a\tb"] {
        let stream = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            judge(stream.as_bytes()),
            Err(Violation::BadHost),
            "{host:?}"
        );
    }
    assert_eq!(
        judge(b"GET / HTTP/1.1\r\nX: a\r\n\r\n"),
        Err(Violation::MissingHost)
    );
}

#[test]
fn a_body_ends_in_one_way_only() {
    let (length, coding) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    for (fields, violation) in [
        ([length, coding], Violation::LengthAndCoding),
        ([coding, length], Violation::LengthAndCoding),
        ([length, length], Violation::SeveralLengths),
        ([length, "Content-Length: 6\r\n"], Violation::SeveralLengths),
        ([coding, coding], Violation::SeveralCodings),
        (
            [coding, "Transfer-Encoding: identity\r\n"],
            Violation::SeveralCodings,
        ),
    ] {
        assert_eq!(
            judge(&post(&fields.concat(), "")),
            Err(violation),
            "{fields:?}"
        );
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(judge(old), Err(Violation::CodingBefore11));
}

#[test]
fn a_length_is_one_plain_number() {
    for value in [
        "",
        "+5",
        "-5",
        "5 5",
        "5,5",
        "5, 5",
        "0x5",
        "5.0",
        "five",
        "05",
        "00",
        "\"5\"",
        "9223372036854775808",
        "18446744073709551616",
        "\u{665}",
    ] {
        let stream = post(&format!("Content-Length: {value}\r\n"), "");
        assert_eq!(judge(&stream), Err(Violation::BadLength), "{value:?}");
    }
    let longest = post("Content-Length: 9223372036854775807\r\n", "behind");
    assert_eq!(judge(&longest), Ok((longest.len(), 1, false)));
}

#[test]
fn a_coding_is_chunked_and_nothing_else() {
    for (value, violation) in [
        ("gzip", Violation::UnknownCoding),
        ("xchunked", Violation::UnknownCoding),
        ("identity", Violation::UnknownCoding),
        ("gzip, chunked", Violation::UnknownCoding),
        ("chunked, gzip", Violation::BadCoding),
        ("chunked, chunked", Violation::BadCoding),
        ("chunked,", Violation::BadCoding),
        (", chunked", Violation::BadCoding),
        ("", Violation::BadCoding),
        ("chunked;q=1", Violation::BadCoding),
        ("\"chunked\"", Violation::BadCoding),
        ("chun ked", Violation::BadCoding),
        ("chunked\x0b", Violation::ControlByte),
    ] {
        let stream = post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
        assert_eq!(judge(&stream), Err(violation), "{value:?}");
    }
}

#[test]
fn chunks_have_one_shape() {
    for (body, violation) in [
        ("\r\n", Violation::BadChunkSize),
        ("g\r\n", Violation::BadChunkSize),
        ("0x5\r\n", Violation::BadChunkSize),
        ("-5\r\n", Violation::BadChunkSize),
        ("+5\r\n", Violation::BadChunkSize),
        (" 5\r\n", Violation::BadChunkSize),
        ("5 \r\n", Violation::BadChunkSize),
        ("5\t;a\r\n", Violation::BadChunkSize),
        (";a\r\n", Violation::BadChunkSize),
        ("8000000000000000\r\n", Violation::BadChunkSize),
        ("00000000000000005\r\n", Violation::BadChunkSize),
        ("5;a=\0\r\n", Violation::ControlByte),
        ("5;a=\r\r\n", Violation::BareCr),
        ("2\r\nabc\r\n", Violation::BadChunkEnd),
        ("2\r\nab\n", Violation::BadChunkEnd),
        ("2\r\nab\r\r\n", Violation::BadChunkEnd),
        ("2\r\nab0\r\n\r\n", Violation::BadChunkEnd),
        ("0\r\n X: a\r\n", Violation::Folding),
        ("0\r\nX : a\r\n", Violation::SpaceBeforeColon),
        ("0\r\nContent-Length: 5\r\n", Violation::ForbiddenTrailer),
        (
            "0\r\ntransfer-encoding: chunked\r\n",
            Violation::ForbiddenTrailer,
        ),
        ("0\r\nHOST: b\r\n", Violation::ForbiddenTrailer),
    ] {
        assert_eq!(judge(&chunked(body)), Err(violation), "{body:?}");
    }
    let largest = chunked("7fffffffffffffff\r\ndata");
    assert_eq!(judge(&largest), Ok((largest.len(), 1, false)));
}
