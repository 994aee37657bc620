//! The signed client between our services: it signs what it sends and believes only signed answers.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};
use thiserror::Error;
use url::Url;

use self::greeting::{Greeting, Stranger};
use crate::{
    config::SIGNING_KEY,
    error::{chain, hide},
    keys::KeyBook,
    signature::{self, SignatureError, SigningKeys},
};

mod greeting;
mod headers;
mod line;

use headers::signed_headers;
pub use headers::trace_headers;
pub use line::travel;

/// Establishing a connection, to anywhere: a tunnel that hangs is found soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(5);
/// The largest answer one of our services gives.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// A part of a URL that is shorter is none.
const SHORTEST_SECRET: usize = 12;
/// The longest that a target may ask to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// As much of an answer that needs no signature as is read: its status counts, and the start of it says why.
const LARGEST_REASON: usize = 64 * 1024;

/// An HTTP client with a connect timeout, no redirects (a redirected request would carry its secrets elsewhere), no
/// proxy from the environment, and `timeout` for a whole call unless the call sets its own. On a machine without CA
/// certificates it speaks plain HTTP only, which is all that our services need of each other.
///
/// # Errors
/// TLS cannot be set up.
pub fn http(timeout: Option<Duration>) -> reqwest::Result<reqwest::Client> {
    build(|| builder(timeout))
}

/// The same, whose answers tell the certificate that they came by (`reqwest::tls::TlsInfo`).
///
/// # Errors
/// TLS cannot be set up.
pub fn http_with_certificate(timeout: Option<Duration>) -> reqwest::Result<reqwest::Client> {
    build(|| builder(timeout).tls_info(true))
}

fn build(builder: impl Fn() -> reqwest::ClientBuilder) -> reqwest::Result<reqwest::Client> {
    // An error only says that the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder().build().or_else(|error| {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let cause = chain(&error);
            tracing::warn!(cause, "https is not to be had: this machine has no CA certificates; on Debian: apt-get install ca-certificates");
        });
        builder().tls_certs_only([]).build()
    })
}

fn builder(timeout: Option<Duration>) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        // Shorter than our servers keep an idle connection, so that no request meets one that is just being closed.
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("ai-relay/", env!("CARGO_PKG_VERSION")));
    match timeout {
        Some(timeout) => builder.timeout(timeout),
        None => builder,
    }
}

/// Why a call brought no answer that can be believed. The other side may be away, or somebody else may answer for it:
/// either way nothing is known about what became of the request.
#[derive(Debug, Error)]
pub enum CallError {
    /// No connection, or nobody on it who said who it is: nothing was sent.
    #[error("{0} does not answer: {1}")]
    Unconnected(String, String),
    /// No answer in time, or a broken one.
    #[error("{0} does not answer: {1}")]
    Unanswered(String, String),
    /// Somebody answered who does not hold the key.
    #[error(
        "{who} answered {status} without a valid signature ({why}): either another program holds that port, or {key} or the clock differs on the other side"
    )]
    NotOurs {
        /// Base URL or name of the target.
        who: String,
        /// Where the key is set.
        key: &'static str,
        /// Status of the answer.
        status: u16,
        /// What is wrong with it.
        why: SignatureError,
    },
    /// More than this client takes.
    #[error("{0} sent an answer of more than {LARGEST_ANSWER} bytes")]
    TooLarge(String),
}

/// An answer whose signature was checked.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Whole body.
    pub body: Bytes,
    /// `Retry-After`, if given in seconds.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error message in the body, or its first 300 characters.
    pub fn message(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match json.pointer("/error/message").and_then(serde_json::Value::as_str) {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&self.body).chars().take(300).collect(),
        }
    }
}

/// Which answers are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Those that carry [`signature::ANSWER`].
    Signed,
    /// All: for receivers that know Standard Webhooks only.
    Any,
}

/// Talks to one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignedClient {
    http: reqwest::Client,
    timeout: Duration,
    service: Arc<str>,
    base: Url,
    keys: SigningKeys,
    answers: Answers,
    /// What errors call the other side, and where its key is set.
    who: Arc<str>,
    key: &'static str,
    /// Where it is noted which key an answer was signed with, and by which name.
    book: Option<(KeyBook, Arc<str>)>,
}

impl SignedClient {
    /// A client for the service of that name at `base`; `timeout` is for a whole call, beside the [`travel`] of its body.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        service: impl Into<Arc<str>>,
        base: Url,
        keys: SigningKeys,
        timeout: Duration,
    ) -> reqwest::Result<Self> {
        Ok(Self::of_ours(http(None)?, timeout, service.into(), base, keys))
    }

    fn of_ours(
        http: reqwest::Client,
        timeout: Duration,
        service: Arc<str>,
        base: Url,
        keys: SigningKeys,
    ) -> Self {
        let (who, key) = (base.as_str().into(), SIGNING_KEY);
        Self { http, timeout, service, base, keys, answers: Answers::Signed, who, key, book: None }
    }

    /// The same, but on each new connection it is first asked who is there: nothing else goes to somebody who does not
    /// hold the key. For a port that others may take while the service is away.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn wary(
        service: impl Into<Arc<str>>,
        base: Url,
        keys: SigningKeys,
        timeout: Duration,
    ) -> reqwest::Result<Self> {
        let service: Arc<str> = service.into();
        let greeting = Greeting {
            service: Arc::clone(&service),
            authority: base.authority().into(),
            path: format!("{}{}", base.path().trim_end_matches('/'), greeting::PATH).into(),
            keys: keys.clone(),
        };
        let connecting = CONNECT_TIMEOUT + greeting::PATIENCE;
        let greeted = || builder(None).connector_layer(greeting.clone()).connect_timeout(connecting);
        Ok(Self::of_ours(build(greeted)?, timeout, service, base, keys))
    }

    /// A client for somebody else's receiver of that name, which takes [`deliver`](Self::deliver)ies at `url` and has
    /// keys of its own. Errors name it, and never its URL, which may be meant for nobody's eyes.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn for_receiver(
        name: &str,
        url: Url,
        keys: SigningKeys,
        answers: Answers,
        timeout: Duration,
    ) -> reqwest::Result<Self> {
        let (who, key) = (format!("the target `{name}`").into(), "its signing_key");
        let (http, service) = (http(None)?, name.into());
        Ok(Self { http, timeout, service, base: url, keys, answers, who, key, book: None })
    }

    /// Notes in `book`, under `setting`, which key an answer was signed with.
    #[must_use]
    pub fn noting(mut self, book: KeyBook, setting: impl Into<Arc<str>>) -> Self {
        self.book = Some((book, setting.into()));
        self
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The service's base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// `POST` with a JSON body; `id` is the idempotency key.
    ///
    /// # Errors
    /// [`CallError`]; an error status is an [`Answer`].
    pub async fn post(&self, path: &str, id: &str, body: Bytes) -> Result<Answer, CallError> {
        self.call(Method::POST, self.url(path), id, body, None).await
    }

    /// `POST` to the very URL that the client was made for; else as [`post`](Self::post).
    ///
    /// # Errors
    /// [`CallError`]; an error status is an [`Answer`].
    pub async fn deliver(&self, id: &str, body: Bytes) -> Result<Answer, CallError> {
        self.call(Method::POST, self.base.to_string(), id, body, None).await
    }

    /// `GET`; `timeout` replaces the client's own where a call is a long poll or a quick probe.
    ///
    /// # Errors
    /// [`CallError`]; an error status is an [`Answer`].
    pub async fn get(&self, path_and_query: &str, timeout: Option<Duration>) -> Result<Answer, CallError> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let id = signature::bound_id("GET", &self.service, path, &uuid::Uuid::new_v4().to_string());
        self.call(Method::GET, self.url(path_and_query), &id, Bytes::new(), timeout).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    async fn call(
        &self,
        method: Method,
        url: String,
        id: &str,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Answer, CallError> {
        let timeout = timeout.unwrap_or(self.timeout) + travel(body.len());
        let request = self.http.request(method, url).timeout(timeout);
        let request = request.headers(signed_headers(&self.keys, id, &body)).body(body);
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match self.answers {
            Answers::Any => without_place(start_of(response).await, &self.base),
            Answers::Signed => {
                let answer = self.whole(response).await?;
                let signature = headers.get(signature::ANSWER).and_then(|value| value.to_str().ok());
                let checked = self.keys.verify_answer(signature, id, status, answer);
                let not_ours = |why| CallError::NotOurs { who: self.who(), key: self.key, status, why };
                let checked = checked.map_err(not_ours)?;
                if let Some((book, setting)) = &self.book {
                    book.used(setting, checked.key(), "answers", &self.service);
                }
                checked.into_bytes()
            }
        };
        Ok(Answer { status, body, retry_after: retry_after(&headers) })
    }

    async fn whole(&self, mut response: reqwest::Response) -> Result<Bytes, CallError> {
        let mut answer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if answer.len() + chunk.len() > LARGEST_ANSWER {
                return Err(CallError::TooLarge(self.who()));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer.freeze())
    }

    fn who(&self) -> String {
        self.who.to_string()
    }

    fn unreachable(&self, error: reqwest::Error) -> CallError {
        if let Some(&Stranger { status, why }) = Stranger::within(&error) {
            return CallError::NotOurs { who: self.who(), key: self.key, status, why };
        }
        let unreached = if error.is_connect() { CallError::Unconnected } else { CallError::Unanswered };
        unreached(self.who(), chain(&error.without_url()))
    }
}

/// An answer without the path and the query that were called: where a receiver has no other secret, they are it.
fn without_place(answer: Bytes, url: &Url) -> Bytes {
    let parts = [Some(url.path()), url.query()].into_iter().flatten();
    let may_be_secret = parts.filter(|part| part.len() >= SHORTEST_SECRET);
    may_be_secret.fold(answer, hide)
}

/// What there is of an answer whose status is enough.
async fn start_of(mut response: reqwest::Response) -> Bytes {
    let mut start = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await
        && start.len() < LARGEST_REASON
    {
        start.extend_from_slice(&chunk[..chunk.len().min(LARGEST_REASON - start.len())]);
    }
    start.freeze()
}

/// `Retry-After`, in seconds or as a date, at most an hour (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = |date| Duration::try_from(date - Timestamp::now()).unwrap_or_default();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?),
    };
    Some(asked.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_target_says_when_to_come_back_in_seconds_or_by_a_date() {
        let asked = |text: &str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]))
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("999999"), Some(LONGEST_WAIT));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Thu, 31 Dec 2150 23:59:59 GMT"), Some(LONGEST_WAIT));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn an_answer_is_quoted_without_the_secret_part_of_a_url() {
        let said = |url: &str, answer: &'static str| {
            String::from_utf8(without_place(answer.into(), &url.parse().unwrap()).to_vec()).unwrap()
        };
        let hook = "https://example.org/services/T0/B0/s3cret?token=an0ther-s3cret";
        let answer = "Cannot POST /services/T0/B0/s3cret?token=an0ther-s3cret";
        assert_eq!(said(hook, answer), "Cannot POST <hidden>?<hidden>");
        assert_eq!(said("https://example.org/hook", "no /hook here"), "no /hook here");
    }
}
