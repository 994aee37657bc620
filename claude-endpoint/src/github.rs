//! The GitHub client: the few calls a review needs. The only holder of `GITHUB_TOKEN` and of a GitHub App's
//! key.
//!
//! What is read before a review comes in one GraphQL query ([`context`]), and is looked at again before posting
//! ([`recheck`]); diffs and everything that is written go over REST. Writing is paced in one place ([`write`]).

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::config::GithubSettings;

mod app;
mod context;
mod diffs;
mod examine;
mod find;
mod graphql;
mod pace;
mod people;
mod recheck;
mod status;
mod talk;
mod threads;
mod transport;
mod wire;
mod write;

pub use context::{Context, Issue, OwnReview, Thread, ThreadComment, Want};
pub use find::{OwnComment, Posted};
pub use people::Permission;
pub use recheck::Recheck;
pub use talk::{Reaction, Target};
pub use transport::GithubError;
pub use write::NewComment;

use pace::Pace;
use status::Statuses;
pub use status::Told;
use transport::{JSON, Request, Transport, Who};

const PER_PAGE: usize = 100;

/// What happened to a call.
pub type Result<T> = std::result::Result<T, GithubError>;

/// Talks to GitHub, as the owner of the token, as a GitHub App's bot, or (reading public repositories only) as nobody.
#[derive(Debug)]
pub struct Github {
    transport: Transport,
    statuses: Statuses,
    login: OnceCell<Option<String>>,
    /// Held by whoever writes.
    pace: Mutex<Pace>,
    /// What the pace counts from.
    started: Instant,
}

/// A pull request as it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Login of the author, a bot's with `[bot]`; empty for a deleted account.
    pub author: String,
    /// Whether the author is an app.
    pub author_is_bot: bool,
    /// Whether its head is in another repository than its base: a fork.
    pub is_cross_repository: bool,
    /// Where people read it.
    pub url: String,
}

impl Github {
    /// A client. At least `pacing` lies between two calls that create or change something; without pacing GitHub's
    /// limits on content are not kept either.
    ///
    /// # Errors
    /// The base URL is none, or TLS cannot be set up.
    pub fn new(settings: &GithubSettings) -> std::result::Result<Self, octocrab::Error> {
        Ok(Self {
            transport: Transport::new(settings)?,
            statuses: Statuses::new(settings.status_context.clone()),
            login: OnceCell::new(),
            pace: Mutex::new(Pace::new(settings.pacing)),
            started: Instant::now(),
        })
    }

    /// Whether anything can be posted.
    pub fn can_post(&self) -> bool {
        self.transport.who() != Who::Nobody
    }

    /// As what we post, for people; `None` if nothing can be posted.
    pub fn poster(&self) -> Option<&'static str> {
        match self.transport.who() {
            Who::Nobody => None,
            Who::Token => Some("the owner of GITHUB_TOKEN"),
            Who::App => Some("a GitHub App"),
        }
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

    /// All items of a list, up to `most` pages, or up to the page with an item that satisfies `enough`.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
        enough: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let more = if path.contains('?') { '&' } else { '?' };
        for page in 1..=most {
            let found: Vec<T> =
                self.get_json(&format!("{path}{more}per_page={PER_PAGE}&page={page}")).await?;
            let last = found.len() < PER_PAGE || found.iter().any(&enough);
            items.extend(found);
            if last {
                break;
            }
        }
        Ok(items)
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Bytes> {
        self.call(Method::GET, path, accept, None).await
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        decode(&self.get(path, JSON).await?)
    }

    /// One request. Where a path names no repository, [`Request`] has to, for a GitHub App asks as one of its
    /// installations.
    async fn call(&self, method: Method, path: &str, accept: &str, body: Option<&Value>) -> Result<Bytes> {
        let request = Request { accept, ..Request::new(&method, path, body) };
        self.transport.call(request).await.map(|answer| answer.body)
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| GithubError::Unexpected(error.to_string()))
}

/// The owner and the name of a repository; a name that could change the path of a request is refused.
fn names(full_name: &str) -> Result<(&str, &str)> {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match full_name.split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => Ok((owner, name)),
        _ => Err(GithubError::Unexpected(format!("`{full_name}` is not a repository name"))),
    }
}

/// The path of a repository.
fn repo(full_name: &str) -> Result<String> {
    names(full_name).map(|(owner, name)| format!("/repos/{owner}/{name}"))
}

fn sha(text: &str) -> Result<&str> {
    let is_sha = (7..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    if is_sha { Ok(text) } else { Err(GithubError::Unexpected(format!("`{text}` is not a commit id"))) }
}

#[cfg(test)]
#[path = "github_tests.rs"]
mod tests;
