//! Codings: the choice is of what is there and taken, and does not hang on how the list is written.
//!
//! The input is `Accept-Encoding`, in any number of lines.
#![no_main]

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::coding::{Accepted, Coding};

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let Some(accepted) = read(&lines) else {
        return;
    };
    let mut members: Vec<&[u8]> = bytes.split(|&byte| byte == b',' || byte == b'\n').collect();
    members.reverse();
    assert_eq!(read(&[&members.join(&b","[..])]), Some(accepted));
    assert_eq!(read(&members), Some(accepted));
    assert_eq!(read(&[&members.join(&b" ,\t"[..])]), Some(accepted));
    assert_eq!(
        read(&[&members.join(&b","[..]).to_ascii_uppercase()]),
        Some(accepted)
    );

    let taken: Vec<Coding> = Coding::ALL
        .into_iter()
        .filter(|&coding| accepted.best([coding]).is_some())
        .collect();
    assert_eq!(accepted.is_any(), !taken.is_empty());
    assert_eq!(accepted.best([]), None);
    let [a, b, c] = Coding::ALL;
    for order in [
        [a, b, c],
        [a, c, b],
        [b, a, c],
        [b, c, a],
        [c, a, b],
        [c, b, a],
    ] {
        for there in 0..=order.len() {
            let there = &order[..there];
            let best = accepted.best(there.iter().copied());
            let is_taken = there.iter().any(|coding| taken.contains(coding));
            assert_eq!(best.is_some(), is_taken);
            assert!(best.is_none_or(|best| there.contains(&best) && taken.contains(&best)));
        }
    }
    for coding in Coding::ALL {
        let mut lines = lines.clone();
        lines.push(coding.token().as_bytes());
        let accepted = read(&lines).expect("nothing that is refused");
        assert_eq!(accepted.best([coding]), Some(coding));
    }
});

fn read(lines: &[&[u8]]) -> Option<Accepted> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(line).ok()?);
    }
    Some(Accepted::of(&headers))
}
