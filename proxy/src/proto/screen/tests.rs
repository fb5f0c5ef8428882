//! The rules of the screen, one by one, each over every split of its input.

mod framing;
mod leaving;

use super::*;

/// A request that is sound and whole.
const NEXT: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a stream comes to: how much of it passed, how many heads, whether a request is open.
type Verdict = Result<(usize, u64, bool), Violation>;

fn verdict<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Verdict {
    let mut screen = Screen::new(limits);
    let mut passed = 0;
    for chunk in chunks {
        let mut taken = screen.inspect(chunk);
        if let (Ok(sound @ 1..), Some(_)) = (taken, screen.violation()) {
            passed += sound;
            taken = screen.inspect(&chunk[sound..]);
        }
        if taken.is_err() {
            assert_eq!(screen.inspect(b"GET"), taken, "a refusal is final");
        }
        passed += taken?;
    }
    Ok((passed, screen.heads(), screen.is_between_requests()))
}

/// The verdict on `bytes`, whole, in two parts at every place, and byte by byte.
fn judge_with(bytes: &[u8], limits: Limits) -> Verdict {
    let whole = verdict([bytes], limits);
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(verdict([left, right], limits), whole, "cut at {cut}");
    }
    assert_eq!(verdict(bytes.chunks(1), limits), whole, "byte by byte");
    whole
}

fn judge(bytes: &[u8]) -> Verdict {
    judge_with(bytes, Limits::default())
}

/// A request to `POST /` with these field lines and this behind its head.
fn post(fields: &str, behind: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{behind}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[test]
fn what_ordinary_clients_send_passes() {
    for (stream, heads) in [
        (
            "GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
            1,
        ),
        (
            "GET http://a.example:8080/x?y=1|2 HTTP/1.1\r\nHost: a.example:8080\r\nProxy-Connection: Keep-Alive\r\n\r\n",
            1,
        ),
        (
            "GET /\u{fc} HTTP/1.1\r\nHost: [::1]:8080\r\nX: \u{fc}\r\n\r\n",
            1,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
            1,
        ),
        (
            "POST / HTTP/1.1\r\nhost:a\r\ncontent-length:\t0 \r\n\r\n",
            1,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n\r\n\
          5\r\nhello\r\n00A;sig=\"a b\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
            1,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=\"2\"\r\nEmpty:\r\nX:a:b\r\n\r\n",
            1,
        ),
        ("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 1),
        ("GET / HTTP/1.0\r\n\r\n", 1),
        (
            "POST / HTTP/1.0\r\nContent-Length: 2\r\nUpgrade: x\r\n\r\nok",
            1,
        ),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            2,
        ),
    ] {
        assert_eq!(
            judge(stream.as_bytes()),
            Ok((stream.len(), heads, true)),
            "{stream:?}"
        );
    }
}

#[test]
fn limits_may_be_reached_but_not_passed() {
    let limits = Limits {
        request_line_bytes: 16,
        field_bytes: 24,
        field_count: 2,
    };
    for (stream, violation) in [
        (&b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"[..], None),
        (b"GET /12 HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (
            b"GET /123 HTTP/1.1\r\nHost: a\r\n\r\n",
            Some(Violation::RequestLineTooLong),
        ),
        (b"GET /123456789012", None),
        (b"GET /1234567890123", Some(Violation::RequestLineTooLong)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 34567890\r\n\r\n", None),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 3456789012\r\n\r\n",
            Some(Violation::FieldsTooLong),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 34567890123456",
            Some(Violation::FieldsTooLong),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY:\r\n\r\n",
            Some(Violation::TooManyFields),
        ),
    ] {
        let judged = judge_with(stream, limits);
        assert_eq!(
            judged.err(),
            violation,
            "{:?}",
            String::from_utf8_lossy(stream)
        );
    }
    let size_line = |len| chunked(&format!("5;{}\r\n", "a".repeat(len)));
    assert!(judge(&size_line(CHUNK_LINE_LIMIT - 3)).is_ok());
    assert_eq!(
        judge(&size_line(CHUNK_LINE_LIMIT - 2)),
        Err(Violation::ChunkLineTooLong)
    );
}

#[test]
fn statuses_tell_the_client_what_to_change() {
    for (violation, status) in [
        (Violation::RequestLineTooLong, 414),
        (Violation::FieldsTooLong, 431),
        (Violation::TooManyFields, 431),
        (Violation::UnknownCoding, 501),
        (Violation::Version, 505),
        (Violation::BareLf, 400),
        (Violation::LengthAndCoding, 400),
    ] {
        assert_eq!(violation.status(), status, "{violation}");
    }
}

#[test]
fn a_long_line_in_parts_leaves_no_long_buffer() {
    let mut screen = Screen::new(Limits::default());
    let fields = format!("X: {}\r\n", "a".repeat(60_000));
    for chunk in post(&fields, "").chunks(100) {
        assert_eq!(screen.inspect(chunk), Ok(chunk.len()));
    }
    assert!(screen.is_between_requests() && screen.partial.capacity() <= PARTIAL_KEPT);
}

#[test]
fn the_first_control_byte_is_found_at_every_place_among_all_others() {
    let is_control = |byte: u8| byte < b' ' || byte == 0x7F;
    for byte in 0..=u8::MAX {
        for other in [b' ', b'a', b'~', 0x80, 0xA0, 0xFF] {
            let mut bytes = [other; 19];
            for at in 0..bytes.len() {
                bytes[at] = byte;
                assert_eq!(first_control(&bytes), is_control(byte).then_some(at));
                bytes[at] = other;
            }
        }
    }
    assert_eq!(first_control(b"a\r\n\r\n   "), Some(1));
}

#[test]
fn what_is_whole_in_front_of_a_broken_request_goes_on_and_nothing_else() {
    let bad_head = b"GET / HTTP/1.1\r\nX : b\r\n\r\n".to_vec();
    let closed = chunked("2\r\nab\r\n0\r\n\r\n");
    for sound in [NEXT, &post("Content-Length: 2\r\n", "ok"), &closed] {
        for broken in [
            b"nonsense\r\n".to_vec(),
            b"\r\nnonsense\r\n".to_vec(),
            b"\r\n\r\n\r\n".to_vec(),
            b"\n".to_vec(),
            bad_head.clone(),
            post("Content-Length: x\r\n", ""),
            chunked("nonsense\r\n"),
            chunked("0\r\nHost: a\r\n\r\n"),
        ] {
            let stream = [sound, &broken].concat();
            let violation = verdict([&broken[..]], Limits::default()).unwrap_err();
            assert_eq!(judge(&stream), Err(violation), "{broken:?}");
            let mut screen = Screen::new(Limits::default());
            assert_eq!(screen.inspect(&stream), Ok(sound.len()), "{broken:?}");
            assert_eq!(screen.violation(), Some(violation));
            assert_eq!(screen.inspect(&broken), Err(violation));
            // The end of the sound one may come with the broken one.
            for cut in 1..sound.len() {
                let mut screen = Screen::new(Limits::default());
                assert_eq!(screen.inspect(&stream[..cut]), Ok(cut));
                assert_eq!(screen.inspect(&stream[cut..]), Ok(sound.len() - cut));
                assert_eq!(screen.inspect(b"GET"), Err(violation));
            }
        }
    }
    let two = [NEXT, NEXT, &bad_head].concat();
    let mut screen = Screen::new(Limits::default());
    assert_eq!(screen.inspect(&two), Ok(2 * NEXT.len()));
    assert_eq!(screen.heads(), 2);
}

#[test]
fn a_refusal_tells_whether_it_came_in_a_body() {
    for (bytes, in_body) in [
        (&b"GET / HTTP/9.9\r\n"[..], false),
        (b"POST / HTTP/1.1\r\nHost : a\r\n", false),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", false),
        (&chunked("nonsense\r\n"), true),
        (&chunked("1\r\nabc"), true),
        (&chunked("0\r\nHost: a\r\n\r\n"), true),
        (&chunked("0\r\n\r\nnonsense\r\n"), false),
    ] {
        let mut screen = Screen::new(Limits::default());
        let _ = screen.inspect(bytes);
        let refused = screen.inspect(b"GET");
        assert_eq!(refused.err(), screen.violation());
        assert!(refused.is_err(), "{bytes:?}");
        assert_eq!(screen.broke_in_body(), in_body, "{bytes:?}");
    }
}
