//! Everything that creates or changes something on GitHub: one call at a time, and not faster than it allows.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::find::Posted;
use super::transport::{GithubError, JSON};
use super::{Github, Result, decode, repo, sha, wire};
use crate::verdict::Side;

/// Waiting longer than this is left to whoever can do something else meanwhile.
const LONGEST_NAP: Duration = Duration::from_secs(10);

/// A comment on lines of the diff, as a part of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewComment {
    /// Path as the diff has it.
    pub path: String,
    /// Side of the diff.
    pub side: Side,
    /// First line, if there are several.
    pub start_line: Option<u32>,
    /// Last (or only) line.
    pub line: u32,
    /// Markdown, with the marker.
    pub body: String,
}

impl Github {
    /// Posts one review as a comment (nobody can approve their own pull request).
    ///
    /// # Errors
    /// [`GithubError`]; [`GithubError::Unprocessable`] if GitHub refuses a line, and with it all of the review.
    pub async fn create_review(
        &self,
        repository: &str,
        number: u64,
        head: &str,
        body: &str,
        comments: &[NewComment],
    ) -> Result<Posted> {
        let comments: Vec<Value> = comments.iter().map(comment).collect();
        let review = json!({"commit_id": sha(head)?, "event": "COMMENT", "body": body, "comments": comments});
        self.create(&format!("{}/pulls/{number}/reviews", repo(repository)?), &review).await
    }

    /// Replaces the body of a review of ours.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn update_review(&self, repository: &str, number: u64, id: u64, body: &str) -> Result<Posted> {
        let path = format!("{}/pulls/{number}/reviews/{id}", repo(repository)?);
        self.change(Method::PUT, &path, &json!({"body": body})).await
    }

    /// Posts a comment on a whole file of the pull request, for what belongs to no line of the diff. Reviews take none
    /// of these: they go one by one, and each begins a thread.
    ///
    /// # Errors
    /// [`GithubError`]; [`GithubError::Unprocessable`] if the file is not part of the diff.
    pub async fn file_comment(
        &self,
        repository: &str,
        number: u64,
        head: &str,
        path: &str,
        body: &str,
    ) -> Result<Posted> {
        let comment = json!({"commit_id": sha(head)?, "path": path, "subject_type": "file", "body": body});
        self.create(&format!("{}/pulls/{number}/comments", repo(repository)?), &comment).await
    }

    /// Answers in the thread that begins with a comment.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn reply(&self, repository: &str, number: u64, comment: u64, body: &str) -> Result<Posted> {
        let path = format!("{}/pulls/{number}/comments/{comment}/replies", repo(repository)?);
        self.create(&path, &json!({"body": body})).await
    }

    /// Posts a comment in the conversation of an issue or pull request.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn issue_comment(&self, repository: &str, number: u64, body: &str) -> Result<Posted> {
        let path = format!("{}/issues/{number}/comments", repo(repository)?);
        self.create(&path, &json!({"body": body})).await
    }

    /// Replaces the body of a comment of ours in a conversation.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn update_issue_comment(&self, repository: &str, id: u64, body: &str) -> Result<Posted> {
        let path = format!("{}/issues/comments/{id}", repo(repository)?);
        self.change(Method::PATCH, &path, &json!({"body": body})).await
    }

    /// Posts a comment on a commit.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn create_commit_comment(&self, repository: &str, commit: &str, body: &str) -> Result<Posted> {
        let path = format!("{}/commits/{}/comments", repo(repository)?, sha(commit)?);
        self.create(&path, &json!({"body": body})).await
    }

    pub(super) async fn create(&self, path: &str, body: &Value) -> Result<Posted> {
        self.change(Method::POST, path, body).await
    }

    async fn change(&self, method: Method, path: &str, body: &Value) -> Result<Posted> {
        let answer = self.write(method, path, Some(body)).await?;
        decode::<wire::Posted>(&answer).map(Posted::from)
    }

    /// A call that creates, changes or deletes something.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<bytes::Bytes> {
        self.paced(self.call(method, path, JSON, body)).await
    }

    /// Makes a call when it is its turn. One that is given up while under way counts all the same: it may have taken
    /// effect.
    pub(super) async fn paced<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut pace = self.pace.lock().await;
        let wait = pace.wait(self.started.elapsed());
        if wait > LONGEST_NAP {
            return Err(GithubError::RateLimited { retry_after: wait });
        }
        tokio::time::sleep_until(Instant::now() + wait).await;
        pace.begin(self.started.elapsed());
        let answer = call.await;
        pace.end(self.started.elapsed());
        answer
    }
}

fn comment(comment: &NewComment) -> Value {
    let side = match comment.side {
        Side::Left => "LEFT",
        Side::Right => "RIGHT",
    };
    let mut json = json!({"path": comment.path, "line": comment.line, "side": side, "body": comment.body});
    if let Some(start) = comment.start_line {
        json["start_line"] = start.into();
        json["start_side"] = side.into();
    }
    json
}
