//! What was read, held against the schema.
//!
//! A validator for the schemas that [`super::tree`] derives and no others: it knows their keywords
//! (a test holds that, and its verdicts, against a general one), walks the values with their places
//! at hand, and so can say of each mistake what was found, what was expected and what is near.
//! What is wrong is taken out, so that the rest can be looked at further.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::load::join_place;
use super::mistake::{self, Mistake};
use super::node::{Entry, Node, Value};
use super::scalar;
use super::scalar::{Form as _, HIDDEN, OwnField, holds_credentials};
use super::source::Sources;
use super::tree::{Tree, UNBUILT};

/// The JSON Schema of the file.
#[must_use]
pub fn schema() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
        let generator = SchemaSettings::draft2020_12().into_generator();
        let mut schema = generator.into_root_schema_for::<Tree>().to_value();
        without_null(&mut schema);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("title".to_owned(), "risefall".into());
        }
        schema
    });
    &SCHEMA
}

/// An option that is not set is not written, in a file that has no word for nothing.
fn without_null(schema: &mut Json) {
    match schema {
        Json::Object(object) => {
            if let Some(Json::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [one] = &kinds[..] {
                    let one = one.clone();
                    object.insert("type".to_owned(), one);
                }
            }
            if let Some(Json::Array(branches)) = object.get_mut("anyOf") {
                branches.retain(|branch| branch["type"] != "null");
                if let [one] = &branches[..] {
                    let one = one.clone();
                    object.remove("anyOf");
                    if let Json::Object(one) = one {
                        // What is said of the key comes before what is said of its type.
                        for (key, value) in one {
                            object.entry(key).or_insert(value);
                        }
                    }
                }
            }
            if object.get("default").is_some_and(Json::is_null) {
                object.remove("default");
            }
            // Numbers are told by their range; what type holds them is nobody's business.
            if object.get("type").is_some_and(|kind| kind == "integer") {
                object.remove("format");
            }
            object.values_mut().for_each(without_null);
        }
        Json::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

pub(super) struct Checker<'a> {
    pub(super) mistakes: Vec<Mistake>,
    /// Places of the elements of lists that were taken out.
    pub(super) dropped: BTreeSet<String>,
    sources: &'a Sources,
    /// Whether what is missing may stand in what could not be read.
    is_torn: bool,
}

impl<'a> Checker<'a> {
    pub(super) fn new(sources: &'a Sources, is_torn: bool) -> Self {
        Self {
            mistakes: Vec::new(),
            dropped: BTreeSet::new(),
            sources,
            is_torn,
        }
    }

    pub(super) fn check_root(&mut self, root: &mut Node) {
        self.check(root, schema(), "");
    }

    /// Whether the value is right, once what is wrong in it has been taken out.
    fn check(&mut self, node: &mut Node, schema: &Json, place: &str) -> bool {
        let schema = resolved(schema);
        if let Some(branches) = schema["anyOf"].as_array() {
            return self.check_any(node, branches, place);
        }
        if !is_of_type(node, schema["type"].as_str().unwrap_or_default()) {
            self.refuse_type(node, schema, place);
            return false;
        }
        match &mut node.value {
            Value::Table(_) => self.check_table(node, schema, place),
            Value::List(_) => self.check_list(node, schema, place),
            Value::Text(_) => self.check_text(node, schema, place),
            Value::Bool(yes) => {
                let is_right = is_option(&Json::from(*yes), schema);
                if !is_right {
                    self.refuse_type(node, schema, place);
                }
                is_right
            }
            Value::Whole(number) => {
                let number = *number;
                let is_in = |key, holds: fn(i64, i64) -> bool| {
                    schema[key]
                        .as_i64()
                        .is_none_or(|bound| holds(number, bound))
                };
                let is_right = is_option(&Json::from(number), schema)
                    && is_in("minimum", |number, least| number >= least)
                    && is_in("maximum", |number, most| number <= most);
                if !is_right {
                    self.refuse_type(node, schema, place);
                }
                is_right
            }
            _ => true,
        }
    }

    /// The branch of the right type tells what is wrong; if there is none, all tell what they are.
    fn check_any(&mut self, node: &mut Node, branches: &[Json], place: &str) -> bool {
        let of_type = branches
            .iter()
            .find(|branch| is_of_type(node, resolved(branch)["type"].as_str().unwrap_or_default()));
        if let Some(branch) = of_type {
            return self.check(node, branch, place);
        }
        let each: Vec<_> = branches
            .iter()
            .map(|branch| expected(resolved(branch)))
            .collect();
        let found = match is_secret(place) {
            true => kind(node).to_owned(),
            false => found(node),
        };
        let message = format!("found {found}, expected {}", each.join(", or "));
        self.refuse(node, place, message);
        false
    }

    fn check_table(&mut self, node: &mut Node, schema: &Json, place: &str) -> bool {
        let at = node.at;
        let Value::Table(entries) = &mut node.value else {
            return true;
        };
        let said: BTreeSet<_> = entries.iter().map(|entry| entry.key.clone()).collect();
        entries.retain_mut(|entry| self.check_entry(entry, schema, place));
        let has_all = required(schema).all(|key| said.contains(key));
        if !has_all && !self.is_torn {
            let missing = required(schema).filter(|key| !said.contains(*key));
            for key in missing {
                let what = expected(resolved(property(schema, key)));
                self.mistakes.push(Mistake {
                    at: Some(at),
                    place: join_place(place, key),
                    message: format!("is missing, expected {what}"),
                    help: None,
                    also: None,
                });
            }
        }
        // What was wrong is gone by now, and may have been needed.
        required(schema).all(|key| entries.iter().any(|entry| entry.key == key))
    }

    fn check_entry(&mut self, entry: &mut Entry, schema: &Json, place: &str) -> bool {
        let whole = join_place(place, &entry.key);
        if let Some(property) = schema["properties"].get(&entry.key) {
            return self.check(&mut entry.node, property, &whole);
        }
        let others = &schema["additionalProperties"];
        if others.is_object() {
            if let Err(message) = hold_name(&entry.key, &schema["propertyNames"]) {
                self.mistakes.push(Mistake {
                    at: Some(entry.key_at),
                    place: place.to_owned(),
                    message,
                    help: None,
                    also: None,
                });
                return false;
            }
            if is_hidden_field(entry, schema) {
                self.refuse_hidden(&entry.node, &whole);
                return false;
            }
            return self.check(&mut entry.node, others, &whole);
        }
        self.refuse_key(entry, schema, place);
        false
    }

    fn refuse_key(&mut self, entry: &Entry, schema: &Json, place: &str) {
        let key = &entry.key;
        if is_unbuilt(place, key) {
            let version = env!("CARGO_PKG_VERSION");
            return self.mistakes.push(Mistake {
                at: Some(entry.key_at),
                place: join_place(place, key),
                message: format!("is not yet available in risefall {version}"),
                help: None,
                also: None,
            });
        }
        let known: Vec<_> = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
            .map(String::as_str)
            .collect();
        let near = nearest(key, known.iter().copied());
        self.mistakes.push(Mistake {
            at: Some(entry.key_at),
            place: join_place(place, key),
            message: format!("there is no such key; expected one of {}", known.join(", ")),
            help: near.map(|near| format!("did you mean {near:?}?")),
            also: None,
        });
    }

    fn check_list(&mut self, node: &mut Node, schema: &Json, place: &str) -> bool {
        let Value::List(list) = &mut node.value else {
            return true;
        };
        let count = list.len() as u64;
        let mut index = 0;
        list.retain_mut(|one| {
            let place = format!("{place}[{index}]");
            index += 1;
            let is_right = self.check(one, &schema["items"], &place);
            if !is_right {
                self.dropped.insert(place);
            }
            is_right
        });
        if schema["minItems"]
            .as_u64()
            .is_some_and(|least| count < least)
        {
            self.refuse(
                node,
                place,
                "found an empty list, expected at least one".to_owned(),
            );
            return false;
        }
        true
    }

    fn check_text(&mut self, node: &mut Node, schema: &Json, place: &str) -> bool {
        let Value::Text(text) = &mut node.value else {
            return true;
        };
        if schema["writeOnly"] == true && text == HIDDEN {
            self.refuse_hidden(node, place);
            return false;
        }
        if let Some(options) = schema["enum"].as_array() {
            if options.iter().any(|option| option == text.as_str()) {
                return true;
            }
            let near = nearest(text, options.iter().filter_map(Json::as_str));
            let help = near.map(|near| format!("did you mean {near:?}?"));
            self.refuse_type(node, schema, place);
            if let Some(last) = self.mistakes.last_mut() {
                last.help = help;
            }
            return false;
        }
        if schema["minLength"]
            .as_u64()
            .is_some_and(|least| (text.len() as u64) < least)
        {
            match schema["writeOnly"] == true {
                true => self.refuse_secret(node, place, "an empty text"),
                false => self.refuse_type(node, schema, place),
            }
            return false;
        }
        let form = schema["format"].as_str().unwrap_or_default();
        if let Some(Err(message)) = scalar::hold(form, text) {
            match is_secret(place) {
                true => self.refuse_type(node, schema, place),
                false => self.refuse(node, place, message),
            }
            return false;
        }
        let is_file = form == "sink" && !["off", "stdout", "stderr"].contains(&text.as_str());
        if (form == scalar::PATH || is_file) && Path::new(text).is_relative() {
            let folder = self.sources.folder(node.at.file);
            *text = folder.join(&*text).to_string_lossy().into_owned();
        }
        true
    }

    fn refuse_type(&mut self, node: &Node, schema: &Json, place: &str) {
        let is_secret = schema["writeOnly"] == true || is_secret(place);
        let found = match is_secret {
            true => kind(node).to_owned(),
            false => found(node),
        };
        let message = format!("found {found}, expected {}", expected(schema));
        self.refuse(node, place, message);
    }

    fn refuse_hidden(&mut self, node: &Node, place: &str) {
        let found = format!("{HIDDEN:?}, which is shown in the place of a secret");
        self.refuse_secret(node, place, &found);
    }

    fn refuse_secret(&mut self, node: &Node, place: &str, found: &str) {
        let message = format!(
            "found {found}, expected the secret itself, best from the environment: \"${{NAME}}\""
        );
        self.refuse(node, place, message);
    }

    fn refuse(&mut self, node: &Node, place: &str, message: String) {
        self.mistakes.push(Mistake {
            at: Some(node.at),
            place: place.to_owned(),
            message,
            help: None,
            also: None,
        });
    }
}

/// Follows a reference to a definition.
pub(super) fn resolved(schema_of: &Json) -> &Json {
    let name = schema_of["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix("#/$defs/"));
    match name {
        Some(name) => schema()["$defs"].get(name).unwrap_or(&Json::Null),
        None => schema_of,
    }
}

/// What the schema of a table says of one key.
pub(super) fn property<'a>(table: &'a Json, key: &str) -> &'a Json {
    table["properties"].get(key).unwrap_or(&Json::Null)
}

pub(super) fn required(schema: &Json) -> impl Iterator<Item = &str> {
    let keys = schema["required"].as_array();
    keys.into_iter().flatten().filter_map(Json::as_str)
}

fn is_of_type(node: &Node, kind: &str) -> bool {
    match &node.value {
        Value::Text(_) => kind == "string",
        Value::Whole(_) => kind == "integer",
        Value::Bool(_) => kind == "boolean",
        Value::List(_) => kind == "array",
        Value::Table(_) => kind == "object",
        Value::Huge(_) | Value::Float(_) | Value::Date(_) => false,
    }
}

/// Whether a value is one of those that there are, if they are counted.
fn is_option(value: &Json, schema: &Json) -> bool {
    (schema["enum"].as_array()).is_none_or(|options| options.contains(value))
}

/// What stands there, in a few words.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Text(text) if text.chars().count() > SHOWN_MOST => {
            let start: String = text.chars().take(SHOWN_MOST).collect();
            format!("{:?}", start + "…")
        }
        Value::Text(text) => format!("{text:?}"),
        Value::Whole(number) => number.to_string(),
        Value::Huge(number) => number.clone(),
        Value::Float(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Date(date) => format!("the date {date}"),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// The same without what it says.
fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::Text(_) => "a text",
        Value::Whole(_) | Value::Huge(_) | Value::Float(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Date(_) => "a date",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// What a schema asks for, in a few words.
pub(super) fn expected(schema: &Json) -> String {
    if let Some(branches) = schema["anyOf"].as_array() {
        let each = branches.iter().map(|branch| expected(resolved(branch)));
        return each.collect::<Vec<_>>().join(", or ");
    }
    if let Some(words) = schema["x-expected"].as_str() {
        return words.to_owned();
    }
    if let Some(options) = schema["enum"].as_array() {
        let options: Vec<_> = options.iter().filter_map(Json::as_str).collect();
        return options.join(", ");
    }
    match schema["type"].as_str().unwrap_or_default() {
        "integer" => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            _ => "a whole number".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        "string" => "a text".to_owned(),
        "array" => {
            let one = expected(resolved(&schema["items"]));
            format!("a list of these: {one}")
        }
        _ => "a table".to_owned(),
    }
}

/// The name that was meant, if one is near enough to have been.
fn nearest<'a>(said: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|name| (strsim::jaro_winkler(said, name), name));
    near.filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

fn is_unbuilt(place: &str, key: &str) -> bool {
    let mut words = place.split('.').map(|word| match word.split_once('[') {
        Some((key, _)) => key,
        None => word,
    });
    // The second is the name that the table was given.
    let first = words.next().into_iter();
    let table: Vec<_> = first.chain(words.skip(1)).collect();
    let table = table.join(".");
    UNBUILT
        .iter()
        .any(|(unbuilt, keys)| *unbuilt == table && keys.contains(&key))
}

/// Whether what stands there is never shown: by its key, or by that of a table around it, of which
/// the first two are named by us and by the operator.
fn is_secret(place: &str) -> bool {
    let is_last = place.rsplit('.').next().is_some_and(mistake::is_secret);
    is_last || place.split('.').skip(2).any(mistake::is_secret)
}

/// Whether it is a field of HTTP with what is shown in the place of its value.
fn is_hidden_field(entry: &Entry, schema: &Json) -> bool {
    let names = schema
        .get("propertyNames")
        .and_then(|names| names.get("format"));
    let is_field = names.is_some_and(|form| form == OwnField::NAME);
    let is_hidden = matches!(&entry.node.value, Value::Text(text) if text == HIDDEN);
    is_field && is_hidden && holds_credentials(&entry.key)
}

/// Whether a key may be one of a table whose keys are the operator's.
fn hold_name(name: &str, names: &Json) -> Result<(), String> {
    if let Some(form) = names["format"].as_str() {
        return scalar::hold(form, name).unwrap_or(Ok(()));
    }
    if is_name(name) {
        return Ok(());
    }
    Err(format!(
        "found the name {name:?}, expected letters, digits, _ and -, 64 at most"
    ))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

const SHOWN_MOST: usize = 60;
