//! The answer of a parent: never a panic, the same verdict however it is cut, no byte too many.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::Parsed;
use risefall_proxy::proto::connect::parse_answer;

fuzz_target!(|bytes: &[u8]| {
    let verdict = parse_answer(bytes);
    if let Ok(Parsed::Whole { consumed, .. }) = verdict {
        assert!(bytes[..consumed].ends_with(b"\r\n\r\n"));
        // Nothing that follows, and nothing before the end, says otherwise.
        assert_eq!(parse_answer(&bytes[..consumed]), verdict);
        assert_eq!(parse_answer(&bytes[..consumed - 1]), Ok(Parsed::NeedMore));
    }
    if let Ok(Parsed::NeedMore) = verdict {
        for cut in 0..bytes.len() {
            assert_eq!(parse_answer(&bytes[..cut]), Ok(Parsed::NeedMore));
        }
    }
});
