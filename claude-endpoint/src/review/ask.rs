//! recall → ask: from the diff to a review, and what the questions cost.

use shared::event::Envelope;
use shared::memory::Hit;

use super::ending::{self, Stop};
use super::made::{Asked, Made, Topic};
use super::{Journey, Review};
use crate::desk::{Chosen, Errand, NotAsked, Purpose};
use crate::diff::{self, Diff};
use crate::memory::MemoryError;
use crate::reviewer::{Question, ReviewError};
use crate::{prompt, verdict};

/// Memories in one prompt.
const MOST_MEMORIES: usize = 8;
/// In tokens; a model that finds this too long is not asked with less.
const SMALLEST_BUDGET: usize = 8_000;
/// Room for fifty findings; an answer that is cut off is not a review.
const MOST_OUTPUT_TOKENS: u32 = 32_000;
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
        let asking = self.question(journey.event, topic, &memories, diff);
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
        let told = |hit: Hit| format!("{} ({}): {}", hit.kind, hit.created_at.strftime("%Y-%m-%d"), hit.text);
        Ok(news.map(told).collect())
    }

    /// One question; with half the budget again where the model finds it too long.
    async fn question(
        &self,
        event: &Envelope,
        topic: &Topic,
        memories: &[String],
        diff: &Diff,
    ) -> Result<Asked, Stop> {
        let subject = topic.bond().subject;
        let errand =
            Errand { delivery: &event.id, repository: &topic.repository, subject, purpose: Purpose::Review };
        let most = self.limits.token_budget.min(self.desk.most_tokens().await.map_err(Stop::NoReviewer)?);
        let compose = |budget| {
            let prompt = prompt::compose(&topic.change(), memories, diff, budget);
            prompt.map_err(|left_out| Stop::Finish(ending::nothing_to_review(&left_out)))
        };
        let mut prompt = compose(most)?;
        let tokens = (prompt.system.len() + prompt.user.len()) / 4;
        let Chosen { reviewer, label, hold: _hold } = self.desk.choose(&errand, tokens).await?;
        let schema = verdict::schema();
        let mut budget = most.min(reviewer.most_tokens());
        if budget < most {
            prompt = compose(budget)?;
        }
        loop {
            let question = Question {
                system: prompt.system,
                user: &prompt.user,
                schema: &schema,
                check: &|text| verdict::parse(text).map(drop),
                most_output_tokens: MOST_OUTPUT_TOKENS,
            };
            match self.desk.ask(&errand, &*reviewer, &question).await {
                Ok(reply) => {
                    let unusable = |reason| Stop::Ask(ReviewError::Unusable(reason));
                    let review = verdict::parse(&reply.text).map_err(unusable)?;
                    let (reviewer, left_out) = (reviewer.name(), prompt.left_out);
                    return Ok(Asked { reviewer, label, reply, review, left_out });
                }
                Err(ReviewError::TooLarge(_)) if budget > SMALLEST_BUDGET => budget /= 2,
                Err(error) => return Err(Stop::Ask(error)),
            }
            prompt = compose(budget)?;
        }
    }
}

impl From<NotAsked> for Stop {
    fn from(reason: NotAsked) -> Self {
        match reason {
            NotAsked::NoReviewer(reason) => Self::NoReviewer(reason),
            NotAsked::OverBudget(reason) => Self::Finish(ending::over_budget(&reason)),
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
