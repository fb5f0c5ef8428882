//! The configuration reader: whatever a file says, mistakes are told and never panic; and a tree
//! without mistakes, written out, is read as the same tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall_proxy::config::{Loaded, load_text};

fuzz_target!(|text: &str| {
    // It would read files of this machine, and other ones each time.
    if text.contains("include") || text.contains('\\') || text.contains(HIDDEN) {
        return;
    }
    match load(text).finish() {
        Ok(tree) => {
            let written = tree.to_toml();
            // Secrets are put back by hand.
            let again = load(&written.replace(HIDDEN, "x")).finish();
            let again = again.unwrap_or_else(|error| panic!("{error}\nof:\n{written}"));
            assert_eq!(again.to_toml(), written);
        }
        Err(mistakes) => {
            assert!(mistakes.len() > 0);
            assert_eq!(mistakes.lines().count(), mistakes.len());
            assert!(mistakes.to_string().contains("mistake"));
        }
    }
});

fn load(text: &str) -> Loaded {
    let environment = |name: &str| (name == "A").then(|| "127.0.0.1:1".to_owned());
    load_text("fuzz.toml", text.to_owned(), &environment)
}

/// What stands in the place of a secret, and is refused as one.
const HIDDEN: &str = "<hidden>";
