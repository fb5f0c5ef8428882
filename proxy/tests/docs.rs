//! What the documents say of the program, held against the program.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// The flags that `text` names, those of other programs left out.
fn flags(text: &str) -> BTreeSet<&str> {
    let ours = text.lines().filter_map(|line| {
        if line.contains("cargo ") {
            line.split_once(" -- ").map(|(_, ours)| ours)
        } else {
            Some(line).filter(|line| !line.contains("curl "))
        }
    });
    ours.flat_map(|line| line.split(|char: char| !char.is_ascii_alphanumeric() && char != '-'))
        .filter(|word| word.starts_with("--") && word.contains(char::is_alphanumeric))
        .collect()
}

#[test]
fn every_flag_in_the_documents_is_one_of_the_program() {
    let helps = ["proxy", "status"].map(|command| {
        let help = Command::new(env!("CARGO_BIN_EXE_risefall"))
            .args([command, "--help"])
            .output()
            .unwrap();
        String::from_utf8(help.stdout).unwrap()
    });
    let known: BTreeSet<_> = helps.iter().flat_map(|help| flags(help)).collect();
    for document in ["README.md", "docs/forward-proxy.md"] {
        let text = read(document);
        let named = flags(&text);
        assert!(named.contains("--allow-clients"), "{document}: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{document} names {unknown:?}");
    }
}

#[test]
fn the_readme_names_the_compiler_that_the_manifest_asks_for() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"');
    let said = format!("Rust ({version} or newer)");
    assert!(
        read("README.md").contains(&said),
        "README.md lacks {said:?}"
    );
}
