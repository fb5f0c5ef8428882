//! What a file is, by its name.
//!
//! An extension is looked up in the operator's table, then in a short one of our own, then in a
//! list that half the field shares. What none of them knows is `application/octet-stream`: with
//! `nosniff` beside it, a browser saves it and runs nothing.
//!
//! Text is declared to be UTF-8, as Caddy and Go's servers do, since without a charset a browser
//! takes it for an encoding of its country. XML is not, whatever it is called: a charset in the
//! field would outrank the one that stands in the document (RFC 7303 §3), and a document without
//! one is UTF-8 anyway. Neither is JSON, which is nothing else and defines no such parameter
//! (RFC 8259 §11). What the operator writes is sent as written, so that text in another encoding
//! can be declared.

use hyper::header::HeaderValue;

use crate::plan::files::Files;

/// What the file at `path` is: the value of `Content-Type`. Only the last segment's last extension
/// counts, in either case; a dot in front of a name begins none.
#[must_use]
pub fn content_type(path: &[u8], files: &Files) -> HeaderValue {
    let Some(extension) = extension(path) else {
        return HeaderValue::from_static(UNKNOWN);
    };
    let is_it = |known: &str| known.eq_ignore_ascii_case(extension);
    if let Some((_, kind)) = files.types.iter().find(|(known, _)| is_it(known)) {
        return kind.clone();
    }
    let own = OWN.iter().find(|(known, _)| is_it(known));
    own.map(|(_, kind)| *kind)
        .or_else(|| mime_guess2::from_ext(extension).first_raw())
        .map_or(HeaderValue::from_static(UNKNOWN), declared)
}

/// Whether compression is worth its time for what has this `Content-Type`: text in any form, code,
/// and the few formats of fonts and pictures that are not packed themselves.
///
/// A stream of events is text, but held back by a compressor it would no longer be events.
#[must_use]
pub fn is_compressible(content_type: &HeaderValue) -> bool {
    let Ok(kind) = content_type.to_str() else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    if let Some(text) = kind.strip_prefix("text/") {
        return text != "event-stream";
    }
    let suffixes = ["+json", "+xml", "+yaml"];
    suffixes.iter().any(|suffix| kind.ends_with(suffix)) || LOOSE.contains(&kind.as_str())
}

fn extension(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    let extension = name.get(dot + 1..).filter(|_| dot > 0)?;
    str::from_utf8(extension).ok()
}

fn declared(kind: &'static str) -> HeaderValue {
    if !kind.starts_with("text/") || kind == "text/xml" {
        return HeaderValue::from_static(kind);
    }
    HeaderValue::try_from(format!("{kind}; charset=utf-8"))
        .unwrap_or(HeaderValue::from_static(UNKNOWN))
}

const UNKNOWN: &str = "application/octet-stream";

/// What the shared list does not have, or has by a name that has been replaced since.
const OWN: &[(&str, &str)] = &[
    // RFC 9239: the one name of scripts.
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("cjs", "text/javascript"),
    ("jsx", "text/jsx"),
    ("importmap", "application/importmap+json"),
    // ECMA-426.
    ("map", "application/json"),
    ("jsonl", "application/jsonl"),
    ("ndjson", "application/x-ndjson"),
    ("topojson", "application/json"),
    // RFC 9512.
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    // RFC 6922.
    ("sql", "application/sql"),
    ("wgsl", "text/wgsl"),
    // RFC 5545, RFC 6350.
    ("ics", "text/calendar"),
    ("vcf", "text/vcard"),
    ("diff", "text/x-diff"),
    ("patch", "text/x-diff"),
    ("rst", "text/x-rst"),
    ("adoc", "text/asciidoc"),
    // RFC 8081.
    ("woff", "font/woff"),
    ("otf", "font/otf"),
    ("cur", "image/x-icon"),
    ("ktx2", "image/ktx2"),
    ("m4a", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    // RFC 3555. More often a part of a stream than TypeScript, which no browser runs.
    ("ts", "video/mp2t"),
    ("mts", "video/mp2t"),
    // RFC 8216.
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("stl", "model/stl"),
    ("obj", "model/obj"),
    // Packed, whatever is inside. As `image/svg+xml` it would need a `Content-Encoding` to be seen.
    ("svgz", "application/gzip"),
    ("tgz", "application/gzip"),
    // RFC 8878.
    ("zst", "application/zstd"),
    ("rar", "application/vnd.rar"),
];

/// What is compressible without being text by name. Kept to what a site sends to browsers and
/// tools; an archive of gigabytes is left alone even where it would shrink.
const LOOSE: &[&str] = &[
    "application/ecmascript",
    "application/font-sfnt",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-font-otf",
    "application/x-font-ttf",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-sql",
    "application/x-subrip",
    "application/x-tex",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "audio/x-mpegurl",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "image/x-ms-bmp",
    "model/obj",
    "model/stl",
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn files() -> Files {
        Files::of(PathBuf::from("/srv"))
    }

    #[test]
    fn what_browsers_are_strict_about_has_its_registered_name() {
        for (name, kind) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.htm", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.md", "text/markdown; charset=utf-8"),
            ("a.vtt", "text/vtt; charset=utf-8"),
            ("a.csv", "text/csv; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.wasm", "application/wasm"),
            ("a.xml", "text/xml"),
            ("a.svg", "image/svg+xml"),
            ("a.xhtml", "application/xhtml+xml"),
            ("a.avif", "image/avif"),
            ("a.webp", "image/webp"),
            ("a.jxl", "image/jxl"),
            ("a.png", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.gif", "image/gif"),
            ("a.ico", "image/x-icon"),
            ("a.woff", "font/woff"),
            ("a.woff2", "font/woff2"),
            ("a.ttf", "font/ttf"),
            ("a.otf", "font/otf"),
            ("a.mp4", "video/mp4"),
            ("a.webm", "video/webm"),
            ("a.ogg", "audio/ogg"),
            ("a.mp3", "audio/mpeg"),
            ("a.m3u8", "application/vnd.apple.mpegurl"),
            ("a.ts", "video/mp2t"),
            ("a.pdf", "application/pdf"),
            ("a.zip", "application/zip"),
            ("a.tar.gz", "application/gzip"),
            ("a.zst", "application/zstd"),
        ] {
            assert_eq!(content_type(name.as_bytes(), &files()), kind, "{name}");
        }
    }

    #[test]
    fn the_last_extension_of_the_last_segment_counts_in_either_case() {
        for (path, kind) in [
            ("A.HTML", "text/html; charset=utf-8"),
            ("a.html/b", UNKNOWN),
            ("a.b/c.PnG", "image/png"),
            ("a.png.txt", "text/plain; charset=utf-8"),
            ("", UNKNOWN),
            ("README", UNKNOWN),
            ("a.", UNKNOWN),
            (".html", UNKNOWN),
            ("d/.html", UNKNOWN),
            ("..html", "text/html; charset=utf-8"),
            ("a.nobody-knows-this", UNKNOWN),
        ] {
            assert_eq!(content_type(path.as_bytes(), &files()), kind, "{path}");
        }
        assert_eq!(content_type(b"a.\xFFhtml", &files()), UNKNOWN);
        assert_eq!(
            content_type(b"\xFF.html", &files()),
            "text/html; charset=utf-8"
        );
    }

    #[test]
    fn the_operator_is_heard_first_and_to_the_letter() {
        let mut files = files();
        for (extension, kind) in [("txt", "text/plain; charset=koi8-r"), ("html", "text/html")] {
            let kind = HeaderValue::from_static(kind);
            files.types.push((extension.to_owned(), kind));
        }
        assert_eq!(content_type(b"a.TXT", &files), "text/plain; charset=koi8-r");
        assert_eq!(content_type(b"a.html", &files), "text/html");
        assert_eq!(content_type(b"a.css", &files), "text/css; charset=utf-8");
    }

    #[test]
    fn what_is_packed_already_is_left_alone() {
        let is_compressible =
            |name: &str| is_compressible(&content_type(name.as_bytes(), &files()));
        for name in [
            "a.html",
            "a.css",
            "a.js",
            "a.map",
            "a.json",
            "a.jsonld",
            "a.webmanifest",
            "a.xml",
            "a.rss",
            "a.svg",
            "a.wasm",
            "a.ttf",
            "a.otf",
            "a.eot",
            "a.ico",
            "a.bmp",
            "a.md",
            "a.yaml",
            "a.gltf",
            "a.m3u8",
            "a.geojson",
            "a.sh",
        ] {
            assert!(is_compressible(name), "{name}");
        }
        for name in [
            "a.png", "a.jpg", "a.webp", "a.avif", "a.woff", "a.woff2", "a.mp4", "a.mp3", "a.zip",
            "a.gz", "a.zst", "a.svgz", "a.pdf", "a.epub", "a.tar", "a.bin", "a", "a.iso",
        ] {
            assert!(!is_compressible(name), "{name}");
        }
    }

    #[test]
    fn parameters_and_case_do_not_matter_to_compression() {
        for (kind, expected) in [
            ("TEXT/HTML;charset=utf-8", true),
            ("application/JSON ; a=b", true),
            ("application/vnd.api+json; ext=\"a\"", true),
            ("text/event-stream", false),
            ("text/event-stream;charset=utf-8", false),
            ("application/octet-stream; name=a+json", false),
            ("", false),
        ] {
            let kind = HeaderValue::from_static(kind);
            assert_eq!(is_compressible(&kind), expected, "{kind:?}");
        }
        let obscure = HeaderValue::from_bytes(b"text/\xFF").unwrap();
        assert!(!is_compressible(&obscure));
    }

    #[test]
    fn our_own_table_has_each_extension_once_and_nothing_that_is_known_anyway() {
        for (at, (extension, kind)) in OWN.iter().enumerate() {
            let is_twice = OWN[..at].iter().any(|(other, _)| other == extension);
            assert!(!is_twice, "{extension}");
            let listed = mime_guess2::from_ext(extension).first_raw();
            assert_ne!(listed, Some(*kind), "{extension}");
        }
    }
}
