//! What this program can do beside serving.

use std::process::ExitCode;

use clap::Subcommand;
use shared::service::Verb;

use crate::config::Cli;

mod ledger;
mod local;

/// What this program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What every service can.
    #[command(flatten)]
    Service(Verb),
    /// What only this one can.
    #[command(flatten)]
    Own(Own),
}

/// The commands of this service.
#[derive(Debug, Subcommand)]
pub enum Own {
    /// What reviews took and cost, per day, repository and review
    Ledger(ledger::Show),
    /// Reviews changes of a local repository, without GitHub; exits with 1 if a finding is as bad as FAIL_ON
    Review(local::Local),
}

/// Carries out one of the commands; the code says what a script wants to know.
///
/// # Errors
/// The text says what to do.
pub async fn run(command: &Own, cli: &Cli) -> anyhow::Result<ExitCode> {
    let is_fine = match command {
        Own::Ledger(show) => ledger::run(show, &cli.ledger()).map(|()| true)?,
        Own::Review(local) => local::run(local, cli).await?,
    };
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
