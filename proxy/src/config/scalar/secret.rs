//! Values that are read and never shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use hyper::header::HeaderValue;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Form, OwnField, Said};

/// A secret: read, and never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for whoever compares with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "writeOnly": true,
            "x-expected": "a text, best from the environment: \"${NAME}\"",
        })
    }
}

/// Fields with their values, of which those that hold credentials are never shown.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Fields(pub BTreeMap<String, Said<HeaderValue>>);

impl Fields {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(name, value)| {
            let shown = match holds_credentials(name) {
                true => HIDDEN.to_owned(),
                false => value.0.show(),
            };
            (name.as_str(), shown)
        })
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.shown())
    }
}

impl JsonSchema for Fields {
    fn schema_name() -> Cow<'static, str> {
        "fields".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = Said::<HeaderValue>::json_schema(generator);
        json_schema!({
            "type": "object",
            "propertyNames": { "format": OwnField::NAME },
            "additionalProperties": value,
            "x-expected": "a table of fields and their values",
        })
    }
}

/// Whether the value of the field `name` lets somebody in.
pub(in crate::config) fn holds_credentials(name: &str) -> bool {
    let mut known = CREDENTIALS.iter();
    known.any(|known| known.eq_ignore_ascii_case(name))
}

pub(in crate::config) const HIDDEN: &str = "<hidden>";
/// Fields whose values let somebody in.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Secret::new("hunter2".to_owned());
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&secret).unwrap().contains("hunter2"));
    }

    #[test]
    fn a_field_that_holds_credentials_is_shown_without_them() {
        let value = |text| Said(HeaderValue::read(text).unwrap());
        let fields = Fields(BTreeMap::from([
            ("Authorization".to_owned(), value("hunter2")),
            ("x-a".to_owned(), value("b")),
        ]));
        let written = serde_json::to_string(&fields).unwrap();
        assert_eq!(written, r#"{"Authorization":"<hidden>","x-a":"b"}"#);
        assert!(!format!("{fields:?}").contains("hunter2"));
    }
}
