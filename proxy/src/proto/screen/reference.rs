//! Another reading of requests, by httparse: what the screen lets pass must frame alike for both.
//!
//! It reads as an engine does, forgivingly, so it may accept more. It knows nothing of the screen
//! and is compiled into the fuzz target as well.

/// How another parser cuts a stream.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Cut {
    /// Whole heads.
    pub(crate) heads: u64,
    /// Whether the last request is whole too.
    pub(crate) is_clean: bool,
}

/// Cuts a stream that the screen let pass.
pub(crate) fn cut_with_httparse(stream: &[u8]) -> Cut {
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
