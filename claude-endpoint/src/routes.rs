//! The table of routes.

use axum::extract::{DefaultBodyLimit, Query, State};
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
        .layer(middleware::from_fn_with_state(app.auth.clone(), sign_if_asked));
    let signed = Router::new()
        .route("/ai-sync", post(receive::ai_sync).with_state(app.queue.clone()))
        .route("/outcomes", get(outcomes))
        // the guard reads the body, with a limit of its own
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.auth.clone(), guard));
    open.merge(signed).with_state(app.clone()).fallback(unknown)
}

async fn outcomes(State(app): State<App>, Query(query): Query<FeedQuery>) -> Result<Json<Feed>, ApiError> {
    inbox::outcomes::feed(&app.queue, query, &app.stop).await
}

async fn metrics(State(app): State<App>) -> String {
    app.metrics.render()
}

async fn unknown() -> ApiError {
    ApiError::not_found("there is no such route; the README lists them")
}
