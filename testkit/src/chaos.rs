//! Breaks the road between the VPS and home in every way that it breaks in real life, and counts: events that were lost,
//! effects that were doubled, and the time until everything goes on. The first two must be nothing.
//!
//! Relay, sshd, both endpoints and the tunnel are the real programs; GitHub, Anthropic and Ollama are stand-ins. Each fault
//! has a VPS, a home and a cable of its own: network namespaces where this user may make them, else loopback.

mod account;
mod cable;
mod faults;
mod load;
mod namespaces;
mod net;
mod row;
mod service;
mod site;
pub mod squatter;
mod sshd;
mod tunnel;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::{
    faults::{Fault, Hurt},
    row::Row,
    site::Site,
};
use crate::crash::child::PATIENCE;

/// About the time between two events.
const PACE: Duration = Duration::from_millis(600);
/// Those of a short run: a tunnel that breaks, a road that is silent, a machine that dies in the middle of its work.
const SHORT: [&str; 3] = ["tunnel-killed", "port-squatted", "home-killed-after-post"];
/// Between two looks at whether a review was posted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is done, and to which binaries.
#[derive(Debug, clap::Args)]
pub struct Chaos {
    /// Only three of the faults
    #[arg(long)]
    short: bool,
    /// Only this: a fault by its name or the start of it
    #[arg(long, value_name = "FAULT")]
    only: Option<String>,
    /// Where the random choices come from [default: another one each time; it is printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Faults at a time, each on a site of its own; most of their time is waiting
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    at_a_time: u8,
    /// Without network namespaces, also where they can be made
    #[arg(long)]
    loopback: bool,
    /// The table in Markdown
    #[arg(long)]
    markdown: bool,
    /// Write the numbers to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The tunnel's program
    #[arg(long, value_name = "FILE", default_value = "scripts/setup-tunnel.sh")]
    tunnel: PathBuf,
    /// Folder of the built programs
    #[arg(long, env = "BIN_DIR", value_name = "FOLDER")]
    bin_dir: PathBuf,
}

/// What every site needs.
#[derive(Debug)]
struct Settings {
    bin_dir: PathBuf,
    tunnel: PathBuf,
    seed: u64,
    loopback: bool,
}

/// Does it and prints the table.
///
/// # Errors
/// Something was lost or doubled, or did not recover; or nothing could be done.
pub async fn run(chaos: &Chaos) -> anyhow::Result<()> {
    let settings = chaos.settings()?;
    let faults = chaos.faults()?;
    namespaces::sweep();
    let ground = if settings.loopback { "loopback" } else { "network namespaces" };
    say(&format!(
        "seed {}, {ground}, {} faults, {} at a time",
        settings.seed,
        faults.len(),
        chaos.at_a_time
    ))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // What is dropped here ends its programs and removes its network.
    let rows = tokio::select! {
        rows = chaos.rows(&settings, faults) => rows?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("stopped"),
    };
    say(&format!("\n{}", if chaos.markdown { row::markdown(&rows) } else { row::table(&rows) }))?;
    if let Some(file) = &chaos.json {
        let numbers = row::json(&rows, settings.seed, ground);
        let text = format!("{numbers:#}\n");
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let failed: Vec<&str> = rows.iter().filter(|row| !row.is_well()).map(|row| row.fault.name).collect();
    ensure!(failed.is_empty(), "failed: {} (seed {})", failed.join(", "), settings.seed);
    Ok(())
}

impl Chaos {
    fn settings(&self) -> anyhow::Result<Settings> {
        let bin_dir = std::path::absolute(&self.bin_dir)?;
        for name in ["relay", "claude-endpoint", "ollama-endpoint"] {
            let path = bin_dir.join(name);
            ensure!(path.exists(), "{} is missing; `cargo build -p {name}` builds it", path.display());
        }
        let loopback = self.loopback
            || match namespaces::possible() {
                Ok(()) => false,
                Err(why) => {
                    say(&format!("on loopback, with a proxy as the cable: {why}"))?;
                    true
                }
            };
        Ok(Settings {
            bin_dir,
            tunnel: std::path::absolute(&self.tunnel)?,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            loopback,
        })
    }

    fn faults(&self) -> anyhow::Result<Vec<Fault>> {
        let all = Fault::all();
        let names: Vec<&str> = all.iter().map(|fault| fault.name).collect();
        let wanted = |name: &str| match &self.only {
            Some(only) => name.starts_with(only.as_str()),
            None => !self.short || SHORT.contains(&name),
        };
        let faults: Vec<Fault> = all.into_iter().filter(|fault| wanted(fault.name)).collect();
        ensure!(!faults.is_empty(), "there is no such fault; there are {}", names.join(", "));
        Ok(faults)
    }

    async fn rows(&self, settings: &Settings, faults: Vec<Fault>) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let one = |(nth, fault): (u64, Fault)| async move {
            let row = measure(fault, settings, settings.seed.wrapping_add(nth)).await;
            row.unwrap_or_else(|error| Row::broken(fault, &error))
        };
        let mut running = stream::iter((0..).zip(faults)).map(one).buffered(self.at_a_time.into());
        while let Some(row) = running.next().await {
            say(&format!("{}: {}", row.fault.name, if row.is_well() { "done" } else { "FAILED" }))?;
            rows.push(row);
        }
        Ok(rows)
    }
}

/// A fault on a site of its own.
async fn measure(fault: Fault, settings: &Settings, seed: u64) -> anyhow::Result<Row> {
    let mut site = Site::start(settings, seed).await?;
    if fault.is_under_load() {
        site.load.start(PACE);
        sleep(Duration::from_millis(Rng::with_seed(seed).u64(500..1_500))).await;
    }
    let Hurt { began, ended, spoils } = fault.hurt(&mut site).await?;
    let recovered = first_review(&site, began, ended).await;
    site.load.stop().await;
    let sent = site.load.events().iter().filter(|event| event.at >= began).count();
    let (_, account) = site.drained(PATIENCE).await?;
    let drained = account.is_settled().then(|| ended.elapsed());
    let mut row = Row { fault, sent, account, recovered, drained, spoils, wrong: Vec::new() };
    if recovered.is_none() {
        row.wrong.push(format!("no review within {} s; {}", PATIENCE.as_secs(), site.tunnel.last_words()));
    }
    if spoils.is_some_and(|spoils| spoils.events > 0) {
        row.wrong.push("who had the ports was given events".to_owned());
    }
    if spoils.is_some_and(|spoils| spoils.requests == 0) {
        row.wrong.push("who had the ports was asked nothing: it shows nothing".to_owned());
    }
    if site.has_panicked() {
        row.wrong.push("a service panicked; see its log".to_owned());
    }
    if !row.is_well() {
        row.wrong.push(format!("logs and data are in {}", site.keep().display()));
    }
    Ok(row)
}

/// Waits for the first review after `ended` of an event that happened since `began`. How long after `ended` it came.
async fn first_review(site: &Site, began: Instant, ended: Instant) -> Option<Duration> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let first = site.reviews_since(began).into_iter().filter(|at| *at >= ended).min();
        if first.is_some() || Instant::now() > deadline {
            return first.map(|at| at.saturating_duration_since(ended));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
