//! Kills the real ollama-endpoint at random moments while many write to it, while it embeds and embeds anew, and while a
//! model refines; then looks at what is left: everything acknowledged, nothing twice, and everything derived as the record
//! makes it.

mod account;
mod endpoint;
mod load;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use self::account::{Account, Found};
use self::endpoint::Endpoint;
use self::load::Load;
use super::say;

/// Those who write at a time, and the longest pause of each between two updates.
const WRITERS: u32 = 8;
const PACE: Duration = Duration::from_millis(60);
/// How long after it answers it is killed, in milliseconds.
const LIFE: std::ops::RangeInclusive<u64> = 5..=600;
/// How long after it was begun a start is cut off.
const START: std::ops::RangeInclusive<u64> = 0..=80;
/// After so many rounds its backlog is worked off, and all is compared.
const EVERY: u32 = 10;

/// What is done, and to which binary.
#[derive(Debug, clap::Args)]
pub struct CrashMemory {
    /// Rounds of kills
    #[arg(default_value_t = 100)]
    rounds: u32,
    /// Where the random choices come from [default: another one each time; it is printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder of the built `ollama-endpoint`
    #[arg(long, env = "BIN_DIR", value_name = "FOLDER")]
    bin_dir: PathBuf,
}

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    killed: u32,
    killed_at_start: u32,
    other_model: u32,
    slowest_start: Duration,
    looks: u32,
}

/// Does it and prints what it came to.
///
/// # Errors
/// Something acknowledged was lost, something is there twice, or what is derived is not what the record makes; or nothing
/// could be done.
pub async fn run(crash: &CrashMemory) -> anyhow::Result<()> {
    let binary = crash.bin_dir.join("ollama-endpoint");
    ensure!(binary.exists(), "{} is missing; `cargo build -p ollama-endpoint` builds it", binary.display());
    let seed = crash.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    say(&format!("seed {seed}"))?;
    let folder = TempDir::with_prefix("crash-memory-")?;
    let mut bench = Bench::new(binary, &folder, seed).await?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ran = tokio::select! {
        ran = bench.rounds(crash.rounds) => ran,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("stopped"),
    };
    if ran.is_err() {
        drop(bench);
        say(&format!("log and data are in {}", folder.keep().display()))?;
    }
    ran.with_context(|| format!("seed {seed}"))
}

struct Bench {
    endpoint: Endpoint,
    load: Load,
    account: Account,
    rng: Rng,
    tally: Tally,
}

impl Bench {
    async fn new(binary: PathBuf, folder: &TempDir, seed: u64) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(binary, folder.path()).await?;
        let load = Load::new(endpoint.url(), Rng::with_seed(seed))?;
        Ok(Self {
            endpoint,
            load,
            account: Account::default(),
            rng: Rng::with_seed(seed ^ 1),
            tally: Tally::default(),
        })
    }

    async fn rounds(&mut self, rounds: u32) -> anyhow::Result<()> {
        let began = Instant::now();
        self.load.start(WRITERS, PACE);
        for round in 1..=rounds {
            self.one().await.with_context(|| format!("round {round}"))?;
            if round % EVERY == 0 || round == rounds {
                self.load.stop().await;
                let found = self.look().await.with_context(|| format!("after round {round}"))?;
                say(&self.progress(round, rounds, &found, began))?;
                self.load.start(WRITERS, PACE);
            }
        }
        self.load.stop().await;
        say(&format!("nothing acknowledged was lost, and nothing is there twice: {}", self.tally.done()))
    }

    /// Starts it, lets it work for a random time, and kills it.
    async fn one(&mut self) -> anyhow::Result<()> {
        if self.rng.u8(..6) == 0 {
            self.endpoint.change_model();
            self.tally.other_model += 1;
        }
        if self.rng.u8(..8) == 0 {
            self.endpoint.spawn()?;
            sleep(Duration::from_millis(self.rng.u64(START))).await;
            self.endpoint.kill();
            self.tally.killed_at_start += 1;
            return Ok(());
        }
        self.start().await?;
        sleep(Duration::from_millis(self.rng.u64(LIFE))).await;
        self.endpoint.kill();
        self.tally.killed += 1;
        Ok(())
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let took = self.endpoint.start().await?;
        self.tally.slowest_start = self.tally.slowest_start.max(took);
        Ok(())
    }

    /// Lets it work off what waits, and compares all with all.
    async fn look(&mut self) -> anyhow::Result<Found> {
        self.start().await?;
        let found = self.account.settle(&self.endpoint, &self.load, &mut self.rng).await?;
        ensure!(!self.endpoint.has_logged("panicked"), "it panicked; see its log");
        self.endpoint.kill();
        self.tally.looks += 1;
        Ok(found)
    }

    fn progress(&self, round: u32, rounds: u32, found: &Found, began: Instant) -> String {
        let Found { acknowledged, records, memories, forgotten, refined, vectors } = found;
        format!(
            "round {round:>4} of {rounds}: {acknowledged} acknowledged, {records} records, {memories} memories ({refined} \
             refined, {forgotten} forgotten), {vectors} vectors looked at, {} s",
            began.elapsed().as_secs()
        )
    }
}

impl Tally {
    fn done(&self) -> String {
        let Self { killed, killed_at_start, other_model, slowest_start, looks } = self;
        format!(
            "SIGKILL {killed} at work, {killed_at_start} at the start; {other_model} changes of the model; all compared {looks} \
             times; the slowest start took {} ms",
            slowest_start.as_millis()
        )
    }
}
