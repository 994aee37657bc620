//! Leased event → signed POST → done, retry or dead.

use std::time::Duration;

use bytes::Bytes;
use queue::{Finish, Handler, Job, Lease, Verdict};
use serde::Deserialize;
use shared::{
    client::{Answer, SignedClient},
    event::Envelope,
    trace::{self, TraceParent},
};

use crate::metrics;

/// The word for an event that the far side has taken and not yet finished.
pub const HANDED_OVER: &str = "handed_over";
/// How long a target may take to say that it can take events.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Hands the events of one lane to its target.
#[derive(Debug)]
pub struct Dispatch {
    client: SignedClient,
    path: &'static str,
    target: &'static str,
}

impl Dispatch {
    /// Hands over to `client` at `path`.
    pub fn new(target: &'static str, client: SignedClient, path: &'static str) -> Self {
        Self { client, path, target }
    }
}

#[async_trait::async_trait]
impl Handler for Dispatch {
    async fn handle(&self, lease: &Lease) -> Verdict {
        let job = lease.job();
        let verdict = trace::within(TraceParent::of_envelope(&job.payload), self.hand_over(job)).await;
        metrics::handover(self.target, &verdict);
        verdict
    }

    async fn probe(&self) -> bool {
        matches!(self.client.get("/readyz", Some(PROBE_TIMEOUT)).await, Ok(answer) if answer.is_success())
    }
}

impl Dispatch {
    async fn hand_over(&self, job: &Job) -> Verdict {
        let body = match body(job) {
            Ok(body) => body,
            Err(error) => {
                return Verdict::Dead { error: format!("the stored event cannot be read: {error}") };
            }
        };
        match self.client.post(self.path, &job.id, body).await {
            // What was sent may or may not have arrived, and will be sent again under the same id. If the target is
            // well, it is this event that it cannot take, and others must not wait for it.
            Err(error) if self.probe().await => Verdict::Retry { error: error.to_string(), after: None },
            Err(error) => Verdict::Away { reason: error.to_string() },
            Ok(answer) => {
                metrics::answered(self.target, job.received_at);
                self.verdict(&answer)
            }
        }
    }
}

/// The stored envelope, with the number of redeliveries that were asked for since.
fn body(job: &Job) -> serde_json::Result<Bytes> {
    if job.redelivery == 0 {
        return Ok(Bytes::copy_from_slice(&job.payload));
    }
    let envelope: Envelope = serde_json::from_slice(&job.payload)?;
    let envelope = Envelope { redelivery: job.redelivery, ..envelope };
    serde_json::to_vec(&envelope).map(Bytes::from)
}

/// What a target says when it has taken an event. Only the status counts for a target that says less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Taken {
    service: Option<String>,
    /// Of a duplicate that it has finished.
    outcome: Option<Finish>,
    error: Option<Problem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
}

impl Dispatch {
    fn verdict(&self, answer: &Answer) -> Verdict {
        let error = || format!("the target answered {}: {}", answer.status, answer.message());
        let said: Taken = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status {
            200..=299 if said.service.as_deref().is_some_and(|name| name != self.client.service()) => {
                let reason = format!(
                    "{} is answered for by another of our services; are the tunnel's ports mixed up?",
                    self.client.base()
                );
                Verdict::Away { reason }
            }
            200..=299 => {
                tracing::info!(status = answer.status, "handed over");
                let awaited = || Finish::new(HANDED_OVER, "taken by the target; its outcome is awaited");
                Verdict::Done(said.outcome.unwrap_or_else(awaited))
            }
            408 | 425 | 429 | 500..=599 => Verdict::Retry { error: error(), after: answer.retry_after },
            // One side is being upgraded.
            400 if said.error.is_some_and(|error| error.code == "unknown_version") => {
                Verdict::Away { reason: error() }
            }
            _ => Verdict::Dead { error: error() },
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::signature::SigningKeys;

    use super::*;

    fn judge_body(status: u16, body: &'static str) -> Verdict {
        let keys = SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        let base = "http://127.0.0.1:9".parse().unwrap();
        let client = SignedClient::new("claude-endpoint", base, keys, Duration::from_secs(1)).unwrap();
        let dispatch = Dispatch::new("claude", client, "/ai-sync");
        dispatch.verdict(&Answer {
            status,
            body: Bytes::from(body),
            retry_after: Some(Duration::from_secs(7)),
        })
    }

    fn judge(status: u16) -> Verdict {
        judge_body(status, r#"{"error":{"code":"x","message":"try later"}}"#)
    }

    #[test]
    fn what_a_target_adds_to_its_answer_counts() {
        let finished = r#"{"status":"duplicate","service":"claude-endpoint","outcome":{"state":"completed","summary":"done"}}"#;
        assert!(matches!(judge_body(200, finished), Verdict::Done(finish) if finish.state == "completed"));
        assert!(matches!(judge_body(202, r#"{"service":"ollama-endpoint"}"#), Verdict::Away { .. }));
        assert!(matches!(judge_body(202, "taken"), Verdict::Done(_)));
        assert!(matches!(judge_body(400, r#"{"error":{"code":"unknown_version"}}"#), Verdict::Away { .. }));
    }

    #[test]
    fn a_target_s_answer_decides() {
        for taken in [200, 202] {
            assert!(matches!(judge(taken), Verdict::Done(finish) if finish.state == HANDED_OVER));
        }
        for busy in [408, 429, 500, 503] {
            assert!(
                matches!(judge(busy), Verdict::Retry { after: Some(after), error } if after.as_secs() == 7 && error.contains("try later"))
            );
        }
        for refused in [301, 400, 404, 413] {
            assert!(matches!(judge(refused), Verdict::Dead { .. }));
        }
    }
}
