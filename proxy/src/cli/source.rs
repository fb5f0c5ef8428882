//! Where a process has its settings from: a file, or the flags of a one-line start.

use std::path::{Path, PathBuf};

use super::missing;
use super::settle::{Refused, Settings, settle};
use crate::config::{self, Tree};
use crate::plan::PlanFault;

/// Settings, and where they come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file, read again at a reload.
    File(PathBuf),
    /// Flags, which never change.
    Flags(Box<Tree>),
}

/// What a source says now.
pub(super) struct Said {
    pub(super) settings: Settings,
    /// The whole of it, defaults included.
    pub(super) tree: Tree,
    /// That of [`Look`].
    pub(super) fingerprint: u64,
    /// What may run as it is, but should be known: each in one line, with its place.
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, as a person reads that.
    pub(super) fn read(&self) -> Result<Said, String> {
        match self {
            Self::File(path) => read_file(path),
            Self::Flags(tree) => match settle(tree) {
                Ok(settings) => Ok(Said {
                    warnings: (missing::of(&settings.plan).iter())
                        .map(|one| format!("{}: {}", flag_of(&one.place), one.message))
                        .collect(),
                    settings,
                    tree: (**tree).clone(),
                    fingerprint: 0,
                }),
                Err(refused) => {
                    let lines: Vec<_> = refused.iter().map(in_flags).collect();
                    Err(lines.join("\nrisefall: "))
                }
            },
        }
    }
}

/// What a change of the files can be told by.
pub(super) struct Look {
    /// Folders in which a change may be one of the configuration.
    pub(super) folders: Vec<PathBuf>,
    /// The same as long as the files say the same.
    pub(super) fingerprint: u64,
}

impl Source {
    /// Looks at the files, right or wrong; `None` if there are none, or none that can be read.
    pub(super) fn look(&self) -> Option<Look> {
        let Self::File(path) = self else {
            return None;
        };
        let loaded = config::load(path, &environment).ok()?;
        Some(Look {
            folders: loaded.folders().collect(),
            fingerprint: loaded.fingerprint(),
        })
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read_file(path: &Path) -> Result<Said, String> {
    let mut loaded = config::load(path, &environment).map_err(|error| error.to_string())?;
    let settings = settle(&loaded.tree);
    let fingerprint = loaded.fingerprint();
    let settings = match settings {
        Ok(settings) => Some(settings),
        Err(refused) => {
            for one in refused {
                if !is_consequence(&one, &loaded) {
                    loaded.refuse(&one.place, one.message);
                }
            }
            None
        }
    };
    let warnings = settings
        .as_ref()
        .map(|settings| missing::of(&settings.plan));
    let warnings = warnings.unwrap_or_default().into_iter();
    let warnings = warnings
        .map(|one| loaded.line(&one.place, one.message))
        .collect();
    let tree = loaded.finish().map_err(|mistakes| mistakes.to_string())?;
    let settings = settings.ok_or_else(|| format!("{} cannot be run", path.display()))?;
    Ok(Said {
        settings,
        tree,
        fingerprint,
        warnings,
    })
}

/// Whether a mistake is there only because another one is: what it misses was said, but wrongly.
fn is_consequence(refused: &Refused, loaded: &config::Loaded) -> bool {
    match &refused.fault {
        Some(PlanFault::UnknownUpstream { name, .. }) => loaded.says(&format!("upstream.{name}")),
        // Where nothing can be understood, nothing is served.
        Some(PlanFault::Nothing) => loaded.has_mistakes_under(""),
        Some(
            PlanFault::NoServer
            | PlanFault::NoListener
            | PlanFault::NoProtocol
            | PlanFault::NoRoute
            | PlanFault::NoAction
            | PlanFault::NoCertificate
            | PlanFault::SameRoute { .. }
            | PlanFault::AllHostsTaken { .. },
        ) => loaded.has_mistakes_under(&refused.place),
        _ => false,
    }
}

/// The same in the words of the flags.
fn in_flags(refused: &Refused) -> String {
    match &refused.fault {
        Some(PlanFault::OpenProxy { listener }) => format!(
            "{listener} can be reached from other machines, so anybody could use this proxy to \
             hide behind it; say who may (--allow-clients 192.0.2.0/24), or listen on 127.0.0.1:{}",
            listener.port()
        ),
        Some(PlanFault::AdminInTheOpen { .. }) => refused.message.clone(),
        _ => format!("{}: {}", flag_of(&refused.place), refused.message),
    }
}

/// The flag that says what a place says in a file.
fn flag_of(place: &str) -> String {
    let flag = FLAGS.iter().find(|(known, _)| {
        let rest = place.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    });
    match flag {
        Some((_, flag)) => (*flag).to_owned(),
        None => match place.rsplit_once('.') {
            Some((_, key)) => format!("--{}", key.replace('_', "-")),
            None => place.to_owned(),
        },
    }
}

/// Flags that are not named as their key is.
const FLAGS: &[(&str, &str)] = &[
    ("forward.proxy.listen", "--listen"),
    ("site.reverse.listen", "--listen"),
    ("site.reverse.hosts", "--host"),
    ("site.reverse.tls.cert", "--tls-cert"),
    ("site.reverse.tls.key", "--tls-key"),
    ("site.files.listen", "--listen"),
    ("site.files.tls.cert", "--tls-cert"),
    ("site.files.tls.key", "--tls-key"),
    ("site.files.route[0].root", "DIR"),
    ("site.files.route[0].users", "--user-file"),
    ("site.files.route[0].files.try_files", "--spa"),
    ("upstream.servers.servers", "--to"),
    ("upstream.servers.tls", "--to-tls"),
    ("admin.listen", "--admin"),
    ("limits.connections", "--max-connections"),
];
