//! SOCKS5 messages: bounded, the same at every split, and what is read can be written back.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::{
    Parsed,
    socks5::{
        GREETING_LIMIT, Method, REQUEST_LIMIT, encode_method, parse_greeting, parse_method,
        parse_reply, parse_request,
    },
};

fuzz_target!(|bytes: &[u8]| {
    if let Some((greeting, consumed)) = check(parse_greeting, bytes, GREETING_LIMIT) {
        assert_eq!(greeting.methods(), &bytes[2..consumed]);
        let chosen = greeting.choose(&[Method::NoAuth]);
        assert_eq!(chosen.is_some(), greeting.methods().contains(&0));
        let told = Parsed::Whole {
            value: chosen,
            consumed: 2,
        };
        assert_eq!(parse_method(&encode_method(chosen)), Ok(told));
    }
    if let Some((request, _)) = check(parse_request, bytes, REQUEST_LIMIT) {
        let written = request.encode();
        assert!(written.len() <= REQUEST_LIMIT);
        let read = Parsed::Whole {
            value: request,
            consumed: written.len(),
        };
        assert_eq!(parse_request(&written), Ok(read));
    }
    check(parse_method, bytes, 2);
    if let Some((answer, _)) = check(parse_reply, bytes, REQUEST_LIMIT) {
        if let Some(bound) = answer.bound {
            let written = answer.reply.encode(bound);
            let read = Parsed::Whole {
                value: answer,
                consumed: written.len(),
            };
            assert_eq!(parse_reply(&written), Ok(read));
        }
    }
});

/// Parses at every split, and returns the message with its length if it is whole.
fn check<'a, T, E>(
    parse: impl Fn(&'a [u8]) -> Result<Parsed<T>, E>,
    bytes: &'a [u8],
    limit: usize,
) -> Option<(T, usize)>
where
    T: Debug + PartialEq,
    E: Debug + PartialEq,
{
    let whole = parse(bytes);
    assert!(whole != Ok(Parsed::NeedMore) || bytes.len() < limit);
    for cut in 0..bytes.len() {
        let early = parse(&bytes[..cut]);
        assert!(early == whole || early == Ok(Parsed::NeedMore));
        if let Ok(Parsed::Whole { consumed, .. }) = whole {
            assert_eq!(early == whole, cut >= consumed);
        }
    }
    match whole {
        Ok(Parsed::Whole { value, consumed }) => {
            assert!(consumed <= bytes.len().min(limit));
            Some((value, consumed))
        }
        _ => None,
    }
}
