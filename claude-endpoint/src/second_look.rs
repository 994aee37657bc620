//! A second look at each finding before it is posted: a separate, cheaper question that sees the code and the claim, and
//! tries to refute it. What does not hold is dropped; what is too loud is lowered. Where it cannot be asked, the finding
//! stays as it is: a doubt that nobody looked into is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::desk::{Desk, Errand, Purpose};
use crate::reviewer::{Question, Reply, ReviewError, Reviewer, Usage};
use crate::text::shorten;
use crate::verdict::{Finding, Severity};

mod check;

use check::Fate;

/// Findings that are checked, the most severe first.
pub const MOST: usize = 20;
/// Checks under way at a time.
const CONCURRENCY: usize = 4;
/// For all of them together; what is unchecked then stays so.
pub const LONGEST: Duration = Duration::from_secs(120);
/// Room for a reason.
const MOST_OUTPUT_TOKENS: u32 = 2_000;

/// What the second look at a review's findings came to, for the outcome's detail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondLook {
    /// Findings with an answer: kept, lowered and dropped ones.
    pub checked: usize,
    /// Findings that hold as they are.
    pub kept: usize,
    /// Findings that do not hold.
    pub dropped: Vec<Dropped>,
    /// Findings that were too loud.
    pub lowered: Vec<Lowered>,
    /// Findings that stay as they are because nobody was asked, or no usable answer came.
    pub unchecked: usize,
    /// Why, for the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The model that was asked.
    pub model: Option<String>,
    /// Tokens of all answers together.
    pub usage: Usage,
}

/// A finding that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its title.
    pub title: String,
    /// Its file.
    pub path: String,
    /// Why it does not hold.
    pub reason: String,
}

/// A finding that was too loud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    /// Its title.
    pub title: String,
    /// Its file.
    pub path: String,
    /// What it was claimed to be.
    pub from: Severity,
    /// What it is now.
    pub to: Severity,
    /// Why.
    pub reason: String,
}

/// What one check brought.
enum Checked {
    Answer(Reply, check::Verdict),
    Nothing(Option<ReviewError>),
}

/// Looks at `findings` a second time, unless that is switched off; `code` is the text around one of them, numbered as in
/// the prompt. The order stays.
pub async fn second_look(
    desk: &Desk,
    errand: &Errand<'_>,
    reviewer: &Arc<dyn Reviewer>,
    findings: Vec<Finding>,
    code: impl Fn(&Finding) -> String,
) -> (Vec<Finding>, SecondLook) {
    if !desk.takes_second_looks() || findings.is_empty() {
        let unchecked = findings.len();
        return (findings, SecondLook { unchecked, ..SecondLook::default() });
    }
    let reviewer = reviewer.cheaper().unwrap_or_else(|| Arc::clone(reviewer));
    let questions: Vec<(usize, String)> = chosen(&findings)
        .into_iter()
        .map(|i| (i, check::question(&findings[i], &code(&findings[i]))))
        .collect();
    let errand = Errand { purpose: Purpose::SecondLook, ..*errand };
    let asked = Asked {
        desk,
        errand,
        reviewer: &*reviewer,
        schema: check::schema(),
        until: Instant::now() + LONGEST,
        is_away: AtomicBool::new(false),
    };
    let asked = &asked;
    let checks = stream::iter(questions).map(|(i, user)| async move { (i, asked.check(&user).await) });
    let mut checks: Vec<(usize, Checked)> = checks.buffer_unordered(CONCURRENCY).collect().await;
    checks.sort_by_key(|(i, _)| *i);
    let model = reviewer.model().to_owned();
    settle(findings, checks, model)
}

/// The most severe, by their places.
fn chosen(findings: &[Finding]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..findings.len()).collect();
    places.sort_by_key(|&i| findings[i].severity);
    places.truncate(MOST);
    places
}

/// What all checks of a review share.
struct Asked<'a> {
    desk: &'a Desk,
    errand: Errand<'a>,
    reviewer: &'a dyn Reviewer,
    schema: serde_json::Value,
    until: Instant,
    /// The back end is away: the others need not find out again.
    is_away: AtomicBool,
}

impl Asked<'_> {
    async fn check(&self, user: &str) -> Checked {
        if self.is_away.load(Ordering::Relaxed) || Instant::now() >= self.until {
            return Checked::Nothing(None);
        }
        let question = Question {
            system: check::INSTRUCTIONS,
            user,
            schema: &self.schema,
            check: &|text| check::parse(text).map(drop),
            most_output_tokens: MOST_OUTPUT_TOKENS,
        };
        match self.desk.ask_until(&self.errand, self.reviewer, &question, self.until).await {
            Ok(reply) => match check::parse(&reply.text) {
                Ok(verdict) => Checked::Answer(reply, verdict),
                Err(reason) => Checked::Nothing(Some(ReviewError::Unusable(reason))),
            },
            Err(error) => {
                if matches!(error, ReviewError::Away { .. }) {
                    self.is_away.store(true, Ordering::Relaxed);
                }
                Checked::Nothing(Some(error))
            }
        }
    }
}

/// Carries the answers out. `checks` are in the order of the findings.
fn settle(
    findings: Vec<Finding>,
    checks: Vec<(usize, Checked)>,
    model: String,
) -> (Vec<Finding>, SecondLook) {
    let mut look = SecondLook { model: Some(model), ..SecondLook::default() };
    let mut checks = checks.into_iter().peekable();
    let mut kept = Vec::with_capacity(findings.len());
    for (place, mut finding) in findings.into_iter().enumerate() {
        match checks.next_if(|(i, _)| *i == place).map(|(_, checked)| checked) {
            Some(Checked::Answer(reply, verdict)) => {
                look.checked += 1;
                look.usage += reply.usage;
                look.model = Some(reply.model);
                if look.carry_out(&mut finding, verdict) {
                    kept.push(finding);
                }
            }
            nothing => {
                look.unchecked += 1;
                if let (None, Some(Checked::Nothing(Some(error)))) = (&look.error, nothing) {
                    look.error = Some(shorten(&error.to_string(), 300));
                }
                kept.push(finding);
            }
        }
    }
    (kept, look)
}

impl SecondLook {
    /// Whether the finding stays.
    fn carry_out(&mut self, finding: &mut Finding, verdict: check::Verdict) -> bool {
        let (title, path, reason) = (finding.title.clone(), finding.path.clone(), verdict.reason.clone());
        match check::fate(finding.severity, &verdict) {
            Fate::Kept => self.kept += 1,
            Fate::Lowered(to) => {
                self.lowered.push(Lowered { title, path, from: finding.severity, to, reason });
                finding.severity = to;
            }
            Fate::Dropped => {
                self.dropped.push(Dropped { title, path, reason });
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
#[path = "second_look_tests.rs"]
pub(crate) mod tests;
