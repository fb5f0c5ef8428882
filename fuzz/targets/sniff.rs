//! The protocol of a connection: more bytes end a doubt and change no answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::sniff::{Sniffed, sniff};

fuzz_target!(|bytes: &[u8]| {
    let whole = sniff(bytes);
    assert!(whole != Sniffed::NeedMore || bytes.len() < 5);
    for cut in 0..bytes.len() {
        let early = sniff(&bytes[..cut]);
        assert!(early == whole || early == Sniffed::NeedMore);
    }
});
