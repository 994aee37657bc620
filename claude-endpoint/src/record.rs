//! Records what reviews are made of, so that they can be made again offline: `RECORD_DIR/<delivery>/NN-<purpose>.json`
//! for each question and its answer, and `<name>.json` for what else belongs to an event.
//!
//! A recording is a help for people. It never stands in the way of a review: what cannot be written is logged once.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desk::{Errand, Purpose};
use crate::reviewer::{Failed, Question, Reply, ReviewError, Reviewer};

/// Replaces the secrets in a text.
pub type Redact = fn(&str) -> Cow<'_, str>;

/// Nothing larger is written: a prompt has some hundred kilobytes.
const LARGEST_FILE: usize = 8 << 20;
/// Questions of one event, in all of its attempts.
const MOST_QUESTIONS: u32 = 500;
/// Recording stops here. Nothing is deleted: the folder is not ours alone.
const LARGEST_FOLDER: u64 = 1 << 30;

/// A question and what came back, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// When the answer came.
    pub at: Timestamp,
    /// The event it was asked for.
    pub delivery: String,
    /// What it was asked for.
    pub purpose: Purpose,
    /// The back end, as in `REVIEWER`.
    pub reviewer: String,
    /// The model that was asked.
    pub model: String,
    /// As in [`Question`].
    pub system: String,
    /// As in [`Question`].
    pub user: String,
    /// As in [`Question`].
    pub schema: Value,
    /// As in [`Question`].
    pub most_output_tokens: u32,
    /// The answer, also one that was of no use.
    pub reply: Option<Reply>,
    /// Why there is none, or why it was of no use.
    pub error: Option<ReviewError>,
}

impl Recorded {
    /// Whether the other one is the same question.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        self.system == other.system && self.user == other.user && self.schema == other.schema
    }
}

/// Writes recordings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    redact: Redact,
    /// Bytes in the folder, once it is known; held while something is written, so that no two take the same number.
    size: Mutex<Option<u64>>,
    has_failed: AtomicBool,
}

impl Recorder {
    /// One that writes to `folder`.
    pub fn new(folder: PathBuf, redact: Redact) -> Self {
        let inner = Inner { folder, redact, size: Mutex::default(), has_failed: AtomicBool::new(false) };
        Self(Arc::new(inner))
    }

    /// Writes what belongs to an event as `<delivery>/<name>.json`, in place of what an attempt before wrote.
    pub async fn record(&self, delivery: &str, name: &str, value: &impl Serialize) {
        let name = format!("{}.json", file_name(name));
        match serde_json::to_value(value) {
            Ok(value) => self.write(delivery, value, move |_| Ok(name)).await,
            Err(error) => self.failed(&error),
        }
    }

    /// Writes a question and what came back.
    pub(crate) async fn question(
        &self,
        errand: &Errand<'_>,
        reviewer: &dyn Reviewer,
        question: &Question<'_>,
        result: &Result<Reply, Failed>,
    ) {
        let (reply, error) = match result {
            Ok(reply) => (Some(reply.clone()), None),
            Err(failed) => (failed.paid.as_deref().cloned(), Some(failed.error.clone())),
        };
        let recorded = Recorded {
            at: Timestamp::now(),
            delivery: errand.delivery.to_owned(),
            purpose: errand.purpose,
            reviewer: reviewer.name().to_owned(),
            model: reviewer.model().to_owned(),
            system: question.system.to_owned(),
            user: question.user.to_owned(),
            schema: question.schema.clone(),
            most_output_tokens: question.most_output_tokens,
            reply,
            error,
        };
        let purpose = errand.purpose;
        let next = move |folder: &Path| match numbered(folder)?.last().map_or(0, |(number, _)| *number) {
            MOST_QUESTIONS.. => {
                Err(io::Error::other(format!("{MOST_QUESTIONS} questions are recorded already")))
            }
            last => Ok(format!("{:02}-{}.json", last + 1, purpose.as_str())),
        };
        match serde_json::to_value(recorded) {
            Ok(value) => self.write(errand.delivery, value, next).await,
            Err(error) => self.failed(&error),
        }
    }

    async fn write(
        &self,
        delivery: &str,
        mut value: Value,
        name: impl FnOnce(&Path) -> io::Result<String> + Send + 'static,
    ) {
        let (inner, folder) = (Arc::clone(&self.0), self.0.folder.join(file_name(delivery)));
        let writing = tokio::task::spawn_blocking(move || {
            redact_all(&mut value, inner.redact);
            inner.write(&folder, &serde_json::to_vec_pretty(&value)?, name)
        });
        if let Err(error) = writing.await.map_err(io::Error::other).flatten() {
            self.failed(&error);
        }
    }

    fn failed(&self, error: &impl fmt::Display) {
        if !self.0.has_failed.swap(true, Ordering::Relaxed) {
            let folder = self.0.folder.display();
            tracing::warn!(%error, "something could not be recorded in {folder}; this is said once");
        }
    }
}

impl Inner {
    fn write(
        &self,
        folder: &Path,
        bytes: &[u8],
        name: impl FnOnce(&Path) -> io::Result<String>,
    ) -> io::Result<()> {
        if bytes.len() > LARGEST_FILE {
            return Err(io::Error::other(format!("it has {} bytes", bytes.len())));
        }
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *size {
            Some(size) => size,
            None => folder_size(&self.folder)?,
        };
        let after = before + bytes.len() as u64;
        *size = Some(before);
        if after > LARGEST_FOLDER {
            return Err(io::Error::other("1 GiB is recorded already; move it away and start again"));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let name = name(folder)?;
        // a reader sees the whole file or none
        let new = folder.join(format!(".{name}"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        fs::rename(&new, folder.join(name))?;
        *size = Some(after);
        Ok(())
    }
}

fn folder_size(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    let events = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        events => events?,
    };
    for event in events.flatten().filter(|event| event.file_type().is_ok_and(|kind| kind.is_dir())) {
        let files = fs::read_dir(event.path())?.flatten();
        size += files.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>();
    }
    Ok(size)
}

/// The questions recorded in an event's folder, in their order.
///
/// # Errors
/// The folder cannot be read.
pub fn questions(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbered(folder)?.into_iter().map(|(_, path)| path).collect())
}

fn numbered(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut numbered: Vec<(u32, PathBuf)> = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number =
            name.strip_suffix(".json").and_then(|name| name.split_once('-')).map(|(number, _)| number);
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered)
}

/// A name that stays within its folder, whatever a delivery is called. Different ones stay different as a rule.
fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().take(100).map(|c| if plain(c) { c } else { '_' }).collect();
    match name.trim_start_matches('.') {
        "" => "_".to_owned(),
        name => name.to_owned(),
    }
}

/// Takes the secrets out of all texts, and says whether there were any.
fn redact_all(value: &mut Value, redact: Redact) -> bool {
    match value {
        Value::String(text) => redact_text(text, redact),
        Value::Array(items) => items.iter_mut().fold(false, |any, item| redact_all(item, redact) | any),
        Value::Object(fields) => {
            let mut any = false;
            for (mut key, mut field) in std::mem::take(fields) {
                any |= redact_text(&mut key, redact) | redact_all(&mut field, redact);
                fields.insert(key, field);
            }
            any
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An answer is JSON in a text, whose escapes would hide a secret of several lines.
fn redact_text(text: &mut String, redact: Redact) -> bool {
    let inner = text.starts_with('{').then(|| serde_json::from_str::<Value>(text).ok()).flatten();
    let inside = inner
        .filter(Value::is_object)
        .and_then(|mut inner| redact_all(&mut inner, redact).then(|| inner.to_string()));
    let redacted = inside.as_deref().unwrap_or(text);
    let redacted = redact(redacted).into_owned();
    let any = *text != redacted;
    *text = redacted;
    any
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
