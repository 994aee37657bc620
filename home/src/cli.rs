//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use shared::{manual, version::VERSION};

use crate::{services, tunnel};

/// What the machine at home needs: the tunnel to the VPS, and the services that its system keeps running.
#[derive(Debug, Parser)]
#[command(name = "ai-relay-home", version = VERSION, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The SSH reverse tunnel to the VPS; without a verb it is set up by questions and answers
    Tunnel(tunnel::Args),
    /// The services that launchd or systemd keeps running
    #[command(subcommand)]
    Services(services::Verb),
    /// What the command line tells about itself.
    #[command(flatten)]
    Manual(manual::Verb),
}

/// Carries out a command.
///
/// # Errors
/// The text says what went wrong and what to do.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Services(verb) => return services::run(verb).await,
        Command::Tunnel(args) => tunnel::run(args).await?,
        Command::Manual(verb) => manual::run(&verb, Cli::command())?,
    }
    Ok(ExitCode::SUCCESS)
}
