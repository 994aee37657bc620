//! GitHub's JSON, as far as we read it.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Issue as IssueOf, OwnComment, OwnReview, Posted as PostedAt, ThreadComment};
use crate::diff::{self, Unreadable};

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Deserialize)]
pub(super) struct Pull {
    state: String,
    #[serde(default)]
    draft: bool,
    head: Head,
    base: Base,
    changed_files: Option<usize>,
    updated_at: Option<Timestamp>,
    title: String,
    body: Option<String>,
    user: Option<User>,
    html_url: String,
}

#[derive(Deserialize)]
struct Head {
    sha: String,
    #[serde(rename = "ref")]
    name: String,
    /// None once a fork is deleted.
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Base {
    sha: String,
    repo: Option<Repository>,
}

#[derive(PartialEq, Deserialize)]
struct Repository {
    full_name: String,
}

impl From<Pull> for super::Pull {
    fn from(pull: Pull) -> Self {
        Self {
            open: pull.state == "open",
            draft: pull.draft,
            head_sha: pull.head.sha,
            base_sha: pull.base.sha,
            changed_files: pull.changed_files.unwrap_or_default(),
            updated_at: pull.updated_at,
            head_ref: pull.head.name,
            title: pull.title,
            body: pull.body.unwrap_or_default(),
            author_is_bot: pull.user.as_ref().is_some_and(|user| user.kind == "Bot"),
            author: pull.user.map(|user| user.login).unwrap_or_default(),
            is_cross_repository: pull.head.repo != pull.base.repo,
            url: pull.html_url,
        }
    }
}

/// A review or comment.
#[derive(Deserialize)]
pub(super) struct Posted {
    pub(super) id: u64,
    pub(super) html_url: String,
    pub(super) body: Option<String>,
    user: Option<User>,
    /// Of a review.
    #[serde(default)]
    pub(super) state: String,
    /// Of a review, or of a comment on code.
    commit_id: Option<String>,
    /// Of a comment on code, as the rest.
    pub(super) path: Option<String>,
    pub(super) line: Option<u32>,
    subject_type: Option<String>,
    pub(super) in_reply_to_id: Option<u64>,
    reactions: Option<Reactions>,
}

#[derive(Deserialize)]
struct Reactions {
    #[serde(rename = "-1", default)]
    thumbs_down: u32,
}

impl Posted {
    /// Whether `login` wrote it. Who does not know who they are is an app: some app wrote it then.
    pub(super) fn is_by(&self, login: Option<&str>) -> bool {
        match login {
            Some(login) => self.author().eq_ignore_ascii_case(login),
            None => self.user.as_ref().is_some_and(|user| user.kind == "Bot"),
        }
    }

    fn author(&self) -> &str {
        self.user.as_ref().map_or("", |user| user.login.as_str())
    }

    /// A comment on a line shows none when the diff has moved on; one on a file never has any.
    pub(super) fn is_outdated(&self) -> bool {
        self.line.is_none() && self.subject_type.as_deref() != Some("file")
    }

    pub(super) fn in_thread(&self, login: Option<&str>) -> ThreadComment {
        ThreadComment {
            id: self.id,
            is_ours: self.is_by(login),
            author: self.author().to_owned(),
            body: self.body.clone().unwrap_or_default(),
            url: self.html_url.clone(),
            thumbs_down: self.reactions.as_ref().map_or(0, |reactions| reactions.thumbs_down),
        }
    }
}

impl From<Posted> for PostedAt {
    fn from(posted: Posted) -> Self {
        Self { id: posted.id, url: posted.html_url }
    }
}

impl From<Posted> for OwnComment {
    fn from(posted: Posted) -> Self {
        Self { id: posted.id, body: posted.body.unwrap_or_default(), url: posted.html_url }
    }
}

impl From<Posted> for OwnReview {
    fn from(posted: Posted) -> Self {
        Self {
            id: posted.id,
            body: posted.body.unwrap_or_default(),
            url: posted.html_url,
            commit: posted.commit_id.unwrap_or_default(),
        }
    }
}

/// What has nothing but an id that we need.
#[derive(Deserialize)]
pub(super) struct Id {
    pub(super) id: u64,
}

#[derive(Deserialize)]
pub(super) struct Collaborator {
    pub(super) permission: String,
}

#[derive(Deserialize)]
pub(super) struct Issue {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    user: Option<User>,
    html_url: String,
    pull_request: Option<serde::de::IgnoredAny>,
}

impl From<Issue> for IssueOf {
    fn from(issue: Issue) -> Self {
        Self {
            number: issue.number,
            title: issue.title,
            body: issue.body.unwrap_or_default(),
            author: issue.user.map(|user| user.login).unwrap_or_default(),
            open: issue.state == "open",
            is_pull_request: issue.pull_request.is_some(),
            url: issue.html_url,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Comparison {
    #[serde(default)]
    pub(super) files: Vec<File>,
}

#[derive(Deserialize)]
pub(super) struct File {
    filename: String,
    previous_filename: Option<String>,
    status: String,
    #[serde(default)]
    changes: u64,
    patch: Option<String>,
}

impl From<File> for diff::File {
    fn from(file: File) -> Self {
        let hunks = file.patch.as_deref().map(diff::parse_hunks).transpose();
        let unreadable = match (&hunks, file.changes, file.status.as_str()) {
            (Ok(Some(_)), _, _) | (Ok(None), 0, "renamed" | "copied" | "unchanged" | "changed") => None,
            (Ok(None), 0, _) => Some(Unreadable::Binary),
            _ => Some(Unreadable::TooLarge),
        };
        let old_path = file.previous_filename.unwrap_or_else(|| file.filename.clone());
        Self {
            old_path: (file.status != "added").then_some(old_path),
            new_path: (file.status != "removed").then_some(file.filename),
            unreadable,
            hunks: hunks.ok().flatten().unwrap_or_default(),
        }
    }
}
