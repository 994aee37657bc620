//! Who reviews: one trait, three back ends, and the choice among them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use shared::error::chain;

use crate::prompt::Prompt;
use crate::verdict::Review;

pub mod anthropic;
pub mod claude_cli;
pub mod ollama;

/// How long a choice stands before it is made again: somebody may log in, or start Ollama.
const CHOICE_STANDS: Duration = Duration::from_secs(30);

/// A back end that can review.
#[async_trait]
pub trait Reviewer: Send + Sync + fmt::Debug {
    /// As in `REVIEWER`.
    fn name(&self) -> &'static str;

    /// The model that is asked.
    fn model(&self) -> &str;

    /// The longest prompt it takes, in tokens.
    fn most_tokens(&self) -> usize;

    /// Whether it could be asked now; cheap.
    ///
    /// # Errors
    /// What is missing and what to do about it.
    async fn ready(&self) -> Result<(), String>;

    /// Asks for a review.
    ///
    /// # Errors
    /// [`ReviewError`].
    async fn ask(&self, prompt: &Prompt) -> Result<Answer, ReviewError>;
}

/// A review and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The validated review.
    pub review: Review,
    /// The model that answered.
    pub model: String,
    /// Tokens, as far as the back end tells.
    pub usage: Usage,
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
}

/// Why there is no review.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
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

/// Stop reasons that mean there is no whole answer.
fn check_stop(reason: Option<&str>) -> Result<(), ReviewError> {
    match reason {
        Some("refusal") => Err(ReviewError::NoReview("the model refused to review this change".to_owned())),
        Some("max_tokens" | "length") => {
            Err(ReviewError::NoReview("the model's answer was cut off; it is not a review".to_owned()))
        }
        Some("model_context_window_exceeded") => {
            Err(ReviewError::TooLarge("the change does not fit the model's context window".to_owned()))
        }
        _ => Ok(()),
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
