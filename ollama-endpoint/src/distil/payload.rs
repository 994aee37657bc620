//! The parts of GitHub's payloads that templates speak of. Whatever is missing or of another type than GitHub
//! documents is absent here, never an error. Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    pub(super) number: Option<u64>,
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) state_reason: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comment {
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) line: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Review {
    pub(super) body: Option<String>,
    pub(super) html_url: Option<String>,
    pub(super) state: Option<String>,
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
