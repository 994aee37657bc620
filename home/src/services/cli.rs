//! The verbs.

use std::{io::Write, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use shared::service::unusable;

use super::{
    Manager, begin,
    config::{Place, Settings},
    doctor, installed, launch,
    plan::{self, Name},
    remove, status,
};

/// What can be done with the services.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Install them, start them now, and keep them running from every start of the machine on; settings that are missing are
    /// made, with fresh secrets
    Install {
        /// On a Mac that nobody is logged in to: from its start on, by launchd's daemons (asks for your password)
        #[arg(long)]
        daemon: bool,
        /// Which of them.
        #[command(flatten)]
        which: Which,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
    /// Start those anew that are installed, after a change of the settings or a new version in the same folder
    Restart {
        /// Which of them.
        #[command(flatten)]
        which: Which,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
    /// Stop them and remove what was installed; settings, data and logs stay
    Uninstall {
        /// Which of them.
        #[command(flatten)]
        which: Which,
    },
    /// Show whether each is installed and runs; exit code 1 unless all that are installed run
    Status {
        /// Which of them.
        #[command(flatten)]
        which: Which,
    },
    /// Print the files that `install` would write
    Render {
        /// For whom
        #[arg(long)]
        manager: Kind,
        /// Which of them.
        #[command(flatten)]
        which: Which,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
    /// Look at everything between the endpoints and what they need, each with exactly the settings that its service has
    Doctor {
        /// Which of them.
        #[command(flatten)]
        which: Which,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
        /// How they look.
        #[command(flatten)]
        look: doctor::Look,
    },
    /// Read the settings and become the service; this is what launchd and systemd start
    Run {
        /// Which one
        name: Name,
        /// Another verb of its program instead, after a --, such as -- config show
        #[arg(last = true, value_name = "WORD")]
        words: Vec<String>,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
}

/// Which of the services.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Only these, comma-separated [default: all; the tunnel if it is set up]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Name>,
}

/// The service managers by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// launchd, while the user is logged in
    LaunchAgent,
    /// launchd, from the start of the machine on
    LaunchDaemon,
    /// The user's own systemd
    SystemdUser,
}

impl Which {
    fn or(&self, usual: Vec<Name>) -> Vec<Name> {
        if self.only.is_empty() { usual } else { self.only.clone() }
    }
}

/// Carries out one of the verbs; the exit code of the doctors is theirs.
///
/// # Errors
/// The text says what went wrong and what to do.
pub async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Doctor { which, place, look } => {
            return match place.settings() {
                Ok(settings) => doctor::ask_all(&which.only, &look, &settings),
                Err(error) => Ok(unusable(&error)),
            };
        }
        Verb::Install { daemon, which, place } => {
            let manager = Manager::choose(daemon)?;
            begin::make_settings(&place)?;
            let settings = place.settings()?;
            begin::install_all(&manager, &which.or(plan::usual(&settings)), &settings).await?;
        }
        Verb::Restart { which, place } => begin::restart_all(&which.only, &place).await?,
        Verb::Uninstall { which } => uninstall_all(&which)?,
        Verb::Status { which } => show_status(&which)?,
        Verb::Render { manager, which, place } => render(manager, &which, &place.settings()?)?,
        Verb::Run { name, words, place } => launch::run(name, &words, &place.settings()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn uninstall_all(which: &Which) -> anyhow::Result<()> {
    // The tunnel first, so that nothing more comes in.
    for name in which.or(Name::ALL.to_vec()).iter().rev() {
        let found = if remove(&name.label())? { "stopped and removed" } else { "was not installed" };
        println!("{}: {found}", name.label());
    }
    Ok(())
}

fn show_status(which: &Which) -> anyhow::Result<()> {
    let detected = Manager::detect()?;
    let mut stopped = Vec::new();
    for name in which.or(Name::ALL.to_vec()) {
        let manager = installed(&name.label()).unwrap_or(detected.clone());
        let status = status(&manager, &name.label())?;
        let pid = status.pid.map_or(String::new(), |pid| format!(", pid {pid}"));
        println!("{:<26} {}{pid}", name.label(), status.says);
        if status.installed && status.pid.is_none() {
            stopped.push(name.label());
        }
    }
    if stopped.is_empty() { Ok(()) } else { bail!("installed, but not running: {}", stopped.join(", ")) }
}

fn render(kind: Kind, which: &Which, settings: &Settings) -> anyhow::Result<()> {
    let manager = match kind {
        Kind::LaunchAgent => Manager::LaunchAgent,
        Kind::LaunchDaemon => Manager::LaunchDaemon { user: settings.user.clone() },
        Kind::SystemdUser => Manager::SystemdUser,
    };
    for name in which.or(plan::usual(settings)) {
        let service = plan::service(name, &manager, settings)?;
        let (file, text) = (manager.file(&service.name)?, manager.render(&service)?);
        writeln!(std::io::stdout(), "# {}\n{text}", file.display())?;
    }
    Ok(())
}
