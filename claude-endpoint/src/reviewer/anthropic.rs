//! Anthropic's Messages API with structured output.
//! <https://docs.anthropic.com/en/api/messages>, <https://docs.anthropic.com/en/api/errors>

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use queue::Schedule;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::client::{self, retry_after};
use shared::doctor::Finding;
use shared::error::{chain, hide};
use url::Url;

use super::{ATTEMPTS, Failed, Question, Reply, ReviewError, Reviewer, Usage};
use crate::text::shorten;

const VERSION: &str = "2023-06-01";
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// A longer wait than this is the queue's.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Leaves room for the answer in a context window of 200,000 tokens.
pub(super) const MOST_TOKENS: usize = 150_000;
/// The one 429 that must not be retried.
const SPEND_LIMIT: &str = "enforced_spend_limit_reached";

/// Answers through the Messages API.
#[derive(Debug, Clone)]
pub struct Anthropic {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
    model: String,
    backoff: Schedule,
    cheaper: Option<Arc<Self>>,
}

/// What to do about one failed call.
enum Failure {
    /// Try again in this call, after the wait the API asked for.
    Again(ReviewError, Option<Duration>),
    Final(Failed),
}

fn last(error: ReviewError) -> Failure {
    Failure::Final(error.into())
}

impl Anthropic {
    /// A reviewer that asks `model` at `base`; `timeout` is for one call.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(base: Url, key: SecretString, model: String, timeout: Duration) -> reqwest::Result<Self> {
        let http = client::http(Some(timeout))?;
        Ok(Self { http, base, key, model, backoff: super::backoff(), cheaper: None })
    }

    /// With `model` as the cheaper one, unless it is the same.
    #[must_use]
    pub fn with_cheaper(mut self, model: &str) -> Self {
        let other = !model.is_empty() && model != self.model;
        self.cheaper = other.then(|| Arc::new(Self { model: model.to_owned(), ..self.clone() }));
        self
    }

    fn request(&self, question: &Question<'_>) -> Value {
        json!({
            "model": self.model,
            "max_tokens": question.most_output_tokens,
            "system": [{"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": question.user}],
            "output_config": {"format": {"type": "json_schema", "schema": question.schema}},
        })
    }

    fn call(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.http.request(method, url).header("anthropic-version", VERSION);
        request.header("x-api-key", self.key.expose_secret())
    }

    /// Whether the API takes the key, and knows `model`: a look at the list costs nothing.
    async fn model_is_there(&self, model: &str, setting: &str) -> Finding {
        let asked =
            self.call(http::Method::GET, &format!("/v1/models/{model}")).timeout(PROBE_TIMEOUT).send().await;
        let response = match asked {
            Ok(response) => response,
            Err(error) => {
                let says = format!("{} cannot be reached: {}", self.base, cause(error));
                return Finding::fail(
                    setting,
                    says,
                    "can this machine reach it? https://status.anthropic.com",
                );
            }
        };
        let status = response.status();
        let body = super::read(response, LARGEST_ANSWER).await.unwrap_or_default();
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = shorten(
            error.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given"),
            200,
        );
        match status.as_u16() {
            200 => Finding::ok(setting, format!("the key is taken, and {model} is there")),
            401 | 403 => Finding::fail(
                setting,
                format!("the key is refused ({status}): {message}"),
                "set ANTHROPIC_API_KEY to a valid key of https://console.anthropic.com, and start the service again",
            ),
            404 => Finding::fail(
                setting,
                format!("there is no model {model}, or not for this key"),
                format!("set {setting} to one that https://docs.anthropic.com lists"),
            ),
            _ => Finding::warn(
                setting,
                format!("{status}: {message}"),
                "look again later; https://status.anthropic.com",
            ),
        }
    }

    async fn attempt(&self, body: &Value, question: &Question<'_>) -> Result<Reply, Failure> {
        let sent = self.call(http::Method::POST, "/v1/messages").json(body).send().await;
        let response = sent.map_err(|error| self.not_sent(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = super::read(response, LARGEST_ANSWER).await;
        let bytes = bytes.map_err(|reason| match status.is_success() {
            true => last(ReviewError::Unusable(reason)),
            false => Failure::Again(ReviewError::retry(reason), None),
        })?;
        if status.is_success() {
            answer(&bytes, question).map_err(Failure::Final)
        } else {
            Err(self.failure(status, &headers, &hide(bytes.into(), self.key.expose_secret())))
        }
    }

    fn not_sent(&self, error: reqwest::Error) -> Failure {
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let text = cause(error);
        if is_connect {
            last(ReviewError::unreachable(format!("{} cannot be reached: {text}", self.base)))
        } else if is_timeout {
            // the model was thinking, and that is paid for
            let reason = format!("{} did not answer in time; REVIEW_TIMEOUT allows more", self.base);
            last(ReviewError::Unusable(reason))
        } else {
            Failure::Again(ReviewError::retry(format!("the call to {} failed: {text}", self.base)), None)
        }
    }

    fn failure(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let text = String::from_utf8_lossy(body);
        let error: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = shorten(error.pointer("/error/message").and_then(Value::as_str).unwrap_or(&text), 500);
        let reason = format!("Anthropic answered {status}: {message}");
        let should = headers.get("x-should-retry").and_then(|value| value.to_str().ok());
        match status.as_u16() {
            429 if text.contains(SPEND_LIMIT) => last(ReviewError::NoReview(reason)),
            401 | 403 => last(ReviewError::denied(format!("{reason}; check ANTHROPIC_API_KEY"))),
            400 if message.contains("credit balance") => last(ReviewError::denied(reason)),
            404 => {
                let setting = "CLAUDE_MODEL and CLAUDE_CHEAP_MODEL";
                last(ReviewError::denied(format!("{reason}; check {setting} ({})", self.model)))
            }
            413 => last(ReviewError::TooLarge(reason)),
            400 if message.contains("too long") => last(ReviewError::TooLarge(reason)),
            408 | 409 | 429 | 500.. if should != Some("false") => again(reason, headers),
            _ if should == Some("true") => again(reason, headers),
            _ => last(ReviewError::NoReview(reason)),
        }
    }
}

fn again(reason: String, headers: &HeaderMap) -> Failure {
    let milliseconds =
        || headers.get("retry-after-ms")?.to_str().ok()?.trim().parse().ok().map(Duration::from_millis);
    let after = milliseconds().or_else(|| retry_after(headers));
    Failure::Again(ReviewError::Retry { reason, after }, after)
}

fn cause(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

#[derive(Deserialize)]
struct Message {
    model: String,
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

fn answer(body: &[u8], question: &Question<'_>) -> Result<Reply, Failed> {
    let message: Message = serde_json::from_slice(body)
        .map_err(|error| ReviewError::Unusable(format!("Anthropic's answer cannot be read: {error}")))?;
    let blocks = message.content.iter().filter(|block| block.kind == "text");
    let text = blocks.map(|block| block.text.as_str()).collect();
    let reply = Reply { text, model: message.model, usage: message.usage, cost_usd: None };
    super::usable(reply, message.stop_reason.as_deref(), question)
}

#[async_trait]
impl Reviewer for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn most_tokens(&self) -> usize {
        MOST_TOKENS
    }

    fn cheaper(&self) -> Option<Arc<dyn Reviewer>> {
        self.cheaper.clone().map(|cheaper| cheaper as Arc<dyn Reviewer>)
    }

    /// Whether the API can be reached; whether it takes the key, only a question tells.
    async fn ready(&self) -> Result<(), String> {
        let listed = self.call(http::Method::GET, "/v1/models?limit=1").timeout(PROBE_TIMEOUT).send().await;
        listed.map(drop).map_err(|error| format!("{} cannot be reached: {}", self.base, cause(error)))
    }

    async fn examine(&self, offline: bool) -> Vec<Finding> {
        if offline {
            return vec![Finding::skipped("CLAUDE_MODEL", "Anthropic is not asked: --offline")];
        }
        let mut found = vec![self.model_is_there(&self.model, "CLAUDE_MODEL").await];
        if let Some(cheaper) = &self.cheaper {
            found.push(self.model_is_there(&cheaper.model, "CLAUDE_CHEAP_MODEL").await);
        }
        found
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed> {
        let body = self.request(question);
        let mut attempt = 1;
        loop {
            let (error, asked) = match self.attempt(&body, question).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(error, asked)) => (error, asked),
            };
            let wait = asked.unwrap_or_else(|| self.backoff.delay(attempt, fastrand::f64()));
            if attempt == ATTEMPTS || wait > LONGEST_WAIT {
                return Err(error.into());
            }
            tracing::warn!(%error, attempt, wait_seconds = wait.as_secs_f64(), "asking again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
