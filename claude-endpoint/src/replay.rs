//! A recorded review, made again offline with the recorded answers, and how it differs from what was made then.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::desk::{Desk, Errand, Purpose, Terms};
use crate::examine::{Examined, Inputs, examine};
use crate::ledger::Ledger;
use crate::record;
use crate::redact::redact;
use crate::reviewer::replayed::{Difference, Replayed};
use crate::reviewer::{Reviewer, Reviewers};

mod compare;
mod text;
mod unified;

pub use compare::{FieldChange, FindingChange, Kind};
pub(crate) use unified::unified;

/// What a review is made from.
pub const INPUTS: &str = "inputs";
/// What came of it.
pub const RESULT: &str = "result";
/// Nobody is waited for: the answers are at hand.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How a review that is made again differs.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    /// The recorded event.
    pub delivery: String,
    /// Why no review is made any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_made: Option<String>,
    /// Questions that are others now.
    pub questions: Vec<Difference>,
    /// Findings that came, went, moved or changed.
    pub findings: Vec<FindingChange>,
    /// What else differs.
    pub fields: Vec<FieldChange>,
}

impl Replay {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        let Self { not_made, questions, findings, fields, .. } = self;
        not_made.is_none() && questions.is_empty() && findings.is_empty() && fields.is_empty()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        text::text(self)
    }
}

/// Whether the folder has a recorded review.
pub fn is_review(folder: &Path) -> bool {
    [INPUTS, RESULT].iter().any(|name| file(folder, name).exists())
}

/// Makes the review recorded in `folder` again.
///
/// # Errors
/// A file is missing or cannot be read; the text says which one.
pub async fn replay(folder: &Path) -> anyhow::Result<Replay> {
    let inputs: Inputs = read(folder, INPUTS)?;
    let then: Examined = read(folder, RESULT)?;
    let delivery = name(folder);
    // where all was reviewed before, nobody was asked
    let replayed = match record::questions(folder)?.is_empty() {
        true => None,
        false => Some(Arc::new(Replayed::load(folder, redact)?)),
    };
    let reviewers = replayed.iter().map(|replayed| Arc::clone(replayed) as Arc<dyn Reviewer>).collect();
    let reviewers = Arc::new(Reviewers::new(reviewers, "no question is recorded"));
    let terms = Terms { timeout: TIMEOUT, second_look: true, ..Terms::default() };
    let desk = Desk::new(reviewers, terms, Ledger::in_memory());
    let errand = Errand {
        delivery: &delivery,
        repository: &inputs.repository,
        subject: "replay",
        purpose: Purpose::Review,
    };
    let now = examine(&desk, &errand, &inputs).await;
    let questions = replayed.map(|replayed| replayed.differences()).unwrap_or_default();
    let (not_made, (findings, fields)) = match now {
        Ok(now) => (None, compare::compare(&then, &now)?),
        Err(error) => (Some(error.to_string()), Default::default()),
    };
    Ok(Replay { delivery, not_made, questions, findings, fields })
}

/// The folder's own name.
pub fn name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn file(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(format!("{name}.json"))
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<T> {
    let path = file(folder, name);
    let shown = path.display();
    if name == RESULT && !path.exists() {
        ensure!(folder.is_dir(), "{} is no folder", folder.display());
        anyhow::bail!(
            "{shown} is missing: the recorded review came to no end, so there is nothing to compare"
        );
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{shown} is damaged, or was recorded by another version"))
}
