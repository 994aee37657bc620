//! How a review ends: the outcome, or what the queue is to do with the event.

use std::fmt;

use queue::{Finish, Verdict};
use serde_json::{Map, Value, json};
use shared::outcome::State;

use super::Review;
use super::made::Made;
use super::steps::Steps;
use crate::github::GithubError;
use crate::prompt::LeftOut;
use crate::reviewer::ReviewError;

/// Attempts after which a refusal of GitHub is believed; a new pull request may be unknown for a moment.
const MOST_REFUSED: u32 = 4;
/// Attempts after which an answer that cannot be used will not get better; about a quarter of an hour.
const MOST_UNEXPECTED: u32 = 10;

/// What became of telling the memory.
#[derive(Debug)]
pub(super) enum Remembered {
    /// It knows.
    Told,
    /// It was away, and will be told.
    Queued,
    /// It does not want to know; the text says why.
    Refused(String),
}

/// Why the journey stopped before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is nothing more to do.
    Finish(Finish),
    /// It may go better later.
    Retry(String),
    /// It never will.
    Dead(String),
    /// GitHub stands in the way.
    Github(GithubError),
    /// The reviewer brought no review.
    Ask(ReviewError),
    /// There is nobody to ask; the text says what to set.
    NoReviewer(String),
}

impl From<GithubError> for Stop {
    fn from(error: GithubError) -> Self {
        Self::Github(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finish(finish) => f.write_str(&finish.summary),
            Self::Retry(text) | Self::Dead(text) | Self::NoReviewer(text) => f.write_str(text),
            Self::Github(error) => error.fmt(f),
            Self::Ask(error) => error.fmt(f),
        }
    }
}

impl Review {
    /// What the queue is to do. A target that is away pauses the lane; one that is there and fails costs this event an
    /// attempt, so that a single bad pull request cannot hold up the others.
    pub(super) async fn verdict(&self, stop: Stop, attempt: u32) -> Verdict {
        match stop {
            Stop::Finish(finish) => done(finish),
            Stop::Retry(error) => Verdict::Retry { error, after: None },
            Stop::Dead(error) => Verdict::Dead { error },
            Stop::NoReviewer(reason) => Verdict::Away { reason },
            Stop::Ask(ReviewError::Retry { reason, after }) => Verdict::Retry { error: reason, after },
            Stop::Ask(ReviewError::Away { reason, hold }) => {
                self.desk.reviewers().gone(hold).await;
                Verdict::Away { reason }
            }
            Stop::Ask(ReviewError::Unusable(error)) => Verdict::Retry { error, after: None },
            Stop::Ask(error @ (ReviewError::NoReview(_) | ReviewError::TooLarge(_))) => {
                done(Finish::new(State::Failed.as_str(), format!("no review was made: {error}")))
            }
            Stop::Github(error) => self.github_verdict(error, attempt).await,
        }
    }

    async fn github_verdict(&self, error: GithubError, attempt: u32) -> Verdict {
        let text = error.to_string();
        let patience = match &error {
            GithubError::BadToken(_) => return Verdict::Away { reason: text },
            GithubError::RateLimited { retry_after } => {
                return Verdict::Retry { error: text, after: Some(*retry_after) };
            }
            GithubError::Unavailable(_) if self.github.probe().await.is_err() => {
                return Verdict::Away { reason: text };
            }
            GithubError::Unavailable(_) | GithubError::Broken(..) => u32::MAX,
            // 422: the head may have moved in this very moment, which the next attempt will see
            GithubError::NotFound(_) | GithubError::Unprocessable(_) => MOST_REFUSED,
            GithubError::Unexpected(_) => MOST_UNEXPECTED,
            GithubError::Forbidden(_) | GithubError::TooLarge => 0,
        };
        match error {
            _ if attempt < patience => Verdict::Retry { error: text, after: None },
            GithubError::NotFound(_) if !self.github.can_post() => {
                Verdict::Dead { error: format!("{text}; GITHUB_TOKEN is not set") }
            }
            _ => Verdict::Dead { error: text },
        }
    }
}

/// The end of an event, counted.
pub(super) fn done(finish: Finish) -> Verdict {
    metrics::counter!("reviews_total", "state" => finish.state.clone()).increment(1);
    tracing::info!(state = finish.state, summary = finish.summary, url = finish.url, "ended");
    Verdict::Done(finish)
}

pub(super) fn skipped(reason: impl Into<String>) -> Finish {
    Finish::new(State::Skipped.as_str(), reason)
}

pub(super) fn over_budget(reason: &str) -> Finish {
    skipped(format!("not reviewed, since {reason}"))
}

pub(super) fn superseded(head: &str) -> Finish {
    let head = head.get(..7).unwrap_or(head);
    Finish::new(State::Superseded.as_str(), format!("the pull request has a newer head, {head}"))
}

pub(super) fn already(url: String) -> Finish {
    Finish { url: Some(url), ..Finish::new(State::Completed.as_str(), "this head is already reviewed") }
}

pub(super) fn nothing_to_review(left_out: &[LeftOut]) -> Finish {
    let summary = match left_out {
        [] => "the change is empty".to_owned(),
        [one] => format!("nothing to review: {} ({})", one.path, one.reason),
        [first, rest @ ..] => {
            format!("nothing to review: {} ({}) and {} more files", first.path, first.reason, rest.len())
        }
    };
    let mut finish = match left_out.iter().any(|left| left.is_gap) {
        true => Finish::new(State::Failed.as_str(), summary),
        false => skipped(summary),
    };
    finish.detail.insert("not_reviewed".to_owned(), not_reviewed(left_out));
    finish
}

/// The outcome of a review that was made. It is complete only if all of it was done.
pub(super) fn finish(made: &Made, steps: &Steps, can_post: bool, remembered: &Remembered) -> Finish {
    let (inline, total) = (made.anchored.inline.len(), made.findings().count());
    let mut parts = vec![match total {
        0 => "reviewed, no findings".to_owned(),
        1 => "reviewed, 1 finding".to_owned(),
        _ => format!("reviewed, {total} findings"),
    }];
    let mut missing = Vec::new();
    match &made.posted {
        Some(posted) if posted.refused_inline => {
            parts.push("GitHub refused the inline comments, so all findings stand in the body".to_owned());
        }
        Some(_) => {}
        None if !made.is_worth_posting() => parts.push("nothing worth a comment".to_owned()),
        None if can_post => {}
        None => missing.push("made and remembered, not posted: set GITHUB_TOKEN".to_owned()),
    }
    let gaps = made.left_out.iter().filter(|left| left.is_gap).count();
    if gaps > 0 {
        missing.push(format!("{gaps} files were not reviewed, or not whole"));
    }
    match remembered {
        Remembered::Told => {}
        Remembered::Queued => parts.push("the memory is told later".to_owned()),
        Remembered::Refused(error) => missing.push(format!("not remembered: {error}")),
    }
    let state = if missing.is_empty() { State::Completed } else { State::Partial };
    parts.append(&mut missing);
    let mut finish = Finish::new(state.as_str(), parts.join("; "));
    finish.url = made.posted.as_ref().map(|posted| posted.url.clone());
    finish.detail = detail(made, steps, inline, total);
    let word = match remembered {
        Remembered::Told => "told",
        Remembered::Queued => "queued",
        Remembered::Refused(_) => "refused",
    };
    finish.detail.insert("remembered".to_owned(), word.into());
    finish
}

fn detail(made: &Made, steps: &Steps, inline: usize, total: usize) -> Map<String, Value> {
    let mut milliseconds = made.milliseconds.clone();
    milliseconds.extend(steps.milliseconds().clone());
    let detail = json!({
        "reviewer": made.reviewer,
        "model": made.model,
        "instead": made.label,
        "verdict": made.review.opinion,
        "head_sha": made.head,
        "posted": made.posted.is_some(),
        "findings": {"total": total, "inline": inline, "body": total - inline},
        "tokens": {"input": made.usage.input_tokens, "output": made.usage.output_tokens, "cached": made.usage.cached_tokens},
        "milliseconds": milliseconds,
        "recalled": made.recalled,
        "recall_error": made.recall_error,
        "not_reviewed": not_reviewed(&made.left_out),
    });
    match detail {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn not_reviewed(left_out: &[LeftOut]) -> Value {
    left_out.iter().take(100).map(|left| json!({"path": left.path, "reason": left.reason})).collect()
}
