//! recall → ask: from the diff to a review, and what the questions cost.

use std::time::Duration;

use shared::memory::Hit;

use super::ending::{self, Stop};
use super::made::{Asked, Made, Topic};
use super::{Journey, Review};
use crate::diff::{self, Diff};
use crate::memory::MemoryError;
use crate::prompt;
use crate::reviewer::ReviewError;

/// Memories in one prompt.
const MOST_MEMORIES: usize = 8;
/// Marks a memory that was made of what a stranger wrote.
const UNTRUSTED: &str = "(untrusted, from a fork)";
/// In tokens; a model that finds this too long is not asked with less.
const SMALLEST_BUDGET: usize = 8_000;
/// A reviewer that knows the deadline tells more about it than we can.
const GRACE: Duration = Duration::from_secs(5);
const TOO_LATE: &str = "the reviewer did not answer in time; REVIEW_TIMEOUT allows more";
/// Answers of no use after which an event ends: each was paid for.
const MOST_PAID: u32 = 4;

impl Review {
    /// Asks with what is known about the change.
    pub(super) async fn ask(
        &self,
        journey: &mut Journey<'_>,
        topic: &Topic,
        diff: &Diff,
    ) -> Result<Made, Stop> {
        let recalling = self.recall(topic, diff, &journey.event.id);
        let recalled = journey.steps.run("recall", "memory recalled", recalling).await;
        let (memories, recall_error) = match recalled {
            Ok(memories) => (memories, None),
            // a review without memories is better than none
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let asking = self.question(topic, &memories, diff);
        let asked = match journey.steps.run("ask", "review made", asking).await {
            Ok(asked) => asked,
            Err(stop) => return Err(journey.paid_for(stop).await),
        };
        let mut made = Made::new(journey.event, topic, asked, diff, &memories);
        made.recall_error = recall_error;
        Ok(made)
    }

    /// What is known about the change; not what this very event has just told the memory.
    async fn recall(&self, topic: &Topic, diff: &Diff, delivery: &str) -> Result<Vec<String>, MemoryError> {
        let paths = diff.files.iter().map(diff::File::path);
        let query = std::iter::once(topic.title.as_str()).chain(paths).collect::<Vec<_>>().join(" ");
        let hits = self.memory.recall(&topic.repository, &query, MOST_MEMORIES).await?;
        let news = hits.into_iter().filter(|hit| hit.source.delivery.as_deref() != Some(delivery));
        Ok(news.map(told).collect())
    }

    /// One question; with half the budget again where the model finds it too long.
    async fn question(&self, topic: &Topic, memories: &[String], diff: &Diff) -> Result<Asked, Stop> {
        let reviewer = self.reviewers.current().await.map_err(Stop::NoReviewer)?;
        let mut budget = self.limits.token_budget.min(reviewer.most_tokens());
        loop {
            let prompt = prompt::compose(&topic.change(), memories, diff, budget);
            let prompt = prompt.map_err(|left_out| Stop::Finish(ending::nothing_to_review(&left_out)))?;
            let answer = tokio::time::timeout(self.limits.timeout + GRACE, reviewer.ask(&prompt)).await;
            let late = |_| Err(ReviewError::Unusable(TOO_LATE.to_owned()));
            match answer.unwrap_or_else(late) {
                Ok(answer) => {
                    return Ok(Asked { reviewer: reviewer.name(), answer, left_out: prompt.left_out });
                }
                Err(ReviewError::TooLarge(_)) if budget > SMALLEST_BUDGET => budget /= 2,
                Err(error) => return Err(Stop::Ask(error)),
            }
        }
    }
}

/// A memory as the prompt shows it. One that nobody of the project has said is marked, and stays one line, so that no
/// part of it stands without the mark.
fn told(hit: Hit) -> String {
    let day = hit.created_at.strftime("%Y-%m-%d");
    match hit.is_untrusted() {
        false => format!("{} ({day}): {}", hit.kind, hit.text),
        true => {
            let text = hit.text.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{} ({day}) {UNTRUSTED}: {text}", hit.kind)
        }
    }
}

impl Journey<'_> {
    /// Counts an answer of no use, which was paid for all the same; the last one ends the event. An operator who sends
    /// it again pays anew.
    async fn paid_for(&mut self, stop: Stop) -> Stop {
        let Stop::Ask(ReviewError::Unusable(reason)) = stop else { return stop };
        self.paid += 1;
        let is_last = self.paid >= MOST_PAID;
        if is_last {
            self.paid = 0;
        }
        match self.keep(None).await {
            Err(stop) => stop,
            Ok(()) if is_last => Stop::Ask(ReviewError::NoReview(reason)),
            Ok(()) => Stop::Ask(ReviewError::Unusable(reason)),
        }
    }
}
