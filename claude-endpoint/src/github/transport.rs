//! One request to GitHub: deadline, bounded body, typed error.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use octocrab::Octocrab;
use serde_json::Value;
use shared::error::chain;
use shared::github::{message, pause};
use thiserror::Error;

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
    /// 404: it does not exist, or this token may not see it.
    #[error(
        "GitHub knows no {0}, or GITHUB_TOKEN may not see it (it needs read access to the repository's contents and pull requests)"
    )]
    NotFound(String),
    /// 401: the token is wrong or expired.
    #[error(
        "GitHub refuses GITHUB_TOKEN ({0}): make a new token with read access to contents and write access to pull requests"
    )]
    BadToken(String),
    /// 403: the token may not do this.
    #[error(
        "GITHUB_TOKEN may not do this ({0}): it needs read access to contents and write access to pull requests of this repository"
    )]
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

/// Octocrab with the base URL, timeouts and (if there is one) the token.
pub(super) fn client(base: &str, token: Option<String>) -> Result<Octocrab, octocrab::Error> {
    let builder = Octocrab::builder()
        .base_uri(base.trim_end_matches('/'))?
        .set_connect_timeout(Some(CONNECT_TIMEOUT))
        .set_read_timeout(Some(DEADLINE))
        .set_write_timeout(Some(DEADLINE));
    match token {
        Some(token) => builder.personal_token(token).build(),
        None => builder.build(),
    }
}

/// Sends one request; anything but 2xx is an error.
pub(super) async fn send(
    crab: &Octocrab,
    method: Method,
    path: &str,
    accept: &str,
    body: Option<&Value>,
) -> Result<(HeaderMap, Bytes), GithubError> {
    let exchange = async {
        let builder = http::Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let request =
            crab.build_request(builder, body).map_err(|error| GithubError::Unexpected(chain(&error)))?;
        let response =
            crab.execute(request).await.map_err(|error| GithubError::Unavailable(chain(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => GithubError::TooLarge,
            false => GithubError::Unavailable(chain(error.as_ref())),
        })?;
        Ok((parts.status, parts.headers, body.to_bytes()))
    };
    let late = |_| GithubError::Unavailable(format!("no whole answer within {} s", DEADLINE.as_secs()));
    let (status, headers, body) = tokio::time::timeout(DEADLINE, exchange).await.map_err(late)??;
    if status.is_success() { Ok((headers, body)) } else { Err(refusal(status, &headers, &body, path)) }
}

pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], path: &str) -> GithubError {
    let message = message(body);
    if let Some(retry_after) = pause(status, headers, body) {
        return GithubError::RateLimited { retry_after };
    }
    match status.as_u16() {
        401 => GithubError::BadToken(message),
        403 => GithubError::Forbidden(message),
        404 => GithubError::NotFound(path.split('?').next().unwrap_or(path).to_owned()),
        406 => GithubError::TooLarge,
        422 => GithubError::Unprocessable(message),
        500.. => GithubError::Broken(status, message),
        _ => GithubError::Unexpected(format!("{status}: {message}")),
    }
}
