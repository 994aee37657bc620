//! Finding what we posted before: same author, and a body that the caller knows as its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Github, Result, repo, sha, wire};
use crate::marker::{Bond, Marker};

/// Reviews or comments that are looked through for our own.
const MOST_PAGES: usize = 30;

/// Something that stands on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Unique among its kind.
    pub id: u64,
    /// Where people read it.
    pub url: String,
}

/// A comment of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnComment {
    /// Unique id.
    pub id: u64,
    /// Markdown, as it stands there.
    pub body: String,
    /// Where people read it.
    pub url: String,
}

impl Github {
    /// The URL of our own review for this commit, if there is one: same author, valid marker.
    ///
    /// # Errors
    /// [`super::GithubError`].
    pub async fn find_review(&self, number: u64, marker: &Marker, bond: Bond<'_>) -> Result<Option<String>> {
        let path = format!("{}/pulls/{number}/reviews", repo(bond.repository)?);
        let found = self.find(&path, |body| marker.is_in(body, bond)).await?;
        Ok(found.map(|posted| posted.url))
    }

    /// The URL of our own comment on a commit, if there is one.
    ///
    /// # Errors
    /// [`super::GithubError`].
    pub async fn find_commit_comment(&self, marker: &Marker, bond: Bond<'_>) -> Result<Option<String>> {
        let path = format!("{}/commits/{}/comments", repo(bond.repository)?, sha(bond.head)?);
        let found = self.find(&path, |body| marker.is_in(body, bond)).await?;
        Ok(found.map(|posted| posted.url))
    }

    /// Our own comment on the code of a pull request (inline, on a file, or an answer in a thread) that satisfies
    /// `is_it`; the newest are looked at first.
    ///
    /// # Errors
    /// [`super::GithubError`].
    pub async fn find_comment(
        &self,
        repository: &str,
        number: u64,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<Option<Posted>> {
        let path = format!("{}/pulls/{number}/comments?sort=created&direction=desc", repo(repository)?);
        self.find(&path, is_it).await
    }

    /// Our own comments in the conversation of an issue or pull request, oldest first; those that were changed at
    /// `since` or later.
    ///
    /// # Errors
    /// [`super::GithubError`].
    pub async fn own_issue_comments(
        &self,
        repository: &str,
        number: u64,
        since: Option<Timestamp>,
    ) -> Result<Vec<OwnComment>> {
        let login = self.login().await?;
        let since = since.map(|since| format!("?since={}", whole_seconds(since))).unwrap_or_default();
        let path = format!("{}/issues/{number}/comments{since}", repo(repository)?);
        let posted: Vec<wire::Posted> = self.pages(&path, MOST_PAGES, |_| false).await?;
        let own = posted.into_iter().filter(|posted| posted.is_by(login));
        Ok(own.map(OwnComment::from).collect())
    }

    async fn find(&self, path: &str, is_it: impl Fn(&str) -> bool) -> Result<Option<Posted>> {
        let login = self.login().await?;
        let is_ours =
            |posted: &wire::Posted| posted.is_by(login) && is_it(posted.body.as_deref().unwrap_or_default());
        let posted = self.pages(path, MOST_PAGES, is_ours).await?;
        Ok(posted.into_iter().find(is_ours).map(Posted::from))
    }
}

/// As GitHub writes times.
fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
