//! From the path of a request to an opened file: nothing outside of the root is opened, nor what is
//! hidden in it, whatever links are there.
//!
//! The input is the path of a request without its first slash.
#![no_main]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use risefall_proxy::plan::files::Links;
use risefall_proxy::proto::path::normal;
use risefall_proxy::site::files::open::{How, Look, Root};
use risefall_proxy::site::files::path::{is_hidden, name};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let asked = format!("/{text}");
    let Ok(path) = normal(&asked) else {
        return;
    };
    let Some(name) = name(&path) else {
        return;
    };
    assert!(!name.contains(&0) && !name.starts_with(b"/"));
    assert!(name.is_empty() || name.split(|&byte| byte == b'/').all(|one| !one.is_empty()));
    for root in ROOTS.iter() {
        let look = root
            .look(&name, How::Waiting)
            .expect("a disk that can be read");
        let at_once = root.look(&name, How::AtOnce);
        assert!(at_once.is_err() || at_once.is_ok_and(|at_once| at_once == look));
        if !matches!(look, Look::File(_)) {
            continue;
        }
        let mut file = root.open_file(&name, How::Waiting).expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("a text");
        let expected = if is_hidden(&name) { "hidden" } else { "shown" };
        assert_eq!(text, expected, "{asked}");
    }
});

/// One folder, shown in each way that does not lead out.
static ROOTS: LazyLock<[Root; 2]> = LazyLock::new(|| {
    let base = std::env::temp_dir().join(format!("risefall-beneath-{}", std::process::id()));
    lay_out(&base).expect("a folder");
    [Links::Inside, Links::Off]
        .map(|links| Root::open(&base.join("root"), links, How::Waiting).expect("a root"))
});

fn lay_out(base: &Path) -> std::io::Result<()> {
    let root = base.join("root");
    fs::create_dir_all(root.join("a/b"))?;
    fs::create_dir_all(root.join(".h"))?;
    fs::create_dir_all(root.join(".well-known"))?;
    fs::write(base.join("c"), "outside")?;
    for name in ["a/b/c", "c", "%", "a b", ".well-known/c"] {
        fs::write(root.join(name), "shown")?;
    }
    for name in [".c", ".h/c", "a/.c", ".well-known/.c"] {
        fs::write(root.join(name), "hidden")?;
    }
    for (name, to) in [
        ("d", "a"),
        ("e", "../c"),
        ("f", ".."),
        ("a/f", "../.."),
        ("g", "/"),
        ("i", "i"),
        ("j", "f/c"),
    ] {
        if !root.join(name).is_symlink() {
            symlink(to, root.join(name))?;
        }
    }
    Ok(())
}
