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

fn risefall(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_risefall"))
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&said)
    );
    String::from_utf8(said).unwrap()
}

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "docs/checks.md",
    "docs/forward-proxy.md",
    "docs/configuration.md",
    "docs/reverse-proxy.md",
    "docs/operations.md",
    "docs/static-files.md",
];

#[test]
fn every_flag_in_the_documents_is_one_of_the_program() {
    let commands = [
        "proxy", "reverse", "serve", "run", "check", "schema", "status", "explain", "reload",
        "upgrade", "man",
    ];
    let helps = commands.map(|command| risefall(&[command, "--help"]));
    // Those of cargo, curl and python, which stand on lines of their own or in sentences.
    let foreign = BTreeSet::from([
        "--bind",
        "--open",
        "--release",
        "--workspace",
        "--unix-socket",
    ]);
    let known: BTreeSet<_> = helps.iter().flat_map(|help| flags(help)).collect();
    for document in DOCUMENTS {
        let text = read(document);
        let named = flags(&text);
        assert!(!named.is_empty(), "{document}");
        let unknown: Vec<_> = named
            .difference(&known)
            .filter(|flag| !foreign.contains(*flag))
            .collect();
        assert!(unknown.is_empty(), "{document} names {unknown:?}");
    }
}

#[test]
fn every_configuration_in_the_documents_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("shop.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("shop.key"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("public")).unwrap();
    std::fs::write(folder.path().join("alice.password"), "secret\n").unwrap();
    let mut count = 0;
    for document in DOCUMENTS.iter().filter(|one| one.starts_with("docs/")) {
        let text = read(document);
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let path = folder.path().join(format!("{count}.toml"));
            std::fs::write(&path, block).unwrap();
            risefall(&["check", "-c", path.to_str().unwrap()]);
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn the_reference_is_what_the_program_prints() {
    let page = risefall(&["schema", "--page"]);
    assert_eq!(
        read("docs/configuration-reference.md"),
        page,
        "run: cargo run -- schema --page > docs/configuration-reference.md"
    );
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
