//! `risefall schema`: the shape of the configuration file, for editors and for people.

use std::process::ExitCode;

use clap::Args;

use super::check::print;
use crate::config;

/// Print the JSON Schema of the configuration file.
///
/// Editors complete and check by it: put `#:schema ./risefall.schema.json` into the first line of
/// the file (Even Better TOML, taplo).
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schema {
    /// Print the reference page instead, as Markdown
    #[arg(long)]
    page: bool,
}

impl Schema {
    pub(super) fn run(self) -> ExitCode {
        if self.page {
            return print(&config::reference::page());
        }
        let schema = serde_json::to_string_pretty(config::check::schema());
        match schema {
            Ok(schema) => print(&format!("{schema}\n")),
            Err(error) => super::failed(error),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  risefall schema > risefall.schema.json
  risefall schema --page > docs/configuration-reference.md";
