//! `[site.NAME.route.files]`: how the files of a folder are shown.

use std::collections::BTreeMap;

use glob::Pattern;
use hyper::header::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{FileName, FilePath, MediaType, Origin, Said, TryFile};

/// How the files of `root` are shown.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// Names of the files that stand for a folder; the first that is there.
    pub index: Vec<Said<FileName>>,
    /// What is looked for, the first that is there: `{path}` is the path that was asked for, and
    /// with a slash behind it a folder with an index. One without `{path}` is not for paths whose
    /// last segment has a dot: the page of an application does not stand for a picture that is
    /// missing.
    #[schemars(length(min = 1))]
    pub try_files: Vec<Said<TryFile>>,
    /// Whether a folder without an index is listed.
    pub listing: bool,
    /// Whether names that begin with a dot are shown; `.well-known` at the top always is.
    pub hidden: bool,
    /// Which symbolic links are followed: `inside` those that lead to what is below `root`, by a
    /// relative path; `all`; or `off`, none.
    pub links: Links,
    /// Whether `x.br`, `x.zst` or `x.gz` is sent for `x` to who takes it, if it is not older.
    pub precompressed: bool,
    /// Whether text and the like is compressed on its way.
    pub compress: bool,
    /// What files are by their extension, before the usual table: `{ md = "text/markdown" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "extension"}))]
    #[schemars(extend("x-expected" = "a table of extensions, each with a type"))]
    pub types: BTreeMap<String, Said<MediaType>>,
    /// `Cache-Control`: one value for all files, or a list of rules of which the first that fits
    /// counts. Default: the field is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<CacheControl>,
    /// Files that are the body of answers with these statuses: `{ 404 = "/404.html" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "error-status"}))]
    #[schemars(extend("x-expected" = "a table of statuses, each with the path of a file"))]
    pub error_pages: BTreeMap<String, Said<FilePath>>,
    /// Pages of which other origins may read the answers (CORS): `true` for all, `false` for none,
    /// or a list. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Links {
    #[default]
    Inside,
    All,
    Off,
}

/// How long files may be kept by others.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum CacheControl {
    /// The same for all.
    All(Said<HeaderValue>),
    /// By their paths.
    Rules(Vec<CacheRule>),
}

/// A rule for some files.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-expected" = "{ files = PATTERN, value = VALUE }"))]
pub struct CacheRule {
    /// Pattern of their paths below `root`, without a slash in front: `*.html`, `assets/**`.
    pub files: Said<Pattern>,
    /// The value of `Cache-Control`.
    pub value: Said<HeaderValue>,
}

/// Pages of which origins may read the answers.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Cors {
    /// All, or none.
    All(bool),
    /// These.
    Origins(#[schemars(length(min = 1))] Vec<Said<Origin>>),
}

impl Default for Files {
    fn default() -> Self {
        Self {
            index: vec![Said(FileName("index.html".to_owned()))],
            try_files: vec![Said(TryFile::asked())],
            listing: false,
            hidden: false,
            links: Links::default(),
            precompressed: true,
            compress: true,
            types: BTreeMap::new(),
            cache_control: None,
            error_pages: BTreeMap::new(),
            cors: None,
        }
    }
}
