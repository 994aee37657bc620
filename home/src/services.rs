//! What launchd or systemd keeps running: the two endpoints and the tunnel.
//!
//! [`install`] writes one file for the system's manager, loads it and starts the service; [`uninstall`] takes all of that
//! back. Secrets stay in the environment file: what is started is `ai-relay-home services run NAME`, which reads it.

use std::{fmt, path::PathBuf};

use anyhow::bail;

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

impl Manager {
    /// The one of this machine.
    ///
    /// # Errors
    /// It has none that is known.
    pub fn detect() -> anyhow::Result<Self> {
        bail!("not written yet")
    }
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

/// Has the manager start the service now and keep it running; one that is installed already is replaced and restarted.
/// The file that describes it.
///
/// # Errors
/// The file cannot be written, or the manager refuses; the text has its words and says what to do.
pub fn install(_manager: &Manager, _service: &Service) -> anyhow::Result<PathBuf> {
    bail!("not written yet")
}

/// Stops a service and removes its file; whether there was anything.
///
/// # Errors
/// The manager refuses, or the file cannot be removed.
pub fn uninstall(_manager: &Manager, _name: &str) -> anyhow::Result<bool> {
    bail!("not written yet")
}

/// How a service is.
///
/// # Errors
/// The manager cannot be asked.
pub fn status(_manager: &Manager, _name: &str) -> anyhow::Result<Status> {
    bail!("not written yet")
}

/// What can be done with them.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {}

/// Carries out one of them.
///
/// # Errors
/// The text says what went wrong and what to do.
pub async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {}
}
