//! The review of a pull request's head: diff → context → examine → publish → remember.

use jiff::Timestamp;
use queue::Finish;
use shared::event::PullRequest;
use shared::memory::Trust;

use super::ending::{self, Posting, Stop};
use super::made::{Made, Topic};
use super::{Journey, Review, context};
use crate::diff::Diff;
use crate::earlier::State;
use crate::github::{Pull, Recheck};
use crate::marker::Mark;
use crate::project::Project;
use crate::provenance::{self, Provenance};
use crate::status::Came;

/// Attempts in which GitHub may lag behind its own webhook; about a minute.
const MOST_STALE: u32 = 6;

/// The head that is to be reviewed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) pr: &'a PullRequest,
    /// A person asks for a review of all of it, whatever was reviewed before.
    pub(super) is_asked_for: bool,
}

/// How a pull request stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand<'a> {
    head_sha: &'a str,
    open: bool,
    draft: bool,
    updated_at: Option<Timestamp>,
}

impl<'a> From<&'a Pull> for Stand<'a> {
    fn from(pull: &'a Pull) -> Self {
        let Pull { head_sha, open, draft, updated_at, .. } = pull;
        Self { head_sha, open: *open, draft: *draft, updated_at: *updated_at }
    }
}

impl<'a> From<&'a Recheck> for Stand<'a> {
    fn from(now: &'a Recheck) -> Self {
        let Recheck { head_sha, open, draft, updated_at, .. } = now;
        Self { head_sha, open: *open, draft: *draft, updated_at: *updated_at }
    }
}

impl Head<'_> {
    /// Whether a marker was made for this review.
    pub(super) fn is_of(&self, mark: &Mark, delivery: &str) -> bool {
        mark.head == self.pr.head_sha && (!self.is_asked_for || mark.is_of(delivery))
    }
}

impl Review {
    pub(super) async fn pull_request(
        &self,
        journey: &mut Journey<'_>,
        pr: &PullRequest,
        made_before: Option<Made>,
    ) -> Result<Finish, Stop> {
        if journey.event.replaces().is_none() {
            let action = journey.event.action.as_deref().unwrap_or("no action");
            return Ok(ending::skipped(format!("`{action}` brings no new code")));
        }
        self.review_head(journey, Head { pr, is_asked_for: false }, made_before).await
    }

    /// The review, and the status that says how it went.
    pub(super) async fn review_head(
        &self,
        journey: &mut Journey<'_>,
        head: Head<'_>,
        made_before: Option<Made>,
    ) -> Result<Finish, Stop> {
        let result = self.journey_of(journey, head, made_before).await;
        self.conclude(journey, &head.pr.head_sha, result).await
    }

    async fn journey_of(
        &self,
        journey: &mut Journey<'_>,
        head: Head<'_>,
        made_before: Option<Made>,
    ) -> Result<(Finish, Came), Stop> {
        let mut made = match made_before {
            Some(made) => made,
            None => self.make_head(journey, head).await?,
        };
        journey.wishes = made.wishes;
        self.publish(journey, head, &mut made).await?;
        self.hand_over(journey, head, &mut made).await?;
        let remembered = self.remember(journey, &made.update).await?;
        let posting = if self.github.can_post() { Posting::Wanted } else { Posting::Impossible };
        Ok((
            ending::finish(&made, &journey.steps, posting, &remembered),
            ending::came(&made.state, &remembered),
        ))
    }

    async fn make_head(&self, journey: &mut Journey<'_>, head: Head<'_>) -> Result<Made, Stop> {
        let (repository, pr) = (journey.repository, head.pr);
        let commits = (pr.base_sha.as_str(), pr.head_sha.as_str());
        let reading = self.github.pull_diff(repository, pr.number, commits);
        let mut diff = journey.steps.run("diff", "diff read", reading).await?;
        let asking = self.context(repository, pr.number, commits, &diff);
        let context = journey.steps.run("context", "pull request read", asking).await?;
        diff.unlisted = context.pull.changed_files.saturating_sub(diff.files.len());
        let mut state = self.earlier(repository, pr.number, &context);
        let settings = context.rules.iter().find(|rule| rule.path == crate::project::SETTINGS);
        let project = settings.map(|rule| Project::read(&rule.text)).unwrap_or_default();
        journey.wishes = project.wishes();
        self.wanted(journey, Stand::from(&context.pull), head)?;
        if project.is_off && !head.is_asked_for {
            return Err(Stop::Finish(ending::unwanted("the project's .ai-relay.toml switches reviews off")));
        }
        if let Some(url) = self.reviewed_before(journey, head, &context.reviews) {
            return Err(ending::already(url, &state));
        }
        if head.is_asked_for {
            state = State { rounds: 0, paused: None, hunks: Default::default(), ..state };
        }
        let from = provenance::of_pull(&context.pull.author, context.pull.author_is_bot, &context.pull.body);
        if let Some(by) = &state.paused {
            return Err(Stop::Finish(ending::skipped(format!(
                "reviews are paused by {by}; `/ai resume` goes on"
            ))));
        }
        if let Err(reason) = may_go_on(&state, &from, &diff, self.limits.agent_rounds) {
            return Err(self.halt(journey, head, &context.reviews, &state, reason).await);
        }
        let topic = Topic::of_pull(repository, pr.number, &context.pull);
        let (threads, is_inside) = (context.threads.clone(), !context.pull.is_cross_repository);
        let inputs = context::inputs(&topic, diff, context, state, self);
        let making = self.make(journey, &topic, inputs);
        let mut made = self.announced(repository, &pr.head_sha, making).await?;
        made.note(&project, from, &threads);
        made.is_inside = is_inside;
        if head.is_asked_for {
            // the event is somebody's comment, which tells nothing of whose change it is
            made.update.trust = Some(Trust::of(None, !is_inside, is_inside));
        }
        journey.keep(Some(&mut made)).await?;
        Ok(made)
    }

    /// Whether this event's head still wants a review.
    pub(super) fn wanted(
        &self,
        journey: &Journey<'_>,
        pull: Stand<'_>,
        Head { pr, is_asked_for }: Head<'_>,
    ) -> Result<(), Stop> {
        let drafts = is_asked_for || journey.wishes.drafts.unwrap_or(self.limits.drafts);
        let finish = if pull.head_sha != pr.head_sha {
            ending::superseded(pull.head_sha)
        } else if !pull.open {
            ending::unwanted("the pull request is closed")
        } else if pull.draft && !drafts {
            ending::skipped("the pull request is a draft; REVIEW_DRAFTS=true reviews drafts too")
        } else {
            return Ok(());
        };
        // GitHub sends its webhooks before all of its reads know what they tell
        let is_stale = pull.updated_at.zip(pr.updated_at).is_some_and(|(read, told)| read < told);
        if is_stale && journey.lease.job().attempt < MOST_STALE {
            return Err(Stop::Retry("GitHub does not show yet what it told with this event".to_owned()));
        }
        Err(Stop::Finish(finish))
    }
}

/// Agents and bots answer each review with a push, for ever if they are let. A person is asked where they have had their
/// rounds, or nothing came of the last one.
fn may_go_on(state: &State, from: &Provenance, diff: &Diff, most: u32) -> Result<(), String> {
    let is_stuck = state.rounds > 0 && state.open().count() > 0 && state.gone(diff, |_| None).is_empty();
    provenance::may_review(from, state.rounds, most, !is_stuck).map_err(|stop| stop.to_string())
}
