//! The signed client between our services: it signs what it sends and believes only signed answers.

use std::{sync::Once, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::RETRY_AFTER};
use jiff::Timestamp;
use thiserror::Error;
use url::Url;

use crate::{
    error::chain,
    signature::{self, SignatureError, SigningKeys},
    trace,
};

/// Establishing a connection, to anywhere: a tunnel that hangs is found soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(5);
/// The largest answer one of our services gives.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// An HTTP client with a connect timeout, no redirects (a redirected request would carry its secrets elsewhere), no
/// proxy from the environment, and `timeout` for a whole call unless the call sets its own. On a machine without CA
/// certificates it speaks plain HTTP only, which is all that our services need of each other.
///
/// # Errors
/// TLS cannot be set up.
pub fn http(timeout: Option<Duration>) -> reqwest::Result<reqwest::Client> {
    // An error only says that the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder(timeout).build().or_else(|error| {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let cause = chain(&error);
            tracing::warn!(cause, "https is not to be had: this machine has no CA certificates; on Debian: apt-get install ca-certificates");
        });
        builder(timeout).tls_certs_only([]).build()
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
    /// No connection, no answer in time, or a broken one.
    #[error("{0} does not answer: {1}")]
    Unreachable(String, String),
    /// Somebody answered who does not hold the key.
    #[error(
        "{url} answered {status} without a valid signature ({why}): either another program holds that port, or RELAY_SIGNING_KEY or the clock differs on the other side"
    )]
    NotOurs {
        /// Base URL of the target.
        url: String,
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

/// Talks to one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignedClient {
    http: reqwest::Client,
    service: &'static str,
    base: Url,
    keys: SigningKeys,
}

impl SignedClient {
    /// A client for the service of that name at `base`; `timeout` is for a whole call.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        service: &'static str,
        base: Url,
        keys: SigningKeys,
        timeout: Duration,
    ) -> reqwest::Result<Self> {
        Ok(Self { http: http(Some(timeout))?, service, base, keys })
    }

    /// The service's name.
    pub fn service(&self) -> &'static str {
        self.service
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
        self.call(Method::POST, path, id, body, None).await
    }

    /// `GET`; `timeout` replaces the client's own where a call is a long poll or a quick probe.
    ///
    /// # Errors
    /// [`CallError`]; an error status is an [`Answer`].
    pub async fn get(&self, path_and_query: &str, timeout: Option<Duration>) -> Result<Answer, CallError> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let id = signature::bound_id("GET", self.service, path, &uuid::Uuid::new_v4().to_string());
        self.call(Method::GET, path_and_query, &id, Bytes::new(), timeout).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        id: &str,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Answer, CallError> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.http.request(method, url).headers(self.headers(id, &body)).body(body);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        let unreachable = |error: reqwest::Error| {
            CallError::Unreachable(self.base.to_string(), chain(&error.without_url()))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > LARGEST_ANSWER {
                return Err(CallError::TooLarge(self.base.to_string()));
            }
            answer.extend_from_slice(&chunk);
        }
        let signature = headers.get(signature::ANSWER).and_then(|value| value.to_str().ok());
        let checked = self.keys.verify_answer(signature, id, status, answer.freeze());
        let verified =
            checked.map_err(|why| CallError::NotOurs { url: self.base.to_string(), status, why })?;
        Ok(Answer { status, body: verified.into_bytes(), retry_after: retry_after(&headers) })
    }

    fn headers(&self, id: &str, body: &[u8]) -> HeaderMap {
        let signed = self.keys.sign(id, Timestamp::now().as_second(), body);
        let values = [
            (signature::ID, signed.id),
            (signature::SIGNATURE, signed.signature),
            ("content-type", "application/json".to_owned()),
        ];
        let mut headers = trace_headers();
        for (name, value) in values {
            // An id that cannot be a header value leaves the header out; the other side then refuses the request.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        headers.insert(signature::TIMESTAMP, HeaderValue::from(signed.timestamp));
        headers
    }
}

/// What an outgoing call says of the trace that it is made for: its `traceparent`, with a span id of its own.
pub fn trace_headers() -> HeaderMap {
    let value = trace::current().and_then(|trace| HeaderValue::from_str(&trace.child().to_string()).ok());
    value.map(|value| (HeaderName::from_static(trace::HEADER), value)).into_iter().collect()
}

/// `Retry-After` in seconds, at most an hour (RFC 9110, section 10.2.3; its date form is not used by our targets).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::TraceParent;

    #[tokio::test]
    async fn each_call_names_its_trace_with_a_span_of_its_own() {
        assert!(trace_headers().is_empty(), "no trace, no header");
        let trace = TraceParent::generate();
        let named = || TraceParent::of_headers(&trace_headers()).unwrap();
        let (first, second) = trace::within(Some(trace), async { (named(), named()) }).await;
        assert!(first != second && first != trace && second != trace);
        assert_eq!([first.trace_id(), second.trace_id()], [trace.trace_id(), trace.trace_id()]);
    }
}
