//! What a program's command line tells about itself elsewhere: a shell's completions, and man pages.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

/// The verbs, to flatten into those of a program.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Verb {
    /// Print what a shell needs to complete this program's words
    ///
    /// With bash-completion: PROGRAM completions bash > ~/.local/share/bash-completion/completions/PROGRAM
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write this program's man pages into a folder
    Man {
        /// The folder; it is made if there is none
        folder: PathBuf,
    },
}

/// Carries out one of them for the program of this command line.
///
/// # Errors
/// The text or a page cannot be written.
pub fn run(verb: &Verb, command: Command) -> anyhow::Result<()> {
    match verb {
        Verb::Completions { shell } => print_completions(*shell, command),
        Verb::Man { folder } => {
            write_pages(command, folder).with_context(|| format!("cannot write into {}", folder.display()))
        }
    }
}

fn print_completions(shell: Shell, command: Command) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let mut command = without_hidden(&command);
    // Into memory first: the library panics where a reader of standard output has gone away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The library would offer the flags of secrets, too.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
    Command::new(command.get_name().to_owned()).args(shown).subcommands(command.get_subcommands().cloned())
}

fn write_pages(command: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // A setting may stand behind each command, but one page is enough for it.
    let command = command.mut_args(|arg| arg.global(false));
    let environment = environment(&command);
    let first = folder.join(format!("{}.1", command.get_name()));
    clap_mangen::generate_to(command, folder)?;
    File::options().append(true).open(&first)?.write_all(environment.as_bytes())?;
    println!("the first page: man {}", first.display());
    Ok(())
}

/// Secrets stand in no list of options, since a command line can be read by everybody on a machine.
fn environment(command: &Command) -> String {
    let secrets: Vec<&Arg> = command.get_arguments().filter(|arg| arg.is_hide_env_values_set()).collect();
    let mut page = Roff::new();
    if !secrets.is_empty() {
        page.control("SH", ["ENVIRONMENT"]);
        page.text([roman("Beside the options' variables, these secrets. Each can be in a file instead, which NAME_FILE names.")]);
    }
    for secret in secrets {
        let name = secret.get_env().unwrap_or_default().to_string_lossy().into_owned();
        let help = secret.get_help().map(ToString::to_string).unwrap_or_default();
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(help)]);
    }
    page.to_roff()
}
