//! What becomes of one event: a review of a pull request's head or of a push, or the answer to a comment.
//!
//! Each step can be the last before a `kill -9`. What the model said is kept before anything is posted, so that it is
//! not paid for twice; what was posted is found again by its marker, so that it is not posted twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use queue::{Finish, Handler, Lease, Queue, Verdict};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::event::{Envelope, Subject};
use shared::memory::Update;
use shared::trace::{self, TraceParent};
use tokio::sync::Mutex;

use crate::config::Limits;
use crate::desk::Desk;
use crate::github::Github;
use crate::marker::Marker;
use crate::memory::Memory;
use crate::project::Wishes;
use crate::{remember, second_look};

mod ask;
mod context;
mod ending;
mod handoff;
mod made;
mod publish;
mod pull;
mod push;
mod status;
mod steps;
mod talk;

use ending::{Remembered, Stop};
pub use handoff::Handoff;
use made::{Made, Progress};
use steps::Steps;

/// Reviews what comes out of the queue.
#[derive(Debug)]
pub struct Review {
    queue: Queue,
    github: Github,
    memory: Memory,
    desk: Arc<Desk>,
    marker: Marker,
    limits: Limits,
    handoff: Handoff,
    /// Held from looking for our own review until it is posted, so that no two find nothing and both post.
    posting: Mutex<()>,
}

/// One event on its way through the steps.
struct Journey<'a> {
    lease: &'a Lease,
    event: &'a Envelope,
    repository: &'a str,
    steps: Steps,
    /// Answers that were paid for and of no use, in all attempts.
    paid: u32,
    /// What the project wants otherwise than the service is configured, once it is known.
    wishes: Wishes,
}

impl Review {
    /// A handler for the queue's worker.
    pub fn new(
        queue: Queue,
        github: Github,
        memory: Memory,
        desk: Arc<Desk>,
        marker: Marker,
        limits: Limits,
    ) -> Self {
        Self { queue, github, memory, desk, marker, limits, handoff: Handoff::Off, posting: Mutex::default() }
    }

    /// With somebody who asks Jules to fix what was found.
    #[must_use]
    pub fn with_handoff(self, handoff: Handoff) -> Self {
        Self { handoff, ..self }
    }

    /// The longest that one event may take: its questions, and what GitHub and the memory need around them.
    pub fn longest(limits: Limits) -> Duration {
        let questions = u32::try_from(limits.most_prompts).unwrap_or(u32::MAX);
        limits.timeout.saturating_mul(questions) + second_look::LONGEST + Duration::from_secs(300)
    }

    async fn event(&self, lease: &Lease) -> Result<Finish, Stop> {
        let event: Envelope = serde_json::from_slice(&lease.job().payload)
            .map_err(|error| Stop::Dead(format!("the stored event cannot be read: {error}")))?;
        let Some(repository) = &event.repository else {
            return Ok(ending::skipped("the event belongs to no repository"));
        };
        let steps = Steps::new(&event.id, &repository.full_name);
        let Progress { paid, made } = progress(lease);
        let mut journey = Journey {
            lease,
            event: &event,
            repository: &repository.full_name,
            steps,
            paid,
            wishes: Wishes::default(),
        };
        match &event.subject {
            Subject::PullRequest(pr) => self.pull_request(&mut journey, pr, made).await,
            Subject::Push(push) => self.push(&mut journey, push, &repository.default_branch, made).await,
            Subject::Comment(comment) => self.comment(&mut journey, comment).await,
            Subject::Other => Ok(ending::skipped(format!("`{}` brings no code to review", event.event))),
        }
    }

    /// What the memory cannot be told now waits in a lane of its own, so that nothing else waits for it.
    async fn remember(&self, journey: &mut Journey<'_>, update: &Update) -> Result<Remembered, Stop> {
        let remembering = self.memory.remember(update);
        match journey.steps.run("remember", "remembered", remembering).await {
            Ok(()) => Ok(Remembered::Told),
            Err(error) if error.is_final() => Ok(Remembered::Refused(error.to_string())),
            Err(_) => {
                let waiting = remember::delivery(journey.lease.job(), update)
                    .map_err(|error| Stop::Dead(error.to_string()))?;
                self.queue.put(waiting).await.map_err(|error| Stop::Retry(error.to_string()))?;
                Ok(Remembered::Queued)
            }
        }
    }
}

/// What an earlier attempt left behind. Of one by another release perhaps only what was paid can be read; the review is
/// then made anew, and what is posted already is found by its markers.
fn progress<M: DeserializeOwned>(lease: &Lease) -> Progress<M> {
    kept(lease.job().checkpoint.as_deref().unwrap_or_default())
}

fn kept<M: DeserializeOwned>(checkpoint: &[u8]) -> Progress<M> {
    let Progress { paid, made }: Progress<Value> = serde_json::from_slice(checkpoint).unwrap_or_default();
    Progress { paid, made: made.and_then(|made| serde_json::from_value(made).ok()) }
}

impl Journey<'_> {
    /// Keeps what was made and paid for, for the next attempt.
    async fn keep(&self, mut made: Option<&mut Made>) -> Result<(), Stop> {
        if let Some(made) = &mut made {
            made.milliseconds.extend(self.steps.milliseconds().clone());
        }
        self.checkpoint(&Progress { paid: self.paid, made }).await
    }

    async fn checkpoint(&self, progress: &impl Serialize) -> Result<(), Stop> {
        let state = serde_json::to_vec(progress).map_err(|error| Stop::Dead(error.to_string()))?;
        self.lease.checkpoint(state).await.map_err(|error| Stop::Retry(error.to_string()))
    }
}

#[async_trait]
impl Handler for Review {
    async fn handle(&self, lease: &Lease) -> Verdict {
        let reviewing = async {
            match self.event(lease).await {
                Ok(finish) => ending::done(finish),
                Err(stop) => self.verdict(stop, lease.job().attempt).await,
            }
        };
        trace::within(TraceParent::of_envelope(&lease.job().payload), reviewing).await
    }

    async fn probe(&self) -> bool {
        self.desk.reviewers().is_back().await && self.github.probe().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_another_release_is_not_guessed_at() {
        let other =
            br#"{"paid": 2, "made": {"repository": "o/r", "head": "abc", "review": {"findings": []}}}"#;
        let Progress { paid, made } = kept::<Made>(other);
        assert_eq!((paid, made.is_none()), (2, true));
        for garbage in ["", "[]", "{}", "\u{0}", r#"{"paid": -1}"#, r#"{"made": {"posted": true}}"#] {
            let Progress { paid, made } = kept::<Made>(garbage.as_bytes());
            assert_eq!((paid, made.is_none()), (0, true), "{garbage}");
        }
    }
}
