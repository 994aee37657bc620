//! Measures the relay against what else receives webhooks, on one machine and with one load generator, how a review gets
//! on between its event, the model and GitHub, and how well and how fast the memory is found.
//!
//! The generator runs on one thread of its own and speaks HTTP/1.1 over plain TCP, so that what is measured is the
//! server. `scripts/bench.sh` installs the others and calls this.

mod distinct;
mod footprint;
mod ingest;
mod journey;
mod load;
mod machine;
mod payload;
mod process;
mod proxy;
mod recall;
mod report;
mod review;
mod servers;
mod target;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use self::{
    footprint::Footprint, ingest::Ingest, journey::Journey, proxy::Proxy, recall::Recall, report::Goal,
    review::Review,
};

/// The hook's secret of every server that is measured.
const WEBHOOK_SECRET: &str = "a-webhook-secret-for-the-benchmark";
/// Between the relay and its targets.
const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What is measured, and with what.
#[derive(Debug, Args)]
pub struct Bench {
    /// Without a word: all of them.
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    setup: Setup,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Requests per second and latency of receiving, beside other webhook receivers and nginx.
    Ingest(Ingest),
    /// Time from a webhook to its hand-over through a real SSH tunnel, and how fast a backlog drains through it.
    Journey(Journey),
    /// Resident memory and start time of the relay, with nothing and with much in the queue.
    Footprint(Footprint),
    /// What the memory finds of a corpus with known answers, and how fast it reads and writes at up to 300,000 memories.
    Memory(Recall),
    /// Time from an event to the model and from the model to the posted review, and GitHub calls of a review.
    Review(Review),
    /// What the door to Ollama adds to Ollama's own time, beside nginx before the same upstream.
    Proxy(Proxy),
    /// A short round of everything, to see that it runs; its numbers mean nothing.
    Quick,
}

/// What one measurement came to.
struct Part {
    name: &'static str,
    goals: Vec<Goal>,
    numbers: Value,
    /// Why its numbers mean nothing.
    failure: Option<String>,
}

/// Where everything is.
#[derive(Debug, Args)]
struct Setup {
    /// Folder with the release binaries [default: the one of this program].
    #[arg(long, global = true)]
    bin_dir: Option<PathBuf>,
    /// Folder with `push.json`, `pull_request.json` and the Node server, made by the script.
    #[arg(long, global = true, default_value = "target/bench-tools")]
    tools: PathBuf,
    /// Folder for the servers' data; it must be on a disk, and all in it is removed.
    #[arg(long, global = true, default_value = "target/bench")]
    work: PathBuf,
    /// Write the numbers to this file, too.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

impl Setup {
    fn relay(&self) -> anyhow::Result<PathBuf> {
        self.program("relay")
    }

    fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = match &self.bin_dir {
            Some(folder) => folder.clone(),
            None => std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned(),
        };
        let path = folder.join(name);
        if !path.exists() {
            bail!("{} is missing; `cargo build --release -p {name}` builds it", path.display());
        }
        Ok(path)
    }

    /// A fresh folder of that name.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = std::path::absolute(&self.work)?.join(name);
        remove(&path)?;
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Measures and prints.
///
/// # Errors
/// A server could not be started, or one of its answers was an error: numbers of a server that errs mean nothing.
pub fn run(args: &Bench) -> anyhow::Result<()> {
    let setup = &args.setup;
    match &args.what {
        Some(What::Ingest(ingest)) => tell(setup, [ingest.run(setup)]),
        Some(What::Journey(journey)) => tell(setup, [journey.run(setup)]),
        Some(What::Footprint(footprint)) => tell(setup, [footprint.run(setup)]),
        Some(What::Memory(recall)) => tell(setup, [recall.run(setup)]),
        Some(What::Review(review)) => tell(setup, [review.run(setup)]),
        Some(What::Proxy(proxy)) => tell(setup, [proxy.run(setup)]),
        Some(What::Quick) => all(
            setup,
            [
                &|| Ingest::quick().run(setup),
                &|| Journey::quick().run(setup),
                &|| Footprint::quick().run(setup),
                &|| Recall::quick().run(setup),
                &|| Review::quick().run(setup),
                &|| Proxy::quick().run(setup),
            ],
        ),
        None => all(
            setup,
            [
                &|| Ingest::default().run(setup),
                &|| Journey::default().run(setup),
                &|| Footprint::default().run(setup),
                &|| Recall::default().run(setup),
                &|| Review::default().run(setup),
                &|| Proxy::default().run(setup),
            ],
        ),
    }
}

fn all<const N: usize>(setup: &Setup, parts: [&dyn Fn() -> anyhow::Result<Part>; N]) -> anyhow::Result<()> {
    tell(setup, parts.into_iter().map(|part| part()))
}

/// Prints the goals of each part as soon as it is measured, and writes all numbers down.
fn tell(setup: &Setup, parts: impl IntoIterator<Item = anyhow::Result<Part>>) -> anyhow::Result<()> {
    let (mut numbers, mut failures) = (Map::new(), Vec::new());
    for part in parts {
        let part = part?;
        println!();
        for goal in &part.goals {
            println!("{goal}");
        }
        println!();
        numbers.insert(part.name.to_owned(), part.numbers);
        failures.extend(part.failure);
    }
    report::write(setup.json.as_deref(), &numbers)?;
    if failures.is_empty() { Ok(()) } else { bail!(failures.join("; ")) }
}
