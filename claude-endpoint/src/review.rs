//! The review of one event: diff → recall → ask → post → remember.
//!
//! Each step can be the last before a `kill -9`. What the model said is kept before anything is posted, so that it is
//! not paid for twice; what was posted is found again by its marker, so that it is not posted twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use queue::{Finish, Handler, Lease, Queue, Verdict};
use shared::event::{Envelope, PullRequest, Subject};
use shared::trace::{self, TraceParent};
use tokio::sync::Mutex;

use crate::anchor::InlineComment;
use crate::config::Limits;
use crate::diff::Diff;
use crate::github::{Github, GithubError, NewComment, Pull};
use crate::marker::{Bond, Marker};
use crate::memory::Memory;
use crate::reviewer::Reviewers;
use crate::{remember, render};

mod ask;
mod ending;
mod made;
mod push;
mod steps;

use ending::{Remembered, Stop};
use made::{Made, Posted, Progress, Topic};
use steps::Steps;

/// Attempts in which GitHub may lag behind its own webhook; about a minute.
const MOST_STALE: u32 = 6;

/// Reviews what comes out of the queue.
#[derive(Debug)]
pub struct Review {
    queue: Queue,
    github: Github,
    memory: Memory,
    reviewers: Arc<Reviewers>,
    marker: Marker,
    limits: Limits,
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
}

impl Review {
    /// A handler for the queue's worker.
    pub fn new(
        queue: Queue,
        github: Github,
        memory: Memory,
        reviewers: Arc<Reviewers>,
        marker: Marker,
        limits: Limits,
    ) -> Self {
        Self { queue, github, memory, reviewers, marker, limits, posting: Mutex::default() }
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
        let Progress { paid, made } = progress(lease);
        let mut journey = Journey { lease, event: &event, repository: &repository.full_name, steps, paid };
        match &event.subject {
            Subject::PullRequest(pr) => self.pull_request(&mut journey, pr, made).await,
            Subject::Push(push) => self.push(&mut journey, push, &repository.default_branch, made).await,
            Subject::Comment(_) | Subject::Other => {
                Ok(ending::skipped(format!("`{}` brings no code to review", event.event)))
            }
        }
    }

    async fn pull_request(
        &self,
        journey: &mut Journey<'_>,
        pr: &PullRequest,
        made_before: Option<Made>,
    ) -> Result<Finish, Stop> {
        if journey.event.replaces().is_none() {
            let action = journey.event.action.as_deref().unwrap_or("no action");
            return Ok(ending::skipped(format!("`{action}` brings no new code")));
        }
        let subject = made::subject_of_pull(pr.number);
        let bond = Bond { repository: journey.repository, subject: &subject, head: &pr.head_sha };
        let mut made = match made_before {
            Some(made) => made,
            None => {
                let pull = self.wanted(journey, pr).await?;
                if let Some(url) = self.posted_before(pr.number, bond).await? {
                    return Ok(ending::already(url));
                }
                let topic = Topic::of_pull(journey.repository, pr.number, &pull);
                let diff = self.github.pull_diff(journey.repository, pr.number, &pull);
                self.make(journey, &topic, diff).await?
            }
        };
        if made.posted.is_none() && self.github.can_post() {
            self.post(journey, pr, bond, &mut made).await?;
        }
        self.remember(journey, made).await
    }

    /// The pull request as it stands now, if this event's head still wants a review.
    async fn wanted(&self, journey: &Journey<'_>, pr: &PullRequest) -> Result<Pull, Stop> {
        let pull = self.github.pull(journey.repository, pr.number).await?;
        let Some(finish) = self.unwanted(&pull, pr) else { return Ok(pull) };
        // GitHub sends its webhooks before all of its reads know what they tell
        let is_stale = pull.updated_at.zip(pr.updated_at).is_some_and(|(read, told)| read < told);
        if is_stale && journey.lease.job().attempt < MOST_STALE {
            return Err(Stop::Retry("GitHub does not show yet what it told with this event".to_owned()));
        }
        Err(Stop::Finish(finish))
    }

    fn unwanted(&self, pull: &Pull, pr: &PullRequest) -> Option<Finish> {
        if pull.head_sha != pr.head_sha {
            Some(ending::superseded(&pull.head_sha))
        } else if !pull.open {
            Some(ending::skipped("the pull request is closed"))
        } else if pull.draft && !self.limits.drafts {
            Some(ending::skipped("the pull request is a draft; REVIEW_DRAFTS=true reviews drafts too"))
        } else {
            None
        }
    }

    async fn posted_before(&self, number: u64, bond: Bond<'_>) -> Result<Option<String>, GithubError> {
        match self.github.can_post() {
            true => self.github.find_review(number, &self.marker, bond).await,
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
        let mut made = self.ask(journey, topic, &diff).await?;
        journey.keep(Some(&mut made)).await?;
        Ok(made)
    }

    /// Posts the review unless it is there already, or its head is not the newest any more. It may be there although
    /// we do not know: the answer was lost.
    async fn post(
        &self,
        journey: &mut Journey<'_>,
        pr: &PullRequest,
        bond: Bond<'_>,
        made: &mut Made,
    ) -> Result<(), Stop> {
        let _alone = self.posting.lock().await;
        made.posted = Some(match self.posted_before(pr.number, bond).await? {
            Some(url) => Posted { url, refused_inline: false },
            None => {
                self.wanted(journey, pr).await?;
                let posting = self.post_review(pr.number, bond, made, &journey.event.id);
                journey.steps.run("post", "posted", posting).await?
            }
        });
        journey.keep(Some(made)).await
    }

    /// One review with its inline comments. Should GitHub refuse a place in spite of the anchoring, all of it goes
    /// into the body: nothing is lost.
    async fn post_review(
        &self,
        number: u64,
        bond: Bond<'_>,
        made: &Made,
        delivery: &str,
    ) -> Result<Posted, GithubError> {
        let marker = self.marker.make(bond, delivery);
        let Bond { repository, head, .. } = bond;
        let body = render::body(&made.review, &made.anchored.body, made.frame(&marker));
        let inline: Vec<NewComment> =
            made.anchored.inline.iter().map(|one| inline_comment(one, &marker)).collect();
        match self.github.create_review(repository, number, head, &body, &inline).await {
            Ok(posted) => Ok(Posted { url: posted.url, refused_inline: false }),
            Err(GithubError::Unprocessable(reason)) if !inline.is_empty() => {
                tracing::warn!(
                    delivery,
                    reason,
                    "GitHub refused the inline comments; posting all findings in the body"
                );
                let body =
                    render::body(&made.review, &made.anchored.clone().into_body(), made.frame(&marker));
                let posted = self.github.create_review(repository, number, head, &body, &[]).await?;
                Ok(Posted { url: posted.url, refused_inline: true })
            }
            Err(error) => Err(error),
        }
    }

    /// The last step. What the memory cannot be told now waits in a lane of its own, so that nothing else waits for it.
    async fn remember(&self, journey: &mut Journey<'_>, made: Made) -> Result<Finish, Stop> {
        let remembering = self.memory.remember(&made.update);
        let remembered = match journey.steps.run("remember", "remembered", remembering).await {
            Ok(()) => Remembered::Told,
            Err(error) if error.is_final() => Remembered::Refused(error.to_string()),
            Err(_) => {
                let waiting = remember::delivery(journey.lease.job(), &made.update)
                    .map_err(|error| Stop::Dead(error.to_string()))?;
                self.queue.put(waiting).await.map_err(|error| Stop::Retry(error.to_string()))?;
                Remembered::Queued
            }
        };
        Ok(ending::finish(&made, &journey.steps, self.github.can_post(), &remembered))
    }
}

fn inline_comment(comment: &InlineComment, marker: &str) -> NewComment {
    NewComment {
        path: comment.path.clone(),
        side: comment.side,
        start_line: comment.start_line,
        line: comment.line,
        body: render::comment(comment, marker),
    }
}

/// What an earlier attempt left behind.
fn progress(lease: &Lease) -> Progress<Made> {
    let kept = lease.job().checkpoint.as_deref();
    kept.and_then(|kept| serde_json::from_slice(kept).ok()).unwrap_or(Progress { paid: 0, made: None })
}

impl Journey<'_> {
    /// Keeps what was made and paid for, for the next attempt.
    async fn keep(&self, mut made: Option<&mut Made>) -> Result<(), Stop> {
        if let Some(made) = &mut made {
            made.milliseconds.extend(self.steps.milliseconds().clone());
        }
        let progress = Progress { paid: self.paid, made };
        let state = serde_json::to_vec(&progress).map_err(|error| Stop::Dead(error.to_string()))?;
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
        self.reviewers.is_back().await && self.github.probe().await.is_ok()
    }
}
