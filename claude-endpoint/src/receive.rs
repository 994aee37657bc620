//! `POST /ai-sync`: verified → on disk → answered. Nobody waits for a review here.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use queue::Queue;
use shared::error::ApiError;
use shared::event::{Envelope, Subject};

use crate::NAME;
use crate::commands::{self, Command};

/// The lane of everything that is to be reviewed.
pub(crate) const LANE: &str = "review";

/// Takes an envelope from the relay. A newer head of a pull request takes the place of one that waits.
pub(crate) async fn ai_sync(State(queue): State<Queue>, body: Bytes) -> Result<Response, ApiError> {
    let envelope = inbox::receive::envelope(&body)?;
    let mut delivery = inbox::receive::delivery(&envelope, LANE, true, body.to_vec());
    for route in &mut delivery.routes {
        route.key = key(&envelope);
    }
    inbox::receive::accept(NAME, &queue, delivery).await
}

/// What comes one after the other. Who asks something is not kept waiting by a review that takes minutes; only a review that
/// is asked for waits its turn, since two at a time would tell the same findings twice.
fn key(envelope: &Envelope) -> String {
    match &envelope.subject {
        Subject::Comment(comment) if commands::parse(&comment.body) != Some(Command::Review) => {
            format!("{}/talk", envelope.key())
        }
        _ => envelope.key(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(subject: serde_json::Value) -> String {
        let envelope = serde_json::json!({
            "version": 1, "id": "d1", "event": "x", "action": "created", "received_at": "2026-11-22T10:00:00Z",
            "repository": {"full_name": "o/r", "private": true, "default_branch": "main"}, "subject": subject, "payload": {},
        });
        key(&serde_json::from_value(envelope).unwrap())
    }

    #[test]
    fn comments_do_not_wait_for_reviews_but_reviews_do() {
        let comment = |body: &str| {
            key_of(
                serde_json::json!({"kind": "comment", "number": 7, "comment_id": 1, "body": body, "author": "ann",
                                      "is_pull_request": true}),
            )
        };
        assert_eq!(comment("/ai ask why?"), "o/r#7/talk");
        assert_eq!(comment("I see"), "o/r#7/talk");
        assert_eq!(comment("/ai review"), "o/r#7");
        let pull = serde_json::json!({"kind": "pull_request", "number": 7, "head_sha": "h", "base_sha": "b", "title": "t",
                                      "author": "ann", "draft": false});
        assert_eq!(key_of(pull), "o/r#7");
    }
}
