use proptest::prelude::*;

use super::*;
use crate::check::http::BodyMatch;

fn asks() -> Http {
    Http::new("/").unwrap().agent_header("X-Agent").unwrap()
}

fn wants_body(most: usize) -> Http {
    let http = asks().body(BodyMatch::Contains(b"x".to_vec()));
    http.body_bytes(most).unwrap()
}

/// What an answer in these pieces is taken for; closed behind them.
fn read<'b>(
    http: &Http,
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> Result<Answer, AnswerError> {
    let mut decoder = Decoder::new(http);
    for piece in pieces {
        if let Some(answer) = decoder.handle_bytes(piece)? {
            return Ok(answer);
        }
    }
    decoder.handle_close()
}

/// The same whole, byte by byte, and cut in two at every place.
fn read_every_way(http: &Http, bytes: &[u8]) -> Result<Answer, AnswerError> {
    let whole = read(http, [bytes]);
    assert_eq!(
        read(http, bytes.chunks(1)),
        whole,
        "{}",
        bytes.escape_ascii()
    );
    for at in 0..=bytes.len() {
        let (one, other) = bytes.split_at(at);
        assert_eq!(read(http, [one, other]), whole, "{}", bytes.escape_ascii());
    }
    whole
}

#[test]
fn without_a_wanted_body_the_head_is_all() {
    for (bytes, status, agent) in [
        ("HTTP/1.1 200 OK\r\n\r\n", 200, None),
        ("HTTP/1.0 503 \r\nContent-Length: 5\r\n\r\n", 503, None),
        ("HTTP/1.1 204\nx-agent: drain\n\n", 204, Some("drain")),
        (
            "HTTP/1.1 200 OK\r\nX-AGENT: up\r\nx-agent: 50%\r\n\r\nbody",
            200,
            Some("50%"),
        ),
        (
            "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 404 No\r\n\r\n",
            404,
            None,
        ),
        ("HTTP/1.1 101 Switching\r\n\r\n", 101, None),
        // Framing that is wrong is of no interest if nobody reads by it.
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 200, None),
    ] {
        let answer = read_every_way(&asks(), bytes.as_bytes()).unwrap();
        let agent = agent.map(|agent| agent.as_bytes().to_vec());
        assert_eq!((answer.status, answer.agent), (status, agent), "{bytes:?}");
        assert!(answer.body.is_empty());
    }
}

#[test]
fn a_body_is_read_as_it_is_framed_and_no_further_than_its_limit() {
    for (bytes, body) in [
        ("Content-Length: 5\r\n\r\nhello and more", "hello"),
        ("Content-Length: 0\r\n\r\nmore", ""),
        ("Content-Length: 99\r\n\r\n0123456789", "01234567"),
        ("\r\nuntil the end", "until th"),
        ("\r\n", ""),
        (
            "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n02;a=b\r\nde\r\n0\r\nT: x\r\n\r\n",
            "abcde",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nA \r\n0123456789",
            "01234567",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n", ""),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{bytes}");
        let answer = read_every_way(&wants_body(8), bytes.as_bytes()).unwrap();
        assert_eq!(answer.body, body.as_bytes(), "{bytes:?}");
    }
    let without = b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n";
    assert!(
        read_every_way(&wants_body(8), without)
            .unwrap()
            .body
            .is_empty()
    );
    let head = wants_body(8).method("HEAD").unwrap();
    let without = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert!(read_every_way(&head, without).unwrap().body.is_empty());
}

#[test]
fn what_cannot_be_read_or_can_be_in_two_ways_is_refused() {
    for &(bytes, error) in REFUSED {
        let found = read_every_way(&wants_body(8), bytes.as_bytes());
        assert_eq!(found, Err(error), "{bytes:?}");
    }
}

/// What is sent, and why it is refused.
const REFUSED: &[(&str, AnswerError)] = {
    use AnswerError::{Closed, Framing, Head, NotHttp};
    &[
        ("", Closed),
        ("HTTP/1.", Closed),
        ("HTTP/1.1 200 OK\r\nA", Closed),
        ("SSH-2.0-OpenSSH\r\n", NotHttp),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", NotHttp),
        ("HTTP/2.0 200 OK\r\n\r\n", NotHttp),
        ("HTTP/1.7 200 OK\r\n\r\n", Head),
        ("HTTP/1.1 2x0 OK\r\n\r\n", Head),
        ("HTTP/1.1 099 OK\r\n\r\n", Head),
        ("HTTP/1.1 600 OK\r\n\r\n", Head),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Head),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Head),
        ("HTTP/1.1 100 Go on\r\n\r\n", Closed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Closed),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Framing),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", Framing),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            Framing,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
            Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            Closed,
        ),
    ]
};

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
        "x".repeat(HEAD_BYTES_MOST)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "A: b\r\n".repeat(FIELDS_MOST + 1)
    );
    let again = "HTTP/1.1 102 Wait\r\n\r\n".repeat(1000);
    for bytes in [long, many, again] {
        for size in [1, 100, bytes.len()] {
            let found = read(&asks(), bytes.as_bytes().chunks(size));
            assert_eq!(found, Err(AnswerError::TooLong));
        }
    }
    let line = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    let line = format!("{line}{}\r\na", "x".repeat(CHUNK_LINE_MOST));
    for size in [1, 100, line.len()] {
        let found = read(&wants_body(8), line.as_bytes().chunks(size));
        assert_eq!(found, Err(AnswerError::Framing));
    }
}

#[test]
fn a_request_is_the_bytes_of_the_table() {
    for (http, bytes) in [
        (
            Http::new("/health?full").unwrap(),
            "GET /health?full HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\
             user-agent: risefall-check\r\n\r\n",
        ),
        (
            Http::new("/")
                .unwrap()
                .method("POST")
                .unwrap()
                .header("User-Agent", "me")
                .unwrap(),
            "POST / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\ncontent-length: 0\r\n\
             user-agent: me\r\n\r\n",
        ),
    ] {
        assert_eq!(String::from_utf8(request(&http, "a.test")).unwrap(), bytes);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(
        head in "(HTTP/1\\.[01] [0-9]{3} OK\r\n){0,1}((content-length|transfer-encoding): (chunked|[0-9]{1,2})\r\n){0,2}(\r\n){0,1}",
        body in "([0-9a-f]{1,2}\r\n[a-z]{0,20}\r\n){0,3}",
        size in 1_usize..20,
    ) {
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        for http in [asks(), wants_body(8)] {
            let whole = read(&http, [&bytes[..]]);
            prop_assert_eq!(read(&http, bytes.chunks(size)), whole);
        }
    }
}
