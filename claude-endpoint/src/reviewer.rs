//! Who answers questions about code: one trait, three back ends, and the choice among them.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use queue::Schedule;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use shared::doctor::Finding;
use shared::error::chain;

pub mod anthropic;
pub mod claude_cli;
pub mod ollama;
pub mod replayed;

/// Attempts at one question; the queue's own schedule follows.
const ATTEMPTS: u32 = 3;
/// How long a choice stands before it is made again: somebody may log in, or start Ollama.
const CHOICE_STANDS: Duration = Duration::from_secs(30);

/// A back end that answers structured questions.
#[async_trait]
pub trait Reviewer: Send + Sync + fmt::Debug {
    /// As in `REVIEWER`.
    fn name(&self) -> &'static str;

    /// The model that is asked.
    fn model(&self) -> &str;

    /// The longest prompt it takes, in tokens.
    fn most_tokens(&self) -> usize;

    /// Whether its answers cost nothing.
    fn is_free(&self) -> bool {
        false
    }

    /// The same back end with a cheaper model, if there is one.
    fn cheaper(&self) -> Option<Arc<dyn Reviewer>> {
        None
    }

    /// Whether it could be asked now; cheap.
    ///
    /// # Errors
    /// What is missing and what to do about it.
    async fn ready(&self) -> Result<(), String>;

    /// What a doctor finds, who asks nothing that costs, and `offline` nobody on the internet.
    async fn examine(&self, _offline: bool) -> Vec<Finding> {
        vec![match self.ready().await {
            Ok(()) => Finding::ok("ready", format!("with {}", self.model())),
            Err(reason) => Finding::fail("ready", reason, "what stands there"),
        }]
    }

    /// Asks one question. The answer has passed the question's check.
    ///
    /// # Errors
    /// [`Failed`].
    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed>;
}

/// A question with a structured answer.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Stable instructions: the part that is worth caching.
    pub system: &'a str,
    /// What the question is about.
    pub user: &'a str,
    /// JSON Schema of the answer.
    pub schema: &'a Value,
    /// Refuses an answer that is of no use, and says why.
    pub check: &'a Check,
    /// The longest answer.
    pub most_output_tokens: u32,
}

/// As in [`Question::check`].
pub type Check = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, user, schema, most_output_tokens, check: _ } = self;
        let mut shown = f.debug_struct("Question");
        shown.field("system", system).field("user", user).field("schema", schema);
        shown.field("most_output_tokens", most_output_tokens).finish_non_exhaustive()
    }
}

/// An answer and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// JSON that fits the schema.
    pub text: String,
    /// The model that answered.
    pub model: String,
    /// Tokens, as far as the back end tells.
    pub usage: Usage,
    /// What it cost, where the back end itself tells.
    pub cost_usd: Option<f64>,
}

/// A question without a usable answer.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{error}")]
pub struct Failed {
    /// Why.
    pub error: ReviewError,
    /// The answer of no use that was paid for all the same, if one came.
    pub paid: Option<Box<Reply>>,
}

impl From<ReviewError> for Failed {
    fn from(error: ReviewError) -> Self {
        Self { error, paid: None }
    }
}

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, without cached ones.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub output_tokens: u64,
    /// Tokens read from the prompt cache.
    #[serde(default, rename = "cache_read_input_tokens")]
    pub cached_tokens: u64,
    /// Tokens read and written to the prompt cache, which costs more than only reading them.
    #[serde(default, rename = "cache_creation_input_tokens")]
    pub cache_write_tokens: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cached_tokens += other.cached_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Error, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewError {
    /// It may go better later.
    #[error("{reason}")]
    Retry {
        /// What happened.
        reason: String,
        /// The wait that was asked for.
        after: Option<Duration>,
    },
    /// It was asked, and what came back is of no use. Each time costs, so it is asked a few times only.
    #[error("{0}")]
    Unusable(String),
    /// The back end cannot be used at all; events wait for it.
    #[error("{reason}")]
    Away {
        /// What is missing and what to do about it.
        reason: String,
        /// How long to leave it alone where only asking would tell whether it is back.
        hold: Duration,
    },
    /// The model refused or was cut off, or the request is not allowed: asking again would bring the same.
    #[error("{0}")]
    NoReview(String),
    /// The prompt is too long for the model.
    #[error("{0}")]
    TooLarge(String),
}

impl ReviewError {
    /// Retry on the queue's schedule.
    pub(crate) fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }

    /// Away; [`Reviewer::ready`] tells when it is back.
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self::Away { reason: reason.into(), hold: Duration::ZERO }
    }

    /// Away, and only the next question would tell whether it is back: one a minute.
    pub(crate) fn denied(reason: impl Into<String>) -> Self {
        Self::Away { reason: reason.into(), hold: Duration::from_secs(60) }
    }
}

/// The reviewers that the configuration allows, best first, and the one in use.
#[derive(Debug)]
pub struct Reviewers {
    candidates: Vec<Arc<dyn Reviewer>>,
    hint: &'static str,
    state: Mutex<State>,
    known: watch::Sender<Option<Choice>>,
}

#[derive(Debug, Default)]
struct State {
    choice: Option<(Instant, Choice)>,
    held_until: Option<Instant>,
}

impl State {
    fn standing(&self) -> Option<&Choice> {
        let (made, choice) = self.choice.as_ref()?;
        (made.elapsed() < CHOICE_STANDS).then_some(choice)
    }
}

/// Who is asked, or what to set or start.
pub type Choice = Result<Arc<dyn Reviewer>, String>;

impl Reviewers {
    /// The first of `candidates` that is ready is asked; `hint` says what else could be set when none is.
    pub fn new(candidates: Vec<Arc<dyn Reviewer>>, hint: &'static str) -> Self {
        Self { candidates, hint, state: Mutex::default(), known: watch::Sender::default() }
    }

    /// All of them, best first.
    pub fn candidates(&self) -> &[Arc<dyn Reviewer>] {
        &self.candidates
    }

    /// What else could be set when none is ready; may be empty.
    pub fn hint(&self) -> &'static str {
        self.hint
    }

    /// The reviewer to ask now.
    ///
    /// # Errors
    /// What to set or start.
    pub async fn current(&self) -> Choice {
        let mut state = self.state.lock().await;
        if let Some(choice) = state.standing() {
            return choice.clone();
        }
        let choice = self.choose().await;
        state.choice = Some((Instant::now(), choice.clone()));
        self.known.send_replace(Some(choice.clone()));
        choice
    }

    /// What the last choice came to, at once; `None` before the first.
    pub fn known(&self) -> Option<Choice> {
        self.known.borrow().clone()
    }

    /// Makes the choice again in the background if it is time, and nobody is at it.
    pub fn refresh(self: &Arc<Self>) {
        if self.state.try_lock().is_ok_and(|state| state.standing().is_none()) {
            let reviewers = Arc::clone(self);
            tokio::spawn(async move { reviewers.current().await });
        }
    }

    async fn choose(&self) -> Choice {
        let mut missing = Vec::new();
        for candidate in &self.candidates {
            match candidate.ready().await {
                Ok(()) => return Ok(Arc::clone(candidate)),
                Err(reason) => missing.push(format!("{}: {reason}", candidate.name())),
            }
        }
        missing.extend((!self.hint.is_empty()).then(|| self.hint.to_owned()));
        Err(format!("no reviewer can be asked, events wait: {}", missing.join("; ")))
    }

    /// The reviewer turned out to be away: choose anew, but not before `hold`.
    pub async fn gone(&self, hold: Duration) {
        let mut state = self.state.lock().await;
        state.choice = None;
        state.held_until = Some(Instant::now() + hold);
    }

    /// Whether it makes sense to ask again.
    pub async fn is_back(&self) -> bool {
        let mut state = self.state.lock().await;
        if state.held_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        state.choice = None;
        drop(state);
        self.current().await.is_ok()
    }
}

/// An answer as it came: whole, and of use by the question's check.
fn usable(reply: Reply, stop_reason: Option<&str>, question: &Question<'_>) -> Result<Reply, Failed> {
    let checked =
        check_stop(stop_reason).and_then(|()| (question.check)(&reply.text).map_err(ReviewError::Unusable));
    match checked {
        Ok(()) => Ok(reply),
        Err(error) => Err(Failed { error, paid: Some(Box::new(reply)) }),
    }
}

/// Stop reasons that mean there is no whole answer.
fn check_stop(reason: Option<&str>) -> Result<(), ReviewError> {
    match reason {
        Some("refusal") => Err(ReviewError::NoReview("the model refused to answer".to_owned())),
        Some("max_tokens" | "length") => {
            Err(ReviewError::NoReview("the model's answer was cut off; half of one is of no use".to_owned()))
        }
        Some("model_context_window_exceeded") => {
            Err(ReviewError::TooLarge("the question does not fit the model's context window".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The waits between attempts.
fn backoff() -> Schedule {
    Schedule {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(8),
        give_up_after: Duration::MAX,
        fewest_attempts: 0,
    }
}

/// A whole body of at most `limit` bytes.
async fn read(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(format!("the reviewer's answer is longer than {limit} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => {
                return Err(format!("the reviewer's answer broke off: {}", chain(&error.without_url())));
            }
        }
    }
}

#[cfg(test)]
#[path = "reviewer_tests.rs"]
mod tests;
