//! recall → examine: from what is known about a change to a review, and what the questions cost.

use shared::memory::BriefingLine;

use super::ending::{self, Stop};
use super::made::{Made, Topic};
use super::{Journey, Review};
use crate::desk::{Errand, NotAsked, Purpose};
use crate::diff::{self, Diff};
use crate::examine::{Extent, Inputs, NotExamined, examine};
use crate::memory::MemoryError;
use crate::replay::{INPUTS, RESULT};
use crate::reviewer::ReviewError;

/// What memories may cost in one prompt, in tokens.
pub(super) const MEMORY_TOKENS: usize = 1_500;
/// Marks a memory that was made of what a stranger wrote.
const UNTRUSTED: &str = " (untrusted, from a fork)";
/// Answers of no use after which an event ends: each was paid for.
const MOST_PAID: u32 = 4;

impl Review {
    /// Reviews the change with what is known about it. The result is to be kept as soon as it is complete.
    pub(super) async fn make(
        &self,
        journey: &mut Journey<'_>,
        topic: &Topic,
        mut inputs: Inputs,
    ) -> Result<Made, Stop> {
        let recalling = self.recall(topic, &inputs.diff, &journey.event.id);
        let recalled = journey.steps.run("recall", "memory recalled", recalling).await;
        let recall_error = match recalled {
            Ok(memories) => {
                inputs.background.memories = memories;
                None
            }
            // a review without memories is better than none
            Err(error) => Some(error.to_string()),
        };
        let subject = topic.subject.as_str();
        let delivery = &journey.event.id;
        let errand = Errand { delivery, repository: journey.repository, subject, purpose: Purpose::Review };
        self.desk.record(delivery, INPUTS, &inputs).await;
        let examining = examine(&self.desk, &errand, &inputs);
        let examined = match journey.steps.run("ask", "review made", examining).await {
            Ok(examined) => examined,
            Err(error) => return Err(journey.not_examined(error).await),
        };
        self.desk.record(delivery, RESULT, &examined).await;
        let mut made = Made::new(journey.event, topic, &inputs, examined);
        made.recall_error = recall_error;
        Ok(made)
    }

    pub(super) fn extent(&self) -> Extent {
        Extent {
            token_budget: self.limits.token_budget,
            most_prompts: self.limits.most_prompts,
            second_look: self.desk.takes_second_looks(),
        }
    }

    /// What is known about the change; not what this very event has just told the memory.
    async fn recall(&self, topic: &Topic, diff: &Diff, delivery: &str) -> Result<Vec<String>, MemoryError> {
        let paths = diff.files.iter().map(diff::File::path);
        let known = self.memory.briefing(&topic.repository, &topic.title, paths, MEMORY_TOKENS).await?;
        let news = known.into_iter().filter(|line| line.source.delivery.as_deref() != Some(delivery));
        Ok(news.map(|line| told(&line)).collect())
    }
}

/// A memory as the model reads it. One that nobody of the project has said is marked, and all are one line, so that no part
/// of one stands without its mark.
pub(super) fn told(line: &BriefingLine) -> String {
    let mark = if line.is_untrusted() { UNTRUSTED } else { "" };
    let text = line.text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{mark}: {text}", line.about)
}

impl Journey<'_> {
    /// Why nothing was made. An answer of no use was paid for all the same, so it is counted; the last one ends the
    /// event. An operator who sends it again pays anew.
    async fn not_examined(&mut self, error: NotExamined) -> Stop {
        let reason = match error {
            NotExamined::Nothing(left_out) => return Stop::Finish(ending::nothing_to_review(&left_out)),
            NotExamined::NotAsked(NotAsked::NoReviewer(reason)) => return Stop::NoReviewer(reason),
            NotExamined::NotAsked(NotAsked::OverBudget(reason)) => {
                return Stop::Finish(ending::skipped(format!("not reviewed, since {reason}")));
            }
            NotExamined::Ask(ReviewError::Unusable(reason)) => reason,
            NotExamined::Ask(error) => return Stop::Ask(error),
        };
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
