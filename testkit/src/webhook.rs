//! GitHub's webhooks: bodies with the full shape of the public schema, signed and sent as GitHub does it.

mod events;

use std::time::{Duration, Instant};

use anyhow::Context;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::events::{
    issue_comment, issues, ping, pull_request, pull_request_review, pull_request_review_comment, push,
    release, workflow_run,
};

/// GitHub gives up on a delivery after this long.
pub const GITHUBS_PATIENCE: Duration = Duration::from_secs(10);

/// How a hook sends its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`, the JSON as `payload=`.
    Form,
}

/// `X-Hub-Signature-256` of a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length; `new_from_slice` never fails for it.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// One delivery, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `X-GitHub-Delivery`.
    pub id: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The body exactly as it is sent and signed.
    pub body: Vec<u8>,
    /// Its content type.
    pub content_type: ContentType,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, as text.
    pub body: String,
    /// From the start of the request to the end of the answer.
    pub took: Duration,
}

impl Delivery {
    /// A JSON delivery.
    pub fn new(id: &str, event: &str, payload: &Value) -> Self {
        let body = payload.to_string().into_bytes();
        Self { id: id.to_owned(), event: event.to_owned(), body, content_type: ContentType::Json }
    }

    /// The same as a form.
    #[must_use]
    pub fn as_form(mut self) -> Self {
        let payload = String::from_utf8_lossy(&self.body);
        self.body = format!("payload={}", form_encoded(&payload)).into_bytes();
        self.content_type = ContentType::Form;
        self
    }

    /// All headers GitHub sends, but for the SHA-1 signature that nobody should rely on.
    pub fn headers(&self, secret: &str) -> Vec<(&'static str, String)> {
        let content_type = match self.content_type {
            ContentType::Json => "application/json",
            ContentType::Form => "application/x-www-form-urlencoded",
        };
        vec![
            ("accept", "*/*".into()),
            ("content-type", content_type.into()),
            ("user-agent", "GitHub-Hookshot/044aadd".into()),
            ("x-github-delivery", self.id.clone()),
            ("x-github-event", self.event.clone()),
            ("x-github-hook-id", events::HOOK_ID.to_string()),
            ("x-github-hook-installation-target-id", "1184330127".into()),
            ("x-github-hook-installation-target-type", "repository".into()),
            ("x-hub-signature-256", sign(secret, &self.body)),
        ]
    }

    /// Sends it once and waits as long as GitHub would.
    ///
    /// # Errors
    /// If nobody answers in time.
    pub async fn send(&self, url: &str, secret: &str) -> anyhow::Result<Answer> {
        self.send_by(&shared::client::http(Some(GITHUBS_PATIENCE))?, url, secret).await
    }

    /// Sends it once by this client.
    ///
    /// # Errors
    /// If nobody answers in the client's time.
    pub async fn send_by(&self, client: &reqwest::Client, url: &str, secret: &str) -> anyhow::Result<Answer> {
        let started = Instant::now();
        let mut request = client.post(url).body(self.body.clone());
        for (name, value) in self.headers(secret) {
            request = request.header(name, value);
        }
        let answer = request.send().await.with_context(|| format!("{url} did not answer"))?;
        let status = answer.status().as_u16();
        let body = answer.text().await.with_context(|| format!("{url} broke off its answer"))?;
        Ok(Answer { status, body, took: started.elapsed() })
    }
}

/// What a JSON delivery says that happened, if its kind of event has several actions.
pub(crate) fn action(delivery: &Delivery) -> Option<String> {
    let payload: Value = serde_json::from_slice(&delivery.body).ok()?;
    Some(payload["action"].as_str()?.to_owned())
}

/// A delivery id that stays the same for the same text: a UUID in form.
pub fn delivery_id(text: &str) -> String {
    let hex = hex::encode(Sha256::digest(text));
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

/// WHATWG form encoding.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(byte as char),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn githubs_own_signature_vector() {
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(sign("It's a Secret to Everybody", b"Hello, World!"), expected);
    }

    #[test]
    fn bodies_are_as_large_as_githubs_and_always_the_same() {
        let scenario = Scenario::default();
        let body = pull_request(&scenario, "opened").to_string();
        assert!((17_000..26_000).contains(&body.len()), "{}", body.len());
        assert_eq!(body, pull_request(&scenario, "opened").to_string());
        let push = push(&scenario).to_string();
        assert!((6_000..10_000).contains(&push.len()), "{}", push.len());
    }

    #[test]
    fn a_form_carries_the_same_json() {
        let delivery = Delivery::new("1", "push", &serde_json::json!({"a": "ä &+=%"})).as_form();
        assert_eq!(delivery.body, b"payload=%7B%22a%22%3A%22%C3%A4+%26%2B%3D%25%22%7D");
    }

    #[test]
    fn delivery_ids_are_uuids() {
        let id = delivery_id("a");
        assert_eq!(id.len(), 36);
        assert_ne!(id, delivery_id("b"));
    }
}
