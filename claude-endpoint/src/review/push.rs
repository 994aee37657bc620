//! The review of a push: the pushed range is reviewed and remembered, and commented on only where it matters.

use queue::Finish;
use serde::Deserialize;
use shared::event::Push;

use super::ending::{self, Posting, Stop};
use super::made::{COMMIT, HeadCommit, Made, Posted, Topic};
use super::{Journey, Review};
use crate::earlier::State;
use crate::github::GithubError;
use crate::marker::Bond;
use crate::prompt::{Background, Commit};

const REWRITTEN: &str = "history was rewritten, and GitHub no longer knows what was there before";

#[derive(Default, Deserialize)]
struct Payload {
    head_commit: Option<HeadCommit>,
    #[serde(default)]
    commits: Vec<PushedCommit>,
}

/// One of the pushed commits, of which GitHub tells up to 2,048.
#[derive(Deserialize)]
struct PushedCommit {
    id: String,
    message: String,
}

impl Review {
    pub(super) async fn push(
        &self,
        journey: &mut Journey<'_>,
        push: &Push,
        default_branch: &str,
        made_before: Option<Made>,
    ) -> Result<Finish, Stop> {
        if let Some(reason) = not_wanted(push, default_branch) {
            return Ok(ending::skipped(reason));
        }
        let mut made = match made_before {
            Some(made) => made,
            None => self.make_push(journey, push, default_branch).await?,
        };
        let posting = match made.is_worth_a_comment(self.limits.push_severity) {
            false => Posting::NotWorthIt,
            true if self.github.can_post() => Posting::Wanted,
            true => Posting::Impossible,
        };
        if made.posted.is_none() && matches!(posting, Posting::Wanted) {
            self.comment_on_commit(journey, push, &mut made).await?;
        }
        let remembered = self.remember(journey, &made.update).await?;
        Ok(ending::finish(&made, &journey.steps, posting, &remembered))
    }

    async fn make_push(
        &self,
        journey: &mut Journey<'_>,
        push: &Push,
        default_branch: &str,
    ) -> Result<Made, Stop> {
        let payload: Option<Payload> = serde_json::from_str(journey.event.payload.get()).ok();
        let payload = payload.unwrap_or_default();
        let topic = Topic::of_push(
            journey.repository,
            push,
            default_branch,
            &payload.head_commit.unwrap_or_default(),
        );
        let reading = self.github.range_diff(journey.repository, &push.before, &push.after);
        let diff = match journey.steps.run("diff", "diff read", reading).await {
            Err(GithubError::NotFound(_)) if push.forced => {
                return Err(Stop::Finish(ending::skipped(REWRITTEN)));
            }
            diff => diff?,
        };
        let commits =
            payload.commits.into_iter().map(|commit| Commit { sha: commit.id, message: commit.message });
        let background = Background { commits: commits.collect(), ..Background::default() };
        let inputs = topic.inputs(diff, background, State::default(), None, self.extent());
        let mut made = self.make(journey, &topic, inputs).await?;
        journey.keep(Some(&mut made)).await?;
        Ok(made)
    }

    /// Comments on the newest commit, unless the comment is there already.
    async fn comment_on_commit(
        &self,
        journey: &mut Journey<'_>,
        push: &Push,
        made: &mut Made,
    ) -> Result<(), Stop> {
        let _alone = self.posting.lock().await;
        let bond = Bond { repository: journey.repository, subject: COMMIT, head: &push.after };
        let url = match self.github.find_commit_comment(&self.marker, bond).await? {
            Some(url) => url,
            None => {
                let body = made.body(None, &self.marker.make(bond, &journey.event.id, ""));
                let posting = self.github.create_commit_comment(bond.repository, bond.head, &body);
                journey.steps.run("post", "posted", posting).await?.url
            }
        };
        made.posted = Some(Posted { url, refused_inline: false });
        journey.keep(Some(made)).await
    }
}

fn not_wanted(push: &Push, default_branch: &str) -> Option<String> {
    let is_zero = |sha: &str| sha.chars().all(|c| c == '0');
    if push.git_ref != format!("refs/heads/{default_branch}") {
        Some(format!("only pushes to {default_branch} are reviewed, this one went to {}", push.git_ref))
    } else if is_zero(&push.after) {
        Some("the branch was deleted".to_owned())
    } else if is_zero(&push.before) {
        Some("the branch is new: there is nothing to compare it with".to_owned())
    } else if push.before == push.after {
        Some("the push brings no commits".to_owned())
    } else {
        None
    }
}
