//! The table of routes.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::{any, get, post};
use axum::{Json, Router, middleware};
use http::StatusCode;
use inbox::auth::{admit, guard, sign_if_asked};
use shared::error::ApiError;
use shared::outcome::{Feed, FeedQuery};

use crate::config::ProxyAuth;
use crate::{Service, health, proxy, recall, receive};

/// All routes. Anyone may ask how the service is; everything else wants a signature or the token.
pub(crate) fn routes(service: &Service) -> Router {
    let open = Router::new()
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(service.auth.clone(), sign_if_asked));

    let known = Router::new()
        .route("/memory-update", post(receive::memory_update).with_state(service.queue.clone()))
        .route("/memory/search", get(recall::search))
        .route("/memory/stats", get(recall::stats))
        .route("/memory/{id}", get(recall::get).delete(recall::delete))
        .route("/outcomes", get(outcomes))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(service.auth.clone(), guard));

    let proxied = Router::new()
        .route("/api/{*path}", any(proxy::handle))
        .route("/v1/{*path}", any(proxy::handle))
        .with_state(service.proxy.clone());
    let proxied = match service.proxy_auth {
        ProxyAuth::Required => proxied.layer(middleware::from_fn_with_state(service.auth.clone(), admit)),
        ProxyAuth::None => proxied.layer(middleware::from_fn(proxy::only_from_here)),
    };
    open.merge(known).with_state(service.clone()).merge(proxied).fallback(unknown)
}

async fn outcomes(
    State(service): State<Service>,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Json<Feed>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("invalid_query", error.body_text()))?;
    inbox::outcomes::feed(&service.queue, receive::LANE, query, &service.stop).await
}

async fn metrics(State(service): State<Service>) -> String {
    if let Err(error) = service.queue.publish_metrics().await {
        tracing::warn!(%error, "the queue's numbers are missing from the metrics");
    }
    service.metrics.render()
}

async fn other_method() -> ApiError {
    let message = "this route takes another method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

async fn unknown() -> ApiError {
    ApiError::not_found("there is no such route; the README lists them")
}
