//! The table of routes.

use axum::extract::{Query, State};
use axum::routing::{any, get, post};
use axum::{Json, Router, middleware};
use inbox::auth::{admit, guard, sign_if_asked};
use shared::error::ApiError;
use shared::outcome::{Feed, FeedQuery};

use crate::config::ProxyAuth;
use crate::{Service, health, proxy, recall, receive};

/// All routes. Anyone may ask for `/health` and `/livez`; everything else wants a signature or the token.
pub(crate) fn routes(service: &Service) -> Router {
    let open = Router::new().route("/health", get(health::health)).route("/livez", get(health::live));

    let known = Router::new()
        .route("/memory-update", post(receive::memory_update).with_state(service.queue.clone()))
        .route("/memory/search", get(recall::search))
        .route("/memory/stats", get(recall::stats))
        .route("/memory/{id}", get(recall::get).delete(recall::delete))
        .route("/outcomes", get(outcomes))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics));

    let proxied = Router::new()
        .route("/api/{*path}", any(proxy::handle))
        .route("/v1/{*path}", any(proxy::handle))
        .with_state(service.proxy.clone());
    let proxied = match service.proxy_auth {
        ProxyAuth::Required => proxied.layer(middleware::from_fn_with_state(service.auth.clone(), admit)),
        ProxyAuth::None => proxied,
    };

    let open = open.layer(middleware::from_fn_with_state(service.auth.clone(), sign_if_asked));
    let known = known.layer(middleware::from_fn_with_state(service.auth.clone(), guard));
    open.merge(known).with_state(service.clone()).merge(proxied).fallback(unknown)
}

async fn outcomes(
    State(service): State<Service>,
    Query(query): Query<FeedQuery>,
) -> Result<Json<Feed>, ApiError> {
    inbox::outcomes::feed(&service.queue, query, &service.stop).await
}

async fn metrics(State(service): State<Service>) -> String {
    service.metrics.render()
}

async fn unknown() -> ApiError {
    ApiError::not_found("there is no such route; the README lists them")
}
