//! What each key is used for: so that one knows when the old one of two can go, and so that files with keys can be read
//! again without a restart.
//!
//! A key goes by its position and its [`KeyId`]. What is known is kept beside the service's data and written at most
//! once a minute; the command `keys` reads it there.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::signature::{KeyId, Keys};

mod show;

pub use show::table;

/// Uses that are kept of one key; beyond, the one that is longest ago makes room.
const MOST_USES: usize = 32;
/// The longest name of a caller.
const LONGEST_NAME: usize = 64;
/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// The file in a service's data folder.
const FILE: &str = "keys.json";

/// Reads a setting's keys again from where they came.
pub type Again = Box<dyn Fn() -> anyhow::Result<Keys> + Send + Sync>;

/// The keys of one setting.
pub struct Ring {
    setting: String,
    keys: Keys,
    again: Option<Again>,
}

impl Ring {
    /// The keys of the setting of that name.
    pub fn new(setting: impl Into<String>, keys: &Keys) -> Self {
        Self { setting: setting.into(), keys: keys.clone(), again: None }
    }

    /// With a way to read them again; `None` where they do not come from a file, which alone can change while the
    /// service runs.
    #[must_use]
    pub fn read_by(mut self, again: Option<Again>) -> Self {
        self.again = again;
        self
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("setting", &self.setting)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What is known of all keys of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// When this was written.
    pub at: Timestamp,
    /// By setting and position.
    pub keys: Vec<KeyEntry>,
}

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The variable that it is set by.
    pub setting: String,
    /// Where it stands in it, from 1.
    pub position: usize,
    /// Its [`KeyId`].
    pub id: String,
    /// Since when it is set.
    pub since: Timestamp,
    /// What it was used for.
    pub uses: Vec<KeyUse>,
}

/// What a key was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Such as `POST /ai-sync`.
    pub what: String,
    /// By whom.
    pub by: String,
    /// When last.
    pub last: Timestamp,
    /// How often.
    pub times: u64,
}

/// Writes down what keys are used for. Cheap to clone; one without rings notes nothing.
#[derive(Debug, Clone, Default)]
pub struct KeyBook(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    file: Option<PathBuf>,
    rings: Vec<Ring>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: Vec<KeyEntry>,
    is_written: bool,
}

impl KeyBook {
    /// The book of the service whose data is in `folder`, with what it knew before of these keys.
    pub fn open(folder: &Path, rings: Vec<Ring>) -> Self {
        let file = folder.join(FILE);
        let entries = match read(&file) {
            Ok(report) => report.map_or_else(Vec::new, |report| report.keys),
            Err(error) => {
                tracing::warn!(%error, "what keys were used for before is not known any more");
                Vec::new()
            }
        };
        let known = Mutex::new(Known { entries, is_written: false });
        let book = Self(Arc::new(Inner { file: Some(file), rings, known }));
        book.sort(Timestamp::now());
        book
    }

    /// Notes that a key of a setting was used.
    pub fn used(&self, setting: &str, key: KeyId, what: &str, by: &str) {
        let now = Timestamp::now();
        let mut known = self.known();
        let id = key.to_string();
        let Some(entry) = known.entries.iter_mut().find(|entry| entry.id == id && entry.setting == setting)
        else {
            return;
        };
        note(&mut entry.uses, what, by, now);
        known.is_written = false;
    }

    /// What is known now.
    pub fn report(&self) -> KeyReport {
        KeyReport { at: Timestamp::now(), keys: self.known().entries.clone() }
    }

    /// Reads the keys again that come from files. Those that cannot be used stay as they were.
    pub fn read_again(&self) {
        let from_files = self.0.rings.iter().filter_map(|ring| Some((ring, ring.again.as_ref()?)));
        let mut count = 0;
        for (ring, again) in from_files {
            count += 1;
            match again() {
                Ok(keys) => {
                    ring.keys.replace(&keys);
                    let ids: Vec<String> = keys.ids().iter().map(ToString::to_string).collect();
                    tracing::info!(setting = ring.setting, keys = ids.join(","), "keys were read again");
                }
                Err(error) => {
                    let (setting, error) = (&ring.setting, format!("{error:#}"));
                    tracing::error!(
                        setting,
                        error,
                        "keys cannot be read again; those that were valid stay so"
                    );
                }
            }
        }
        if count == 0 {
            tracing::warn!(
                "SIGHUP: no keys come from a file (NAME_FILE); restart the service to change them"
            );
        }
        self.sort(Timestamp::now());
    }

    /// Writes down what is known, each minute and at the end, and reads keys again at each SIGHUP, also at one that came
    /// since [`expect_hangup`].
    pub async fn keep(self, stop: CancellationToken) {
        let mut hangup = expected().take().or_else(hangups);
        let mut has_failed = false;
        loop {
            self.write(&mut has_failed).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WRITE_EVERY) => {}
                () = next(&mut hangup) => self.read_again(),
            }
        }
        self.write(&mut has_failed).await;
    }

    async fn write(&self, has_failed: &mut bool) {
        let Some(file) = self.0.file.clone().filter(|_| !self.known().is_written) else { return };
        self.known().is_written = true;
        let report = self.report();
        let written = tokio::task::spawn_blocking(move || write(&file, &report)).await;
        let failed = written.map_err(io::Error::other).flatten().err();
        if let Some(error) = &failed {
            self.known().is_written = false;
            if !*has_failed {
                tracing::warn!(%error, "what keys are used for cannot be written down; it is tried again each minute");
            }
        }
        *has_failed = failed.is_some();
    }

    /// Brings the entries into the order of the rings: new keys are added, and what is not set any more is forgotten.
    fn sort(&self, now: Timestamp) {
        let mut known = self.known();
        let mut before = std::mem::take(&mut known.entries);
        for ring in &self.0.rings {
            for (index, id) in ring.keys.ids().into_iter().enumerate() {
                let id = id.to_string();
                let old = before.iter().position(|entry| entry.setting == ring.setting && entry.id == id);
                let (since, uses) = match old.map(|at| before.swap_remove(at)) {
                    Some(entry) => (entry.since, entry.uses),
                    None => (now, Vec::new()),
                };
                let (setting, position) = (ring.setting.clone(), index + 1);
                known.entries.push(KeyEntry { setting, position, id, since, uses });
            }
        }
        known.is_written = false;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in here panics half-way.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From now on a SIGHUP does not end the process: one that comes before [`KeyBook::keep`] waits for it.
pub fn expect_hangup() {
    *expected() = hangups();
}

fn hangups() -> Option<Signal> {
    // On a terminal a hangup means that the terminal is gone, and ends the process.
    if io::stderr().is_terminal() { None } else { signal(SignalKind::hangup()).ok() }
}

/// Those of the process, which has one book.
fn expected() -> MutexGuard<'static, Option<Signal>> {
    static EXPECTED: Mutex<Option<Signal>> = Mutex::new(None);
    EXPECTED.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn next(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

fn note(uses: &mut Vec<KeyUse>, what: &str, by: &str, now: Timestamp) {
    if let Some(known) = uses.iter_mut().find(|known| known.what == what && known.by == by) {
        known.last = now;
        known.times = known.times.saturating_add(1);
        return;
    }
    if uses.len() >= MOST_USES
        && let Some(oldest) = (0..uses.len()).min_by_key(|at| uses[*at].last)
    {
        uses.swap_remove(oldest);
    }
    uses.push(KeyUse { what: what.to_owned(), by: by.to_owned(), last: now, times: 1 });
}

/// What the service whose data is in `folder` has written down.
///
/// # Errors
/// There is nothing, or it cannot be read; the text says what to do.
pub fn written(folder: &Path) -> anyhow::Result<KeyReport> {
    let file = folder.join(FILE);
    let report = read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    report.with_context(|| {
        format!(
            "there is no {}: the service writes it when it starts; DATA_DIR says where its data is",
            file.display()
        )
    })
}

fn read(file: &Path) -> io::Result<Option<KeyReport>> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A reader sees the whole file or none.
fn write(file: &Path, report: &KeyReport) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("json.new");
    let mut open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    serde_json::to_writer_pretty(&mut open, report)?;
    open.write_all(b"\n")?;
    open.sync_all()?;
    fs::rename(new, file)
}

/// Who calls, as far as it says so itself: the first word of `User-Agent`.
pub fn caller(headers: &HeaderMap) -> String {
    let agent =
        headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let word = agent.split_whitespace().next().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let name: String = word.chars().filter(plain).take(LONGEST_NAME).collect();
    if name.is_empty() { "a caller without a name".to_owned() } else { name }
}

#[cfg(test)]
mod tests;
