//! What this program can do beside serving.

use std::process::ExitCode;

use clap::Subcommand;
use shared::service::Verb;

use crate::config::Cli;
use crate::doctor::{self, Doctor};

mod ledger;
mod local;
mod replay;

/// As with `diff` and `grep`, 1 is an answer; a command line that is not understood is a 2, too.
const FAILED: u8 = 2;

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
    /// Look at each hop from the tunnel to the posted review, and name what is broken and what mends it; exits with 1 if
    /// anything is, with 2 if it cannot look
    Doctor(Doctor),
    /// What reviews took and cost, per day, repository and review
    Ledger(ledger::Show),
    /// Reviews changes of a local repository, without GitHub; exits with 1 if a finding is as bad as FAIL_ON, with 2 if
    /// there is no review
    Review(local::Local),
    /// Makes recorded reviews again, offline, and prints what differs; exits with 1 if anything does, with 2 if a
    /// recording cannot be read
    Replay(replay::Again),
}

/// Carries out one of the commands; the code says what a script wants to know.
///
/// # Errors
/// The text says what to do.
pub async fn run(command: &Own, cli: &Cli) -> anyhow::Result<ExitCode> {
    let is_fine = match command {
        Own::Doctor(doctor) => return doctor::run(doctor, cli).await,
        Own::Ledger(show) => return ledger::run(show, &cli.ledger()).map(|()| ExitCode::SUCCESS),
        Own::Review(local) => local::run(local, cli).await,
        Own::Replay(again) => replay::run(again).await,
    };
    Ok(match is_fine {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    })
}
