//! The table of routes.

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use inbox::auth::{guard, sign_if_asked};
use shared::error::ApiError;
use shared::outcome::{Feed, FeedQuery};

use crate::{App, health, receive};

/// All routes. Anyone may ask how the service is; events and their outcomes are for the relay alone.
pub(crate) fn routes(app: &App) -> Router {
    let open = Router::new()
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(app.auth.clone(), sign_if_asked));
    let signed = Router::new()
        .route("/ai-sync", post(receive::ai_sync).with_state(app.queue.clone()))
        .route("/outcomes", get(outcomes))
        .method_not_allowed_fallback(other_method)
        // the guard reads the body, with a limit of its own
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.auth.clone(), guard));
    open.merge(signed).with_state(app.clone()).fallback(unknown)
}

async fn outcomes(
    State(app): State<App>,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Json<Feed>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("invalid_query", error.body_text()))?;
    inbox::outcomes::feed(&app.queue, receive::LANE, query, &app.stop).await
}

async fn metrics(State(app): State<App>) -> String {
    if let Err(error) = app.queue.publish_metrics().await {
        tracing::warn!(%error, "the queue's numbers are missing from the metrics");
    }
    app.metrics.render()
}

async fn other_method() -> ApiError {
    let message = "this route takes another method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

async fn unknown() -> ApiError {
    ApiError::not_found("there is no such route; the README lists them")
}
