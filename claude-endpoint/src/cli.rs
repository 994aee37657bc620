//! What this program can do beside serving.

use clap::Subcommand;
use shared::service::Verb;

use crate::config::Cli;

mod ledger;

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
}

/// Carries out one of the commands.
///
/// # Errors
/// The text says what to do.
pub async fn run(command: &Own, cli: &Cli) -> anyhow::Result<()> {
    match command {
        Own::Ledger(show) => ledger::run(show, &cli.ledger()),
    }
}
