//! What launchd or systemd keeps running: the two endpoints and the tunnel.
//!
//! [`install`] writes one file for the system's manager, loads it and starts the service; [`uninstall`] takes all of that
//! back. Secrets stay in the environment file: what is started is `ai-relay-home services run NAME`, which reads it.

use std::{fmt, path::PathBuf};

use anyhow::bail;

mod begin;
mod cli;
mod config;
mod doctor;
mod env_file;
mod launch;
mod launchd;
mod login;
mod manager;
mod plan;
mod systemd;
mod text;

pub(crate) use begin::lingering;
pub use cli::{Kind, Verb, Which, run};
pub use config::Place;
pub(crate) use launch::shorten_start_log;
pub(crate) use manager::{home, replace, restart};
pub use manager::{install, installed, remove, status, uninstall};
pub use plan::Name;
pub(crate) use plan::check_reachable;

/// How the name of the file ends to which launchd writes what a service says before it has opened its own.
pub(crate) const START_LOG: &str = ".launchd.log";

/// One program that is kept running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `ai-relay-tunnel`, `ai-relay-claude-endpoint`, `ai-relay-ollama-endpoint`.
    pub name: String,
    /// What it does, in one line for people.
    pub about: String,
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its variables; never a secret, since the file is readable by others.
    pub environment: Vec<(String, String)>,
    /// The file with its settings, handed on as `ENV_FILE`.
    pub environment_file: Option<PathBuf>,
    /// The folder that it starts in.
    pub folder: PathBuf,
    /// The file that takes its standard output and error under launchd; systemd has its journal.
    pub log: PathBuf,
}

/// Who keeps services running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manager {
    /// launchd, while its user is logged in to the desktop.
    LaunchAgent,
    /// launchd from the start of the machine on, under the account of `user`.
    LaunchDaemon {
        /// The account.
        user: String,
    },
    /// The user's own systemd.
    SystemdUser,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its file is there.
    pub installed: bool,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// What the manager says, for people.
    pub says: String,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LaunchAgent => "launchd (agent)",
            Self::LaunchDaemon { .. } => "launchd (daemon)",
            Self::SystemdUser => "systemd",
        })
    }
}

impl Service {
    /// Where its words are under launchd: what it said before it had opened its own log, and that.
    fn logs(&self) -> [PathBuf; 2] {
        let own = self.log.display().to_string().replace(START_LOG, ".log");
        [self.log.clone(), own.into()]
    }

    /// All of its variables.
    ///
    /// # Errors
    /// One has a name that a program could not look for.
    fn variables(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut variables = self.environment.clone();
        if let Some(file) = &self.environment_file {
            variables.push(("ENV_FILE".to_owned(), text::path(file)?.to_owned()));
        }
        for (name, _) in &variables {
            let is_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
            if name.is_empty()
                || name.starts_with(|first: char| first.is_ascii_digit())
                || !name.chars().all(is_name)
            {
                bail!("{name:?} is not the name of a variable");
            }
        }
        Ok(variables)
    }
}

#[cfg(test)]
mod tests;
