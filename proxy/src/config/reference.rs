//! The reference page, written from the schema.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::check::{expected, property, required, resolved, schema};

/// The page: every table and key with its meaning, what it takes and its default.
#[must_use]
pub fn page() -> String {
    let mut out = String::from(HEAD);
    // Writing to a string does not fail.
    let _ = tables(&mut out);
    out
}

fn tables(out: &mut String) -> std::fmt::Result {
    let root = schema();
    writeln!(out, "## At the top\n")?;
    let include = [("include", property(root, "include"))];
    keys(out, root, include.into_iter())?;
    let properties = root["properties"].as_object();
    for (name, said) in properties.into_iter().flatten() {
        let table = resolved(said);
        if said["additionalProperties"].is_object() {
            let one = resolved(&said["additionalProperties"]);
            writeln!(out, "\n## `[{name}.NAME]`\n\n{}\n", description(said))?;
            keys(out, one, fields(one))?;
            elements(out, &format!("{name}.NAME"), one)?;
        } else if table["properties"].is_object() {
            writeln!(out, "\n## `[{name}]`\n\n{}\n", description(said))?;
            keys(out, table, fields(table))?;
        }
    }
    Ok(())
}

/// The keys of tables in a table, and of lists whose elements may be tables.
fn elements(out: &mut String, place: &str, table: &Json) -> std::fmt::Result {
    for (key, said) in fields(table) {
        let (place, said) = (format!("{place}.{key}"), resolved(said));
        let items = items(said);
        let Some(inner) = inner(items.unwrap_or(said)) else {
            continue;
        };
        let (begin, is_always) = match items {
            Some(items) => ("An element of ", items.get("anyOf").is_none()),
            None => ("", said.get("anyOf").is_none()),
        };
        let end = if is_always { "" } else { " that is a table" };
        let what = description(inner);
        match is_always && !what.is_empty() {
            true => writeln!(out, "\n{begin}`{place}`. {what}\n")?,
            false => writeln!(out, "\n{begin}`{place}`{end}:\n")?,
        }
        keys(out, inner, fields(inner))?;
        elements(out, &place, inner)?;
    }
    Ok(())
}

/// What the elements are of a list that a value is or may be.
fn items(said: &Json) -> Option<&Json> {
    let forms = said.get("anyOf").and_then(Json::as_array);
    let mut all = std::iter::once(said).chain(forms.into_iter().flatten().map(resolved));
    all.find_map(|form| form.get("items").map(resolved))
}

/// The table with keys of its own that a value is or may be.
fn inner(said: &Json) -> Option<&Json> {
    let forms = said.get("anyOf").and_then(Json::as_array);
    let mut forms = forms.into_iter().flatten().map(resolved);
    if said["properties"].is_object() {
        return Some(said);
    }
    forms.find(|form| form["properties"].is_object())
}

fn fields(table: &Json) -> impl Iterator<Item = (&str, &Json)> {
    let properties = table["properties"].as_object();
    properties
        .into_iter()
        .flatten()
        .map(|(key, property)| (key.as_str(), property))
}

fn keys<'a>(
    out: &mut String,
    table: &Json,
    fields: impl Iterator<Item = (&'a str, &'a Json)>,
) -> std::fmt::Result {
    writeln!(
        out,
        "| key | takes | default | meaning |\n|---|---|---|---|"
    )?;
    for (key, said) in fields {
        let kind = resolved(said);
        let is_needed = required(table).any(|needed| needed == key);
        let default = match &said["default"] {
            Json::Null if is_needed => "needed".to_owned(),
            Json::Null => "see there".to_owned(),
            Json::Array(list) if list.is_empty() => "none".to_owned(),
            Json::Object(_) => "see below".to_owned(),
            default => format!("`{default}`"),
        };
        let default = if said["default"].is_null() && !is_needed {
            if description(said).contains("Default:") {
                default
            } else {
                "none".to_owned()
            }
        } else {
            default
        };
        writeln!(
            out,
            "| `{key}` | {} | {default} | {} |",
            expected(kind),
            description(said)
        )?;
    }
    Ok(())
}

fn description(schema: &Json) -> String {
    let text = schema["description"]
        .as_str()
        .or_else(|| resolved(schema)["description"].as_str());
    text.unwrap_or_default()
        .replace('\n', " ")
        .replace('|', "\\|")
}

const HEAD: &str = "\
# Configuration reference

Written by `risefall schema --page`; a test holds this page, the schema (`risefall schema`) and the
parser together. How to go about it: [configuration.md](configuration.md).

Times are whole numbers with `ms`, `s`, `m` or `h`; sizes with `B`, `KiB`, `MiB` or `GiB`. Every text
may hold `${NAME}` or `${NAME:-DEFAULT}` of the environment; `$$` is one `$`. Paths are relative to the
file that says them.

";
