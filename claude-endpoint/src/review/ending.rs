//! How a review ends: the outcome, or what the queue is to do with the event.

use std::fmt;

use queue::{Finish, Verdict};
use serde_json::{Map, Value, json};
use shared::outcome::State;

use super::Review;
use super::made::Made;
use super::steps::Steps;
use crate::earlier;
use crate::examine::Examined;
use crate::github::GithubError;
use crate::prompt::LeftOut;
use crate::reviewer::ReviewError;
use crate::status::Came;

/// Attempts after which a refusal of GitHub is believed; a new pull request may be unknown for a moment.
const MOST_REFUSED: u32 = 4;
/// Attempts after which an answer that cannot be used will not get better; about a quarter of an hour.
const MOST_UNEXPECTED: u32 = 10;
const NOT_POSTED: &str = "made and remembered, not posted: set GITHUB_TOKEN, or GITHUB_APP_ID with its key";

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
    /// This head was reviewed before, and this is what it came to.
    Already(Box<Finish>, Came),
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
            Self::Already(finish, _) => f.write_str(&finish.summary),
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
            Stop::Already(finish, _) => done(*finish),
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
        match error {
            GithubError::BadToken(_) => Verdict::Away { reason: text },
            GithubError::RateLimited { retry_after } => {
                Verdict::Retry { error: text, after: Some(retry_after) }
            }
            GithubError::Unavailable(_) if self.github.probe().await.is_err() => {
                Verdict::Away { reason: text }
            }
            error if attempt < patience(&error) => Verdict::Retry { error: text, after: None },
            GithubError::NotFound(_) if !self.github.can_post() => {
                Verdict::Dead { error: format!("{text}; GITHUB_TOKEN is not set") }
            }
            _ => Verdict::Dead { error: text },
        }
    }
}

/// Attempts until an error of GitHub's is believed.
fn patience(error: &GithubError) -> u32 {
    match error {
        GithubError::BadToken(_)
        | GithubError::RateLimited { .. }
        | GithubError::Unavailable(_)
        | GithubError::Broken(..) => u32::MAX,
        // 422: the head may have moved in this very moment, which the next attempt will see
        GithubError::NotFound(_) | GithubError::Unprocessable(_) => MOST_REFUSED,
        GithubError::Unexpected(_) => MOST_UNEXPECTED,
        GithubError::Forbidden(_) | GithubError::TooLarge => 0,
    }
}

/// Whether what failed beside a review is worth another attempt, of which there are not many for that.
pub(super) fn may_pass(error: &GithubError, attempt: u32) -> bool {
    patience(error) == u32::MAX && attempt < MOST_REFUSED
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

/// A head that nobody wants reviewed, which its status need not say.
pub(super) fn unwanted(reason: impl Into<String>) -> Finish {
    let mut finish = skipped(reason);
    finish.detail.insert("status".to_owned(), "none wanted".into());
    finish
}

pub(super) fn superseded(newer: &str) -> Finish {
    let short = newer.get(..7).unwrap_or(newer);
    let mut finish =
        Finish::new(State::Superseded.as_str(), format!("the pull request has a newer head, {short}"));
    finish.detail.insert("newer_head".to_owned(), newer.into());
    finish
}

pub(super) fn already(url: String, state: &earlier::State) -> Stop {
    let finish =
        Finish { url: Some(url), ..Finish::new(State::Completed.as_str(), "this head is already reviewed") };
    Stop::Already(Box::new(finish), came(state, &Remembered::Told))
}

/// What the status of a reviewed head says: earlier findings that are open count as well.
pub(super) fn came(state: &earlier::State, remembered: &Remembered) -> Came {
    let open = state.open().map(|told| told.severity).sum();
    let lacking = match remembered {
        Remembered::Told | Remembered::Queued => vec![],
        Remembered::Refused(_) => vec!["not remembered".to_owned()],
    };
    Came::Reviewed { open, gaps: state.gaps, lacking }
}

/// Why there will be no review, where trying again would not help.
pub(super) fn final_reason(stop: &Stop, attempt: u32) -> Option<String> {
    match stop {
        Stop::Dead(reason) => Some(reason.clone()),
        Stop::Github(error) if attempt >= patience(error) => Some(error.to_string()),
        Stop::Ask(error @ (ReviewError::NoReview(_) | ReviewError::TooLarge(_))) => Some(error.to_string()),
        _ => None,
    }
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
pub(super) fn finish(made: &Made, steps: &Steps, posting: Posting, remembered: &Remembered) -> Finish {
    let mut parts = vec![found(made)];
    parts.extend(made.examined.label.clone());
    let mut missing = Vec::new();
    match (&made.posted, posting) {
        (Some(posted), _) if posted.refused_inline => {
            parts.push("GitHub refused the inline comments, so all findings stand in the body".to_owned());
        }
        (Some(_), _) | (None, Posting::Wanted) => {}
        (None, Posting::NotWorthIt) => parts.push("nothing worth a comment".to_owned()),
        (None, Posting::Impossible) => missing.push(NOT_POSTED.to_owned()),
    }
    match made.gaps() {
        0 => {}
        1 => missing.push("1 file was not reviewed, or not whole".to_owned()),
        gaps => missing.push(format!("{gaps} files were not reviewed, or not whole")),
    }
    let word = match remembered {
        Remembered::Told => "told",
        Remembered::Queued => {
            parts.push("the memory is told later".to_owned());
            "queued"
        }
        Remembered::Refused(error) => {
            missing.push(format!("not remembered: {error}"));
            "refused"
        }
    };
    let state = if missing.is_empty() { State::Completed } else { State::Partial };
    parts.append(&mut missing);
    let mut finish = Finish::new(state.as_str(), parts.join("; "));
    finish.url = made.posted.as_ref().map(|posted| posted.url.clone());
    finish.detail = detail(made, steps);
    finish.detail.insert("remembered".to_owned(), word.into());
    finish
}

/// Whether a review can and should be posted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Posting {
    /// It should be.
    Wanted,
    /// Nothing in it is bad enough.
    NotWorthIt,
    /// There is nobody as whom to post.
    Impossible,
}

fn found(made: &Made) -> String {
    let mut words = match made.findings().count() {
        0 => "reviewed, no findings".to_owned(),
        1 => "reviewed, 1 finding".to_owned(),
        total => format!("reviewed, {total} findings"),
    };
    let Examined { fixed, repeated, settled, .. } = &made.examined;
    if !fixed.is_empty() {
        words.push_str(&format!(", {} fixed", fixed.len()));
    }
    if repeated + settled > 0 {
        words.push_str(&format!(", {} not told again", repeated + settled));
    }
    words
}

fn detail(made: &Made, steps: &Steps) -> Map<String, Value> {
    let mut milliseconds = made.milliseconds.clone();
    milliseconds.extend(steps.milliseconds().clone());
    let examined = &made.examined;
    let (inline, on_files) = (examined.anchored.inline.len(), examined.anchored.file.len());
    let detail = json!({
        "reviewer": examined.reviewer,
        "model": examined.model,
        "instead": examined.label,
        "verdict": examined.review.opinion,
        "head_sha": made.head,
        "posted": made.posted.is_some(),
        "provenance": made.provenance,
        "handed_over": made.handed_over,
        "round": made.state.rounds,
        "findings": {
            "total": made.findings().count(), "inline": inline, "file": on_files,
            "body": examined.anchored.body.len(), "fixed": examined.fixed.len(),
            "told_before": examined.repeated, "about_reviewed_code": examined.settled,
            "open": made.state.open().count(), "threads_resolved": made.resolved,
        },
        "second_look": examined.second_look,
        "questions": examined.questions,
        "tokens": {
            "input": examined.usage.input_tokens, "output": examined.usage.output_tokens,
            "cached": examined.usage.cached_tokens,
        },
        "prompt_overhead_percent": examined.overhead.percent(),
        "milliseconds": milliseconds,
        "recalled": made.recalled,
        "recall_error": made.recall_error,
        "not_reviewed": not_reviewed(&examined.left_out),
    });
    match detail {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn not_reviewed(left_out: &[LeftOut]) -> Value {
    left_out.iter().take(100).map(|left| json!({"path": left.path, "reason": left.reason})).collect()
}
