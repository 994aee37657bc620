//! What a target's answer means for the event. Pure.

use queue::{Finish, Verdict};
use serde::Deserialize;
use shared::client::Answer;

use super::HANDED_OVER;

/// The word for an event that an extra target has taken: that is all there is to know of it.
pub const DELIVERED: &str = "delivered";

/// What an endpoint says when it has taken an event. Only the status counts for one that says less.
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

/// The (signed) answer of an endpoint of ours; `service` is the one that was called.
pub(super) fn of_endpoint(service: &str, answer: &Answer) -> Verdict {
    let said: Taken = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200..=299 if said.service.as_deref().is_some_and(|name| name != service) => {
            let reason = format!(
                "where the {service} should be, another of our services answers; are the tunnel's ports mixed up?"
            );
            Verdict::Away { reason }
        }
        200..=299 => {
            let awaited = || Finish::new(HANDED_OVER, "taken by the target; its outcome is awaited");
            Verdict::Done(said.outcome.unwrap_or_else(awaited))
        }
        401 => Verdict::Away { reason: refused("RELAY_SIGNING_KEY must be the same on both machines") },
        408 | 425 | 429 | 500..=599 => later(answer),
        // One side is being upgraded.
        400 if said.error.is_some_and(|error| error.code == "unknown_version") => {
            Verdict::Away { reason: text(answer) }
        }
        _ => Verdict::Dead { error: text(answer) },
    }
}

/// The answer of somebody else's receiver. A redirect is not followed, since what is sent is meant for the configured
/// address alone; it is tried again, since the one who can mend it is the operator.
pub(super) fn of_extra(answer: &Answer) -> Verdict {
    match answer.status {
        200..=299 => {
            Verdict::Done(Finish::new(DELIVERED, format!("the target answered {}", answer.status)))
        }
        300..=399 => {
            let error = format!(
                "the target answered {}, a redirect, which is not followed: set its `url` to where it is now",
                answer.status
            );
            Verdict::Retry { error, after: None }
        }
        // Not this event's fault, so that none is lost by a key that was changed on one side only.
        401 => Verdict::Away { reason: refused("its signing_key must be the one that the receiver knows") },
        408 | 425 | 429 | 500..=599 => later(answer),
        410 => Verdict::Dead {
            error: "the target answered 410: it is gone for good; remove it from [[targets]], or set its `url` to where it is now"
                .to_owned(),
        },
        _ => Verdict::Dead { error: text(answer) },
    }
}

/// Whoever refuses our signature refuses that of every event.
fn refused(keys: &str) -> String {
    format!(
        "the target refuses our signature (401): {keys}, and the clocks may be no more than 5 minutes apart"
    )
}

fn later(answer: &Answer) -> Verdict {
    Verdict::Retry { error: text(answer), after: answer.retry_after }
}

fn text(answer: &Answer) -> String {
    format!("the target answered {}: {}", answer.status, answer.message())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer { status, body: Bytes::from(body), retry_after: Some(Duration::from_secs(7)) }
    }

    fn endpoint(status: u16, body: &'static str) -> Verdict {
        of_endpoint("claude-endpoint", &answer(status, body))
    }

    fn extra(status: u16) -> Verdict {
        of_extra(&answer(status, "try later"))
    }

    #[test]
    fn what_an_endpoint_adds_to_its_answer_counts() {
        let finished = r#"{"status":"duplicate","service":"claude-endpoint","outcome":{"state":"completed","summary":"done"}}"#;
        assert!(matches!(endpoint(200, finished), Verdict::Done(finish) if finish.state == "completed"));
        assert!(matches!(endpoint(202, r#"{"service":"ollama-endpoint"}"#), Verdict::Away { .. }));
        assert!(matches!(endpoint(202, "taken"), Verdict::Done(_)));
        assert!(matches!(endpoint(400, r#"{"error":{"code":"unknown_version"}}"#), Verdict::Away { .. }));
    }

    #[test]
    fn an_endpoint_s_answer_decides() {
        let said = r#"{"error":{"code":"x","message":"try later"}}"#;
        for taken in [200, 202] {
            assert!(matches!(endpoint(taken, said), Verdict::Done(finish) if finish.state == HANDED_OVER));
        }
        for busy in [408, 429, 500, 503] {
            assert!(
                matches!(endpoint(busy, said), Verdict::Retry { after: Some(after), error } if after.as_secs() == 7 && error.contains("try later"))
            );
        }
        for refused in [301, 400, 404, 413] {
            assert!(
                matches!(endpoint(refused, said), Verdict::Dead { error } if error.contains("try later"))
            );
        }
    }

    #[test]
    fn an_extra_target_s_status_decides() {
        for taken in [200, 201, 204] {
            assert!(matches!(extra(taken), Verdict::Done(finish) if finish.state == DELIVERED));
        }
        for busy in [408, 425, 429, 500, 502, 503] {
            assert!(
                matches!(extra(busy), Verdict::Retry { after: Some(after), error } if after.as_secs() == 7 && error.contains("try later"))
            );
        }
        for moved in [301, 302, 307, 308] {
            assert!(matches!(extra(moved), Verdict::Retry { error, .. } if error.contains("redirect")));
        }
        for refused in [400, 403, 404, 413] {
            assert!(matches!(extra(refused), Verdict::Dead { error } if error.contains("try later")));
        }
        assert!(matches!(extra(410), Verdict::Dead { error } if error.contains("gone for good")));
    }

    #[test]
    fn a_refused_signature_is_nobody_s_dead_letter() {
        for refused in [endpoint(401, "no"), extra(401)] {
            let Verdict::Away { reason } = refused else { panic!("{refused:?}") };
            assert!(reason.contains("clock") && reason.to_lowercase().contains("signing_key"), "{reason}");
        }
    }
}
