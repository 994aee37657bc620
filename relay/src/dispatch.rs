//! Leased event → signed POST → done, retry or dead.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use queue::{Handler, Job, Lease, Verdict};
use shared::{
    client::{Answer, Answers, CallError, SignedClient},
    event::Envelope,
    trace::{self, TraceParent},
};
use tokio::net::TcpStream;

use crate::{
    config::{Kind, Target},
    metrics,
};

mod probe;
mod verdict;

use probe::Prober;
pub use verdict::DELIVERED;

/// The word for an event that the far side has taken and not yet finished.
pub const HANDED_OVER: &str = "handed_over";
/// How often in a row an event may be left without an answer by a target that is there, before it is that event's own
/// failure.
const PATIENCE: u32 = 3;
/// An event that is larger may be what keeps the line to an endpoint from answering anything else.
const LARGE: usize = 1 << 20;

/// Hands the events of one lane to its target.
pub struct Dispatch {
    target: String,
    kind: Kind,
    client: SignedClient,
    prober: Prober,
    unanswered: Unanswered,
}

impl Dispatch {
    /// Hands over to `target`, by `client`.
    pub fn new(target: &Target, client: SignedClient) -> Self {
        let prober = match target.kind {
            Kind::Endpoint { .. } => probe_of_endpoint(client.clone()),
            Kind::Extra { .. } => probe_of_extra(target),
        };
        let (target, kind, unanswered) = (target.name.clone(), target.kind, Unanswered::default());
        Self { target, kind, client, prober, unanswered }
    }
}

/// The client for a target; `timeout` is for a whole call.
///
/// # Errors
/// TLS cannot be set up.
pub fn client(target: &Target, timeout: Duration) -> anyhow::Result<SignedClient> {
    let (url, keys) = (target.url.clone(), target.keys.clone());
    let client = match target.kind {
        // While the tunnel is down, anybody on this machine may take its ports.
        Kind::Endpoint { service, .. } => SignedClient::wary(service, url, keys, timeout),
        Kind::Extra { signed_answers } => {
            let answers = if signed_answers { Answers::Signed } else { Answers::Any };
            SignedClient::for_receiver(&target.name, url, keys, answers, timeout)
        }
    };
    client.with_context(|| format!("the target `{}`", target.name))
}

#[async_trait::async_trait]
impl Handler for Dispatch {
    async fn handle(&self, lease: &Lease) -> Verdict {
        let job = lease.job();
        let verdict = trace::within(TraceParent::of_envelope(&job.payload), self.hand_over(job)).await;
        metrics::handover(&self.target, &verdict);
        verdict
    }

    async fn probe(&self) -> bool {
        self.prober.is_there().await.is_ok()
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
        match self.kind {
            Kind::Endpoint { service, path } => {
                let bytes = body.len();
                let call = self.client.post(path, &job.id, body);
                match self.prober.attend(bytes, call).await {
                    Ok(Ok(answer)) => self.answered(job, verdict::of_endpoint(service, &answer), &answer),
                    Ok(Err(error)) => self.not_answered_by_endpoint(&job.id, bytes, &error).await,
                    Err(why) => {
                        let reason = format!("the {service} leaves an event unanswered: {why}");
                        self.unanswered.judge(&job.id, bytes, reason)
                    }
                }
            }
            Kind::Extra { .. } => match self.client.deliver(&job.id, body).await {
                Ok(answer) => self.answered(job, verdict::of_extra(&answer), &answer),
                Err(error) => self.not_answered_by_extra(job, &error),
            },
        }
    }

    fn answered(&self, job: &Job, verdict: Verdict, answer: &Answer) -> Verdict {
        self.unanswered.forget(&job.id);
        metrics::answered(&self.target, job.received_at);
        if matches!(verdict, Verdict::Done(_)) {
            tracing::info!(status = answer.status, "handed over");
        }
        verdict
    }

    /// What was sent may or may not have arrived, and will be sent again under the same id. If the target is well, it
    /// is this event that it cannot take, and others must not wait for it.
    async fn not_answered_by_endpoint(&self, id: &str, bytes: usize, error: &CallError) -> Verdict {
        let reason = error.to_string();
        match (self.prober.is_there().await, error) {
            (Ok(()), _) => Verdict::Retry { error: reason, after: None },
            (Err(_), CallError::Unanswered(..)) => self.unanswered.judge(id, bytes, reason),
            // It was not this event that kept the line from answering.
            (Err(_), _) => Verdict::Away { reason },
        }
    }

    /// There is nobody to ask about an extra target's health, so the lane pauses and the same event is its probe. One
    /// that is left without an answer each time, though the target can be connected to, becomes a failed attempt: else
    /// an event at which a receiver chokes would hold up all others for ever.
    fn not_answered_by_extra(&self, job: &Job, error: &CallError) -> Verdict {
        let error_text = error.to_string();
        match error {
            CallError::NotOurs { .. } => Verdict::Away { reason: error_text },
            CallError::TooLarge(_) => Verdict::Retry { error: error_text, after: None },
            CallError::Unconnected(..) | CallError::Unanswered(..) => {
                match self.unanswered.count(&job.id) < PATIENCE {
                    true => Verdict::Away { reason: error_text },
                    false => Verdict::Retry { error: error_text, after: None },
                }
            }
        }
    }
}

/// An endpoint of ours is there if it says so under its signature.
fn probe_of_endpoint(client: SignedClient) -> Prober {
    Prober::new(move || {
        let client = client.clone();
        Box::pin(async move {
            match client.get("/readyz", None).await {
                Ok(answer) if answer.is_success() => Ok(()),
                Ok(answer) => Err(format!("/readyz answered {}: {}", answer.status, answer.message())),
                Err(error) => Err(error.to_string()),
            }
        })
    })
}

/// An extra target is there if it takes a TCP connection. Nothing more is asked: Standard Webhooks know no probe, and
/// receivers that were made for POST alone leave other methods unanswered. Whether it takes events is found out by
/// the next one, which goes alone.
fn probe_of_extra(target: &Target) -> Prober {
    let host = target.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = target.url.port_or_known_default().unwrap_or_default();
    Prober::new(move || {
        let host = host.clone();
        Box::pin(async move {
            let connected = TcpStream::connect((host.as_str(), port)).await;
            connected.map(drop).map_err(|error| error.to_string())
        })
    })
}

/// Which event was last left without an answer, and how often in a row.
#[derive(Default)]
struct Unanswered(Mutex<Option<(String, u32)>>);

impl Unanswered {
    /// What it means that an endpoint has left an event unanswered and does not answer a probe either: it is away. But a
    /// line that is too slow for one large event answers as soon as that is given up, and would be given the same event
    /// again for ever, and no other: then it counts as an attempt, and others have their turn.
    fn judge(&self, id: &str, bytes: usize, reason: String) -> Verdict {
        match bytes > LARGE && self.count(id) >= PATIENCE {
            true => Verdict::Retry { error: reason, after: None },
            false => Verdict::Away { reason },
        }
    }

    /// Counts this time too.
    fn count(&self, id: &str) -> u32 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = last.take().filter(|(of, _)| of == id).map_or(1, |(_, times)| times.saturating_add(1));
        *last = Some((id.to_owned(), times));
        times
    }

    fn forget(&self, id: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(of, _)| of == id) {
            *last = None;
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

#[cfg(test)]
mod tests {
    use shared::signature::SigningKeys;

    use super::*;

    #[test]
    fn an_event_that_is_too_large_for_the_line_does_not_keep_its_lane_for_ever() {
        let unanswered = Unanswered::default();
        let is_away = |bytes| matches!(unanswered.judge("d1", bytes, String::new()), Verdict::Away { .. });
        assert_eq!([20 << 20; 4].map(is_away), [true, true, false, false]);
        assert!([1000; 4].map(is_away).iter().all(|away| *away), "an outage costs a small one no attempt");
        unanswered.forget("d1");
        assert!(is_away(20 << 20));
    }

    #[tokio::test]
    async fn an_outage_costs_a_large_event_no_attempt() {
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = Target {
            name: "claude".to_owned(),
            url: format!("http://{}/", closed.local_addr().unwrap()).parse().unwrap(),
            keys: SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap(),
            kind: Kind::Endpoint { service: "claude-endpoint", path: "/events" },
        };
        let client = client(&target, Duration::from_secs(10)).unwrap();
        let dispatch = Dispatch::new(&target, client);
        for _ in 0..=PATIENCE {
            let error = dispatch.client.post("/events", "d1", Bytes::new()).await.unwrap_err();
            let verdict = dispatch.not_answered_by_endpoint("d1", 20 << 20, &error).await;
            assert!(matches!(verdict, Verdict::Away { .. }), "{verdict:?}");
        }
    }
}
