//! The operator's routes: list, show, redeliver, discard, and a test event.

use axum::{
    Json,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use queue::Filter;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    error::ApiError,
    event::{Envelope, Subject, VERSION},
    keys::{KeyReport, caller},
    server::bearer,
    trace::TraceParent,
};

use crate::{
    App,
    config::ADMIN_TOKEN,
    limits, receive,
    targets::TEST_EVENT,
    view::{self, DeliveryView},
};

/// The most deliveries in one answer.
pub const MOST: usize = 500;

/// Middleware: only who has the admin token passes.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(tokens) = &app.config.admin_tokens else {
        let message = "the admin routes are closed: set RELAY_ADMIN_TOKEN and restart the relay";
        return ApiError::new(StatusCode::FORBIDDEN, "admin_closed", message).into_response();
    };
    if let Some(key) = bearer(request.headers()).and_then(|sent| tokens.find(sent)) {
        app.book.used(ADMIN_TOKEN, key, "admin routes", &caller(request.headers()));
        limits::proven(request.extensions());
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
    /// GitHub's event, such as `pull_request`.
    event: Option<String>,
    /// Only what arrived then or later (RFC 3339).
    since: Option<Timestamp>,
    /// The `next` of an earlier answer.
    before: Option<u64>,
    /// How many, at most 500.
    limit: Option<usize>,
}

/// The query of what is done to one delivery.
#[derive(Debug, Default, Deserialize)]
pub struct TargetQuery {
    /// Only this target's part.
    target: Option<String>,
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
        lane: known_target(&app, query.target).await?,
        repository: query.repository,
        event: query.event,
        since: query.since,
        before: query.before,
        // One more than asked for tells whether there is another page.
        limit: limit + 1,
    };
    let mut records = app.queue.list(filter).await.map_err(unreadable)?;
    let has_more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| has_more).map(|record| record.seq);
    let deliveries = records.into_iter().map(|record| view::delivery(&app, record)).collect();
    Ok(Json(ListAnswer { deliveries, next }))
}

/// `GET /api/deliveries/{id}`.
pub async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DeliveryView>, ApiError> {
    let record = app.queue.find(&id).await.map_err(unreadable)?;
    record.map(|record| Json(view::delivery(&app, record))).ok_or_else(|| unknown(&id))
}

/// `POST /api/deliveries/{id}/redeliver`.
pub async fn redeliver(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<TargetQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let target = known_target(&app, query?.0.target).await?;
    let sent = app.queue.redeliver(&id, target.as_deref()).await.map_err(unreadable)?;
    let sent = sent.ok_or_else(|| unknown(&id))?;
    if sent.jobs == 0 {
        let message = "nothing to send again: no rule wanted this event, it is still on its way, or its payload was given up to make room";
        return Err(ApiError::new(StatusCode::CONFLICT, "nothing_to_redeliver", message));
    }
    let redelivery = sent.count;
    tracing::info!(delivery = id, target_name = target, redelivery, "sent again by an operator");
    let answer = json!({"status": "accepted", "delivery": id, "redelivery": redelivery, "jobs": sent.jobs});
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// `POST /api/deliveries/{id}/discard`: ends what is unfinished or dead, so that nobody tries it or looks at it again.
pub async fn discard(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<TargetQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let target = known_target(&app, query?.0.target).await?;
    let ended = app.queue.discard(&id, target.as_deref()).await.map_err(unreadable)?;
    let jobs = ended.ok_or_else(|| unknown(&id))?;
    if jobs == 0 {
        let message = "nothing to discard: it has ended, or no rule wanted this event";
        return Err(ApiError::new(StatusCode::CONFLICT, "nothing_to_discard", message));
    }
    tracing::info!(delivery = id, target_name = target, jobs, "discarded by an operator");
    Ok(Json(json!({"status": "discarded", "delivery": id, "jobs": jobs})).into_response())
}

/// `GET /api/keys`: what each key of the relay was last used for.
pub async fn keys(State(app): State<App>) -> Json<KeyReport> {
    Json(app.book.report())
}

/// `POST /test-webhook`: an event of our own that goes the whole way and changes nothing at its end.
pub async fn test_webhook(State(app): State<App>) -> Result<Response, ApiError> {
    let id = format!("test-{}", uuid::Uuid::new_v4());
    let trace = TraceParent::generate();
    tracing::Span::current().record("delivery", &id).record("trace_id", trace.trace_id());
    let envelope = Envelope {
        version: VERSION,
        id,
        event: TEST_EVENT.to_owned(),
        action: None,
        received_at: Timestamp::now(),
        redelivery: 0,
        traceparent: Some(trace.to_string()),
        repository: None,
        sender: None,
        subject: Subject::Other,
        payload: (),
    };
    let payload = r#"{"zen":"A test event of the relay itself."}"#;
    receive::put(&app, &envelope, payload, None).await.map(|(_, response)| response)
}

/// A target that is spelled wrong would find nothing, which looks like good news.
async fn known_target(app: &App, target: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(name) = target else { return Ok(None) };
    if app.targets.iter().any(|target| target.name == name) {
        return Ok(Some(name));
    }
    // What waits for a target that is not configured any more can still be looked at and discarded.
    let lanes = app.queue.stats().await.map_err(unreadable)?;
    if lanes.iter().any(|lane| lane.lane == name) {
        return Ok(Some(name));
    }
    let names: Vec<&str> = app.targets.iter().map(|target| target.name.as_str()).collect();
    let message = format!("there is no target `{name}`; there are: {}", names.join(", "));
    Err(ApiError::bad_request("unknown_target", message))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!(
        "there is no delivery `{id}`; `relay deliveries list` shows those that there are"
    ))
}

/// The store failed a reader.
pub(crate) fn unreadable(error: queue::Error) -> ApiError {
    ApiError::unavailable("store_failed", "the store failed; try again", std::time::Duration::from_secs(5))
        .with_source(error)
}
