//! Conversations: issues, and reactions to comments.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::Issue;
use super::transport::GithubError;
use super::{Github, Result, decode, repo, wire};

/// What is reacted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A comment in the conversation of an issue or pull request.
    IssueComment(u64),
    /// A comment on code.
    ReviewComment(u64),
}

impl Target {
    fn path(self, repository: &str) -> Result<String> {
        let repo = repo(repository)?;
        Ok(match self {
            Self::IssueComment(id) => format!("{repo}/issues/comments/{id}/reactions"),
            Self::ReviewComment(id) => format!("{repo}/pulls/comments/{id}/reactions"),
        })
    }
}

/// A reaction of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reaction {
    /// It is being looked at.
    Eyes,
    /// Done.
    ThumbsUp,
    /// Refused.
    ThumbsDown,
    /// Not understood.
    Confused,
}

impl Reaction {
    fn content(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::ThumbsUp => "+1",
            Self::ThumbsDown => "-1",
            Self::Confused => "confused",
        }
    }
}

impl Github {
    /// An issue, or the issue side of a pull request.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn issue(&self, repository: &str, number: u64) -> Result<Issue> {
        let wire: wire::Issue = self.get_json(&format!("{}/issues/{number}", repo(repository)?)).await?;
        Ok(wire.into())
    }

    /// Reacts to a comment; a second time changes nothing. Returns the reaction's id.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn react(&self, repository: &str, target: Target, reaction: Reaction) -> Result<u64> {
        let body = json!({"content": reaction.content()});
        let answer = self.write(Method::POST, &target.path(repository)?, Some(&body)).await?;
        Ok(decode::<wire::Id>(&answer)?.id)
    }

    /// Takes a reaction of ours back, if it is still there.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn unreact(&self, repository: &str, target: Target, reaction: u64) -> Result<()> {
        let path = format!("{}/{reaction}", target.path(repository)?);
        match self.write(Method::DELETE, &path, None).await {
            Ok(_) | Err(GithubError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
