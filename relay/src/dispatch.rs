//! Leased event → signed POST → done, retry or dead.

use std::time::Duration;

use bytes::Bytes;
use queue::{Finish, Handler, Job, Lease, Verdict};
use shared::{
    client::{Answer, SignedClient},
    event::Envelope,
};

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
        let body = match body(job) {
            Ok(body) => body,
            Err(error) => {
                return Verdict::Dead { error: format!("the stored event cannot be read: {error}") };
            }
        };
        match self.client.post(self.path, &job.id, body).await {
            // Nobody is there, or somebody who is not ours: what was sent may or may not have arrived, and will be
            // sent again under the same id.
            Err(error) => Verdict::Away { reason: error.to_string() },
            Ok(answer) => {
                let waited = jiff::Timestamp::now() - job.received_at;
                let seconds = waited.total(jiff::Unit::Second).unwrap_or(0.0);
                metrics::histogram!("ai_relay_handover_duration_seconds", "target" => self.target)
                    .record(seconds);
                verdict(&answer)
            }
        }
    }

    async fn probe(&self) -> bool {
        matches!(self.client.get("/readyz", Some(PROBE_TIMEOUT)).await, Ok(answer) if answer.is_success())
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

fn verdict(answer: &Answer) -> Verdict {
    let error = || format!("the target answered {}: {}", answer.status, answer.message());
    match answer.status {
        200..=299 => {
            tracing::info!(status = answer.status, "handed over");
            Verdict::Done(Finish::new(HANDED_OVER, "taken by the target; its outcome is awaited"))
        }
        408 | 425 | 429 | 500..=599 => Verdict::Retry { error: error(), after: answer.retry_after },
        _ => Verdict::Dead { error: error() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16) -> Verdict {
        let body = Bytes::from(r#"{"error":{"code":"x","message":"try later"}}"#);
        verdict(&Answer { status, body, retry_after: Some(Duration::from_secs(7)) })
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
