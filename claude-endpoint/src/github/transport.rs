//! One request to GitHub: credentials, deadline, bounded body, typed error.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use octocrab::Octocrab;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use shared::error::{chain, hide};
use shared::github::{message, pause};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::app::App;
use super::graphql;
use crate::config::GithubSettings;

/// A whole call, connection included.
const DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// GitHub shows diffs of at most 1 MB; a page of the files API holds a hundred patches.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

pub(super) const JSON: &str = "application/vnd.github+json";
pub(super) const DIFF: &str = "application/vnd.github.diff";

/// Why a call to GitHub brought nothing.
#[derive(Debug, Error)]
pub enum GithubError {
    /// 404: it does not exist, or we may not see it.
    #[error("GitHub knows no {0}")]
    NotFound(String),
    /// 401: the credentials are wrong or expired.
    #[error("GitHub refuses {0}")]
    BadToken(String),
    /// 403: we may not do this.
    #[error("GitHub does not allow it: {0}")]
    Forbidden(String),
    /// A primary or secondary limit.
    #[error("GitHub's rate limit is reached; it lets us go on in {} s", retry_after.as_secs())]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// 406: GitHub does not show a diff of this size.
    #[error("GitHub does not show a diff of this size")]
    TooLarge,
    /// 422: the request was understood and refused.
    #[error("GitHub refused the request: {0}")]
    Unprocessable(String),
    /// No connection, or no whole answer in time. Whether the request took effect is unknown.
    #[error("GitHub does not answer: {0}")]
    Unavailable(String),
    /// 5xx. Whether the request took effect is unknown.
    #[error("GitHub answered {0}: {1}")]
    Broken(StatusCode, String),
    /// An answer that no documentation knows.
    #[error("GitHub's answer cannot be used: {0}")]
    Unexpected(String),
}

/// As whom GitHub is asked.
#[derive(Debug)]
enum Credentials {
    Nobody(Limit),
    Token(SecretString, Limit),
    App(Box<App>),
}

/// For whom an error is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Nobody,
    Token,
    App,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) accept: &'a str,
    pub(super) body: Option<&'a Value>,
    /// `owner/name`: which of an App's installations asks. A path below `/repos` says it itself; `/graphql` does not.
    pub(super) repository: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// A request about the repository in its path.
    pub(super) fn new(method: &'a Method, path: &'a str, body: Option<&'a Value>) -> Self {
        Self { method, path, accept: JSON, body, repository: repository_in(path) }
    }
}

/// Asks GitHub as one holder of rights.
#[derive(Debug)]
pub(super) struct Transport {
    hosts: Hosts,
    credentials: Credentials,
}

/// Where GitHub answers.
#[derive(Debug)]
pub(super) struct Hosts {
    rest: Octocrab,
    graphql: Octocrab,
}

impl Hosts {
    fn new(url: &str) -> Result<Self, octocrab::Error> {
        let client = |base: &str| {
            Octocrab::builder()
                .base_uri(base)?
                .set_connect_timeout(Some(CONNECT_TIMEOUT))
                .set_read_timeout(Some(DEADLINE))
                .set_write_timeout(Some(DEADLINE))
                .build()
        };
        let (rest, graphql) = (url.trim_end_matches('/'), graphql::base(url));
        let host = client(rest)?;
        // the same connections, where it is the same place
        Ok(Self { graphql: if graphql == rest { host.clone() } else { client(graphql)? }, rest: host })
    }

    fn of(&self, path: &str) -> &Octocrab {
        if path == graphql::PATH { &self.graphql } else { &self.rest }
    }
}

impl Transport {
    /// # Errors
    /// The base URL is none, or TLS cannot be set up.
    pub(super) fn new(settings: &GithubSettings) -> Result<Self, octocrab::Error> {
        let credentials = match (&settings.app, &settings.token) {
            (Some(key), _) => Credentials::App(Box::new(App::new(key.clone()))),
            (None, Some(token)) => Credentials::Token(token.clone(), Limit::default()),
            (None, None) => Credentials::Nobody(Limit::default()),
        };
        Ok(Self { hosts: Hosts::new(&settings.url)?, credentials })
    }

    /// As whom we ask.
    pub(super) fn who(&self) -> Who {
        match &self.credentials {
            Credentials::Nobody(_) => Who::Nobody,
            Credentials::Token(..) => Who::Token,
            Credentials::App(_) => Who::App,
        }
    }

    /// The GitHub App that we are, if we are one.
    pub(super) fn app(&self) -> Option<&App> {
        match &self.credentials {
            Credentials::App(app) => Some(app),
            _ => None,
        }
    }

    /// One request, unless GitHub has asked for a pause; anything but 2xx is an error.
    pub(super) async fn call(&self, request: Request<'_>) -> Result<Answered, GithubError> {
        let (token, limit) = match &self.credentials {
            Credentials::App(app) => return app.call(&self.hosts, request).await,
            Credentials::Token(token, limit) => (Some(token), limit),
            Credentials::Nobody(limit) => (None, limit),
        };
        limit.check()?;
        let answer = exchange(&self.hosts, request, token).await?;
        limit.note(answer.judged(request.path, self.who()))
    }
}

/// A rate limit is the token's: nobody asks with it before its end.
#[derive(Debug, Default)]
pub(super) struct Limit(watch::Sender<Option<Instant>>);

impl Limit {
    /// # Errors
    /// GitHub has asked for a pause that is not over.
    pub(super) fn check(&self) -> Result<(), GithubError> {
        let until = *self.0.borrow();
        match until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Err(GithubError::RateLimited { retry_after: left }),
            _ => Ok(()),
        }
    }

    /// Passes an answer on, and remembers the pause that it may ask for.
    pub(super) fn note<T>(&self, answer: Result<T, GithubError>) -> Result<T, GithubError> {
        if let Err(GithubError::RateLimited { retry_after }) = &answer {
            self.0.send_replace(Some(Instant::now() + *retry_after));
        }
        answer
    }
}

/// What GitHub answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Without the body: it may be a token.
impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answered {
    /// Anything but 2xx is an error, and so is a limit that GraphQL tells with 200.
    pub(super) fn judged(self, path: &str, who: Who) -> Result<Self, GithubError> {
        let Self { status, headers, body } = &self;
        if !status.is_success() {
            Err(refusal(*status, headers, body, path, who))
        } else if path == graphql::PATH
            && let Some(retry_after) = graphql::limit(headers, body)
        {
            Err(GithubError::RateLimited { retry_after })
        } else {
            Ok(self)
        }
    }
}

/// Sends one request. The token stands nowhere but in its header, which is marked as not to be shown.
pub(super) async fn exchange(
    hosts: &Hosts,
    request: Request<'_>,
    token: Option<&SecretString>,
) -> Result<Answered, GithubError> {
    let crab = hosts.of(request.path);
    let exchange = async {
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(request.path)
            .header(header::ACCEPT, request.accept);
        if let Some(token) = token {
            builder = builder.header(header::AUTHORIZATION, bearer(token)?);
        }
        let request = crab
            .build_request(builder, request.body)
            .map_err(|error| GithubError::Unexpected(chain(&error)))?;
        let response =
            crab.execute(request).await.map_err(|error| GithubError::Unavailable(chain(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => GithubError::TooLarge,
            false => GithubError::Unavailable(chain(error.as_ref())),
        })?;
        let body = match token {
            Some(token) if !parts.status.is_success() => hide(body.to_bytes(), token.expose_secret()),
            _ => body.to_bytes(),
        };
        Ok(Answered { status: parts.status, headers: parts.headers, body })
    };
    let late = |_| GithubError::Unavailable(format!("no whole answer within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, exchange).await.map_err(late)?
}

fn bearer(token: &SecretString) -> Result<HeaderValue, GithubError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
        GithubError::BadToken("GITHUB_TOKEN: it has characters that no header can carry".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The repository that a path is about.
pub(super) fn repository_in(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/repos/")?;
    let (owner, more) = rest.split_once('/')?;
    let name = more.split(['/', '?']).next().unwrap_or(more);
    Some(&rest[..owner.len() + 1 + name.len()])
}

pub(super) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    path: &str,
    who: Who,
) -> GithubError {
    let message = message(body);
    if let Some(retry_after) = pause(status, headers, body) {
        return GithubError::RateLimited { retry_after };
    }
    match status.as_u16() {
        // the app's own signature is judged elsewhere; another token is no remedy for this
        401 if who == Who::App => GithubError::Unexpected(format!(
            "it refuses a token that it has just given to the GitHub App: {message}"
        )),
        401 => GithubError::BadToken(who.refused(&message)),
        403 => GithubError::Forbidden(who.forbidden(&message)),
        404 => GithubError::NotFound(who.unknown(path.split('?').next().unwrap_or(path))),
        406 => GithubError::TooLarge,
        422 => GithubError::Unprocessable(message),
        500.. => GithubError::Broken(status, message),
        _ => GithubError::Unexpected(format!("{status}: {message}")),
    }
}

/// What to do about a refusal.
impl Who {
    fn refused(self, message: &str) -> String {
        match self {
            Self::Nobody => {
                format!("to answer without a token ({message}): set GITHUB_TOKEN, or a GitHub App")
            }
            Self::Token => format!(
                "GITHUB_TOKEN ({message}): make a new token with read access to contents and write access to pull requests"
            ),
            Self::App => format!("a token that it has just given to the GitHub App ({message})"),
        }
    }

    fn forbidden(self, message: &str) -> String {
        match self {
            Self::Nobody => format!("{message}; set GITHUB_TOKEN, or a GitHub App"),
            Self::Token => format!(
                "GITHUB_TOKEN may not do this ({message}): it needs read access to contents and write access to pull requests of this repository"
            ),
            Self::App => format!(
                "the GitHub App may not do this ({message}): it needs \"Contents: read\" and \"Pull requests: read and write\" in its settings, which the owner of the installation must then accept"
            ),
        }
    }

    fn unknown(self, path: &str) -> String {
        match self {
            Self::Nobody => format!("{path}, or it may not be seen without GITHUB_TOKEN or a GitHub App"),
            Self::Token => format!(
                "{path}, or GITHUB_TOKEN may not see it (it needs read access to the repository's contents and pull requests)"
            ),
            Self::App => format!(
                "{path}, or the GitHub App may not see it (its installation must cover the repository, and it needs read access to contents and pull requests)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_repository() {
        for (path, repository) in [
            ("/repos/acme/shop/pulls/7", Some("acme/shop")),
            ("/repos/acme/shop?x=a/b", Some("acme/shop")),
            ("/repos/acme/shop", Some("acme/shop")),
            ("/repos/acme", None),
            ("/graphql", None),
            ("/user", None),
        ] {
            assert_eq!(repository_in(path), repository, "{path}");
        }
    }

    #[test]
    fn a_token_that_is_none_is_an_error_and_is_not_shown() {
        let error = bearer(&"canary\nx".into()).unwrap_err().to_string();
        assert!(error.contains("header") && !error.contains("canary"), "{error}");
        assert!(!format!("{:?}", bearer(&"canary".into()).unwrap()).contains("canary"));
    }
}
