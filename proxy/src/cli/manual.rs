//! `risefall completions` and `risefall man`: written from the arguments themselves.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::check::print;
use super::{Arguments, failed, say};

/// Print the completions of a shell.
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the man page of the program or of a command, or write them all.
#[derive(Args, Debug)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct Man {
    /// The command; without one, the program
    #[arg(value_name = "COMMAND", conflicts_with = "folder")]
    command: Option<String>,

    /// Write all pages into this folder
    #[arg(long = "write", value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self) -> ExitCode {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "risefall", &mut out);
        print(&String::from_utf8_lossy(&out))
    }
}

impl Man {
    pub(super) fn run(self) -> ExitCode {
        let pages = pages();
        if let Some(folder) = &self.folder {
            return match write(folder, &pages) {
                Ok(()) => {
                    say(format_args!(
                        "{} pages in {}",
                        pages.len(),
                        folder.display()
                    ));
                    ExitCode::SUCCESS
                }
                Err(error) => failed(format_args!("cannot write the pages: {error}")),
            };
        }
        let wanted = match &self.command {
            Some(command) => format!("risefall-{command}"),
            None => "risefall".to_owned(),
        };
        match pages.iter().find(|(name, _)| *name == wanted) {
            Some((_, page)) => print(page),
            None => failed(format_args!(
                "there is no such command; see risefall --help"
            )),
        }
    }
}

/// Every page with its name: the program's, and one for each command.
fn pages() -> Vec<(String, String)> {
    let program = Arguments::command();
    let mut all = vec![("risefall".to_owned(), page(program.clone()))];
    for command in program.get_subcommands() {
        let name = format!("risefall-{}", command.get_name());
        all.push((name.clone(), page(command.clone().name(name))));
    }
    all
}

fn page(command: clap::Command) -> String {
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(command).render(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn write(folder: &Path, pages: &[(String, String)]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, page) in pages {
        std::fs::write(folder.join(format!("{name}.1")), page)?;
    }
    Ok(())
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  risefall completions bash > /etc/bash_completion.d/risefall
  risefall completions zsh > ~/.zfunc/_risefall
  risefall completions fish > ~/.config/fish/completions/risefall.fish";
const MAN_EXAMPLES: &str = "\
Examples:
  risefall man | man -l -
  risefall man proxy | man -l -
  risefall man --write /usr/local/share/man/man1";
