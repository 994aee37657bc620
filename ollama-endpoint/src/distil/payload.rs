//! The parts of GitHub's payloads that templates speak of. Whatever is missing or of another type than GitHub
//! documents is absent here, never an error. Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shared::event::Envelope;
use shared::memory::Trust;

/// A payload of any event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payload {
    #[serde(deserialize_with = "lenient")]
    pub(super) pull_request: Option<PullRequest>,
    #[serde(deserialize_with = "lenient")]
    pub(super) issue: Option<Issue>,
    #[serde(deserialize_with = "lenient")]
    pub(super) discussion: Option<Issue>,
    #[serde(deserialize_with = "lenient")]
    pub(super) comment: Option<Comment>,
    #[serde(deserialize_with = "lenient")]
    pub(super) review: Option<Review>,
    #[serde(deserialize_with = "lenient")]
    pub(super) release: Option<Release>,
    #[serde(deserialize_with = "lenient")]
    pub(super) workflow_run: Option<WorkflowRun>,
    #[serde(deserialize_with = "lenient")]
    pub(super) commits: Vec<Commit>,
    #[serde(deserialize_with = "lenient")]
    pub(super) compare: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct PullRequest {
    pub(super) number: Option<u64>,
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) merged: Option<bool>,
    author_association: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) user: User,
    #[serde(deserialize_with = "lenient")]
    pub(super) head: Branch,
    #[serde(deserialize_with = "lenient")]
    pub(super) base: Branch,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    pub(super) login: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Branch {
    #[serde(rename = "ref")]
    pub(super) name: Option<String>,
    /// Absent where the fork was deleted.
    #[serde(deserialize_with = "lenient")]
    repo: Repository,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Repository {
    full_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    pub(super) number: Option<u64>,
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) state_reason: Option<String>,
    author_association: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comment {
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) line: Option<u64>,
    author_association: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Review {
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) state: Option<String>,
    author_association: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Release {
    pub(super) tag_name: Option<String>,
    pub(super) name: Option<String>,
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkflowRun {
    pub(super) name: Option<String>,
    pub(super) conclusion: Option<String>,
    pub(super) head_branch: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) run_number: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) head_commit: Option<Commit>,
    #[serde(deserialize_with = "lenient")]
    head_repository: Repository,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) message: String,
    #[serde(deserialize_with = "lenient")]
    added: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    removed: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    modified: Vec<String>,
}

impl Payload {
    pub(super) fn parse(payload: &RawValue) -> Self {
        serde_json::from_str(payload.get()).unwrap_or_default()
    }
}

impl Payload {
    /// How far the author of the event's words is trusted: whoever wrote the comment or review, else the pull request or
    /// issue. `None` where the event has no words of anybody's.
    pub(super) fn trust(&self, envelope: &Envelope) -> Option<Trust> {
        let is_private = envelope.repository.as_ref().is_some_and(|repository| repository.private);
        let home = envelope.repository.as_ref().map(|repository| repository.full_name.as_str());
        let is_home = |repository: &Repository| {
            let name = repository.full_name.as_deref();
            name.zip(home).is_some_and(|(name, home)| name.eq_ignore_ascii_case(home))
        };
        let said = |association: &Option<String>| Trust::of(association.as_deref(), false, is_private);
        if let Some(comment) = &self.comment {
            return Some(said(&comment.author_association));
        }
        if let Some(review) = &self.review {
            return Some(said(&review.author_association));
        }
        if let Some(pull) = &self.pull_request {
            let inside = is_home(&pull.head.repo);
            return Some(Trust::of(pull.author_association.as_deref(), !inside, inside));
        }
        if let Some(run) = &self.workflow_run {
            return Some(if is_home(&run.head_repository) { Trust::Member } else { Trust::Fork });
        }
        if let Some(issue) = self.issue.as_ref().or(self.discussion.as_ref()) {
            return Some(said(&issue.author_association));
        }
        // only those can push and release who may write
        (!self.commits.is_empty() || self.release.is_some()).then_some(Trust::Member)
    }
}

impl Commit {
    /// Whether git or GitHub wrote the message because branches were merged.
    pub(super) fn is_merge(&self) -> bool {
        ["Merge pull request #", "Merge branch ", "Merge remote-tracking branch "]
            .iter()
            .any(|start| self.message.starts_with(start))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.added.iter().chain(&self.modified).chain(&self.removed).map(String::as_str)
    }
}

/// One part of another type than expected must not hide the others.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}
