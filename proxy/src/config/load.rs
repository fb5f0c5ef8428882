//! Reading: files and what they include, variables of the environment, and then [`check`].

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::DeTable;

use super::mistake::Mistake;
use super::node::{Entry, Node, Value};
use super::source::{At, Source, Sources};
use super::{Loaded, Tree, check};

/// Why there is nothing to look for mistakes in.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", .path.display())]
pub struct LoadError {
    /// The file that was asked for.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// Reads a file and all it includes. `environment` is asked for the variables it names.
///
/// # Errors
///
/// The file cannot be read. Mistakes in it are no error here: see [`Loaded::finish`].
pub fn load(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    let source = read(path).map_err(|error| LoadError {
        path: path.to_owned(),
        error,
    })?;
    Ok(Reader::new(environment).read_all(source))
}

/// The same of a text that is called `name`.
#[must_use]
pub fn load_text(name: &str, text: String, environment: &dyn Fn(&str) -> Option<String>) -> Loaded {
    let source = Source {
        path: name.into(),
        canonical: PathBuf::new(),
        text,
    };
    Reader::new(environment).read_all(source)
}

struct Reader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    sources: Sources,
    mistakes: Vec<Mistake>,
    /// Whether a file could not be understood at all, so that what is missing may stand in it.
    is_torn: bool,
}

impl<'a> Reader<'a> {
    fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            environment,
            sources: Sources::default(),
            mistakes: Vec::new(),
            is_torn: false,
        }
    }

    fn read_all(mut self, main: Source) -> Loaded {
        let mut root = Node::empty();
        let mut waiting = vec![main];
        while let Some(source) = waiting.pop() {
            let mut node = self.parse(source);
            let mut included = self.included(&mut node);
            included.reverse();
            waiting.append(&mut included);
            self.join(&mut root, node, "");
        }
        self.expand(&mut root, "");
        let said = root.clone();
        let mut checker = check::Checker::new(&self.sources, self.is_torn);
        checker.check_root(&mut root);
        let dropped = std::mem::take(&mut checker.dropped);
        self.mistakes.append(&mut checker.mistakes);
        let tree = self.deserialize(&root);
        Loaded {
            tree,
            sources: self.sources,
            said,
            dropped,
            mistakes: self.mistakes,
        }
    }

    fn parse(&mut self, source: Source) -> Node {
        let file = self.sources.add(source);
        let Some(source) = self.sources.get(file) else {
            return Node::empty();
        };
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let node = Node::of_table(&table, file);
        self.is_torn |= !errors.is_empty();
        self.mistakes.extend(errors.iter().map(|error| Mistake {
            at: error.span().map(|span| At {
                file,
                start: span.start,
                end: span.end,
            }),
            place: String::new(),
            message: error.message().replace('\n', "; "),
            help: None,
            also: None,
        }));
        node
    }

    /// The files that `include` names, which is taken out.
    fn included(&mut self, node: &mut Node) -> Vec<Source> {
        let Value::Table(entries) = &mut node.value else {
            return Vec::new();
        };
        let Some(place) = entries.iter().position(|entry| entry.key == "include") else {
            return Vec::new();
        };
        let said = entries.remove(place).node;
        let Value::List(patterns) = said.value else {
            self.refuse(
                said.at,
                "include",
                format!("found {}, expected a list of paths", check::found(&said)),
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let place = format!("include[{index}]");
            match &pattern.value {
                Value::Text(text) => {
                    let text = text.clone();
                    self.match_files(pattern.at, &place, &text, &mut found);
                }
                _ => self.refuse(
                    pattern.at,
                    &place,
                    format!("found {}, expected a path", check::found(pattern)),
                ),
            }
        }
        found
    }

    fn match_files(&mut self, at: At, place: &str, pattern: &str, found: &mut Vec<Source>) {
        let whole = self.sources.folder(at.file).join(pattern);
        let paths = match glob::glob(&whole.to_string_lossy()) {
            Ok(paths) => paths,
            Err(error) => return self.refuse(at, place, format!("is no pattern: {error}")),
        };
        if let Some(folder) = whole.parent()
            && folder.is_dir()
        {
            self.sources.may_include(folder.to_owned());
        }
        let mut any = false;
        for path in paths.filter_map(Result::ok).filter(|path| path.is_file()) {
            any = true;
            if self.sources.len() + found.len() >= FILES_MOST {
                return self.refuse(at, place, format!("more than {FILES_MOST} files"));
            }
            match read(&path) {
                Ok(source)
                    if self.sources.knows(&source.canonical)
                        || found
                            .iter()
                            .any(|one: &Source| one.canonical == source.canonical) =>
                {
                    self.refuse(at, place, format!("{} is included already", path.display()));
                }
                Ok(source) => found.push(source),
                Err(error) => {
                    self.refuse(
                        at,
                        place,
                        format!("cannot read {}: {error}", path.display()),
                    );
                }
            }
        }
        if !any && !pattern.contains(['*', '?', '[']) {
            self.refuse(at, place, format!("there is no file {}", whole.display()));
        }
    }

    /// Adds what a file says to what the others have said.
    fn join(&mut self, into: &mut Node, from: Node, place: &str) {
        let (Value::Table(into), Value::Table(from)) = (&mut into.value, from.value) else {
            return;
        };
        for entry in from {
            let place = join_place(place, &entry.key);
            match into.iter_mut().find(|known| known.key == entry.key) {
                None => into.push(entry),
                Some(Entry { node, .. })
                    if matches!(node.value, Value::Table(_))
                        && matches!(entry.node.value, Value::Table(_)) =>
                {
                    self.join(node, entry.node, &place);
                }
                Some(known) => self.mistakes.push(Mistake {
                    at: Some(entry.key_at),
                    place,
                    message: "is said twice; one of them has to go".to_owned(),
                    help: None,
                    also: Some((known.key_at, "said here first".to_owned())),
                }),
            }
        }
    }

    /// Puts the environment's values in the place of `${NAME}`.
    fn expand(&mut self, node: &mut Node, place: &str) {
        let at = node.at;
        match &mut node.value {
            Value::Text(text) if text.contains('$') => match expanded(text, self.environment) {
                Ok(whole) => *text = whole,
                Err(message) => self.refuse(at, place, message),
            },
            Value::List(list) => {
                for (index, one) in list.iter_mut().enumerate() {
                    self.expand(one, &format!("{place}[{index}]"));
                }
            }
            Value::Table(entries) => {
                for entry in entries {
                    let place = join_place(place, &entry.key);
                    self.expand(&mut entry.node, &place);
                }
            }
            _ => {}
        }
    }

    fn deserialize(&mut self, root: &Node) -> Tree {
        Tree::deserialize(root.to_json()).unwrap_or_else(|error| {
            // The schema lets nothing through that the types refuse; a test holds both together.
            self.mistakes.push(Mistake {
                at: None,
                place: String::new(),
                message: error.to_string(),
                help: None,
                also: None,
            });
            Tree::default()
        })
    }

    fn refuse(&mut self, at: At, place: &str, message: String) {
        self.mistakes.push(Mistake {
            at: Some(at),
            place: place.to_owned(),
            message,
            help: None,
            also: None,
        });
    }
}

/// The place of a key in a table.
pub(super) fn join_place(table: &str, key: &str) -> String {
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}

/// `${NAME}`, `${NAME:-in its stead}`; `$$` is one `$`.
fn expanded(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            whole.push('$');
            rest = after;
            continue;
        }
        let Some((inside, after)) = after.strip_prefix('{').and_then(|it| it.split_once('}'))
        else {
            return Err("found a $ that begins no ${NAME}; write $$ for a $".to_owned());
        };
        let (name, instead) = match inside.split_once(":-") {
            Some((name, instead)) => (name, Some(instead)),
            None => (inside, None),
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(format!(
                "found ${{{name}}}, expected a name such as ${{TOKEN}}"
            ));
        }
        match environment(name).or_else(|| instead.map(str::to_owned)) {
            Some(value) => whole.push_str(&value),
            None => {
                return Err(format!(
                    "the environment has no {name}; set it, or write ${{{name}:-DEFAULT}}"
                ));
            }
        }
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}

fn read(path: &Path) -> io::Result<Source> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MOST + 1).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("it is no text in UTF-8: byte {at} is none of it"))
    })?;
    if text.len() as u64 > FILE_MOST {
        return Err(io::Error::other(format!(
            "it has more than {FILE_MOST} bytes"
        )));
    }
    Ok(Source {
        path: path.to_owned(),
        canonical: path.canonicalize()?,
        text,
    })
}

const FILES_MOST: usize = 1024;
const FILE_MOST: u64 = 16 * 1024 * 1024;
