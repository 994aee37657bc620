//! The table of routes.

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use inbox::answers;
use inbox::auth::{guard, sign_if_asked};
use shared::error::ApiError;
use shared::outcome::{Feed, FeedQuery};

use crate::{App, health, receive};

/// All routes. Anyone may ask how the service is; events and their outcomes are for the relay alone.
pub(crate) fn routes(app: &App) -> Router {
    let open = Router::new()
        .route("/health", get(health::health))
        .route("/livez", get(answers::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(answers::other_method)
        .layer(middleware::from_fn_with_state(app.auth.clone(), sign_if_asked));
    let signed = Router::new()
        .route("/ai-sync", post(receive::ai_sync).with_state(app.queue.clone()))
        .route("/outcomes", get(outcomes))
        .method_not_allowed_fallback(answers::other_method)
        // the guard reads the body, with a limit of its own
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.auth.clone(), guard));
    open.merge(signed).with_state(app.clone()).fallback(answers::unknown)
}

async fn outcomes(
    State(app): State<App>,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Json<Feed>, ApiError> {
    let Query(query) = query?;
    app.followed.note();
    inbox::outcomes::feed(&app.queue, receive::LANE, query, &app.stop).await
}

async fn metrics(State(app): State<App>) -> String {
    answers::metrics(&app.queue, &app.metrics).await
}
