use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use cap_std::ambient_authority;
use tempfile::TempDir;

use super::*;

struct Place {
    above: TempDir,
    root: Dir,
    files: Files,
}

impl Place {
    /// A root with these files and, with a slash behind them, folders in it; `out` lies beside it.
    fn with(names: &[&[u8]]) -> Self {
        let above = TempDir::new().unwrap();
        let root = above.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(above.path().join("out"), "secret").unwrap();
        for name in names {
            let path = root.join(OsStr::from_bytes(name));
            match name.ends_with(b"/") {
                true => fs::create_dir_all(path).unwrap(),
                false => fs::write(path, name).unwrap(),
            }
        }
        Self {
            root: Dir::open_ambient_dir(&root, ambient_authority()).unwrap(),
            files: Files::of(root),
            above,
        }
    }

    fn link(&self, name: &str, to: &str) {
        symlink(to, self.files.root.join(name)).unwrap();
    }

    fn read(&self, path: &str) -> Entries {
        let folder = match path {
            "" => self.root.try_clone(),
            path => self.root.open_dir(path),
        };
        read(&self.root, Path::new(path), &folder.unwrap(), &self.files).unwrap()
    }

    fn names(&self, path: &str) -> Vec<String> {
        names(&self.read(path), Order::of(None))
    }
}

/// The names in this order, folders with a slash.
fn names(entries: &Entries, order: Order) -> Vec<String> {
    let named = |entry: &&Entry| {
        let slash = if entry.is_folder { "/" } else { "" };
        format!("{}{slash}", entry.name.to_string_lossy())
    };
    order.sorted(entries).iter().map(named).collect()
}

#[test]
fn files_and_folders_are_told_apart_with_size_and_time() {
    let place = Place::with(&[b"a/", b"b.txt"]);
    let entries = place.read("");
    assert_eq!(names(&entries, Order::of(None)), ["a/", "b.txt"]);
    let file = entries.list.iter().find(|entry| !entry.is_folder).unwrap();
    let metadata = fs::metadata(place.files.root.join("b.txt")).unwrap();
    assert_eq!(file.len, 5);
    assert_eq!(file.modified, Some(metadata.modified().unwrap()));
    assert!(!entries.is_cut);
}

#[test]
fn dots_are_hidden_unless_they_are_shown() {
    let mut place = Place::with(&[b".a", b".well-known/", b"b/.well-known/", b"b/.c", b"b/..."]);
    assert_eq!(place.names(""), [".well-known/", "b/"]);
    assert!(place.names("b").is_empty());
    place.files.hidden = true;
    assert_eq!(place.names(""), [".well-known/", "b/", ".a"]);
    assert_eq!(place.names("b"), [".well-known/", "...", ".c"]);
}

#[test]
fn what_is_neither_file_nor_folder_is_not_there() {
    let place = Place::with(&[b"a"]);
    let socket = UnixListener::bind(place.files.root.join("b")).unwrap();
    place.link("c", "b");
    place.link("d", "/dev/null");
    for links in [Links::Inside, Links::All, Links::Off] {
        let files = Files {
            links,
            ..place.files.clone()
        };
        let entries = read(&place.root, Path::new(""), &place.root, &files).unwrap();
        assert_eq!(names(&entries, Order::of(None)), ["a"], "{links:?}");
    }
    drop(socket);
}

#[test]
fn what_nobody_could_ask_for_is_not_shown() {
    let mut place = Place::with(&[b"a\\b", b"..;x", b"c;d", b"%2e%2e", b"\xFF", b"a\nb"]);
    place.files.hidden = true;
    let entries = place.read("");
    let mut found: Vec<_> = entries
        .list
        .iter()
        .map(|entry| entry.name.as_bytes())
        .collect();
    found.sort_unstable();
    assert_eq!(found, [&b"%2e%2e"[..], b"a\nb", b"c;d", b"\xFF"]);
}

#[test]
fn links_are_followed_as_far_as_the_plan_says() {
    let mut place = Place::with(&[b"a/b/", b"a/f", b"g"]);
    let outside = place.above.path().join("out");
    let root = place.files.root.clone();
    place.link("a/b/up", "../f");
    place.link("a/b/root", "../../g");
    place.link("a/b/folder", "..");
    place.link("a/b/broken", "nothing");
    place.link("a/b/loop", "loop");
    place.link("a/b/out", "../../../out");
    place.link("a/b/out-absolute", outside.to_str().unwrap());
    place.link("a/b/absolute", root.join("g").to_str().unwrap());
    place.link("short", "a/b");
    let inside = ["folder/", "root", "up"];
    assert_eq!(place.names("a/b"), inside);
    assert_eq!(
        place.names("short"),
        inside,
        "links lead on from where the folder is"
    );
    let found = place.read("a/b");
    let up = found.list.iter().find(|entry| entry.name == "up").unwrap();
    assert_eq!(up.len, 3, "the file is told of, not the link");

    place.files.links = Links::All;
    let all = ["folder/", "absolute", "out", "out-absolute", "root", "up"];
    assert_eq!(place.names("a/b"), all);
    let folder = Dir::open_ambient_dir(place.above.path(), ambient_authority()).unwrap();
    let elsewhere = read(&place.root, Path::new("x"), &folder, &place.files).unwrap();
    assert_eq!(names(&elsewhere, Order::of(None)), ["root/", "out"]);

    place.files.links = Links::Off;
    assert!(place.names("a/b").is_empty());
    assert_eq!(place.names(""), ["a/", "g"]);
}

#[test]
fn a_folder_is_read_up_to_the_bound() {
    let place = Place::with(&[]);
    for number in 0..ENTRIES_MAX {
        fs::write(place.files.root.join(format!("{number}")), "").unwrap();
    }
    let entries = place.read("");
    assert!(entries.list.len() == ENTRIES_MAX && !entries.is_cut);
    fs::write(place.files.root.join("one more"), "").unwrap();
    let entries = place.read("");
    assert!(entries.list.len() == ENTRIES_MAX && entries.is_cut);
    let json = json("/", &entries, Order::of(None));
    assert!(json.ends_with("\"truncated\":true}"));
}

#[test]
fn a_query_names_the_order_and_what_it_does_not_know_changes_nothing() {
    for (query, by, is_descending) in [
        (None, By::Name, false),
        (Some(""), By::Name, false),
        (Some("sort=name&order=asc"), By::Name, false),
        (Some("order=desc"), By::Name, true),
        (Some("sort=size"), By::Size, false),
        (Some("a=b&order=desc&sort=modified"), By::Modified, true),
        (Some("sort=size&sort=name"), By::Size, false),
        (Some("sort=Size&order=DESC"), By::Name, false),
        (Some("sort&order=&&=desc"), By::Name, false),
        (Some("sort=<script>"), By::Name, false),
    ] {
        let expected = Order { by, is_descending };
        assert_eq!(Order::of(query), expected, "{query:?}");
    }
}

#[test]
fn folders_come_first_in_every_order() {
    let entry = |name: &str, is_folder, len, secs| Entry {
        name: name.into(),
        is_folder,
        len,
        modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)),
    };
    let entries = Entries {
        list: vec![
            entry("b", false, 2, 3),
            entry("A", false, 3, 1),
            entry("a", false, 2, 2),
            entry("C", true, 9, 1),
            entry("d", true, 1, 2),
        ],
        is_cut: false,
    };
    for (query, expected) in [
        ("", ["C/", "d/", "A", "a", "b"]),
        ("order=desc", ["d/", "C/", "b", "a", "A"]),
        ("sort=size", ["C/", "d/", "a", "b", "A"]),
        ("sort=size&order=desc", ["C/", "d/", "A", "a", "b"]),
        ("sort=modified", ["C/", "d/", "A", "a", "b"]),
        ("sort=modified&order=desc", ["d/", "C/", "b", "a", "A"]),
    ] {
        assert_eq!(names(&entries, Order::of(Some(query))), expected, "{query}");
    }
}

#[test]
fn json_tells_the_same_and_can_be_read() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let entries = Entries {
        list: vec![
            Entry {
                name: OsStr::from_bytes(b"\"\\\n\xFF").to_owned(),
                is_folder: false,
                len: 17,
                modified: Some(time),
            },
            Entry {
                name: "a".into(),
                is_folder: true,
                len: 4096,
                modified: None,
            },
        ],
        is_cut: false,
    };
    let text = json("/b%20c/", &entries, Order::of(None));
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "path": "/b%20c/",
        "entries": [
            { "name": "a", "href": "./a/", "type": "folder" },
            {
                "name": "\"\\\n\u{FFFD}",
                "href": "./%22%5C%0A%FF",
                "type": "file",
                "size": 17,
                "modified": "2026-01-02T03:04:05Z",
            },
        ],
        "truncated": false,
    });
    assert_eq!(read, expected);
}

#[test]
fn an_href_leads_back_to_the_name() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..10_000 {
        let name: Vec<u8> = (0..random.usize(1..12)).map(|_| random.u8(1..)).collect();
        let entry = Entry {
            name: OsStr::from_bytes(&name).to_owned(),
            is_folder: random.bool(),
            len: 0,
            modified: None,
        };
        let href = entry.href();
        let segment = href.strip_prefix("./").unwrap().trim_end_matches('/');
        assert!(
            !segment.contains([':', '/', '"', '<', '&', '?', '#']),
            "{href}"
        );
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        assert_eq!(decoded, name, "{href}");
    }
}
