//! A listing for people: one page that needs nothing else, no script either.
//!
//! Names are the work of others. In text, what has a meaning in HTML is escaped, and what would not
//! be seen as what it is (control characters, and marks that turn the direction of what follows) is
//! replaced; `<bdi>` keeps the direction of a name to itself. In links they are escaped by bytes.
//!
//! All links are relative, so that the page is right below any prefix.

use std::fmt::{self, Display, Formatter, Write as _};

use percent_encoding::percent_decode_str;

use super::json::timestamp;
use super::{By, ENTRIES_MAX, Entries, Entry, Order};

/// The listing of the folder at `path` (the normal form of what was asked for, with its final
/// slash) as a page.
///
/// It links to the folder above, and each column to itself in the other direction.
#[must_use]
pub fn html(path: &str, entries: &Entries, order: Order) -> String {
    let page = Page {
        folders: path.split('/').filter(|name| !name.is_empty()).collect(),
        entries,
        order,
    };
    page.to_string()
}

/// What belongs beside it: nothing is loaded but the site's own icon, nothing runs, nobody frames
/// it, and only the page's own style counts.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; img-src 'self'; \
     style-src 'sha256-QdKTPMNESVlZjDuvSdPTauEYC0e1Rvez7xYl6LJZp7M='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Page<'a> {
    /// The names on the way from the site's root, escaped as in a path.
    folders: Vec<&'a str>,
    entries: &'a Entries,
    order: Order,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.folders.last().map_or(HOME.into(), |name| shown(name));
        f.write_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")?;
        f.write_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")?;
        f.write_str("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Index of /")?;
        for folder in &self.folders {
            write!(f, "{}/", Text(&shown(folder)))?;
        }
        write!(f, "</title>\n<style>{STYLE}</style>\n</head>\n<body>\n")?;
        f.write_str("<a class=\"skip\" href=\"#list\">Skip to the list</a>\n")?;
        self.way(f)?;
        writeln!(f, "<main id=\"list\">\n<h1><bdi>{}</bdi></h1>", Text(&name))?;
        self.table(f)?;
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

impl Page<'_> {
    /// The folders on the way here.
    fn way(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<nav aria-label=\"Path\">\n<ol>\n")?;
        let names = self.folders.iter().map(|name| shown(name));
        let names = [HOME.to_owned()].into_iter().chain(names);
        for (depth, name) in names.enumerate() {
            let name = Text(&name);
            match self.folders.len() - depth {
                0 => write!(f, "<li><a href=\"./\" aria-current=\"page\">")?,
                above => write!(f, "<li><a href=\"{}\">", "../".repeat(above))?,
            }
            writeln!(f, "<bdi>{name}</bdi></a></li>")?;
        }
        f.write_str("</ol>\n</nav>\n")
    }

    fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = |is_folder: bool| {
            let list = self.entries.list.iter();
            let counted = list.filter(|entry| entry.is_folder == is_folder).count();
            u64::try_from(counted).unwrap_or(u64::MAX)
        };
        write!(f, "<table>\n<caption>{}, ", Counted(count(true), "folder"))?;
        writeln!(
            f,
            "{}</caption>\n<thead>\n<tr>",
            Counted(count(false), "file")
        )?;
        self.column(f, By::Name, "Name")?;
        self.column(f, By::Size, "Size")?;
        self.column(f, By::Modified, "Modified (UTC)")?;
        f.write_str("</tr>\n</thead>\n<tbody>\n")?;
        if !self.folders.is_empty() {
            f.write_str(
                "<tr><th scope=\"row\"><a class=\"up\" href=\"../\">Parent folder</a></th>",
            )?;
            f.write_str("<td></td><td></td></tr>\n")?;
        }
        for entry in self.order.sorted(self.entries) {
            row(f, entry)?;
        }
        f.write_str("</tbody>\n</table>\n")?;
        if self.entries.is_cut {
            write!(f, "<p class=\"note\">There is more in this folder: ")?;
            writeln!(f, "only the first {ENTRIES_MAX} names were read.</p>")?;
        }
        Ok(())
    }

    /// The head of a column, and a link to the page in its order: the other way round if it is so
    /// already, else from the first name, the largest or the newest.
    fn column(&self, f: &mut Formatter<'_>, by: By, name: &str) -> fmt::Result {
        let key = match by {
            By::Name => "name",
            By::Size => "size",
            By::Modified => "modified",
        };
        let (state, sign, is_next_descending) =
            match (self.order.by == by, self.order.is_descending) {
                (false, _) => ("", "", by != By::Name),
                (true, false) => (" aria-sort=\"ascending\"", "\u{2191}", true),
                (true, true) => (" aria-sort=\"descending\"", "\u{2193}", false),
            };
        let next = if is_next_descending { "desc" } else { "asc" };
        write!(f, "<th scope=\"col\"{state}><a rel=\"nofollow\" ")?;
        write!(f, "href=\"?sort={key}&amp;order={next}\">{name}")?;
        if !sign.is_empty() {
            write!(f, " <span aria-hidden=\"true\">{sign}</span>")?;
        }
        f.write_str("</a></th>\n")
    }
}

fn row(f: &mut Formatter<'_>, entry: &Entry) -> fmt::Result {
    let name = entry.name.to_string_lossy();
    let (name, href) = (Text(&name), entry.href());
    match entry.is_folder {
        true => write!(
            f,
            "<tr><th scope=\"row\"><a class=\"folder\" href=\"{href}\"><bdi>{name}</bdi>/</a></th>\
             <td></td><td>"
        )?,
        false => write!(
            f,
            "<tr><th scope=\"row\"><a href=\"{href}\"><bdi>{name}</bdi></a></th>\
             <td title=\"{}\">{}</td><td>",
            Counted(entry.len, "byte"),
            Size(entry.len)
        )?,
    }
    if let Some(time) = entry.modified.and_then(timestamp) {
        let (day, clock) = time.split_once('T').unwrap_or_default();
        let clock = clock.get(..5).unwrap_or_default();
        write!(f, "<time datetime=\"{time}\">{day} {clock}</time>")?;
    }
    f.write_str("</td></tr>\n")
}

/// A segment of a path as it is read.
fn shown(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// Text that means nothing else in HTML, in an attribute either, and hides nothing.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Embeddings, overrides and isolates: `gpj.exe` would look like another file.
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{FFFD}')?,
                char if char.is_control() => f.write_char('\u{FFFD}')?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// A number of bytes for people: three digits or so.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let rounded = |times: u128, one: u128| (u128::from(self.0) * times + one / 2) / one;
        // The smallest unit of which there are, rounded, fewer than make the next one.
        let unit = UNITS.iter().find(|(one, _)| rounded(1, *one) < 1024);
        let Some((one, unit)) = unit else {
            return write!(f, "{} B", self.0);
        };
        match rounded(10, *one) {
            tenths @ ..100 => write!(f, "{}.{} {unit}", tenths / 10, tenths % 10),
            _ => write!(f, "{} {unit}", rounded(1, *one)),
        }
    }
}

/// How many of what.
struct Counted<'a>(u64, &'a str);

impl Display for Counted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(number, what) = self;
        let plural = if *number == 1 { "" } else { "s" };
        write!(f, "{number} {what}{plural}")
    }
}

/// What the site's root is called on the way here.
const HOME: &str = "Home";

const STYLE: &str = include_str!("page.css");

const UNITS: [(u128, &str); 6] = [
    (1 << 10, "KiB"),
    (1 << 20, "MiB"),
    (1 << 30, "GiB"),
    (1 << 40, "TiB"),
    (1 << 50, "PiB"),
    (1 << 60, "EiB"),
];

#[cfg(test)]
mod tests;
