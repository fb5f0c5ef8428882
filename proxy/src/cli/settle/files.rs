//! Static files: from what is said of a folder to what is shown of it, and who may see it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use glob::Pattern;
use hyper::header::HeaderValue;

use super::{Refused, first_line};
use crate::config::scalar::TryFile;
use crate::config::tree::files::{self as tree, CacheControl};
use crate::config::tree::site::Route;
use crate::config::tree::users::Password;
use crate::plan::files::{Candidate, Cors, Files, Links};
use crate::plan::users::Users;

/// What a route shows of a folder, if it shows one.
pub(super) fn of_route(place: &str, said: &Route, refused: &mut Vec<Refused>) -> Option<Files> {
    let Some(root) = &said.root else {
        if said.files.is_some() {
            let message = "is of use beside root alone; expected root = \"FOLDER\" there too";
            refused.push(Refused::new(format!("{place}.files"), message));
        }
        return None;
    };
    let root = &root.0;
    if let Err(error) = look_into(root) {
        let message = format!("cannot read the folder {}: {error}", root.display());
        refused.push(Refused::new(format!("{place}.root"), message));
    }
    let usual = tree::Files::default();
    let said = said.files.as_ref().unwrap_or(&usual);
    Some(Files {
        // What a file says is absolute already.
        root: std::path::absolute(root).unwrap_or(root.clone()),
        index: said.index.iter().map(|name| name.0.0.clone()).collect(),
        try_files: said.try_files.iter().map(|one| candidate(&one.0)).collect(),
        listing: said.listing,
        hidden: said.hidden,
        links: match said.links {
            tree::Links::Inside => Links::Inside,
            tree::Links::All => Links::All,
            tree::Links::Off => Links::Off,
        },
        precompressed: said.precompressed,
        compress: said.compress,
        types: (said.types.iter())
            .map(|(extension, kind)| (extension.clone(), kind.0.0.clone()))
            .collect(),
        cache_control: said.cache_control.as_ref().map(rules).unwrap_or_default(),
        error_pages: (said.error_pages.iter())
            .filter_map(|(status, path)| Some((status.parse().ok()?, path.0.0.clone())))
            .collect(),
        cors: match &said.cors {
            None | Some(tree::Cors::All(false)) => Cors::Off,
            Some(tree::Cors::All(true)) => Cors::Any,
            Some(tree::Cors::Origins(list)) => Cors::Origins(
                // What was read as an origin can be sent as one.
                (list.iter())
                    .filter_map(|origin| HeaderValue::from_str(&origin.0.0).ok())
                    .collect(),
            ),
        },
    })
}

/// Whether the folder is there, may be listed, and what is in it may be opened.
fn look_into(folder: &Path) -> io::Result<()> {
    std::fs::read_dir(folder)?;
    std::fs::metadata(folder.join(".")).map(|_| ())
}

fn candidate(said: &TryFile) -> Candidate {
    match said {
        TryFile::Asked { before, behind } => Candidate::Asked {
            before: before.clone(),
            behind: behind.clone(),
        },
        TryFile::Fixed(path) => Candidate::Fixed(path.0.clone()),
    }
}

fn rules(said: &CacheControl) -> Vec<(Pattern, HeaderValue)> {
    match said {
        // The pattern for all is one.
        CacheControl::All(value) => Pattern::new("**")
            .map(|all| vec![(all, value.0.clone())])
            .unwrap_or_default(),
        CacheControl::Rules(rules) => (rules.iter())
            .map(|rule| (rule.files.0.clone(), rule.value.0.clone()))
            .collect(),
    }
}

/// Who may ask.
pub(super) fn users(
    place: &str,
    said: Option<&BTreeMap<String, Password>>,
    refused: &mut Vec<Refused>,
) -> Users {
    let Some(said) = said else {
        return Users::default();
    };
    if said.is_empty() {
        let message = "found no user, expected at least one; without users everybody may ask";
        refused.push(Refused::new(format!("{place}.users"), message));
    }
    let mut users = Vec::new();
    for (name, password) in said {
        let password = match password {
            Password::Here(secret) => Ok(secret.reveal().to_owned()),
            Password::File(said) => first_line(&said.file.0, "password"),
        };
        match password {
            Ok(password) => users.push((name.as_str(), password)),
            Err(message) => refused.push(Refused::new(format!("{place}.users.{name}"), message)),
        }
    }
    Users::new(users.iter().map(|(name, password)| (*name, &**password)))
}
