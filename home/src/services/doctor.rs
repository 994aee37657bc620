//! The endpoints' doctors, each with the surroundings of its service: what somebody's terminal has set, or has not, says
//! nothing of it.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;

use super::{
    Manager,
    config::Settings,
    installed,
    plan::{self, Name},
};
use crate::commands;

/// How the doctors look; as they have it themselves.
#[derive(Debug, Clone, Args)]
pub struct Look {
    /// One JSON document for each endpoint instead of text
    #[arg(long)]
    json: bool,
    /// Ask nobody outside of this machine
    #[arg(long)]
    offline: bool,
    /// A repository (owner/name, comma-separated) of which it is tried whether the claude-endpoint can read it
    #[arg(long, value_name = "OWNER/NAME", value_delimiter = ',')]
    repository: Vec<String>,
}

/// What a doctor ends with that could not look.
const COULD_NOT_LOOK: i32 = 2;

/// Asks the doctors of `only`, or of both endpoints; the exit code is theirs: 0 all is well, 1 something is broken, 2 one
/// could not look.
///
/// # Errors
/// One cannot be run, or has no doctor.
pub(super) fn ask_all(only: &[Name], look: &Look, settings: &Settings) -> anyhow::Result<ExitCode> {
    if only.contains(&Name::Tunnel) {
        bail!("each endpoint's doctor looks at the tunnel, too; see also: {}", commands::tunnel("status"));
    }
    let mut worst = 0;
    for name in [Name::OllamaEndpoint, Name::ClaudeEndpoint] {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let mut command = command(name, installed(&name.label()), settings)?;
        let asked = command.args(["--", "doctor"]).args(look.words(name)).status();
        let asked = asked.context("this program cannot be run again")?;
        worst = worst.max(asked.code().unwrap_or(COULD_NOT_LOOK));
    }
    Ok(ExitCode::from(u8::try_from(worst).unwrap_or(u8::MAX)))
}

impl Look {
    fn words(&self, name: Name) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.json.then(|| "--json".to_owned()));
        words.extend(self.offline.then(|| "--offline".to_owned()));
        if name == Name::ClaudeEndpoint && !self.repository.is_empty() {
            words.extend(["--repository".to_owned(), self.repository.join(",")]);
        }
        words
    }
}

/// What starts a service: its manager with little more than a service's own variables, or the scripts with everything that
/// their terminal has.
fn command(name: Name, manager: Option<Manager>, settings: &Settings) -> anyhow::Result<Command> {
    let service = plan::service(name, manager.as_ref().unwrap_or(&Manager::SystemdUser), settings)?;
    let mut command = Command::new(&service.program);
    command.args(&service.arguments).current_dir(&service.folder).env("ENV_FILE", &settings.env_file);
    if manager.is_some() {
        command.env_clear().envs(service.variables()?);
    }
    Ok(command)
}
