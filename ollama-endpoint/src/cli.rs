//! What this program can do beside serving: ask the running service, and look after the memory's file.

use std::process::ExitCode;

use clap::Subcommand;
use shared::service::Verb;

use crate::config::Cli;
use crate::doctor::{self, Doctor};

mod ask;
mod files;
mod forget;
mod service;
mod show;
#[cfg(test)]
mod tests;
mod transfer;

use service::Running;

/// What this program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What every service can.
    #[command(flatten)]
    Service(Verb),
    /// What only this one can.
    #[command(flatten)]
    Own(Box<Own>),
}

/// The commands of this service.
#[derive(Debug, Subcommand)]
pub enum Own {
    /// Look at each hop from the tunnel to Ollama, and name what is broken and what mends it; exits with 1 if anything is,
    /// with 2 if it cannot look
    Doctor(Doctor),
    /// Search the memory
    Search(ask::Search),
    /// What is known about something, as one text that fits into a prompt
    Briefing(ask::Briefing),
    /// Add a memory
    Add(ask::Add),
    /// The newest memories, as a table
    Recent(ask::Recent),
    /// How much there is, and how it fares
    Stats(ask::Stats),
    /// Forget memories for good; without --yes only shows what would be forgotten
    Forget(forget::Forget),
    /// Write the whole memory as lines of JSON
    Export(transfer::Export),
    /// Take in what was exported; what is there already stays as it is
    Import(transfer::Import),
    /// Copy the memory into a file, beside a running service
    Backup(files::Backup),
    /// Put a backup in the memory's place, which is kept aside; the service must not run
    Restore(files::Restore),
    /// Compare the memory with what its record makes; exits with 1 if anything differs, with 2 if it cannot be
    /// compared. The service may run
    Check(files::Check),
    /// Make everything derived anew of the record; the service must not run
    Reindex(files::Reindex),
}

/// Carries out one of the commands; the code says what a script wants to know.
///
/// # Errors
/// The service does not answer, or refuses, or a file cannot be worked with; the text says what to do.
pub async fn run(command: &Own, cli: &Cli) -> anyhow::Result<ExitCode> {
    let running = || Running::new(cli);
    match command {
        Own::Doctor(doctor) => return doctor::run(doctor, cli).await,
        Own::Search(search) => search.run(&running()?).await?,
        Own::Briefing(briefing) => briefing.run(&running()?).await?,
        Own::Add(add) => add.run(&running()?).await?,
        Own::Recent(recent) => recent.run(&running()?).await?,
        Own::Stats(stats) => stats.run(&running()?).await?,
        Own::Forget(forget) => forget.run(&running()?).await?,
        Own::Export(export) => export.run(&running()?).await?,
        Own::Import(import) => import.run(&running()?).await?,
        Own::Backup(backup) => backup.run(&cli.memory_path())?,
        Own::Restore(restore) => restore.run(&cli.memory_path())?,
        Own::Check(check) => return Ok(check.run(&cli.memory_path())),
        Own::Reindex(reindex) => reindex.run(&cli.memory_path())?,
    }
    Ok(ExitCode::SUCCESS)
}
