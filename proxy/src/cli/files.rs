//! `risefall serve`: a folder and flags to the tree that a file would say.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PathBufValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use hyper::header::HeaderValue;

use super::address;
use super::common::{Common, form, listen};
use crate::config::scalar::{
    FileName, FilePath, Form as _, Origin, Said, Secret, TryFile, UserName,
};
use crate::config::tree::Tree;
use crate::config::tree::files::{CacheControl, Cors, Files, Links};
use crate::config::tree::site::{Route, Site, SiteTls};
use crate::config::tree::users::{Password, PasswordFile};

/// Show the files of a folder: HTTP/1.1 and HTTP/2, ranges, compression, listings.
///
/// Nothing outside the folder is shown, and nothing whose name begins with a dot (but .well-known).
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// The folder
    #[arg(value_name = "DIR", default_value = ".", value_parser = PathBufValueParser::new().try_map(folder))]
    dir: PathBuf,

    /// Address to listen on; may be given more than once. Port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Answer paths that no file is for with the page of the index, if their last segment has no dot:
    /// for an application that does its own routing
    #[arg(long)]
    spa: bool,

    /// Name of the file that stands for its folder; may be given more than once
    #[arg(long, value_name = "NAME", default_value = "index.html", value_parser = form::<FileName>)]
    index: Vec<FileName>,

    /// List no folders
    #[arg(long)]
    no_listing: bool,

    /// Show names that begin with a dot too
    #[arg(long)]
    hidden: bool,

    /// Which symbolic links are followed: those that lead to what is below the folder, by a relative
    /// path; all; or none
    #[arg(long, value_name = "WHICH", default_value = "inside")]
    links: Choice,

    /// Ask for this name and password; may be given more than once. Other users of this machine can
    /// read the password in the list of processes: --user-file keeps it from them
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = secret, help_heading = "Users")]
    user: Vec<Secret>,

    /// Ask for this name and the password in the first line of the file; may be given more than once
    #[arg(long, value_name = "NAME:FILE", value_parser = user_file, help_heading = "Users")]
    user_file: Vec<(UserName, PathBuf)>,

    /// Certificate to speak TLS with, and those that lead to its root: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its key: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Take HTTP/2 without TLS too, from clients that know beforehand
    #[arg(long)]
    h2c: bool,

    /// Let pages of other origins read the files: of all, or of those that are said (https://HOST)
    #[arg(long, value_name = "ORIGIN,...", num_args = 0.., require_equals = true, value_delimiter = ',', value_parser = form::<Origin>)]
    cors: Option<Vec<Origin>>,

    /// Cache-Control of all files, such as no-cache or max-age=60 [default: none]
    #[arg(long, value_name = "VALUE", value_parser = form::<HeaderValue>)]
    cache_control: Option<HeaderValue>,

    /// Compress nothing on its way; .br, .zst and .gz beside a file are sent nevertheless
    #[arg(long)]
    no_compress: bool,

    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    Inside,
    All,
    Off,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        let tree = match self.tree() {
            Ok(tree) => tree,
            Err(mistake) => {
                super::say(format_args!("risefall: {mistake}"));
                return ExitCode::from(2);
            }
        };
        self.common.run(tree)
    }

    /// What a file would say.
    fn tree(&self) -> Result<Tree, String> {
        let tls = self.tls_cert.as_ref().map(|cert| SiteTls {
            cert: Some(Said(whole(cert))),
            key: self.tls_key.as_deref().map(whole).map(Said),
            ..SiteTls::default()
        });
        let site = Site {
            listen: listen(&self.listen),
            tls,
            h2c: self.h2c,
            route: vec![Route {
                root: Some(Said(whole(&self.dir))),
                files: Some(self.files()?),
                users: Some(self.users()?).filter(|users| !users.is_empty()),
                ..Route::default()
            }],
            ..Site::default()
        };
        Ok(Tree {
            site: BTreeMap::from([(SITE.to_owned(), site)]),
            ..Tree::default()
        })
    }

    fn files(&self) -> Result<Files, String> {
        let mut files = Files {
            index: self.index.iter().cloned().map(Said).collect(),
            listing: !self.no_listing,
            hidden: self.hidden,
            links: self.links.into(),
            compress: !self.no_compress,
            cache_control: self.cache_control.clone().map(Said).map(CacheControl::All),
            cors: self.cors.as_ref().map(|origins| match &origins[..] {
                [] => Cors::All(true),
                origins => Cors::Origins(origins.iter().cloned().map(Said).collect()),
            }),
            ..Files::default()
        };
        if let Some(page) = self.index.first().filter(|_| self.spa) {
            let page = FilePath::read(&format!("/{}", page.0))
                .map_err(|error| format!("--index: with --spa: {error}"))?;
            files.try_files.push(Said(TryFile::Fixed(page)));
        }
        Ok(files)
    }

    fn users(&self) -> Result<BTreeMap<String, Password>, String> {
        let mut users = BTreeMap::new();
        let mut add = |name: UserName, password: Password| match users.insert(name.0, password) {
            None => Ok(()),
            Some(_) => Err("--user: a name is said twice; one of them has to go"),
        };
        for said in &self.user {
            // What is wrong with it is told without it.
            let expected = "--user: expected NAME:PASSWORD";
            let (name, password) = said.reveal().split_once(':').ok_or(expected)?;
            let name = UserName::read(name).map_err(|_| expected)?;
            if password.is_empty() {
                return Err(NO_PASSWORD.to_owned());
            }
            add(name, Password::Here(Secret::new(password.to_owned())))?;
        }
        for (name, path) in &self.user_file {
            let file = Said(whole(path));
            add(name.clone(), Password::File(PasswordFile { file }))?;
        }
        Ok(users)
    }
}

impl From<Choice> for Links {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Inside => Self::Inside,
            Choice::All => Self::All,
            Choice::Off => Self::Off,
        }
    }
}

/// The words of a command line, with the origins behind `--cors` joined to it.
///
/// The flag may stand alone, so the parser takes a word behind it for the folder, unless there is a
/// `=` between them. A word with `://` in it is no folder that somebody means: one that is called so can
/// be said with one slash.
pub(super) fn joined(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut are_flags = true;
    for word in words {
        are_flags &= word != "--";
        let is_ours = are_flags && all.get(1).is_some_and(|command| command == "serve");
        match all.last_mut() {
            Some(flag) if is_ours && flag == "--cors" && is_url(&word) => {
                flag.push("=");
                flag.push(word);
            }
            _ => all.push(word),
        }
    }
    all
}

fn is_url(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word.contains("://"))
}

/// What is no folder in any case.
fn folder(path: PathBuf) -> Result<PathBuf, String> {
    match is_url(path.as_os_str()) {
        false => Ok(path),
        true => Err(format!(
            "expected a folder; an origin whose pages may read the files is said by --cors={}",
            path.display()
        )),
    }
}

/// The same path wherever it is read.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.to_owned())
}

/// Takes whatever it is: the parser's own messages would show it.
#[expect(clippy::unnecessary_wraps, reason = "a parser of values may refuse")]
fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text.to_owned()))
}

fn user_file(text: &str) -> Result<(UserName, PathBuf), String> {
    let (name, file) = text
        .split_once(':')
        .ok_or_else(|| "expected NAME:FILE".to_owned())?;
    Ok((form(name)?, form(file)?))
}

const NO_PASSWORD: &str = "--user: there is no password behind the colon; expected NAME:PASSWORD, \
                           or --user-file NAME:FILE";
/// The name of the site.
pub(super) const SITE: &str = "files";

const EXAMPLES: &str = "\
Examples:
  risefall serve
  curl http://127.0.0.1:8080/

  risefall serve dist --spa --cache-control no-cache
  risefall serve public --listen 0.0.0.0:80 --no-listing
  risefall serve share --listen 0.0.0.0:443 --tls-cert me.pem --tls-key me.key \\
      --user-file alice:alice.password
  risefall serve public --print-config > risefall.toml";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    fn tree(flags: &[&str]) -> Result<Tree, String> {
        let words = ["serve"].iter().chain(flags);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.serve.tree()
    }

    fn route(flags: &[&str]) -> Route {
        let mut site = tree(flags).unwrap().site.remove(SITE).unwrap();
        site.route.remove(0)
    }

    #[test]
    fn this_folder_is_listed_and_nothing_else_is_said() {
        let route = route(&[]);
        assert_eq!(route.root.unwrap().0, std::env::current_dir().unwrap());
        let files = route.files.unwrap();
        assert!(files.listing && !files.hidden && files.compress && files.precompressed);
        assert!(files.cors.is_none() && files.cache_control.is_none());
        assert!(route.users.is_none());
        assert_eq!(files.links, Links::Inside);
    }

    #[test]
    fn every_flag_is_in_the_tree() {
        let route = route(&[
            "/srv",
            "--spa",
            "--index",
            "main.html",
            "--index",
            "index.html",
            "--no-listing",
            "--hidden",
            "--links=off",
            "--no-compress",
            "--cache-control",
            "max-age=60",
            "--cors=https://a.example,https://b.example",
        ]);
        assert_eq!(route.root.unwrap().0, Path::new("/srv"));
        let files = route.files.unwrap();
        assert!(!files.listing && files.hidden && !files.compress);
        assert_eq!((files.index.len(), files.links), (2, Links::Off));
        let candidates: Vec<_> = files.try_files.iter().map(|one| one.0.show()).collect();
        assert_eq!(candidates, ["{path}", "/main.html"]);
        assert!(
            matches!(files.cache_control, Some(CacheControl::All(value)) if value.0 == "max-age=60")
        );
        assert!(matches!(files.cors, Some(Cors::Origins(list)) if list.len() == 2));
    }

    #[test]
    fn an_origin_behind_cors_is_its_value_and_no_folder() {
        let joined = |words: &[&str]| {
            let words = joined(words.iter().map(OsString::from));
            let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
            words.join(" ")
        };
        for (words, same) in [
            (
                &["risefall", "serve", "--cors", "https://a.example", "."][..],
                "--cors=https://a.example .",
            ),
            (
                &["risefall", "serve", ".", "--cors", "http://a,http://b"],
                ". --cors=http://a,http://b",
            ),
            (&["risefall", "serve", "--cors", "folder"], "--cors folder"),
            (
                &["risefall", "serve", "--cors=http://a", "folder"],
                "--cors=http://a folder",
            ),
            (
                &["risefall", "serve", "--", "--cors", "http://a"],
                "-- --cors http://a",
            ),
            (
                &["risefall", "proxy", "--cors", "http://a"],
                "--cors http://a",
            ),
        ] {
            let same = format!("{} {} {same}", words[0], words[1]);
            assert_eq!(joined(words), same);
        }
        for flags in [
            &["https://a.example"][..],
            &["--cors=http://b", "https://a.example"],
        ] {
            let error = tree(flags).unwrap_err();
            assert!(error.contains("--cors=https://a.example"), "{error}");
        }
    }

    #[test]
    fn cors_alone_is_for_all() {
        for (flags, is_any) in [
            (&["--cors"][..], true),
            (&["--cors", "folder"], true),
            (&["--cors=https://a.example"], false),
        ] {
            let cors = route(flags).files.unwrap().cors.unwrap();
            assert_eq!(matches!(cors, Cors::All(true)), is_any, "{flags:?}");
        }
        let error = tree(&["--cors=*"]).unwrap_err();
        assert!(error.contains("cors = true"), "{error}");
    }

    #[test]
    fn a_user_is_a_name_and_a_password_or_its_file() {
        let users = route(&["--user", "alice:a:b", "--user-file", "bob:/c:d"])
            .users
            .unwrap();
        assert!(matches!(&users["alice"], Password::Here(secret) if secret.reveal() == "a:b"));
        assert!(matches!(&users["bob"], Password::File(said) if said.file.0 == Path::new("/c:d")));
        for wrong in ["hunter2", "alice:", ":hunter2", ""] {
            let error = tree(&["--user", wrong]).unwrap_err();
            assert!(error.contains("NAME:PASSWORD"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = tree(&["--user", "alice:"]).unwrap_err();
        assert!(error.contains("no password behind the colon"), "{error}");
        assert!(tree(&["--user", "a:b", "--user-file", "a:c"]).is_err());
        assert!(tree(&["--user-file", "a"]).is_err());
        assert!(tree(&["--user-file", ":a"]).is_err());
        assert!(tree(&["--tls-cert", "a.pem"]).is_err());
    }

    #[test]
    fn an_index_that_is_no_path_as_it_stands_is_no_page_for_all() {
        assert!(tree(&["--index", "a b.html"]).is_ok());
        let error = tree(&["--index", "a b.html", "--spa"]).unwrap_err();
        assert!(error.contains("--spa"), "{error}");
    }
}
