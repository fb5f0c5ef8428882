//! What a file says, each value with its place.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::At;

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    /// A whole number of more than 64 bits, as it was written.
    Huge(String),
    Float(f64),
    Bool(bool),
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn empty() -> Self {
        Self {
            at: At::default(),
            value: Value::Table(Vec::new()),
        }
    }

    /// Takes over a parsed table of `file`.
    pub(super) fn of_table(table: &Spanned<DeTable<'_>>, file: usize) -> Self {
        Self {
            at: place(file, table.span()),
            value: entries(table.get_ref(), file),
        }
    }

    fn of(value: &Spanned<DeValue<'_>>, file: usize) -> Self {
        let at = place(file, value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                i64::from_str_radix(&digits, number.radix())
                    .map_or_else(|_| Value::Huge(digits), Value::Whole)
            }
            DeValue::Float(number) => {
                Value::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
            }
            DeValue::Boolean(yes) => Value::Bool(*yes),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(list) => {
                Value::List(list.iter().map(|one| Self::of(one, file)).collect())
            }
            DeValue::Table(table) => entries(table, file),
        };
        Self { at, value }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// Where `place` stands, or the nearest table around it; and whether it stands there itself.
    pub(super) fn find(&self, place: &str) -> Option<(At, bool)> {
        let (mut node, mut at) = (self, None);
        for word in place.split('.') {
            let (key, indexes) = word.split_once('[').unwrap_or((word, ""));
            let Some(entry) = node.entries().iter().find(|entry| entry.key == key) else {
                return Some((at?, false));
            };
            node = &entry.node;
            at = Some(match node.value {
                Value::Table(_) => entry.key_at,
                _ => node.at,
            });
            for index in indexes.split('[').filter(|index| !index.is_empty()) {
                // A list of one may be written without its brackets.
                if let (Value::List(list), Ok(index)) =
                    (&node.value, index.trim_end_matches(']').parse::<usize>())
                {
                    let Some(one) = list.get(index) else {
                        return Some((at?, false));
                    };
                    (node, at) = (one, Some(one.at));
                }
            }
        }
        Some((at?, true))
    }

    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::Text(text) | Value::Date(text) | Value::Huge(text) => Json::from(text.as_str()),
            Value::Whole(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::Bool(yes) => Json::from(*yes),
            Value::List(list) => list.iter().map(Self::to_json).collect(),
            Value::Table(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

fn entries(table: &DeTable<'_>, file: usize) -> Value {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: place(file, key.span()),
            node: Node::of(value, file),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_at.start);
    Value::Table(entries)
}

fn place(file: usize, span: std::ops::Range<usize>) -> At {
    At {
        file,
        start: span.start,
        end: span.end,
    }
}
