//! One request to GitHub: deadline, bounded body, typed error.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use octocrab::Octocrab;
use serde_json::Value;
use shared::client::retry_after;
use shared::error::chain;
use thiserror::Error;

/// A whole call, connection included.
const DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// GitHub shows diffs of at most 1 MB; a page of the files API holds a hundred patches.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// GitHub asks for at least a minute after a secondary limit without `retry-after`.
const LIMITED_FOR: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

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
) -> Result<Bytes, GithubError> {
    let exchange = async {
        let builder = http::Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let request =
            crab.build_request(builder, body).map_err(|error| GithubError::Unexpected(chain(&error)))?;
        let response =
            crab.execute(request).await.map_err(|error| GithubError::Unavailable(chain(&error)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| GithubError::Unavailable(chain(error.as_ref())))?;
        Ok((parts.status, parts.headers, body.to_bytes()))
    };
    let late = |_| GithubError::Unavailable(format!("no whole answer within {} s", DEADLINE.as_secs()));
    let (status, headers, body) = tokio::time::timeout(DEADLINE, exchange).await.map_err(late)??;
    if status.is_success() { Ok(body) } else { Err(refusal(status, &headers, &body, path)) }
}

pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], path: &str) -> GithubError {
    let message = message(body);
    match status.as_u16() {
        403 | 422 | 429 if is_limit(status, headers, &message) => {
            GithubError::RateLimited { retry_after: wait(headers) }
        }
        401 => GithubError::BadToken(message),
        403 => GithubError::Forbidden(message),
        404 => GithubError::NotFound(path.split('?').next().unwrap_or(path).to_owned()),
        406 => GithubError::TooLarge,
        422 => GithubError::Unprocessable(message),
        500.. => GithubError::Broken(status, message),
        _ => GithubError::Unexpected(format!("{status}: {message}")),
    }
}

/// Secondary limits are told apart from other refusals by their words; content that was created too fast is one, too.
fn is_limit(status: StatusCode, headers: &HeaderMap, message: &str) -> bool {
    let text = message.to_lowercase();
    let too_quick = text.contains("submitted too quickly") || text.contains(r#""code":"abuse""#);
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::UNPROCESSABLE_ENTITY => too_quick,
        _ => {
            too_quick
                || headers.contains_key(header::RETRY_AFTER)
                || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
                || text.contains("rate limit")
                || text.contains("abuse")
        }
    }
}

/// `retry-after`, else the reset of an exhausted primary limit, else GitHub's minimum.
fn wait(headers: &HeaderMap) -> Duration {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let reset = || {
        let exhausted = number("x-ratelimit-remaining") == Some(0);
        let seconds = number("x-ratelimit-reset")? - Timestamp::now().as_second();
        exhausted.then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or_default() + 1))
    };
    retry_after(headers).or_else(reset).unwrap_or(LIMITED_FOR).min(LONGEST_WAIT)
}

/// GitHub's message with its details, at most 500 characters.
fn message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match (json["message"].as_str(), json.get("errors")) {
        (Some(message), Some(errors)) => format!("{message} {errors}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => String::from_utf8_lossy(body).into_owned(),
    };
    crate::text::shorten(text.trim(), 500)
}
