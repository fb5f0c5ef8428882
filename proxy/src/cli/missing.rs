//! Files that a plan speaks of and that cannot be sent now. They may come later, so that is no mistake;
//! it is told at a check, at the start and at a reload.

use crate::plan::Plan;
use crate::plan::files::{Candidate, Files};
use crate::plan::site::Action;
use crate::site::files::open::{How, Look, Root};
use crate::site::files::path;

/// What an operator should know of something that may run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Warning {
    /// In words of the configuration, such as `site.home.route[0].files.error_pages.404`.
    pub(super) place: String,
    pub(super) message: String,
}

/// All that is missing in the folders of `plan`; asks the disk.
pub(super) fn of(plan: &Plan) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for site in plan.sites() {
        for (nth, route) in site.routes().enumerate() {
            if let Action::Files(files) = route.action() {
                let place = format!("site.{}.route[{nth}].files", site.name());
                look_through(&place, files, &mut warnings);
            }
        }
    }
    warnings
}

fn look_through(place: &str, files: &Files, warnings: &mut Vec<Warning>) {
    // A root that is not there is told as a mistake.
    let Ok(root) = Root::open(&files.root, files.links, How::Waiting) else {
        return;
    };
    let mut add = |key: String, said: &str, why: String, until: &str| {
        let folder = files.root.display();
        warnings.push(Warning {
            place: format!("{place}.{key}"),
            message: format!("found {said:?}, but {why} in {folder} now; {until}"),
        });
    };
    for (nth, candidate) in files.try_files.iter().enumerate() {
        let Candidate::Fixed(said) = candidate else {
            continue;
        };
        if let Some(why) = lack(&root, said, files.hidden) {
            let until = "it is passed over until it can be sent";
            add(format!("try_files[{nth}]"), said, why, until);
        }
    }
    for (status, said) in &files.error_pages {
        if let Some(why) = lack(&root, said, true) {
            let until = "a short text is sent in its place until it can be";
            add(format!("error_pages.{}", status.as_str()), said, why, until);
        }
    }
}

/// Why the file cannot be sent, if it cannot.
fn lack(root: &Root, said: &str, is_hidden_shown: bool) -> Option<String> {
    let missing = || "there is no such file".to_owned();
    let Some(name) = path::name(said) else {
        return Some(missing());
    };
    if !is_hidden_shown && path::is_hidden(&name) {
        return Some("names that begin with a dot are hidden".to_owned());
    }
    let cannot = |error: &std::io::Error| format!("it cannot be read ({error})");
    match root.look(&name, How::Waiting) {
        Ok(Look::File(_)) => match root.open_file(&name, How::Waiting) {
            Ok(_) => None,
            Err(error) => Some(cannot(&error)),
        },
        Ok(Look::Denied) => Some("this process may not read it".to_owned()),
        Ok(Look::Folder) => Some("it is a folder".to_owned()),
        Ok(Look::Missing) => Some(missing()),
        Err(error) => Some(cannot(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_cannot_be_sent_now_is_told_with_its_place() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("root");
        fs::create_dir_all(path.join("folder")).unwrap();
        fs::write(path.join("there.html"), "").unwrap();
        fs::write(path.join(".hidden.html"), "").unwrap();
        fs::write(base.path().join("out.html"), "").unwrap();
        symlink("../out.html", path.join("out.html")).unwrap();
        let mut files = Files::of(path.clone());
        let said = [
            "/there.html",
            "/none.html",
            "/folder",
            "/out.html",
            "/.hidden.html",
        ];
        let fixed = said.map(|said| Candidate::Fixed(said.to_owned()));
        files.try_files.extend(fixed);
        let page = |status, said: &str| (status, said.to_owned());
        files.error_pages = vec![
            page(hyper::StatusCode::NOT_FOUND, "/.hidden.html"),
            page(hyper::StatusCode::FORBIDDEN, "/none.html"),
        ];
        let mut warnings = Vec::new();
        look_through("files", &files, &mut warnings);
        let told: Vec<_> = (warnings.iter())
            .map(|one| {
                (
                    one.place.as_str(),
                    one.message.split_once(" in ").unwrap().0,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "files.try_files[2]",
                    "found \"/none.html\", but there is no such file"
                ),
                (
                    "files.try_files[3]",
                    "found \"/folder\", but it is a folder"
                ),
                (
                    "files.try_files[4]",
                    "found \"/out.html\", but there is no such file"
                ),
                (
                    "files.try_files[5]",
                    "found \"/.hidden.html\", but names that begin with a dot are hidden"
                ),
                (
                    "files.error_pages.403",
                    "found \"/none.html\", but there is no such file"
                ),
            ]
        );
        let whole = &warnings[0].message;
        assert!(
            whole.contains(&format!("in {} now", path.display())),
            "{whole}"
        );
    }
}
