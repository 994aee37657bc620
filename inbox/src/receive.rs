//! Accepting an event: on disk first, then the answer.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use queue::{Error, NewDelivery, Put, Queue, Replaces, Route};
use shared::{
    error::ApiError,
    event::{Envelope, VERSION},
};

/// Reads an envelope.
///
/// # Errors
/// 400 with what is wrong with it.
pub fn envelope(body: &[u8]) -> Result<Envelope, ApiError> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request("invalid_envelope", format!("the body is not an envelope: {error}"))
    })?;
    if envelope.version != VERSION {
        let message = format!(
            "envelope version {} is not known here, only {VERSION}; the relay and the endpoints must be of one release",
            envelope.version
        );
        return Err(ApiError::bad_request("unknown_version", message));
    }
    if envelope.id.is_empty() || envelope.id.len() > 200 {
        return Err(ApiError::bad_request("invalid_envelope", "`id` must have 1 to 200 characters"));
    }
    tracing::Span::current().record("delivery", &envelope.id);
    Ok(envelope)
}

/// An envelope as a delivery with one job in `lane`, in the order of its subject. Where `supersede` is set, a newer
/// head of a pull request takes the place of one that has not been begun.
pub fn delivery(envelope: &Envelope, lane: &str, supersede: bool, body: Vec<u8>) -> NewDelivery {
    let replaces = envelope.replaces().filter(|_| supersede);
    NewDelivery {
        id: envelope.id.clone(),
        digest: None,
        replay_window: Duration::ZERO,
        redelivery: envelope.redelivery,
        event: envelope.event.clone(),
        action: envelope.action.clone(),
        repository: envelope.repository.as_ref().map(|repository| repository.full_name.clone()),
        headline: envelope.headline(),
        note: None,
        received_at: envelope.received_at,
        payload: body,
        routes: vec![Route {
            lane: lane.to_owned(),
            key: envelope.key(),
            replaces: replaces.map(|(group, version)| Replaces { group, version }),
        }],
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: String,
    /// Whether it had been accepted before; nothing was stored then.
    pub known: bool,
}

impl Accepted {
    /// `accepted` or `duplicate`, as callers are told.
    pub fn word(&self) -> &'static str {
        if self.known { "duplicate" } else { "accepted" }
    }
}

/// Stores a delivery; it is on disk when this returns.
///
/// # Errors
/// 503 when the backlog is full or the disk cannot be written; nothing is stored then.
pub async fn put(queue: &Queue, delivery: NewDelivery) -> Result<Accepted, ApiError> {
    let id = delivery.id.clone();
    let known = match queue.put(delivery).await {
        Ok(Put::Stored | Put::Revived) => false,
        Ok(Put::Duplicate { .. }) => true,
        Err(error @ Error::Full { .. }) => {
            return Err(unavailable("backlog_full", "the backlog is full; send it again later", error));
        }
        Err(error) => {
            return Err(unavailable(
                "store_failed",
                "the event could not be stored; send it again later",
                error,
            ));
        }
    };
    let accepted = Accepted { id, known };
    tracing::info!(delivery = accepted.id, "{}", accepted.word());
    Ok(accepted)
}

/// Stores a delivery and answers: 202 once it is on disk, 200 for a duplicate, with its outcome if it has one. The
/// answer names the service, so that one that was led to the wrong port by somebody in between is noticed.
///
/// # Errors
/// As [`put`].
pub async fn accept(service: &str, queue: &Queue, delivery: NewDelivery) -> Result<Response, ApiError> {
    let accepted = put(queue, delivery).await?;
    let status = if accepted.known { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut answer = serde_json::json!({"status": accepted.word(), "id": accepted.id, "service": service});
    if accepted.known
        && let Ok(Some(known)) = queue.find(&accepted.id).await
        && let Some(finish) = known.jobs.into_iter().find_map(|job| job.finish)
    {
        answer["outcome"] = serde_json::json!(finish);
    }
    Ok((status, Json(answer)).into_response())
}

fn unavailable(code: &'static str, message: &'static str, error: Error) -> ApiError {
    ApiError::unavailable(code, message, Duration::from_secs(30)).with_source(error)
}
