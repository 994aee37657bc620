//! The review of a push: the pushed range is reviewed and remembered, and commented on only where it matters.

use queue::Finish;
use serde::Deserialize;
use shared::event::Push;

use super::ending::{self, Stop};
use super::made::{HeadCommit, Made, Posted, Topic};
use super::{Journey, Review};
use crate::github::GithubError;
use crate::render;

const REWRITTEN: &str = "history was rewritten, and GitHub no longer knows what was there before";

#[derive(Deserialize)]
struct Payload {
    head_commit: Option<HeadCommit>,
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
        let payload: Option<Payload> = serde_json::from_str(journey.event.payload.get()).ok();
        let head = payload.and_then(|payload| payload.head_commit).unwrap_or_default();
        let topic = Topic::of_push(journey.repository, push, default_branch, &head);
        let mut made = match made_before {
            Some(made) => made,
            None => {
                let range = self.github.range_diff(journey.repository, &push.before, &push.after);
                match self.make(journey, &topic, range).await {
                    Err(Stop::Github(GithubError::NotFound(_))) if push.forced => {
                        return Ok(ending::skipped(REWRITTEN));
                    }
                    made => made?,
                }
            }
        };
        if made.posted.is_none() && made.is_worth_posting() && self.github.can_post() {
            self.comment(journey, &topic, &mut made).await?;
        }
        self.remember(journey, made).await
    }

    /// Comments on the newest commit, unless the comment is there already.
    async fn comment(&self, journey: &mut Journey<'_>, topic: &Topic, made: &mut Made) -> Result<(), Stop> {
        let _alone = self.posting.lock().await;
        let marker = self.marker.make(topic.bond(), &journey.event.id);
        let url = match self.github.find_commit_comment(&self.marker, topic.bond()).await? {
            Some(url) => url,
            None => {
                let body = render::body(&made.review, &made.anchored.body, made.frame(&marker));
                let posting = self.github.create_commit_comment(&topic.repository, &topic.head, &body);
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
