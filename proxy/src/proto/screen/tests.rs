//! The rules of the screen, one by one, each over every split of its input.

use super::*;

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

const CONNECT: &[u8] = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const NEXT: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn screen_after(bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(Limits::default());
    assert_eq!(screen.inspect(bytes), Ok(bytes.len()));
    assert!(screen.is_undecided() && !screen.is_between_requests());
    screen
}

#[test]
fn bytes_behind_a_wish_to_leave_http_are_held_back() {
    for head in [CONNECT, UPGRADE] {
        let stream = [head, b"\x16\x03\x01"].concat();
        assert_eq!(judge(&stream), Ok((head.len(), 1, false)));
    }
}

#[test]
fn a_tunnel_passes_anything() {
    for head in [CONNECT, UPGRADE] {
        let mut screen = screen_after(head);
        assert_eq!(screen.inspect(b"\x16early"), Ok(0));
        screen.tunnel();
        assert_eq!(screen.inspect(b"\x16early\0\n"), Ok(8));
        screen.stay();
        assert_eq!(screen.inspect(b"\0\n"), Ok(2), "a tunnel never ends");
    }
}

#[test]
fn a_refused_wish_leads_to_the_next_request() {
    for head in [CONNECT, UPGRADE] {
        let mut screen = screen_after(head);
        screen.stay();
        assert!(screen.is_between_requests());
        assert_eq!(screen.inspect(NEXT), Ok(NEXT.len()));
        assert_eq!(screen.heads(), 2);
        assert_eq!(screen.inspect(b"\n"), Err(Violation::BareLf));
    }
}

#[test]
fn early_bytes_behind_a_refused_connect_are_never_a_request() {
    let mut screen = screen_after(CONNECT);
    assert_eq!(screen.inspect(NEXT), Ok(0));
    screen.stay();
    assert_eq!(screen.inspect(NEXT), Err(Violation::EarlyBytes));
}

#[test]
fn a_request_behind_a_refused_upgrade_is_one() {
    let mut screen = screen_after(UPGRADE);
    assert_eq!(screen.inspect(NEXT), Ok(0));
    screen.stay();
    assert_eq!(screen.inspect(NEXT), Ok(NEXT.len()));
}

#[test]
fn a_connect_has_no_body() {
    let connect = |field| format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{field}\r\n\r\n");
    for field in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
        assert_eq!(
            judge(connect(field).as_bytes()),
            Err(Violation::ConnectBody)
        );
    }
    let empty = connect("Content-Length: 0");
    assert_eq!(judge(empty.as_bytes()), Ok((empty.len(), 1, false)));
}

#[test]
fn an_upgrade_with_a_body_is_decided_behind_the_body() {
    let fields = "Upgrade: h2c\r\nContent-Length: 2\r\n";
    let head = post(fields, "");
    assert_eq!(
        judge(&post(fields, "okHELD")),
        Ok((head.len() + 2, 1, false))
    );
    for is_tunnel in [true, false] {
        let mut screen = Screen::new(Limits::default());
        assert_eq!(screen.inspect(&head), Ok(head.len()));
        if is_tunnel {
            screen.tunnel();
        } else {
            screen.stay();
        }
        // The body goes on, and what is behind it only into a tunnel.
        let passed = if is_tunnel { 5 } else { 2 };
        assert_eq!(screen.inspect(b"ok\0\r\n"), Ok(passed));
        let broken = (!is_tunnel).then_some(Violation::ControlByte);
        assert_eq!(screen.violation(), broken);
    }
}

#[test]
fn a_decision_nobody_waits_for_changes_nothing() {
    let mut screen = Screen::new(Limits::default());
    screen.tunnel();
    assert_eq!(screen.inspect(NEXT), Ok(NEXT.len()));
    screen.tunnel();
    assert_eq!(screen.inspect(b"\n"), Err(Violation::BareLf));
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
