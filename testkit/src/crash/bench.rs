//! A relay with its two targets and its senders, in a folder of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use fastrand::Rng;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    book::{Account, Book},
    load::Load,
    process::{PATIENCE, Relay, until},
    target::{self, Mode, Target},
};

/// States of a delivery that has not ended yet, in the relay's words.
const OPEN: [&str; 3] = ["pending", "leased", "handed_over"];

/// Between two looks at whether everything has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What every run needs.
#[derive(Debug)]
pub(super) struct Settings {
    /// The built `relay`.
    pub(super) binary: PathBuf,
    /// Where all random choices come from.
    pub(super) seed: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) relay: Relay,
    pub(super) targets: [Target; 2],
    pub(super) load: Load,
    folder: TempDir,
}

impl Bench {
    /// Nothing runs yet; the relay's data is in a temporary folder.
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("crash-test-")?;
        let data = folder.path().join("data");
        Self::in_folder(settings, folder, data)
    }

    /// The same with the relay's data on a volume.
    pub(super) fn with_data(settings: &Settings, data: &Path) -> anyhow::Result<Self> {
        Self::in_folder(settings, TempDir::with_prefix("crash-test-")?, data.to_owned())
    }

    fn in_folder(settings: &Settings, folder: TempDir, data: PathBuf) -> anyhow::Result<Self> {
        let targets = Target::both()?;
        let urls = [targets[0].url(), targets[1].url()];
        let relay = Relay::new(settings.binary.clone(), data, folder.path().join("relay.log"), urls)?;
        let load = Load::new(relay.webhooks(), Rng::with_seed(settings.seed));
        Ok(Self { relay, targets, load, folder })
    }

    /// A file of its own, outside the relay's data.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Both targets behave like this from now on.
    pub(super) fn set(&self, mode: Mode) {
        for target in &self.targets {
            target.set(mode);
        }
    }

    /// Sends until so many more were acknowledged.
    pub(super) async fn send(&mut self, acknowledged: usize) -> anyhow::Result<()> {
        let wanted = self.load.book(Book::taken) + acknowledged;
        self.load.start(3, Duration::from_millis(4))?;
        let sent = until(PATIENCE, async || self.load.book(Book::taken) >= wanted).await;
        self.load.stop().await;
        ensure!(sent, "the relay stopped acknowledging: {}", self.relay.last_words());
        Ok(())
    }

    /// Waits until the relay has an end to show for everything.
    pub(super) async fn drained(&self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        while self.is_open().await? {
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(true)
    }

    async fn is_open(&self) -> anyhow::Result<bool> {
        for state in OPEN {
            if self.relay.any(state).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Compares what was sent, shown and taken.
    pub(super) async fn account(&self) -> anyhow::Result<Account> {
        let shown = self.relay.shown().await.context("the relay's deliveries")?;
        Ok(self.load.book(|book| target::compare(book, &shown, &self.targets)))
    }

    /// Keeps the folder with log and data for a look.
    pub(super) fn keep(self) -> PathBuf {
        let Self { relay, folder, .. } = self;
        drop(relay);
        folder.keep()
    }
}
