//! The GitHub client: the few calls a review needs. The only holder of `GITHUB_TOKEN` and of a GitHub App's key.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::anchor::InlineComment;
use crate::config::GithubSettings;
use crate::diff::{self, Diff, File};
use crate::marker::{Bond, Marker};
use crate::{render, verdict::Side};

mod app;
mod status;
mod transport;
mod wire;

use status::Statuses;
pub use status::Told;
pub use transport::GithubError;
use transport::{DIFF, JSON, Request, Transport, Who};

const PER_PAGE: usize = 100;
/// GitHub lists at most 3,000 files of a pull request.
const MOST_FILE_PAGES: usize = 30;
/// GitHub lists at most so many files of a comparison, and does not say how many there are.
const MOST_COMPARED: usize = 300;
/// Reviews or comments that are looked through for our own.
const MOST_REVIEW_PAGES: usize = 30;

/// What happened to a call.
pub type Result<T> = std::result::Result<T, GithubError>;

/// Talks to GitHub, as the owner of the token, as a GitHub App's bot, or (reading public repositories only) as nobody.
#[derive(Debug)]
pub struct Github {
    transport: Transport,
    statuses: Statuses,
    login: OnceCell<Option<String>>,
    pacing: Duration,
    last_post: Mutex<Option<Instant>>,
}

/// A pull request as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Whether it is open.
    pub open: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// The newest commit.
    pub head_sha: String,
    /// The commit of the branch it is to be merged into.
    pub base_sha: String,
    /// How many files it changes.
    pub changed_files: usize,
    /// When it changed last.
    pub updated_at: Option<Timestamp>,
    /// Branch it comes from.
    pub head_ref: String,
    /// Title.
    pub title: String,
    /// Description.
    pub body: String,
    /// Login of the author; empty for a deleted account.
    pub author: String,
    /// Where people read it.
    pub url: String,
}

impl Github {
    /// A client. At least `pacing` lies between two calls that create something.
    ///
    /// # Errors
    /// The base URL is none, or TLS cannot be set up.
    pub fn new(settings: &GithubSettings) -> std::result::Result<Self, octocrab::Error> {
        Ok(Self {
            transport: Transport::new(settings)?,
            statuses: Statuses::new(settings.status_context.clone()),
            login: OnceCell::new(),
            pacing: settings.pacing,
            last_post: Mutex::default(),
        })
    }

    /// Whether anything can be posted.
    pub fn can_post(&self) -> bool {
        self.transport.who() != Who::Nobody
    }

    /// Whether GitHub answers, and takes the token or the App's key if there is one.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn probe(&self) -> Result<()> {
        let path = match self.transport.who() {
            Who::Nobody => "/meta",
            Who::Token => "/user",
            Who::App => "/app",
        };
        match self.get(path, JSON).await {
            // an App's token has no user; a mirror may have no /meta: both answer, which is the question
            Ok(_)
            | Err(GithubError::Forbidden(_) | GithubError::NotFound(_) | GithubError::RateLimited { .. }) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The pull request as it stands now.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn pull(&self, repository: &str, number: u64) -> Result<Pull> {
        let wire: wire::Pull = self.get_json(&format!("{}/pulls/{number}", repo(repository)?)).await?;
        Ok(wire.into())
    }

    /// The diff between a pull request's base and its head, as its own page shows it: both compare with the merge base,
    /// but a comparison names its commits. File by file where GitHub does not show it whole.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn pull_diff(&self, repository: &str, number: u64, pull: &Pull) -> Result<Diff> {
        let path = comparison(repository, &pull.base_sha, &pull.head_sha)?;
        let mut diff = match self.whole_diff(&path).await {
            Err(GithubError::TooLarge | GithubError::Unexpected(_)) => {
                self.files(&format!("{}/pulls/{number}/files", repo(repository)?)).await?
            }
            whole => whole?,
        };
        diff.unlisted = pull.changed_files.saturating_sub(diff.files.len());
        Ok(diff)
    }

    /// The diff of a pushed range; at most the 300 files that GitHub compares where it does not show it whole.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn range_diff(&self, repository: &str, before: &str, after: &str) -> Result<Diff> {
        let path = comparison(repository, before, after)?;
        match self.whole_diff(&path).await {
            Err(GithubError::TooLarge | GithubError::Unexpected(_)) => {
                let listed: wire::Comparison = self.get_json(&path).await?;
                let unlisted = usize::from(listed.files.len() >= MOST_COMPARED);
                Ok(Diff { files: listed.files.into_iter().map(File::from).collect(), unlisted })
            }
            whole => whole,
        }
    }

    /// A file in an encoding other than UTF-8 loses single characters, never a line.
    async fn whole_diff(&self, path: &str) -> Result<Diff> {
        let text = self.get(path, DIFF).await?;
        diff::parse(&String::from_utf8_lossy(&text))
            .map_err(|error| GithubError::Unexpected(error.to_string()))
    }

    async fn files(&self, path: &str) -> Result<Diff> {
        let files = self.pages::<wire::File>(path, MOST_FILE_PAGES, |_| false).await?;
        Ok(Diff { files: files.into_iter().map(File::from).collect(), unlisted: 0 })
    }

    /// The URL of our own review for this commit, if there is one: same author, valid marker.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn find_review(&self, number: u64, marker: &Marker, bond: Bond<'_>) -> Result<Option<String>> {
        self.find_own(&format!("{}/pulls/{number}/reviews", repo(bond.repository)?), marker, bond).await
    }

    /// The URL of our own comment on a commit, if there is one.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn find_commit_comment(&self, marker: &Marker, bond: Bond<'_>) -> Result<Option<String>> {
        self.find_own(
            &format!("{}/commits/{}/comments", repo(bond.repository)?, sha(bond.head)?),
            marker,
            bond,
        )
        .await
    }

    async fn find_own(&self, path: &str, marker: &Marker, bond: Bond<'_>) -> Result<Option<String>> {
        let login = self.login().await?;
        let is_ours = |posted: &wire::Posted| {
            let author = posted.user.as_ref().map_or("", |user| user.login.as_str());
            login.is_none_or(|login| author.eq_ignore_ascii_case(login))
                && marker.is_in(posted.body.as_deref().unwrap_or_default(), bond)
        };
        let posted = self.pages(path, MOST_REVIEW_PAGES, is_ours).await?;
        Ok(posted.into_iter().find(is_ours).map(|posted| posted.html_url))
    }

    /// Posts one review as a comment (nobody can approve their own pull request); `marker` ends each inline comment.
    /// Returns its URL.
    ///
    /// # Errors
    /// [`GithubError`]; [`GithubError::Unprocessable`] if GitHub refuses a line.
    pub async fn create_review(
        &self,
        repository: &str,
        number: u64,
        head: &str,
        body: &str,
        comments: &[InlineComment],
        marker: &str,
    ) -> Result<String> {
        let comments: Vec<Value> = comments.iter().map(|one| comment(one, marker)).collect();
        let review = json!({"commit_id": head, "event": "COMMENT", "body": body, "comments": comments});
        self.create(&format!("{}/pulls/{number}/reviews", repo(repository)?), &review).await
    }

    /// Posts a comment on a commit. Returns its URL.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn create_commit_comment(&self, repository: &str, commit: &str, body: &str) -> Result<String> {
        let path = format!("{}/commits/{}/comments", repo(repository)?, sha(commit)?);
        self.create(&path, &json!({"body": body})).await
    }

    /// Posts something; its URL.
    async fn create(&self, path: &str, body: &Value) -> Result<String> {
        let answer = self.write(Method::POST, path, body).await?;
        Ok(decode::<wire::Posted>(&answer)?.html_url)
    }

    /// One at a time, and not faster than GitHub's secondary limits allow.
    async fn write(&self, method: Method, path: &str, body: &Value) -> Result<bytes::Bytes> {
        let mut last = self.last_post.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep_until(last + self.pacing).await;
        }
        let answer = self.call(method, path, JSON, Some(body)).await;
        *last = Some(Instant::now());
        answer
    }

    /// Who we are; `None` where an installation's token of a GitHub App is set as `GITHUB_TOKEN`, which may not ask. The
    /// marker's HMAC alone decides then.
    async fn login(&self) -> Result<Option<&str>> {
        let ask = || async {
            if self.transport.who() == Who::App {
                return Ok(Some(self.get_json::<app::Identity>("/app").await?.login()));
            }
            match self.get_json::<wire::User>("/user").await {
                Ok(user) => Ok(Some(user.login)),
                Err(GithubError::Forbidden(_)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.login.get_or_try_init(ask).await.map(Option::as_deref)
    }

    /// All items of a list, up to `most` pages, or up to the page with an item that satisfies `enough`.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
        enough: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        for page in 1..=most {
            let found: Vec<T> = self.get_json(&format!("{path}?per_page={PER_PAGE}&page={page}")).await?;
            let last = found.len() < PER_PAGE || found.iter().any(&enough);
            items.extend(found);
            if last {
                break;
            }
        }
        Ok(items)
    }

    async fn get(&self, path: &str, accept: &str) -> Result<bytes::Bytes> {
        self.call(Method::GET, path, accept, None).await
    }

    /// One request, unless GitHub has asked for a pause. Where a path names no repository, [`Request`] has to, for a
    /// GitHub App asks as one of its installations.
    async fn call(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<&Value>,
    ) -> Result<bytes::Bytes> {
        self.transport.call(Request { accept, ..Request::new(&method, path, body) }).await
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        decode(&self.get(path, JSON).await?)
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| GithubError::Unexpected(error.to_string()))
}

/// The path of a repository; a name that could change the path of a request is refused.
fn repo(full_name: &str) -> Result<String> {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match full_name.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => Ok(format!("/repos/{full_name}")),
        _ => Err(GithubError::Unexpected(format!("`{full_name}` is not a repository name"))),
    }
}

fn comparison(repository: &str, base: &str, head: &str) -> Result<String> {
    Ok(format!("{}/compare/{}...{}", repo(repository)?, sha(base)?, sha(head)?))
}

fn sha(text: &str) -> Result<&str> {
    let is_sha = (7..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    if is_sha { Ok(text) } else { Err(GithubError::Unexpected(format!("`{text}` is not a commit id"))) }
}

fn comment(comment: &InlineComment, marker: &str) -> Value {
    let side = match comment.side {
        Side::Left => "LEFT",
        Side::Right => "RIGHT",
    };
    let body = render::comment(comment, marker);
    let mut json = json!({"path": comment.path, "line": comment.line, "side": side, "body": body});
    if let Some(start) = comment.start_line {
        json["start_line"] = start.into();
        json["start_side"] = side.into();
    }
    json
}

#[cfg(test)]
#[path = "github_tests.rs"]
mod tests;
