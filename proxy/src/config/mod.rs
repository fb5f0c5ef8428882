//! The configuration file: from text to a typed [`Tree`], with every mistake told at once.
//!
//! The shape is said once, by the types in [`tree`]: the JSON Schema is derived from them, the
//! reference page is written from the schema, and [`check`] holds what was read against the same
//! schema. What it finds wrong it tells with its place and leaves out, so that one run tells of all
//! mistakes; what is left is deserialized. What only the whole can tell (two listeners on one port)
//! is the plan's to refuse; it names places in words (`forward.office.listen[0]`), and [`Loaded`]
//! knows where in which file each of them stands.

pub mod check;
mod load;
mod mistake;
mod node;
pub mod reference;
pub mod scalar;
mod source;
pub mod tree;

use std::collections::BTreeSet;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;

pub use load::{LoadError, load, load_text};
pub use mistake::Mistakes;
pub use tree::Tree;

use mistake::Mistake;
use node::Node;
use source::Sources;

/// A file that was read, with all it includes.
#[derive(Debug)]
pub struct Loaded {
    /// What could be understood; the rest has its defaults.
    pub tree: Tree,
    sources: Sources,
    /// Every value that was said, with its place; what was refused as well.
    said: Node,
    mistakes: Vec<Mistake>,
    /// Elements of lists that were refused and are not in the tree.
    dropped: BTreeSet<String>,
}

impl Loaded {
    /// The files that were read, the first one first.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.sources.paths().map(std::path::Path::to_owned)
    }

    /// The folders in which a new file might be included.
    pub fn folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.sources.folders()
    }

    /// Whether somebody said something at `place`, right or wrong.
    #[must_use]
    pub fn says(&self, place: &str) -> bool {
        self.said.find(place).is_some_and(|(_, is_exact)| is_exact)
    }

    /// Whether something is wrong at `place` or in it.
    #[must_use]
    pub fn has_mistakes_under(&self, place: &str) -> bool {
        let place = self.as_written(place);
        let mut mistakes = self.mistakes.iter();
        mistakes.any(|mistake| is_under(&mistake.place, &place))
    }

    /// A number that stays the same as long as all files say the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        for text in self.sources.texts() {
            text.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Adds what somebody else found wrong at `place`.
    pub fn refuse(&mut self, place: &str, message: String) {
        let mistake = self.found(place, message);
        self.mistakes.push(mistake);
    }

    /// What somebody else has to say of `place`, in one line with where that is.
    #[must_use]
    pub fn line(&self, place: &str, message: String) -> String {
        self.found(place, message).line(&self.sources)
    }

    fn found(&self, place: &str, message: String) -> Mistake {
        let place = self.as_written(place);
        Mistake {
            at: self.said.find(&place).map(|(at, _)| at),
            place,
            message,
            help: None,
            also: None,
        }
    }

    /// A place as the file has it: what was refused of a list is not in the tree, so the elements
    /// behind it have moved up there.
    fn as_written(&self, place: &str) -> String {
        let mut written = String::new();
        for part in place.split_inclusive(']') {
            let element = part
                .strip_suffix(']')
                .and_then(|rest| rest.rsplit_once('['));
            let Some((key, Ok(nth))) = element.map(|(key, nth)| (key, nth.parse::<usize>())) else {
                written.push_str(part);
                continue;
            };
            written.push_str(key);
            let mut kept = (0..).filter(|nth| !self.dropped.contains(&format!("{written}[{nth}]")));
            let nth = kept.nth(nth).unwrap_or(nth);
            written = format!("{written}[{nth}]");
        }
        written
    }

    /// All that is wrong with it; `Ok` if nothing is.
    ///
    /// # Errors
    ///
    /// Every mistake, in the order of the files.
    pub fn finish(self) -> Result<Tree, Mistakes> {
        if self.mistakes.is_empty() {
            return Ok(self.tree);
        }
        Err(Mistakes::new(self.sources, self.mistakes))
    }
}

/// Whether `place` is `outer` or stands in it; everything stands in the whole.
fn is_under(place: &str, outer: &str) -> bool {
    let rest = place.strip_prefix(outer);
    rest.is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests;
