//! The review of one event: diff → recall → ask → post → remember.
//!
//! Each step can be the last before a `kill -9`. What the model said is kept before anything is posted, so that it is
//! not paid for twice; what was posted is found again by its marker, so that it is not posted twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use queue::{Finish, Handler, Lease, Verdict};
use shared::event::{Envelope, PullRequest, Subject};
use shared::memory::Hit;

use crate::config::Limits;
use crate::diff::{self, Diff};
use crate::github::{Github, GithubError, Pull};
use crate::marker::Marker;
use crate::memory::{Memory, MemoryError};
use crate::reviewer::{ReviewError, Reviewers};
use crate::{prompt, render};

mod ending;
mod made;
mod push;
mod steps;

use ending::Stop;
use made::{Asked, Made, Posted, Topic};
use steps::Steps;

/// Memories in one prompt.
const MOST_MEMORIES: usize = 8;
/// In tokens; a model that finds this too long is not asked with less.
const SMALLEST_BUDGET: usize = 8_000;
/// A reviewer that knows the deadline tells more about it than we can.
const GRACE: Duration = Duration::from_secs(5);
const TOO_LATE: &str = "the reviewer did not answer in time; REVIEW_TIMEOUT allows more";
/// How long a made review waits for the memory to come back.
const REMEMBER_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Reviews what comes out of the queue.
#[derive(Debug)]
pub struct Review {
    github: Github,
    memory: Memory,
    reviewers: Arc<Reviewers>,
    marker: Marker,
    limits: Limits,
}

/// One event on its way through the steps.
struct Journey<'a> {
    lease: &'a Lease,
    event: &'a Envelope,
    repository: &'a str,
    steps: Steps,
}

impl Review {
    /// A handler for the queue's worker.
    pub fn new(
        github: Github,
        memory: Memory,
        reviewers: Arc<Reviewers>,
        marker: Marker,
        limits: Limits,
    ) -> Self {
        Self { github, memory, reviewers, marker, limits }
    }

    /// The longest that one event may take: one question, and what GitHub and the memory need around it.
    pub fn longest(limits: Limits) -> Duration {
        limits.timeout + Duration::from_secs(300)
    }

    async fn event(&self, lease: &Lease) -> Result<Finish, Stop> {
        let event: Envelope = serde_json::from_slice(&lease.job().payload)
            .map_err(|error| Stop::Dead(format!("the stored event cannot be read: {error}")))?;
        let Some(repository) = &event.repository else {
            return Ok(ending::skipped("the event belongs to no repository"));
        };
        let steps = Steps::new(&event.id, &repository.full_name);
        let mut journey = Journey { lease, event: &event, repository: &repository.full_name, steps };
        match &event.subject {
            Subject::PullRequest(pr) => self.pull_request(&mut journey, pr).await,
            Subject::Push(push) => self.push(&mut journey, push, &repository.default_branch).await,
            Subject::Comment(_) | Subject::Other => {
                Ok(ending::skipped(format!("`{}` brings no code to review", event.event)))
            }
        }
    }

    async fn pull_request(&self, journey: &mut Journey<'_>, pr: &PullRequest) -> Result<Finish, Stop> {
        if journey.event.replaces().is_none() {
            let action = journey.event.action.as_deref().unwrap_or("no action");
            return Ok(ending::skipped(format!("`{action}` brings no new code")));
        }
        let made = match journey.made_before(&pr.head_sha) {
            Some(made) if made.posted.is_some() => made,
            earlier => {
                let pull = self.wanted(journey, pr).await?;
                let topic = Topic::of_pull(journey.repository, pr.number, &pull);
                let made = match earlier {
                    Some(made) => made,
                    None => {
                        if let Some(url) = self.posted_before(pr.number, &topic).await? {
                            return Ok(ending::already(url));
                        }
                        self.make(journey, &topic, self.github.pull_diff(journey.repository, pr.number))
                            .await?
                    }
                };
                self.post(journey, pr, &topic, made).await?
            }
        };
        self.remember(journey, made).await
    }

    /// The pull request as it stands now, if this event's head still wants a review.
    async fn wanted(&self, journey: &Journey<'_>, pr: &PullRequest) -> Result<Pull, Stop> {
        let pull = self.github.pull(journey.repository, pr.number).await?;
        let reason = if pull.head_sha != pr.head_sha {
            return Err(Stop::Finish(ending::superseded(&pull.head_sha)));
        } else if !pull.open {
            "the pull request is closed"
        } else if pull.draft && !self.limits.drafts {
            "the pull request is a draft; REVIEW_DRAFTS=true reviews drafts too"
        } else {
            return Ok(pull);
        };
        Err(Stop::Finish(ending::skipped(reason)))
    }

    async fn posted_before(&self, number: u64, topic: &Topic) -> Result<Option<String>, GithubError> {
        match self.github.can_post() {
            true => self.github.find_review(number, &self.marker, topic.bond()).await,
            false => Ok(None),
        }
    }

    /// diff → recall → ask, and the answer kept.
    async fn make(
        &self,
        journey: &mut Journey<'_>,
        topic: &Topic,
        diff: impl Future<Output = Result<Diff, GithubError>>,
    ) -> Result<Made, Stop> {
        let diff = journey.steps.run("diff", "diff read", diff).await?;
        let recalling = self.recall(topic, &diff, &journey.event.id);
        let recalled = journey.steps.run("recall", "memory recalled", recalling).await;
        let (memories, recall_error) = match recalled {
            Ok(memories) => (memories, None),
            // a review without memories is better than none
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let asked = journey.steps.run("ask", "review made", self.ask(topic, &memories, &diff)).await?;
        let mut made = Made::new(journey.event, topic, asked, &diff);
        (made.recalled, made.recall_error) = (memories.len(), recall_error);
        journey.keep(&mut made).await?;
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

    /// Asks, with half the budget again where the model finds the prompt too long.
    async fn ask(&self, topic: &Topic, memories: &[String], diff: &Diff) -> Result<Asked, Stop> {
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

    /// Posts the review unless it is there already, or its head is not the newest any more.
    async fn post(
        &self,
        journey: &mut Journey<'_>,
        pr: &PullRequest,
        topic: &Topic,
        mut made: Made,
    ) -> Result<Made, Stop> {
        if !self.github.can_post() {
            return Ok(made);
        }
        self.wanted(journey, pr).await?;
        made.posted = Some(match self.posted_before(pr.number, topic).await? {
            Some(url) => Posted { url, refused_inline: false },
            None => {
                let posting = self.post_review(pr.number, topic, &made, &journey.event.id);
                journey.steps.run("post", "posted", posting).await?
            }
        });
        journey.keep(&mut made).await?;
        Ok(made)
    }

    /// One review with its inline comments. Should GitHub refuse a place in spite of the anchoring, all of it goes
    /// into the body: nothing is lost.
    async fn post_review(
        &self,
        number: u64,
        topic: &Topic,
        made: &Made,
        delivery: &str,
    ) -> Result<Posted, GithubError> {
        let marker = self.marker.make(topic.bond(), delivery);
        let (repository, head) = (&topic.repository, &topic.head);
        let body = render::body(&made.review, &made.anchored.body, made.frame(&marker));
        match self.github.create_review(repository, number, head, &body, &made.anchored.inline).await {
            Ok(url) => Ok(Posted { url, refused_inline: false }),
            Err(GithubError::Unprocessable(reason)) => {
                tracing::warn!(
                    delivery,
                    reason,
                    "GitHub refused the inline comments; posting all findings in the body"
                );
                let body =
                    render::body(&made.review, &made.anchored.clone().into_body(), made.frame(&marker));
                let url = self.github.create_review(repository, number, head, &body, &[]).await?;
                Ok(Posted { url, refused_inline: true })
            }
            Err(error) => Err(error),
        }
    }

    /// The last step. While the memory is away the job stays open; what is posted stays posted.
    async fn remember(&self, journey: &mut Journey<'_>, made: Made) -> Result<Finish, Stop> {
        let remembering = self.memory.remember(&made.update);
        let remembered = journey.steps.run("remember", "remembered", remembering).await;
        let failure = remembered.err().map(|error| error.to_string());
        match failure {
            Some(error) if journey.age() < REMEMBER_WITHIN => {
                Err(Stop::Retry(format!("the review is made but not remembered yet: {error}")))
            }
            failure => Ok(ending::finish(&made, &journey.steps, self.github.can_post(), failure)),
        }
    }
}

impl Journey<'_> {
    /// What an earlier attempt at this head came to.
    fn made_before(&self, head: &str) -> Option<Made> {
        let made: Made = serde_json::from_slice(self.lease.job().checkpoint.as_deref()?).ok()?;
        (made.head == head).then_some(made)
    }

    /// Keeps what was made, so that the next attempt need not make it again.
    async fn keep(&self, made: &mut Made) -> Result<(), Stop> {
        made.milliseconds = self.steps.milliseconds().clone();
        let state = serde_json::to_vec(&*made).map_err(|error| Stop::Dead(error.to_string()))?;
        self.lease.checkpoint(state).await.map_err(|error| Stop::Retry(error.to_string()))
    }

    fn age(&self) -> Duration {
        Duration::try_from(Timestamp::now() - self.lease.job().first_attempt_at).unwrap_or_default()
    }
}

#[async_trait]
impl Handler for Review {
    async fn handle(&self, lease: &Lease) -> Verdict {
        match self.event(lease).await {
            Ok(finish) => ending::done(finish),
            Err(stop) => self.verdict(stop, lease.job().attempt).await,
        }
    }

    async fn probe(&self) -> bool {
        self.reviewers.is_back().await && self.github.probe().await.is_ok()
    }
}
