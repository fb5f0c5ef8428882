//! Shapes of values that several tables have.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::scalar::{Percent, Said};

/// One value, or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Any number.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// What something has to be.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Wanted<T> {
    /// This.
    This(T),
    /// There.
    Any(True),
}

impl<T> Wanted<T> {
    /// The value, if it has to be a certain one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::This(value) => Some(value),
            Self::Any(True) => None,
        }
    }
}

/// The word `true`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct True;

impl Serialize for True {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match bool::deserialize(from)? {
            true => Ok(Self),
            false => Err(de::Error::custom("found false, expected true")),
        }
    }
}

impl JsonSchema for True {
    fn schema_name() -> Cow<'static, str> {
        "true".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean", "enum": [true], "x-expected": "true" })
    }
}

/// How a client is sent elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RedirectStatus(pub u16);

impl Default for RedirectStatus {
    fn default() -> Self {
        Self(308)
    }
}

impl<'de> Deserialize<'de> for RedirectStatus {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(from)?;
        match REDIRECTS.contains(&status) {
            true => Ok(Self(status)),
            false => Err(de::Error::custom(format_args!(
                "found {status}, expected one of {REDIRECTS:?}"
            ))),
        }
    }
}

impl JsonSchema for RedirectStatus {
    fn schema_name() -> Cow<'static, str> {
        "redirect-status".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "enum": REDIRECTS,
            "x-expected": "301, 302, 303, 307 or 308",
        })
    }
}

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// A part of a whole.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Part {
    /// With its sign.
    Text(Said<Percent>),
    /// Without.
    Number(#[schemars(range(min = 0, max = 100))] u8),
}

impl Part {
    /// So many in a hundred.
    #[must_use]
    pub fn of(percent: u8) -> Self {
        Self::Text(Said(Percent(percent)))
    }

    /// How many in a hundred.
    #[must_use]
    pub fn percent(&self) -> u8 {
        match self {
            Self::Text(Said(Percent(percent))) | Self::Number(percent) => *percent,
        }
    }
}
