//! Paths: the normal form is one, and nothing in it can be read in two ways.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall_proxy::proto::path::{compared, normal};

fuzz_target!(|text: &str| {
    let Ok(path) = normal(text) else {
        return;
    };
    assert!(path.starts_with('/') && path.is_ascii());
    assert_eq!(normal(&path).as_deref(), Ok(&*path));
    // What routes see leads nowhere else for those who undo the escapes.
    let compared = compared(&path);
    assert!(
        !compared.contains("%2F") && !compared.contains("//"),
        "{path}"
    );
    assert!(
        compared.split('/').all(|part| part != "." && part != ".."),
        "{path}"
    );
    for segment in path.split('/').skip(1) {
        assert!(segment != "." && segment != "..", "{path}");
        let lower = segment.to_ascii_lowercase();
        assert!(!lower.contains("%2e") && !lower.contains("%00"), "{path}");
    }
    assert!(
        !path
            .bytes()
            .any(|byte| byte <= b' ' || byte == b'\\' || byte == 0x7F)
    );
});
