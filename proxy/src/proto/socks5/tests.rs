//! Tables of bytes, and every split of them.

use std::fmt::Debug;

use super::*;

/// Checks that `bytes` make one whole message, that no shorter part of it is one, and that
/// what lies behind it changes nothing.
fn assert_whole<'a, T, E>(
    parse: impl Fn(&'a [u8]) -> Result<Parsed<T>, E>,
    bytes: &'a [u8],
    expected: T,
) where
    T: Debug + PartialEq,
    E: Debug + PartialEq,
{
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Ok(Parsed::NeedMore), "cut at {cut}");
    }
    let longer = [bytes, b"\x05more"].concat().leak();
    let whole = Parsed::Whole {
        value: expected,
        consumed: bytes.len(),
    };
    assert_eq!(parse(bytes).as_ref(), Ok(&whole));
    assert_eq!(parse(longer), Ok(whole));
}

/// Checks that `bytes` are refused, and that a shorter part of them is refused alike or asks
/// for more.
fn assert_refused<'a, T, E>(
    parse: impl Fn(&'a [u8]) -> Result<Parsed<T>, E>,
    bytes: &'a [u8],
    expected: &E,
) where
    T: Debug + PartialEq,
    E: Debug + PartialEq,
{
    assert_eq!(parse(bytes).as_ref().unwrap_err(), expected);
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut]) {
            Ok(parsed) => assert_eq!(parsed, Parsed::NeedMore, "cut at {cut}"),
            Err(error) => assert_eq!(&error, expected, "cut at {cut}"),
        }
    }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn named(command: u8, name: &[u8], port: u16) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap();
    [&[5, command, 0, 3, len], name, &port.to_be_bytes()].concat()
}

#[test]
fn a_greeting_is_whole_with_its_last_method() {
    assert_whole(parse_greeting, &[5, 1, 0], Greeting { methods: &[0] });
    assert_whole(
        parse_greeting,
        &[5, 3, 2, 0, 1],
        Greeting {
            methods: &[2, 0, 1],
        },
    );
    let longest: Vec<u8> = [5, 255].into_iter().chain(0..=254).collect();
    assert_eq!(longest.len(), GREETING_LIMIT);
    assert_whole(
        parse_greeting,
        &longest,
        Greeting {
            methods: &longest[2..],
        },
    );
}

#[test]
fn a_greeting_of_another_version_is_met_with_silence() {
    let error = GreetingError::Version(4);
    assert_refused(parse_greeting, &[4, 1, 0], &error);
    assert_eq!(error.answer(), None);
}

#[test]
fn a_greeting_without_methods_is_told_that_none_fits() {
    assert_refused(parse_greeting, &[5, 0], &GreetingError::NoMethods);
    assert_eq!(GreetingError::NoMethods.answer(), Some([5, 0xFF]));
}

#[test]
fn a_method_is_chosen_only_if_offered_and_accepted() {
    let offer = |methods: &'static [u8]| Greeting { methods };
    assert_eq!(
        offer(&[2, 0]).choose(&[Method::NoAuth]),
        Some(Method::NoAuth)
    );
    assert_eq!(offer(&[2, 1]).choose(&[Method::NoAuth]), None);
    assert_eq!(offer(&[0]).choose(&[]), None);
    assert_eq!(encode_method(Some(Method::NoAuth)), [5, 0]);
    assert_eq!(encode_method(None), [5, 0xFF]);
}

#[test]
fn requests_of_every_kind_are_read_at_every_split_and_written_back() {
    let v6: &[u8] = &[
        5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187,
    ];
    let name = "a.".repeat(126) + "b";
    for (bytes, request) in [
        (
            &[5, 1, 0, 1, 10, 0, 0, 1, 0, 80][..],
            Request::Connect(target("10.0.0.1:80")),
        ),
        (v6, Request::Connect(target("[::1]:443"))),
        (
            &named(1, b"example.com", 443),
            Request::Connect(target("example.com:443")),
        ),
        (
            &named(1, name.as_bytes(), 1),
            Request::Connect(target(&format!("{name}:1"))),
        ),
        (
            &[5, 2, 0, 1, 10, 0, 0, 1, 0, 21],
            Request::Bind(Some(target("10.0.0.1:21"))),
        ),
        (&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0], Request::Bind(None)),
        (
            &named(3, b"me.example", 53),
            Request::UdpAssociate(Some(target("me.example:53"))),
        ),
        (&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0], Request::UdpAssociate(None)),
    ] {
        assert_eq!(request.encode(), bytes);
        assert_whole(parse_request, bytes, request);
    }
}

#[test]
fn a_name_that_is_an_address_becomes_the_address() {
    for (name, shown) in [("10.0.0.1", "10.0.0.1:80"), ("::1", "[::1]:80")] {
        let request = Request::Connect(target(shown));
        assert_whole(parse_request, &named(1, name.as_bytes(), 80), request);
    }
    let mapped = [
        &[5, 1, 0, 4][..],
        &[0; 10],
        &[0xFF, 0xFF, 10, 0, 0, 1, 0, 80],
    ]
    .concat();
    assert_whole(
        parse_request,
        &mapped,
        Request::Connect(target("10.0.0.1:80")),
    );
}

#[test]
fn the_reserved_byte_is_not_looked_at() {
    let request = Request::Connect(target("10.0.0.1:80"));
    assert_whole(parse_request, &[5, 1, 0xAA, 1, 10, 0, 0, 1, 0, 80], request);
}

#[test]
fn a_refused_request_knows_its_answer() {
    let byte = |byte| RequestError::Host(HostError::Byte { byte });
    let general = Reply::GeneralFailure;
    for (bytes, error, answer) in [
        (vec![4, 1, 0, 1], RequestError::Version(4), general),
        (
            vec![5, 0, 0, 1],
            RequestError::Command(0),
            Reply::CommandNotSupported,
        ),
        (
            vec![5, 4, 0, 9],
            RequestError::Command(4),
            Reply::CommandNotSupported,
        ),
        (
            vec![5, 1, 0, 2, 1],
            RequestError::AddressType(2),
            Reply::AddressTypeNotSupported,
        ),
        (
            vec![5, 3, 0, 0],
            RequestError::AddressType(0),
            Reply::AddressTypeNotSupported,
        ),
        (
            named(1, b"", 80),
            RequestError::Host(HostError::Empty),
            general,
        ),
        (
            named(3, b"", 0),
            RequestError::Host(HostError::Empty),
            general,
        ),
        (named(1, b"a b", 80), byte(b' '), general),
        (named(1, b"a\0", 80), byte(0), general),
        (named(1, b"a\r\nb", 80), byte(b'\r'), general),
        (named(1, b"\xC3\xB6", 80), byte(0xC3), general),
        (named(1, b"[::1]", 80), byte(b'['), general),
        (named(1, b"a:80", 80), byte(b':'), general),
        (
            named(1, b"127.1", 80),
            RequestError::Host(HostError::Number),
            general,
        ),
        (
            named(1, &[b'a'; 255], 80),
            RequestError::Host(HostError::TooLong { bytes: 255 }),
            general,
        ),
        (named(1, b"host", 0), RequestError::ZeroPort, general),
        (
            vec![5, 1, 0, 1, 10, 0, 0, 1, 0, 0],
            RequestError::ZeroPort,
            general,
        ),
    ] {
        assert_refused(parse_request, &bytes, &error);
        assert_eq!(error.answer(), answer, "{error}");
    }
}

#[test]
fn no_message_asks_for_more_past_its_limit() {
    for first in 0..=255 {
        let greeting = [&[5, first][..], &[first; GREETING_LIMIT - 2]].concat();
        assert_ne!(parse_greeting(&greeting), Ok(Parsed::NeedMore));
        let request = [&[5, 1, 0, 3, first][..], &[b'a'; REQUEST_LIMIT - 5]].concat();
        assert_ne!(parse_request(&request), Ok(Parsed::NeedMore));
    }
}

#[test]
fn a_client_greets_and_reads_the_choice() {
    assert_eq!(encode_greeting(&[Method::NoAuth]), Some(vec![5, 1, 0]));
    assert_eq!(encode_greeting(&[]), None);
    assert_eq!(encode_greeting(&[Method::NoAuth; 256]), None);
    assert_whole(parse_method, &[5, 0], Some(Method::NoAuth));
    assert_whole(parse_method, &[5, 0xFF], None);
    assert_refused(parse_method, &[5, 2], &ServerError::Method(2));
    assert_refused(parse_method, &[0, 0], &ServerError::Version(0));
}

#[test]
fn every_reply_is_written_and_read_back() {
    for bound in [
        NO_ADDRESS,
        "10.0.0.1:80".parse().unwrap(),
        "[::1]:443".parse().unwrap(),
    ] {
        for reply in REPLIES {
            let answer = Answer {
                reply,
                bound: Some(bound),
            };
            assert_whole(parse_reply, &reply.encode(bound), answer);
            assert_eq!(Reply::from_code(reply.code()), Some(reply));
        }
    }
    assert_eq!(
        Reply::Succeeded.encode(NO_ADDRESS),
        [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    );
    let mapped = "[::ffff:10.0.0.1]:80".parse().unwrap();
    assert_eq!(
        Reply::Succeeded.encode(mapped),
        [5, 0, 0, 1, 10, 0, 0, 1, 0, 80]
    );
}

#[test]
fn a_reply_with_a_name_has_no_address_and_an_unknown_one_is_refused() {
    let answer = Answer {
        reply: Reply::HostUnreachable,
        bound: None,
    };
    assert_whole(parse_reply, &[5, 4, 0, 3, 2, b'a', b'b', 0, 80], answer);
    assert_whole(parse_reply, &[5, 4, 0, 3, 0, 0, 0], answer);
    assert_refused(parse_reply, &[5, 9, 0, 1], &ServerError::Reply(9));
    assert_refused(parse_reply, &[5, 0, 0, 2], &ServerError::AddressType(2));
    assert_refused(parse_reply, &[1, 0, 0, 1], &ServerError::Version(1));
}
