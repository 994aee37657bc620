//! What a review needs to know, in one GraphQL query; over REST where there is no GraphQL API or no token.
//!
//! Parts that may fail by themselves are asked for under aliases of their own: an error in a field that may not be null
//! takes its parent with it, and must not take the rest.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::graphql::Answer;
use super::transport::GithubError;
use super::{Github, Pull, Result, names, sha};
use crate::prompt::{self, Commit, Text};

mod answer;
mod document;
mod rest;
mod thread;

pub(super) use answer::{OwnReviews, Paged};
pub(super) use document::RECHECK;

/// Files whose text is asked for at most.
const MOST_FILES: usize = 60;
/// Pages of reviews or threads that are followed after the first.
pub(super) const MOST_MORE_PAGES: usize = 20;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The pull request.
    pub number: u64,
    /// The commit under review.
    pub head: &'a str,
    /// The commit of the base branch.
    pub base: &'a str,
    /// Paths of files whose text at `base` is wanted.
    pub rules: &'a [&'a str],
    /// Paths of files whose text at `head` is wanted; the first 60 are asked for.
    pub paths: &'a [String],
}

/// What is known of a pull request before it is reviewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The pull request.
    pub pull: Pull,
    /// Its newest commits, oldest first.
    pub commits: Vec<Commit>,
    /// Issues of this repository that it says it closes.
    pub issues: Vec<Issue>,
    /// Texts at the base, in the order in which they were wanted.
    pub rules: Vec<Text>,
    /// Texts at the head, in the order in which they were wanted.
    pub files: Vec<Text>,
    /// Threads that a comment of ours began, oldest first.
    pub threads: Vec<Thread>,
    /// Whether these are all of them.
    pub has_all_threads: bool,
    /// Reviews of ours, oldest first.
    pub reviews: Vec<OwnReview>,
    /// Who we are; `None` where that is not known.
    pub viewer: Option<String>,
    /// What could not be read, and why; for people to read. It may hold names of files: a stranger's words.
    pub missing: Vec<String>,
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: String,
    /// Login of the author, a bot's with `[bot]`; empty for a deleted account.
    pub author: String,
    /// Whether it is open.
    pub open: bool,
    /// Whether it is the issue side of a pull request.
    pub is_pull_request: bool,
    /// Where people read it.
    pub url: String,
}

/// A thread that a comment of ours began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its GraphQL id; empty where that is not known.
    pub id: String,
    /// Whether it is resolved; over REST nobody knows.
    pub is_resolved: bool,
    /// The person who resolved it; `None` if an app did.
    pub resolved_by: Option<String>,
    /// Whether its line is not part of the diff any more.
    pub is_outdated: bool,
    /// Path of the file.
    pub path: String,
    /// Last line of the comment in the newest diff.
    pub line: Option<u32>,
    /// The comment that began it, and the newest ones.
    pub comments: Vec<ThreadComment>,
}

/// A comment in a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadComment {
    /// Its id in the REST API.
    pub id: u64,
    /// Whether we wrote it.
    pub is_ours: bool,
    /// Login of the author, a bot's with `[bot]`; empty for a deleted account.
    pub author: String,
    /// Markdown.
    pub body: String,
    /// Where people read it.
    pub url: String,
    /// How many others dislike it.
    pub thumbs_down: u32,
}

/// A review of ours. Whether its marker is genuine is for the caller to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnReview {
    /// Its id in the REST API.
    pub id: u64,
    /// Markdown.
    pub body: String,
    /// Where people read it.
    pub url: String,
    /// The commit that was reviewed.
    pub commit: String,
}

impl From<Issue> for prompt::Issue {
    fn from(issue: Issue) -> Self {
        Self { number: issue.number, title: issue.title, body: issue.body }
    }
}

impl Github {
    /// What a review needs to know. Of what could not be read, only the pull request and our own reviews are errors:
    /// the rest is told by [`Context::missing`].
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn context(&self, repository: &str, want: &Want<'_>) -> Result<Context> {
        let want = Want { paths: &want.paths[..want.paths.len().min(MOST_FILES)], ..*want };
        if !self.can_post() {
            return self.context_by_rest(repository, &want).await;
        }
        match self.context_by_graphql(repository, &want).await {
            // texts are the heavy part: GitHub gives up on queries that take it too long
            Err(GithubError::TooLarge | GithubError::Broken(..)) if !want.paths.is_empty() => {
                let light = Want { paths: &[], ..want };
                let Some(mut context) = self.context_by_graphql(repository, &light).await? else {
                    return self.context_by_rest(repository, &want).await;
                };
                context.missing.push("the texts of the changed files: too much for one answer".to_owned());
                Ok(context)
            }
            Ok(None) => self.context_by_rest(repository, &want).await,
            Ok(Some(context)) => Ok(context),
            Err(error) => Err(error),
        }
    }

    /// `None` where there is no GraphQL API.
    async fn context_by_graphql(&self, repository: &str, want: &Want<'_>) -> Result<Option<Context>> {
        let (owner, name) = names(repository)?;
        let (head, base) = (sha(want.head)?, sha(want.base)?);
        let mut variables = json!({"owner": owner, "name": name, "number": want.number});
        let rules = want.rules.iter().map(|path| format!("{base}:{path}"));
        let files = want.paths.iter().map(|path| format!("{head}:{path}"));
        let objects: Vec<String> = rules.chain(files).collect();
        for (i, object) in objects.iter().enumerate() {
            variables[document::object(i)] = json!(object);
        }
        let what = format!("/repos/{repository}/pulls/{}", want.number);
        let document = document::context(objects.len());
        let Some(answer) = self.query(&document, &variables, &what).await? else { return Ok(None) };
        let mut read = answer::context(&answer, repository, want, &what)?;
        if let Some(login) = &read.context.viewer {
            self.we_are(login);
        }
        self.follow(&mut read, repository, want.number, &what).await?;
        Ok(Some(read.context))
    }

    /// Reads the pages of reviews and threads that did not fit into the first answer.
    async fn follow(&self, read: &mut answer::Read, repository: &str, number: u64, what: &str) -> Result<()> {
        let (owner, name) = names(repository)?;
        for _ in 0..MOST_MORE_PAGES {
            if read.before.is_none() && read.after.is_none() {
                return Ok(());
            }
            let variables = json!({
                "owner": owner, "name": name, "number": number, "before": read.before, "after": read.after,
                "reviews": read.before.is_some(), "threads": read.after.is_some(),
            });
            let answer: Option<Answer> = self.query(document::MORE, &variables, what).await?;
            let answer = answer.ok_or_else(|| GithubError::Unexpected("GraphQL is gone".to_owned()))?;
            read.add(&answer, what)?;
        }
        read.context.has_all_threads &= read.after.is_none();
        let all = |cursor: &Option<Value>, what: &str| cursor.is_some().then(|| what.to_owned());
        read.context.missing.extend(all(&read.before, "older reviews: there are too many"));
        read.context.missing.extend(all(&read.after, "newer review threads: there are too many"));
        Ok(())
    }
}
