//! Mistakes as a person reads them: what is wrong, where, the line, and what would be right.

use std::fmt;

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Renderer, Snippet};

use super::source::{At, Source, Sources};

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    /// `None` if there is no place for it, because something is missing from the whole file.
    pub(super) at: Option<At>,
    /// The key, such as `health.max_fails`; empty for the syntax.
    pub(super) place: String,
    /// What was found and what was expected.
    pub(super) message: String,
    /// What may have been meant.
    pub(super) help: Option<String>,
    /// The other end, and what it is.
    pub(super) also: Option<(At, String)>,
}

/// All mistakes of a configuration, and the lines to show them in.
#[derive(Debug)]
pub struct Mistakes {
    sources: Sources,
    list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(sources: Sources, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.at);
        Self { sources, list }
    }

    /// How many there are; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Each in one line: `risefall.toml:14:13: health.max_fails: found "two", expected ...`.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(|mistake| mistake.line(&self.sources))
    }

    fn shown(&self, mistake: &Mistake, one_line: &str) -> String {
        let Some((at, source)) = (mistake.at).and_then(|at| Some((at, self.sources.get(at.file)?)))
        else {
            return format!("error: {one_line}");
        };
        let mut group = Level::ERROR.primary_title(one_line).element(snippet(
            source,
            at,
            AnnotationKind::Primary,
            "",
        ));
        if let Some((also, what)) = &mistake.also
            && let Some(source) = self.sources.get(also.file)
        {
            let snippet = snippet(source, *also, AnnotationKind::Primary, what);
            group = group.element(snippet);
        }
        let mut groups: Vec<Group<'_>> = vec![group];
        if let Some(help) = &mistake.help
            && let Some(last) = groups.pop()
        {
            groups.push(last.element(Element::from(Level::HELP.message(help))));
        }
        Renderer::plain().term_width(WIDTH).render(&groups)
    }
}

impl Mistake {
    /// In one line, with where it is.
    pub(super) fn line(&self, sources: &Sources) -> String {
        let source = self.at.and_then(|at| sources.get(at.file));
        let place = source.zip(self.at).map(|(source, at)| {
            let (line, column) = position(&source.text, at.start);
            format!("{}:{line}:{column}: ", source.path.display())
        });
        format!("{}{}", place.unwrap_or_default(), self.title())
    }

    fn title(&self) -> String {
        if self.place.is_empty() {
            return self.message.clone();
        }
        format!("{}: {}", self.place, self.message)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.lines().collect();
        for (mistake, line) in self.list.iter().zip(&lines) {
            writeln!(out, "{}\n", self.shown(mistake, line))?;
        }
        match self.list.len() {
            1 => write!(out, "1 mistake"),
            many => write!(out, "{many} mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

/// The line of a place alone, with what must not be shown put out of sight.
fn snippet<'a>(
    source: &'a Source,
    at: At,
    kind: AnnotationKind,
    label: &'a str,
) -> Snippet<'a, Annotation<'a>> {
    let range = source.range(at);
    let text = &source.text;
    let start = text
        .get(..range.start)
        .and_then(|before| before.rfind('\n'));
    let start = start.map_or(0, |at| at + 1);
    let end = text.get(range.start..).and_then(|rest| rest.find('\n'));
    let end = end.map_or(text.len(), |len| range.start + len);
    let line = text.get(start..end).unwrap_or_default();
    let before = text.get(..start).unwrap_or_default();
    let (shown, kept) = without_secret(before, line);
    let from = (range.start - start).min(kept);
    // A caret even where nothing stands: behind the end of a line that is not whole.
    let to = (range.end.min(end) - start).clamp(from, kept.max(from));
    let annotation = kind.span(from..to.max(from));
    let annotation = if label.is_empty() {
        annotation
    } else {
        annotation.label(label)
    };
    Snippet::source(shown)
        .line_start(position(text, range.start).0)
        .path(source.path.display().to_string())
        .fold(false)
        .annotation(annotation)
}

/// A line without its secret, and how many of its bytes are as they were.
fn without_secret(before: &str, line: &str) -> (String, usize) {
    if is_in_secret(before) && !line.trim_start().starts_with('[') {
        let key = line.split_once('=').map_or("", |(key, _)| key);
        return (format!("{key}= <hidden>"), key.len() + 1);
    }
    let Some((key, value)) = line.split_once('=') else {
        return (line.to_owned(), line.len());
    };
    let is_secret = has_secret_key(key);
    let lower = value.to_ascii_lowercase();
    let holds_one = SECRETS.iter().any(|secret| {
        lower.match_indices(secret).any(|(at, _)| {
            let rest = lower.get(at + secret.len()..).unwrap_or_default();
            rest.trim_start_matches(['"', '\'', ' ']).starts_with('=')
        })
    });
    if !is_secret && !holds_one {
        return (line.to_owned(), line.len());
    }
    (format!("{key}= <hidden>"), key.len() + 1)
}

/// Whether what stands behind `before` is in a table of secrets: in `[... .users]`, or between the
/// braces of `users = {`.
fn is_in_secret(before: &str) -> bool {
    let (mut is_in_table, mut depth) = (false, 0_usize);
    for line in before.lines() {
        let line = line.trim_start();
        if depth == 0 {
            if line.starts_with('[') {
                let header = line.split(']').next().unwrap_or_default();
                // The first two are named by us and by the operator.
                is_in_table = header.split('.').skip(2).any(is_secret_word);
                continue;
            }
            let key = line.split_once('=').map(|(key, _)| key);
            if !key.is_some_and(has_secret_key) {
                continue;
            }
        }
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
    }
    is_in_table || depth > 0
}

/// Whether a key, or one of the tables that it is written with, is one of secrets.
fn has_secret_key(key: &str) -> bool {
    let written = key.rsplit(['{', ',']).next().unwrap_or_default();
    written.split('.').any(is_secret_word)
}

fn is_secret_word(word: &str) -> bool {
    is_secret(word.trim_matches([' ', '\t', '[', ']', '"', '\'']))
}

/// Whether the value of a key is never shown. Fields of HTTP may be written in capitals.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS
        .iter()
        .any(|secret| secret.eq_ignore_ascii_case(key))
}

/// Line and column of a byte, both from 1; columns are characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// Keys whose values are never shown.
const SECRETS: &[&str] = &[
    "token",
    "password",
    "secret",
    "users",
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-auth-token",
];
const WIDTH: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_put_out_of_sight_wherever_it_stands_on_the_line() {
        for (line, shown) in [
            ("token = \"hunter2\"", "token = <hidden>"),
            ("admin.token = \"hunter2", "admin.token = <hidden>"),
            (
                "admin = { listen = \"a\", token = \"hunter2\" }",
                "admin = <hidden>",
            ),
            ("set = { Authorization = \"hunter2\" }", "set = <hidden>"),
            ("token_file = \"a\"", "token_file = \"a\""),
            ("listen = 3", "listen = 3"),
        ] {
            assert_eq!(without_secret("", line).0, shown);
        }
    }

    #[test]
    fn a_secret_is_put_out_of_sight_in_a_table_of_them() {
        for before in [
            "[site.a.route.users]\n",
            "[[site.a.route]]\n[ site.a.route . \"users\" ]\nbob = \"x\"\n",
            "users = {\n",
            "[[site.a.route]]\nusers = { # who\n  bob = { file = \"x\" },\n",
        ] {
            for line in [
                "alice = \"hunter2\" x",
                "\"hunter2\"",
                "  alice = { file = 3 }",
            ] {
                let (shown, kept) = without_secret(before, line);
                assert!(shown.ends_with("= <hidden>"), "{before}: {shown}");
                assert!(kept <= shown.len() && !shown.contains("hunter2"));
            }
        }
        for before in [
            "",
            "[upstream.users]\n",
            "users = { bob = \"x\" }\n",
            "[site.a.route.users]\nbob = \"x\"\n[log]\n",
            "users = {\nbob = \"x\"\n}\n",
        ] {
            let line = "level = \"hunter2\"";
            assert_eq!(without_secret(before, line).0, line, "{before}");
        }
        let line = "users.alice = \"hunter2\"";
        assert_eq!(without_secret("", line).0, "users.alice = <hidden>");
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        assert_eq!(position("a\nbé=c", 0), (1, 1));
        assert_eq!(position("a\nbé=c", 5), (2, 3));
        assert_eq!(position("", 9), (1, 1));
    }
}
