//! Which folder may import which: the boundaries of the design, checked on the sources.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A folder or file of `src`, and what must not be named in it.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "error.rs",
        &["tokio", "hyper", "crate::config", "crate::plan"],
    ),
    ("error", &["tokio", "hyper", "crate::config", "crate::plan"]),
    (
        "config",
        &["tokio", "std::net::Tcp", "crate::plan", "crate::runtime"],
    ),
    ("bounds.rs", &["serde", "tokio", "crate::"]),
    ("units.rs", &["serde", "tokio", "crate::"]),
    (
        "plan",
        &[
            "serde",
            "tokio",
            "std::fs",
            "crate::config",
            "crate::runtime",
        ],
    ),
    (
        "proto",
        &[
            "tokio",
            "std::net::Tcp",
            "crate::config",
            "crate::plan",
            "crate::net",
        ],
    ),
    (
        "net",
        &[
            "hyper",
            "http_body_util",
            "crate::config",
            "crate::plan",
            "crate::forward",
        ],
    ),
    (
        "upstream",
        &[
            "crate::config",
            "crate::forward",
            "crate::net::listen",
            "crate::runtime",
            "crate::serve",
        ],
    ),
    (
        "serve",
        &[
            "crate::forward",
            "crate::site",
            "crate::stream",
            "crate::tunnel",
            "crate::config",
            "crate::runtime",
        ],
    ),
    (
        "forward",
        &[
            "crate::site",
            "crate::stream",
            "crate::tunnel",
            "crate::config",
        ],
    ),
    (
        "site",
        &[
            "crate::forward",
            "crate::stream",
            "crate::tunnel",
            "crate::config",
        ],
    ),
    (
        "stream",
        &["hyper", "crate::forward", "crate::site", "crate::config"],
    ),
    (
        "tunnel",
        &["crate::site", "crate::forward", "crate::config"],
    ),
    (
        "admin",
        &[
            "crate::forward",
            "crate::serve",
            "crate::upstream::dial",
            "crate::upstream",
        ],
    ),
    (
        "telemetry",
        &[
            "crate::forward",
            "crate::net",
            "crate::upstream",
            "crate::plan",
        ],
    ),
    ("runtime", &["serde", "toml", "crate::config", "crate::cli"]),
    ("lib.rs", &["std::process", "std::env"]),
    ("main.rs", &["crate::", "hyper", "tokio"]),
];

#[test]
fn no_folder_imports_what_it_must_not() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for (place, forbidden) in FORBIDDEN {
        for file in sources(&src.join(place)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in code_lines(&text) {
                for word in forbidden.iter().filter(|word| names(line, word)) {
                    broken.push(format!("{}:{number}: {word} in: {line}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_stay_readable() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&src) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines", file.display());
    }
    let main = fs::read_to_string(src.join("main.rs")).unwrap();
    assert!(main.lines().count() <= 120);
}

fn sources(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let entries = entries.map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| sources(&path))
        .filter(|path| path.extension() == Some("rs".as_ref()))
        .collect()
}

/// Lines outside comments and unit tests.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.starts_with("//"))
}

/// Whether `line` names `word` as a path of its own: `tokio` is not in `my_tokio`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_word =
            |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
        !is_word(before) && (word.ends_with(':') || word.ends_with("Tcp") || !is_word(after))
    })
}
