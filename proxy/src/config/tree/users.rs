//! `users`: who may ask, and by which password.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Said, Secret};

/// A password, or where it is.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Password {
    /// It is this.
    Here(Secret),
    /// It is in a file.
    File(PasswordFile),
}

/// The file that holds a password.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-expected" = "{ file = PATH }"))]
pub struct PasswordFile {
    /// The file; its first line counts.
    pub file: Said<PathBuf>,
}
