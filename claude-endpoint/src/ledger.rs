//! What questions to models took and cost: one JSON line each, appended to a file and kept there for 400 days.
//!
//! The money is gone once a question is answered, so the line is on disk before anything is done with the answer. A line
//! that a kill cut off is worth less than a service that does not start: it is skipped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::budget::Spent;
use crate::desk::Purpose;
use crate::reviewer::Usage;

mod accounts;
pub mod table;

use accounts::Accounts;
pub use accounts::{Sum, day};

/// Days that lines are kept: a year can be compared with the one before.
const KEPT_DAYS: i32 = 400;
/// No line of ours is longer; one that is, is not read into memory.
const LONGEST_LINE: u64 = 64 * 1024;

/// One question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When its answer came.
    pub at: Timestamp,
    /// The event it was asked for.
    pub delivery: String,
    /// `owner/name`.
    pub repository: String,
    /// `pull/7`.
    pub subject: String,
    /// What it was asked for.
    pub purpose: Purpose,
    /// The back end, as in `REVIEWER`.
    pub reviewer: String,
    /// The model that answered.
    pub model: String,
    /// Tokens, as far as they are known.
    #[serde(flatten)]
    pub usage: Usage,
    /// What it cost; none where neither the back end nor the price list tells.
    pub cost_usd: Option<f64>,
    /// Whether the answer was of use.
    pub useful: bool,
    /// Whether tokens and cost are estimated, since the answer never came and was probably paid for all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_estimated: bool,
}

/// The file and its sums. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    accounts: Arc<Mutex<Accounts>>,
    file: Option<Arc<Mutex<Output>>>,
}

#[derive(Debug)]
struct Output {
    file: File,
    /// The last line may lack its end.
    is_torn: bool,
}

/// Money that is held until it is dropped.
#[derive(Debug)]
pub struct Hold {
    accounts: Arc<Mutex<Accounts>>,
    id: u64,
    cost: f64,
}

impl Hold {
    /// Ends what a question holds, which has cost so much.
    pub(crate) fn settle(mut self, cost: f64) {
        self.cost = cost;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.accounts).release(self.id, self.cost);
    }
}

/// A panic elsewhere leaves sums as they are.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// One that forgets with the process.
    pub fn in_memory() -> Self {
        Self { accounts: Arc::default(), file: None }
    }

    /// Reads the file, drops lines that are too old, and goes on at its end.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, now: Timestamp) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        prune(path, now)?;
        let mut accounts = Accounts::default();
        for entry in read(path)? {
            accounts.add(&entry?);
        }
        let mut file = options().read(true).append(true).create(true).open(path)?;
        sync_folder(path)?;
        let output = Output { is_torn: lacks_its_end(&mut file)?, file };
        Ok(Self { accounts: Arc::new(Mutex::new(accounts)), file: Some(Arc::new(Mutex::new(output))) })
    }

    /// Adds a question, and returns when it is on disk. A disk that is full costs the line, not the review.
    pub async fn record(&self, entry: Entry) {
        lock(&self.accounts).add(&entry);
        let (Some(file), Ok(mut line)) = (self.file.clone(), serde_json::to_vec(&entry)) else { return };
        line.push(b'\n');
        let written = tokio::task::spawn_blocking(move || lock(&file).append(&line)).await;
        if let Err(error) = written.map_err(io::Error::other).flatten() {
            metrics::counter!("ledger_failures_total").increment(1);
            tracing::error!(%error, delivery = entry.delivery, "a question is missing in the ledger's file");
        }
    }

    /// What is spent and held at `now`.
    pub fn spent(&self, now: Timestamp, delivery: &str) -> Spent {
        lock(&self.accounts).spent(now.to_zoned(TimeZone::UTC).date(), delivery)
    }

    /// What a day came to, by repository.
    pub fn sums(&self, now: Timestamp) -> Vec<(String, Sum)> {
        let accounts = lock(&self.accounts);
        let sums = accounts.sums(now.to_zoned(TimeZone::UTC).date());
        sums.map(|(repository, sum)| (repository.to_owned(), sum)).collect()
    }

    /// Decides with what is spent, and holds the cost that the decision comes to before anybody else decides.
    pub(crate) fn decide<T>(
        &self,
        now: Timestamp,
        delivery: &str,
        decision: impl FnOnce(Spent) -> (T, f64),
    ) -> (T, Hold) {
        let mut accounts = lock(&self.accounts);
        let spent = accounts.spent(now.to_zoned(TimeZone::UTC).date(), delivery);
        let (decided, usd) = decision(spent);
        let id = accounts.hold_review(delivery, usd);
        (decided, self.hold(id))
    }

    /// Holds what one question is estimated to cost.
    pub(crate) fn hold_question(&self, delivery: &str, usd: f64) -> Hold {
        let id = lock(&self.accounts).hold_question(delivery, usd);
        self.hold(id)
    }

    fn hold(&self, id: u64) -> Hold {
        Hold { accounts: Arc::clone(&self.accounts), id, cost: 0.0 }
    }
}

impl Output {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut bytes = if self.is_torn { b"\n".to_vec() } else { Vec::new() };
        bytes.extend_from_slice(line);
        self.is_torn = true;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.is_torn = false;
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn lacks_its_end(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// The entries of a file, also of one that a running service writes to. Lines that cannot be read are left out.
///
/// # Errors
/// The file cannot be opened; the entries' own errors are those of reading on.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>>> {
    let lines = match File::open(path) {
        Ok(file) => Some(Lines(Some(BufReader::new(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let entry = |line: io::Result<Vec<u8>>| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(error)),
    };
    Ok(lines.into_iter().flatten().filter_map(entry))
}

/// Ends with the first error: one that stays would else be met for ever.
struct Lines(Option<BufReader<File>>);

impl Iterator for Lines {
    type Item = io::Result<Vec<u8>>;

    /// The next line; of one that is far too long, pieces, which are no entries.
    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.0.as_mut()?.take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(line)),
            Err(error) => {
                self.0 = None;
                Some(Err(error))
            }
        }
    }
}

/// Rewrites the file without what is too old, if there is any; at each moment one whole file has the name.
fn prune(path: &Path, now: Timestamp) -> io::Result<()> {
    let oldest = now.to_zoned(TimeZone::UTC).date().saturating_sub(KEPT_DAYS.days());
    let is_old = |entry: &io::Result<Entry>| entry.as_ref().is_ok_and(|entry| day(entry) < oldest);
    let dropped = read(path)?.filter(is_old).count();
    if dropped == 0 {
        return Ok(());
    }
    let new = path.with_extension("new");
    let mut file = io::BufWriter::new(options().write(true).create(true).truncate(true).open(&new)?);
    for entry in read(path)?.filter(|entry| !is_old(entry)) {
        // what cannot be read to its end is not replaced by its beginning
        serde_json::to_writer(&mut file, &entry?)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)?;
    tracing::info!(dropped, "questions older than {KEPT_DAYS} days left the ledger");
    Ok(())
}

/// So that the file has its name after a power cut too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
pub(crate) mod tests;
