//! The SSH reverse tunnel: on the VPS's loopback it offers two ports that lead to the endpoints on this machine's.
//!
//! It has a key, a pinned host key and a configuration of its own and touches nothing in `~/.ssh`. [`Settings`] are what it
//! was set up with.

pub use self::settings::{Forward, Settings};
use self::{
    config::Folders, new_key::NewKeyArgs, place::Place, prove::ProveArgs, setup::SetupArgs,
    supervise::RunArgs, uninstall::UninstallArgs,
};

mod apply;
pub mod config;
pub(crate) mod control;
mod guide;
mod hostkey;
mod log;
mod new_key;
pub(crate) mod place;
pub mod policy;
mod process;
mod prove;
pub(crate) mod service;
pub mod settings;
mod setup;
mod supervise;
mod uninstall;

/// What can be done with it; without a verb, it is set up by questions and answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// One of them.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Make key and configuration, pin the VPS's host key, say or do what the VPS needs, and prove the lock
    Setup(Box<SetupArgs>),
    /// Start the tunnel in the background, and prove the lock
    Up(Folders),
    /// Stop it
    Down(Folders),
    /// Start it anew, whether it runs in the background or launchd or systemd keeps it up, and prove the lock
    Restart(Folders),
    /// Show whether it is connected; exit code 1 if not
    Status(Folders),
    /// Keep the tunnel up in the foreground, for launchd or systemd
    Run(RunArgs),
    /// Try every way out of the lock on the VPS; exit code 1 if one is open
    Prove(ProveArgs),
    /// Replace the tunnel's key: the new one is let in and proven before the old one goes
    NewKey(NewKeyArgs),
    /// Stop the tunnel, and remove everything that setup made
    #[command(long_flag = "uninstall")]
    Uninstall(UninstallArgs),
}

/// Carries out one of them.
///
/// # Errors
/// The text says what went wrong and what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let Some(verb) = args.verb else { return guide::guide().await };
    match verb {
        Verb::Setup(args) => setup::setup(&args).await,
        Verb::Up(folders) => control::up(&Place::new(&folders)?).await,
        Verb::Down(folders) => control::down(&Place::new(&folders)?).await,
        Verb::Restart(folders) => control::restart(&Place::new(&folders)?).await,
        Verb::Status(folders) => control::status(&Place::new(&folders)?),
        Verb::Run(args) => supervise::run(&args).await,
        Verb::Prove(args) => prove::prove(&args).await,
        Verb::NewKey(args) => new_key::new_key(&args).await,
        Verb::Uninstall(args) => uninstall::uninstall(&args).await,
    }
}
