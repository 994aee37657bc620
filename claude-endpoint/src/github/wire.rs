//! GitHub's JSON, as far as we read it.

use jiff::Timestamp;
use serde::Deserialize;

use crate::diff::{self, Unreadable};

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
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
}

#[derive(Deserialize)]
struct Base {
    sha: String,
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
            author: pull.user.map(|user| user.login).unwrap_or_default(),
            url: pull.html_url,
        }
    }
}

/// A review or comment.
#[derive(Deserialize)]
pub(super) struct Posted {
    pub(super) html_url: String,
    pub(super) body: Option<String>,
    pub(super) user: Option<User>,
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
