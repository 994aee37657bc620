//! The parts of GitHub's payloads that templates speak of. Whatever is missing or of another type than GitHub
//! documents is absent here, never an error. Pure.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shared::event::Envelope;
use shared::memory::Trust;

use super::junk::is_merge;
use super::text::first_line;

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
    pub(super) head_commit: Option<Commit>,
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
    #[serde(deserialize_with = "lenient")]
    pub(super) merge_commit_sha: Option<String>,
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
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
}

impl User {
    pub(super) fn is_bot(&self) -> bool {
        self.kind.as_deref() == Some("Bot")
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Branch {
    #[serde(rename = "ref")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) sha: Option<String>,
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
    #[serde(deserialize_with = "lenient")]
    pub(super) user: User,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comment {
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) line: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) commit_id: Option<String>,
    author_association: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) user: User,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Review {
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) state: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) commit_id: Option<String>,
    author_association: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) user: User,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Release {
    pub(super) tag_name: Option<String>,
    pub(super) name: Option<String>,
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    /// The branch or commit that was tagged.
    #[serde(deserialize_with = "lenient")]
    pub(super) target_commitish: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) author: User,
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
    pub(super) head_sha: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) head_commit: Option<Commit>,
    #[serde(deserialize_with = "lenient")]
    head_repository: Repository,
    #[serde(deserialize_with = "lenient")]
    pub(super) actor: User,
    #[serde(deserialize_with = "lenient")]
    pub(super) pull_requests: Vec<PullRequest>,
}

/// Who made a commit, as git and GitHub know them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Person {
    /// The account's login, where GitHub knows the address.
    username: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) message: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) added: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) removed: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) modified: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    author: Person,
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
        is_merge(&self.message)
    }

    /// Whose it is: the login, else the name.
    pub(super) fn author(&self) -> Option<&str> {
        self.author.username.as_deref().or(self.author.name.as_deref()).filter(|name| !name.is_empty())
    }

    /// The pull request that its first line says it came with: "… (#7)", as GitHub writes it when it squashes, or "Merge
    /// pull request #7 from …".
    pub(super) fn pull_request(&self) -> Option<u64> {
        let line = first_line(&self.message);
        let squashed =
            line.strip_suffix(')').and_then(|line| line.rsplit_once("(#")).map(|(_, number)| number);
        let merged = line.strip_prefix("Merge pull request #").and_then(|rest| rest.split(' ').next());
        squashed.or(merged)?.parse().ok()
    }

    /// The commits that it takes back, as git writes it: "This reverts commit 1a2b….", or "… commit 1a2b…, reversing".
    pub(super) fn reverts(&self) -> impl Iterator<Item = &str> {
        self.message.split("This reverts commit ").skip(1).filter_map(|rest| {
            let end = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
            Some(&rest[..end]).filter(|id| is_commit_id(id))
        })
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.added.iter().chain(&self.modified).chain(&self.removed).map(String::as_str)
    }
}

/// Whether a text is a commit's id, or a beginning of one that is long enough to tell it from others.
pub(super) fn is_commit_id(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One part of another type than expected must not hide the others.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}
