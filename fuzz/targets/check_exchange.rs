//! Bytes that are expected of a server: what was decided stays so, whatever comes. And the escapes
//! by which such bytes are written.
//!
//! The first byte of the input is the length of what is expected, which is behind it; then comes
//! what is heard.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall::check::{Expect, Matched, unescape};

fuzz_target!(|bytes: &[u8]| {
    escapes(bytes);
    let Some((len, rest)) = bytes.split_first() else {
        return;
    };
    let (expected, heard) = rest.split_at(usize::from(*len).min(rest.len()));
    for expect in [Expect::prefix(expected), Expect::contains(expected)] {
        let mut before = Matched::Undecided;
        for until in 0..=heard.len() {
            let now = expect.judge(&heard[..until]);
            assert!(before == Matched::Undecided || now == before);
            before = now;
        }
        let is_there = match &expect {
            Expect::Prefix(prefix) => heard.get(..prefix.len()) == Some(prefix),
            _ => (0..=heard.len()).any(|at| heard[at..].starts_with(expected)),
        };
        assert_eq!(before == Matched::Yes, is_there);
        // What is expected is what it is satisfied with.
        assert_eq!(expect.judge(expected), Matched::Yes);
    }
});

fn escapes(bytes: &[u8]) {
    if let Ok(plain) = unescape(bytes) {
        assert!(plain.len() <= bytes.len());
        assert_eq!(bytes.contains(&b'\\'), plain != bytes);
    }
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    assert_eq!(unescape(escaped.as_bytes()).unwrap(), bytes);
}
