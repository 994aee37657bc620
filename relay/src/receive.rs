//! body → verify → put → 202.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Request, StatusCode, request::Parts};
use jiff::Timestamp;
use queue::{Error, NewDelivery, Put, Replaces, Route};
use serde_json::json;
use shared::{
    error::ApiError,
    event::Envelope,
    server::{ReadBody, read_body},
    signature::{GithubSecrets, Verified},
    trace::TraceParent,
};

use crate::{
    App,
    arrival::Arrival,
    config::WEBHOOK_SECRET,
    github::{self, PayloadError, Received},
    limits, metrics,
    targets::{CLAUDE, Decision},
};

/// What GitHub sends at the most: 25 MiB.
pub const LARGEST_WEBHOOK: usize = 25 * 1024 * 1024;

/// `POST /github-webhook`.
pub async fn github_webhook(State(app): State<App>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let answer = receive(&app, request).await;
    let result = match &answer {
        Ok((status, _)) => *status,
        Err(error) => error.code(),
    };
    metrics::webhook(result, started.elapsed());
    match answer {
        Ok((_, response)) => response,
        Err(error) => error.into_response(),
    }
}

async fn receive(app: &App, request: Request<Body>) -> Result<(&'static str, Response), ApiError> {
    let (parts, body) = request.into_parts();
    let meta = github::meta(&parts.headers);
    // What is refused is looked for by its id as well, though nobody has signed that.
    if let Ok(meta) = &meta {
        tracing::Span::current().record("delivery", &meta.delivery);
    }
    let trace = trace(&parts.headers);
    let encoding = github::encoding(&parts.headers).map_err(refuse)?;
    // What was read keeps its share of the memory until the event is stored.
    let (body, digest, _share) = verified(app, &parts.headers, body).await?;
    limits::proven(&parts.extensions);
    app.book.used(WEBHOOK_SECRET, body.key(), "webhooks", &github::hook(&parts.headers));
    metrics::webhook_body(body.as_ref().len());
    let meta = meta.map_err(refuse)?;
    match github::parse(meta, encoding, &body, Timestamp::now(), Some(trace.to_string())).map_err(refuse)? {
        Received::Ping { zen } => {
            Ok(("pong", (StatusCode::OK, Json(json!({"status": "pong", "zen": zen}))).into_response()))
        }
        Received::Event { envelope, payload } => {
            note_arrival(app, &parts);
            put(app, &envelope, &payload, digest).await
        }
    }
}

/// An event tells whether GitHub reaches us over TLS; a ping may be the doctor's, from this very machine.
fn note_arrival(app: &App, parts: &Parts) {
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        let forwarded = parts.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        app.arrival.note(Arrival::of(app.limits.is_proxy(peer.ip()), forwarded));
    }
}

/// The body, once its signature was checked, and what it is known by when it comes again. Without a signature the body is
/// read only to be polite.
async fn verified(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Verified, Option<[u8; 32]>, ReadBody), ApiError> {
    let deadline = Duration::from_secs(app.config.args.limits.body_timeout);
    let header = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
    if header.is_none() {
        let _ = read_body(body, 64 * 1024, deadline.min(Duration::from_secs(2)), &app.body_memory).await;
        return Err(ApiError::unauthorized(
            "X-Hub-Signature-256 is missing: set the webhook's secret at GitHub to GITHUB_WEBHOOK_SECRET",
        ));
    }
    let read = read_body(body, LARGEST_WEBHOOK, deadline, &app.body_memory).await?;
    let verified = app.config.webhook_secrets.verify(header, read.bytes.clone()).map_err(|why| {
        ApiError::unauthorized(format!(
            "{why}: the webhook's secret at GitHub and GITHUB_WEBHOOK_SECRET differ"
        ))
    })?;
    Ok((verified, header.and_then(GithubSecrets::digest), read))
}

/// Stores an event with one job per target that wants it, then answers.
pub(crate) async fn put(
    app: &App,
    envelope: &Envelope<()>,
    payload: &str,
    digest: Option<[u8; 32]>,
) -> Result<(&'static str, Response), ApiError> {
    let (targets, note) = match app.config.rules.decide(envelope) {
        Decision::Targets(targets) => (targets, None),
        Decision::Ignored(reason) => (Vec::new(), Some(reason)),
    };
    let delivery = delivery(app, envelope, payload, digest, &targets, note.clone())?;
    let stored = app.queue.put(delivery).await.map_err(not_stored)?;
    let (status, word, body) = match (stored, note) {
        (Put::Duplicate { of }, _) => {
            (StatusCode::OK, "duplicate", json!({"status": "duplicate", "delivery": of}))
        }
        (_, Some(reason)) => (
            StatusCode::OK,
            "ignored",
            json!({"status": "ignored", "delivery": envelope.id, "reason": reason}),
        ),
        (_, None) => (
            StatusCode::ACCEPTED,
            "accepted",
            json!({"status": "accepted", "delivery": envelope.id, "targets": targets}),
        ),
    };
    tracing::info!(
        delivery = envelope.id,
        event = envelope.event,
        action = envelope.action,
        targets = targets.join(","),
        "{word}"
    );
    Ok((word, (status, Json(body)).into_response()))
}

fn delivery(
    app: &App,
    envelope: &Envelope<()>,
    payload: &str,
    digest: Option<[u8; 32]>,
    targets: &[String],
    note: Option<String>,
) -> Result<NewDelivery, ApiError> {
    let payload = envelope.around(payload).map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the event could not be written down")
            .with_source(error)
    })?;
    let route = |target: &String| Route {
        lane: target.clone(),
        key: envelope.key(),
        // Only a review of an older head is pointless; the memory wants to know every event.
        replaces: envelope
            .replaces()
            .filter(|_| target == CLAUDE)
            .map(|(group, version)| Replaces { group, version }),
    };
    Ok(NewDelivery {
        id: envelope.id.clone(),
        digest,
        replay_window: app.config.args.replay_window(),
        redelivery: envelope.redelivery,
        event: envelope.event.clone(),
        action: envelope.action.clone(),
        repository: envelope.repository.as_ref().map(|repository| repository.full_name.clone()),
        headline: envelope.headline(),
        note,
        received_at: envelope.received_at,
        payload,
        routes: targets.iter().map(route).collect(),
    })
}

fn refuse(error: PayloadError) -> ApiError {
    let message = error.to_string();
    match error {
        PayloadError::ContentType => {
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message)
        }
        PayloadError::Header(_) => ApiError::bad_request("missing_header", message),
        PayloadError::NoPayload | PayloadError::NotText | PayloadError::NotJson(_) => {
            ApiError::bad_request("invalid_payload", message)
        }
    }
}

fn not_stored(error: Error) -> ApiError {
    let (code, message) = match &error {
        Error::Full { .. } => (
            "backlog_full",
            "the backlog is full: the endpoints at home have been away for long; send it again later",
        ),
        _ => ("store_failed", "the event could not be stored; send it again later"),
    };
    ApiError::unavailable(code, message, Duration::from_secs(60)).with_source(error)
}

/// The caller's trace if it names one, else a new one.
fn trace(headers: &HeaderMap) -> TraceParent {
    TraceParent::of_headers(headers).unwrap_or_else(|| {
        let trace = TraceParent::generate();
        tracing::Span::current().record("trace_id", trace.trace_id());
        trace
    })
}
