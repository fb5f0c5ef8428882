//! The screen against another parser: what passes must frame alike for both.
//!
//! The other reads as an engine does, forgivingly, so it may accept more. The streams are a few
//! good ones with every small mistake at every place.

use super::{Limits, Screen};

/// How another parser cuts a stream.
#[derive(Debug, Default, Eq, PartialEq)]
struct Cut {
    /// Whole heads.
    heads: u64,
    /// Whether the last request is whole too.
    is_clean: bool,
}

fn cut_with_httparse(stream: &[u8]) -> Cut {
    let mut rest = stream;
    let mut cut = Cut::default();
    loop {
        // Empty lines before a request belong to none.
        while let Some(behind) = rest.strip_prefix(b"\r\n") {
            rest = behind;
        }
        if rest.is_empty() {
            return Cut {
                is_clean: true,
                ..cut
            };
        }
        let Some((framing, body)) = cut_head(rest) else {
            return cut;
        };
        cut.heads += 1;
        let Some(behind) = cut_body(framing, body) else {
            return cut;
        };
        rest = behind;
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Bytes(usize),
    Chunked,
}

/// The framing of the first request and what is behind its head.
///
/// `None` if the head is not whole. So it is too for a mistake, which this parser sees in the
/// middle of a line and the screen at its end: if the line has ended, the counts of heads differ.
fn cut_head(stream: &[u8]) -> Option<(Framing, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(stream) else {
        return None;
    };
    let values = |name: &str| {
        let of_name = request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        of_name
            .map(|field| str::from_utf8(field.value).unwrap())
            .collect::<Vec<_>>()
    };
    let framing = match (
        &values("content-length")[..],
        &values("transfer-encoding")[..],
    ) {
        ([], []) => Framing::Bytes(0),
        ([length], []) => Framing::Bytes(length.parse().unwrap()),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        framings => panic!("{framings:?} passed"),
    };
    Some((framing, &stream[head..]))
}

/// What is behind a body; `None` if it is not whole.
fn cut_body(framing: Framing, mut body: &[u8]) -> Option<&[u8]> {
    if let Framing::Bytes(length) = framing {
        return body.get(length..);
    }
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(body) else {
            return None;
        };
        body = &body[line..];
        if size == 0 {
            break;
        }
        body = body.get(size as usize..)?.strip_prefix(b"\r\n")?;
    }
    match httparse::parse_headers(body, &mut [httparse::EMPTY_HEADER; 100]) {
        Ok(httparse::Status::Complete((len, _))) => Some(&body[len..]),
        _ => None,
    }
}

fn assert_frames_alike(stream: &[u8]) -> bool {
    let mut screen = Screen::new(Limits::default());
    if screen.inspect(stream) != Ok(stream.len()) {
        return false;
    }
    let cut = Cut {
        heads: screen.heads(),
        is_clean: screen.is_between_requests(),
    };
    assert_eq!(cut_with_httparse(stream), cut, "{}", stream.escape_ascii());
    true
}

const STREAMS: [&[u8]; 3] = [
    b"GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nX:\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello\r\n\r\n0\r\nGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
      05\r\nhello\r\n1a;b=c\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
];

const MISTAKES: [&[u8]; 15] = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\n\n",
    b"0\r\n\r\n",
    b"\r\nContent-Length: 3",
    b"\r\nContent-Length: 3\r\n\r\n",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nTransfer-Encoding : chunked",
    b"chunked, ",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b" HTTP/1.1",
];

#[test]
fn what_passes_is_cut_alike_by_another_parser() {
    let (mut passed, mut tried) = (0, 0);
    for stream in STREAMS {
        assert!(assert_frames_alike(stream));
        for at in 0..=stream.len() {
            let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
            for mistake in MISTAKES.iter().map(|mistake| mistake.to_vec()).chain(bytes) {
                for dropped in 0..=2.min(stream.len() - at) {
                    let mutant = [&stream[..at], &mistake, &stream[at + dropped..]].concat();
                    passed += u32::from(assert_frames_alike(&mutant));
                    tried += 1;
                }
            }
        }
    }
    // Enough on both sides that the comparison means something.
    assert!(
        passed > tried / 10 && passed < tried * 9 / 10,
        "{passed} of {tried} passed"
    );
}
