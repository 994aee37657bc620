//! The operator's routes: list, show, redeliver, and a test event.

use axum::{
    Json,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use queue::{Filter, JobRecord, JobState, Record};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use shared::{
    error::ApiError,
    event::{Envelope, Subject, VERSION},
    server::bearer,
    signature::same,
    trace::TraceParent,
};

use crate::{App, receive};

/// The most deliveries in one answer.
const MOST: usize = 500;

/// Middleware: only who has the admin token passes.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(token) = &app.config.admin_token else {
        let message = "the admin routes are closed: set RELAY_ADMIN_TOKEN and restart the relay";
        return ApiError::new(StatusCode::FORBIDDEN, "admin_closed", message).into_response();
    };
    if bearer(request.headers()).is_some_and(|sent| same(token, sent)) {
        return next.run(request).await;
    }
    ApiError::unauthorized("send `Authorization: Bearer` with RELAY_ADMIN_TOKEN").into_response()
}

/// The query of `GET /api/deliveries`.
#[derive(Debug, Default, Deserialize)]
pub struct ListQuery {
    /// A state such as `pending`, `dead`, `completed`, `ignored`.
    state: Option<String>,
    /// Name of a target.
    target: Option<String>,
    /// `owner/name`.
    repository: Option<String>,
    /// The `next` of an earlier answer.
    before: Option<u64>,
    /// How many, at most 500.
    limit: Option<usize>,
}

/// A delivery as the admin routes show it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveryView {
    /// The delivery id.
    pub id: String,
    /// GitHub's event.
    pub event: String,
    /// Its action.
    pub action: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// One line.
    pub headline: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Redeliveries that were asked for.
    pub redelivery: u32,
    /// Of all its targets, what matters most: `dead`, then `pending`, `handed_over`, `partial`, …
    pub state: String,
    /// Why it was ignored.
    pub note: Option<String>,
    /// Each target's part.
    pub targets: Vec<TargetView>,
}

/// One target's part of a delivery.
#[derive(Debug, Serialize, Deserialize)]
pub struct TargetView {
    /// The target.
    pub target: String,
    /// `pending`, `leased`, `handed_over`, `dead`, or the outcome's state.
    pub state: String,
    /// Attempts to hand it over.
    pub attempts: u32,
    /// When a waiting one is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last error.
    pub error: Option<String>,
    /// What it came to.
    pub outcome: Option<queue::Finish>,
    /// What happened, oldest first; only for a single delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<queue::HistoryEntry>,
}

/// The answer of `GET /api/deliveries`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListAnswer {
    /// Newest first.
    pub deliveries: Vec<DeliveryView>,
    /// The `before` of the next page; absent on the last.
    pub next: Option<u64>,
}

/// `GET /api/deliveries`.
pub async fn list(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ListAnswer>, ApiError> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(50).clamp(1, MOST);
    let filter = Filter {
        state: query.state,
        lane: query.target,
        repository: query.repository,
        before: query.before,
        limit,
        ..Filter::default()
    };
    let records = app.queue.list(filter).await.map_err(unreadable)?;
    let next = records.last().filter(|_| records.len() == limit).map(|record| record.seq);
    Ok(Json(ListAnswer { deliveries: records.into_iter().map(view).collect(), next }))
}

/// `GET /api/deliveries/{id}`.
pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DeliveryView>, ApiError> {
    let record = app.queue.find(&id).await.map_err(unreadable)?;
    record.map(|record| Json(view(record))).ok_or_else(|| unknown(&id))
}

/// `POST /api/deliveries/{id}/redeliver`.
pub async fn redeliver(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let sent = app.queue.redeliver(&id, None).await.map_err(unreadable)?.ok_or_else(|| unknown(&id))?;
    if sent.jobs == 0 {
        let message = "nothing to send again: no rule wanted this event, or it is still on its way";
        return Err(ApiError::new(StatusCode::CONFLICT, "nothing_to_redeliver", message));
    }
    let redelivery = sent.count;
    tracing::info!(delivery = id, redelivery, "sent again by an operator");
    Ok((StatusCode::ACCEPTED, Json(json!({"status": "accepted", "delivery": id, "redelivery": redelivery})))
        .into_response())
}

/// `POST /test-webhook`: an event of our own that goes the whole way and changes nothing at its end.
pub async fn test_webhook(State(app): State<App>) -> Result<Response, ApiError> {
    let payload = RawValue::from_string(r#"{"zen":"A test event of the relay itself."}"#.to_owned());
    let payload = payload
        .map_err(|error| ApiError::bad_request("internal", "the test event is broken").with_source(error))?;
    let id = format!("test-{}", uuid::Uuid::new_v4());
    let trace = TraceParent::generate();
    tracing::Span::current().record("delivery", &id).record("trace_id", trace.trace_id());
    let envelope = Envelope {
        version: VERSION,
        id,
        event: "relay_test".to_owned(),
        action: None,
        received_at: Timestamp::now(),
        redelivery: 0,
        traceparent: Some(trace.to_string()),
        repository: None,
        sender: None,
        subject: Subject::Other,
        payload,
    };
    receive::put(&app, &envelope, None).await.map(|(_, response)| response)
}

fn view(record: Record) -> DeliveryView {
    let targets: Vec<TargetView> = record.jobs.into_iter().map(target_view).collect();
    DeliveryView {
        state: overall(&targets).to_owned(),
        id: record.id,
        event: record.event,
        action: record.action,
        repository: record.repository,
        headline: record.headline,
        received_at: record.received_at,
        redelivery: record.redelivery,
        note: record.note,
        targets,
    }
}

fn target_view(job: JobRecord) -> TargetView {
    let state = match (&job.finish, job.state) {
        (Some(finish), JobState::Done) => finish.state.clone(),
        (_, state) => state.as_str().to_owned(),
    };
    TargetView {
        target: job.lane,
        state,
        attempts: job.attempts,
        next_attempt_at: job.due_at.filter(|_| job.state == JobState::Pending),
        finished_at: job.finished_at,
        error: job.error,
        outcome: job.finish,
        history: job.history,
    }
}

/// The state that an operator must see first.
fn overall(targets: &[TargetView]) -> &str {
    let by_weight =
        ["dead", "leased", "pending", "handed_over", "partial", "completed", "skipped", "superseded"];
    let found = by_weight.into_iter().find(|state| targets.iter().any(|target| target.state == *state));
    found.unwrap_or(if targets.is_empty() { "ignored" } else { "unknown" })
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!(
        "there is no delivery `{id}`; `relay deliveries list` shows those that there are"
    ))
}

fn unreadable(error: queue::Error) -> ApiError {
    ApiError::unavailable("store_failed", "the store failed; try again", std::time::Duration::from_secs(5))
        .with_source(error)
}
