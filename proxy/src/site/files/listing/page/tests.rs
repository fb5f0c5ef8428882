use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime};

use super::*;

fn file(name: &[u8], len: u64) -> Entry {
    Entry {
        name: OsStr::from_bytes(name).to_owned(),
        is_folder: false,
        len,
        modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)),
    }
}

fn folder(name: &[u8]) -> Entry {
    Entry {
        is_folder: true,
        modified: None,
        ..file(name, 4096)
    }
}

fn page(path: &str, list: Vec<Entry>) -> String {
    let entries = Entries {
        list,
        is_cut: false,
    };
    html(path, &entries, Order::of(None))
}

/// The page's rows, without what stands around them.
fn rows(page: &str) -> Vec<&str> {
    let (_, body) = page.split_once("<tbody>\n").unwrap();
    let (body, _) = body.split_once("</tbody>").unwrap();
    body.lines().collect()
}

#[test]
fn a_file_and_a_folder_are_links_with_what_is_known_of_them() {
    let page = page("/", vec![file(b"a.txt", 1536), folder(b"b")]);
    assert_eq!(
        rows(&page),
        [
            "<tr><th scope=\"row\"><a class=\"folder\" href=\"./b/\"><bdi>b</bdi>/</a></th>\
             <td></td><td></td></tr>",
            "<tr><th scope=\"row\"><a href=\"./a.txt\"><bdi>a.txt</bdi></a></th>\
             <td title=\"1536 bytes\">1.5 KiB</td>\
             <td><time datetime=\"2026-01-02T03:04:05Z\">2026-01-02 03:04</time></td></tr>",
        ]
    );
    assert!(
        page.contains("<caption>1 folder, 1 file</caption>"),
        "{page}"
    );
}

#[test]
fn a_name_is_nothing_but_a_name() {
    for (name, href, text) in [
        (
            &b"\"><script>alert(1)</script>"[..],
            "./%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E",
            "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
        ),
        (
            b"' onclick='x",
            "./%27%20onclick%3D%27x",
            "&#39; onclick=&#39;x",
        ),
        (b"a&amp;b", "./a%26amp%3Bb", "a&amp;amp;b"),
        (
            b"</bdi></table>",
            "./%3C%2Fbdi%3E%3C%2Ftable%3E",
            "&lt;/bdi&gt;&lt;/table&gt;",
        ),
        (
            b"javascript:alert(1)",
            "./javascript%3Aalert%281%29",
            "javascript:alert(1)",
        ),
        (b"//evil.example", "./%2F%2Fevil.example", "//evil.example"),
        (
            b"a\nb\r\tc\x1B",
            "./a%0Ab%0D%09c%1B",
            "a\u{FFFD}b\u{FFFD}\u{FFFD}c\u{FFFD}",
        ),
        (b"..%2f", "./..%252f", "..%2f"),
        (b"%2e%2e", "./%252e%252e", "%2e%2e"),
        (b"a?b#c", "./a%3Fb%23c", "a?b#c"),
        (b"\xFF\xFEa", "./%FF%FEa", "\u{FFFD}\u{FFFD}a"),
        ("ä".as_bytes(), "./%C3%A4", "ä"),
        (
            "\u{202E}gpj.exe".as_bytes(),
            "./%E2%80%AEgpj.exe",
            "\u{FFFD}gpj.exe",
        ),
        (
            "\u{2067}a\u{85}".as_bytes(),
            "./%E2%81%A7a%C2%85",
            "\u{FFFD}a\u{FFFD}",
        ),
        (
            "\u{5D0}\u{200F}".as_bytes(),
            "./%D7%90%E2%80%8F",
            "\u{5D0}\u{200F}",
        ),
    ] {
        let page = page("/", vec![file(name, 0)]);
        let start =
            format!("<tr><th scope=\"row\"><a href=\"{href}\"><bdi>{text}</bdi></a></th><td");
        let rows = rows(&page);
        assert!(
            rows.len() == 1 && rows[0].starts_with(&start),
            "{rows:?} {start}"
        );
    }
}

#[test]
fn the_way_here_is_read_from_the_path_and_linked_by_steps() {
    let page = page("/a%20b/%3Cc%3E/%FF/", Vec::new());
    let (_, way) = page
        .split_once("<nav aria-label=\"Path\">\n<ol>\n")
        .unwrap();
    let (way, _) = way.split_once("</ol>").unwrap();
    assert_eq!(
        way.lines().collect::<Vec<_>>(),
        [
            "<li><a href=\"../../../\"><bdi>Home</bdi></a></li>",
            "<li><a href=\"../../\"><bdi>a b</bdi></a></li>",
            "<li><a href=\"../\"><bdi>&lt;c&gt;</bdi></a></li>",
            "<li><a href=\"./\" aria-current=\"page\"><bdi>\u{FFFD}</bdi></a></li>",
        ]
    );
    assert!(page.contains("<title>Index of /a b/&lt;c&gt;/\u{FFFD}/</title>"));
    assert!(page.contains("<h1><bdi>\u{FFFD}</bdi></h1>"));
}

#[test]
fn there_is_a_way_up_but_from_the_root() {
    let up = "<tr><th scope=\"row\"><a class=\"up\" href=\"../\">Parent folder</a></th>\
              <td></td><td></td></tr>";
    assert_eq!(rows(&page("/a/", Vec::new())), [up]);
    assert!(rows(&page("/", Vec::new())).is_empty());
}

#[test]
fn columns_lead_to_their_order_and_back() {
    let entries = Entries {
        list: Vec::new(),
        is_cut: false,
    };
    for (query, head) in [
        (
            "",
            "<th scope=\"col\" aria-sort=\"ascending\"><a rel=\"nofollow\" \
             href=\"?sort=name&amp;order=desc\">Name <span aria-hidden=\"true\">\u{2191}</span>",
        ),
        (
            "",
            "<th scope=\"col\"><a rel=\"nofollow\" href=\"?sort=size&amp;order=desc\">Size</a>",
        ),
        (
            "sort=size&order=desc",
            "<th scope=\"col\" aria-sort=\"descending\"><a rel=\"nofollow\" \
             href=\"?sort=size&amp;order=asc\">Size <span aria-hidden=\"true\">\u{2193}</span>",
        ),
        (
            "sort=size&order=desc",
            "<th scope=\"col\"><a rel=\"nofollow\" href=\"?sort=name&amp;order=asc\">Name</a>",
        ),
        (
            "sort=modified",
            "<th scope=\"col\" aria-sort=\"ascending\"><a rel=\"nofollow\" \
             href=\"?sort=modified&amp;order=desc\">Modified (UTC) <span",
        ),
    ] {
        let page = html("/", &entries, Order::of(Some(query)));
        assert!(page.contains(head), "{query} {page}");
        assert_eq!(page.matches("aria-sort").count(), 1);
    }
}

#[test]
fn a_page_tells_that_it_is_not_all() {
    let mut entries = Entries {
        list: Vec::new(),
        is_cut: false,
    };
    let order = Order::of(None);
    assert!(!html("/", &entries, order).contains("class=\"note\""));
    entries.is_cut = true;
    let page = html("/", &entries, order);
    assert!(
        page.contains("only the first 10000 names were read"),
        "{page}"
    );
}

#[test]
fn sizes_are_written_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10_188, "9.9 KiB"),
        (10_189, "10 KiB"),
        (1_048_063, "1023 KiB"),
        (1_048_064, "1.0 MiB"),
        (1 << 30, "1.0 GiB"),
        (u64::MAX, "16 EiB"),
    ] {
        assert_eq!(Size(bytes).to_string(), text, "{bytes}");
    }
}

#[test]
fn the_policy_is_for_this_style() {
    let page = page("/", vec![file(b"a", 1)]);
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite
        .tls13()
        .unwrap()
        .common
        .hash_provider
        .hash(style.as_bytes());
    let source = format!("'sha256-{}'", base64(hash.as_ref()));
    assert!(
        CONTENT_SECURITY_POLICY.contains(&source),
        "now it is {source}"
    );
    assert!(!page.contains(" style=") && !page.contains("<script"));
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quartets = bytes.chunks(3).map(|three| {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(*three.get(at).unwrap_or(&0))
        });
        let digit = |at: usize| char::from(alphabet[bits >> (18 - 6 * at) & 63]);
        let digits = (0..4).map(|at| if at > three.len() { '=' } else { digit(at) });
        digits.collect::<String>()
    });
    quartets.collect()
}
