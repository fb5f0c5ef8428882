//! Ranges: what is sent is there, is not more than there is, and reads back as the same.
//!
//! The input is the length of the representation and the field, a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::byteranges::Multipart;
use risefall_proxy::proto::range::{RANGES_LIMIT, Ranges, content_range, read, unsatisfied};

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(2, |&byte| byte == b'\n');
    let len = lines.next().and_then(|line| str::from_utf8(line).ok());
    let Some(Ok(len)) = len.map(str::parse::<u64>) else {
        return;
    };
    let value = lines.next().unwrap_or_default();
    check(value, len);
});

fn check(value: &[u8], len: u64) {
    let ranges = read(value, len);
    assert_eq!(read(&value.to_ascii_uppercase(), len), ranges);
    assert_eq!(read(&[b" ", value, b"\t"].concat(), len), ranges);
    match &ranges {
        Ranges::Whole => {
            // A mistake stays one whatever is added, unless it is that nothing is there.
            if value.iter().any(u8::is_ascii_digit) {
                assert_eq!(read(&[value, b",0-"].concat(), len), ranges);
            }
        }
        Ranges::Unsatisfiable => {
            assert!(unsatisfied(len).to_str().is_ok());
            if len > 0 {
                assert_ne!(read(&[value, b",-1"].concat(), len), ranges);
            }
        }
        Ranges::Parts(spans) => {
            assert!((1..=RANGES_LIMIT).contains(&spans.len()));
            let mut total = 0_u64;
            let mut written = "bytes=".to_owned();
            for span in spans {
                assert!(span.len > 0 && span.last() < len && span.start <= span.last());
                total = total.checked_add(span.len).expect("not more than there is");
                written.push_str(&format!("{}-{},", span.start, span.last()));
                let named = content_range(*span, len);
                let expected = format!("bytes {}-{}/{len}", span.start, span.last());
                assert_eq!(named.as_bytes(), expected.as_bytes());
            }
            assert!(total <= len);
            assert_eq!(read(written.as_bytes(), len), ranges);

            let kind = "a/b".parse().expect("a type");
            let multipart = Multipart::frame(u128::from(len), &kind, spans, len);
            assert_eq!(multipart.heads.len(), spans.len());
            let heads: usize = multipart.heads.iter().map(|head| head.len()).sum();
            let framing = (heads + multipart.close.len()) as u64;
            assert_eq!(multipart.len, total.saturating_add(framing));
        }
    }
}
