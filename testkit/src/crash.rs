//! Kills and hurts the real relay, and counts: what was acknowledged and lost, and what was handed over twice in
//! effect. Both must be nothing.
//!
//! The targets are stand-ins that verify, deduplicate and sign as our endpoints do; the senders behave like GitHub.

mod bench;
pub(crate) mod book;
pub(crate) mod child;
pub mod docker;
mod faults;
mod ledger;
mod load;
pub mod memory;
pub(crate) mod process;
mod rounds;
mod row;
mod target;
mod volume;

use std::{io::Write, path::PathBuf};

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};

use self::{bench::Settings, faults::Fault, row::Row};

/// Name of the rounds of kills, beside the faults'.
const KILLS: &str = "kill";
/// Faults at a time: most of their time is waiting.
const AT_A_TIME: usize = 6;

/// What is done, and to which binary.
#[derive(Debug, clap::Args)]
pub struct Crash {
    /// Rounds of kills
    #[arg(default_value_t = 200)]
    rounds: u32,
    /// Where the random choices come from [default: another one each time; it is printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Only this: kill, or a fault by its name or the start of it
    #[arg(long, value_name = "FAULT")]
    only: Option<String>,
    /// Folder of the built `relay`
    #[arg(long, env = "BIN_DIR", value_name = "FOLDER")]
    bin_dir: PathBuf,
}

/// Does it and prints the table.
///
/// # Errors
/// Something was lost, had its effect twice, or was otherwise not as it should be; or nothing could be done.
pub async fn run(crash: &Crash) -> anyhow::Result<()> {
    let settings = Settings {
        binary: crash.bin_dir.join("relay"),
        seed: crash.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
    };
    ensure!(
        settings.binary.exists(),
        "{} is missing; `cargo build -p relay` builds it",
        settings.binary.display()
    );
    say(&format!("seed {}", settings.seed))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // What is dropped here kills its relay and unmounts its volume.
    let rows = tokio::select! {
        rows = crash.rows(&settings) => rows?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("stopped"),
    };
    say(&format!("\n{}", row::table(&rows)))?;
    let failed: Vec<&str> = rows.iter().filter(|row| !row.is_well()).map(|row| row.fault.as_str()).collect();
    ensure!(failed.is_empty(), "failed: {} (seed {})", failed.join(", "), settings.seed);
    Ok(())
}

impl Crash {
    async fn rows(&self, settings: &Settings) -> anyhow::Result<Vec<Row>> {
        let wanted = |name: &str| self.only.as_deref().is_none_or(|only| name.starts_with(only));
        let faults: Vec<Fault> = Fault::all().into_iter().filter(|fault| wanted(fault.name)).collect();
        let mut rows = Vec::new();
        if wanted(KILLS) && self.rounds > 0 {
            rows.push(rounds::run(settings, self.rounds).await.context("the rounds of kills")?);
        }
        ensure!(
            !faults.is_empty() || !rows.is_empty() || self.only.is_none(),
            "there is no such fault; there are {KILLS}, {}",
            Fault::all().map(|fault| fault.name).join(", ")
        );
        let mut running = stream::iter(faults).map(|fault| fault.run(settings)).buffered(AT_A_TIME);
        while let Some(row) = running.next().await {
            say(&format!("{}: {}", row.fault, if row.is_well() { "done" } else { "FAILED" }))?;
            rows.push(row);
        }
        Ok(rows)
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
