//! The table of routes.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::{any, get, post};
use axum::{Json, Router, middleware};
use inbox::answers;
use inbox::auth::{admit, guard, sign_if_asked};
use shared::error::ApiError;
use shared::outcome::{Feed, FeedQuery};

use crate::config::ProxyAuth;
use crate::{Service, health, mcp, proxy, recall, receive, transfer};

/// All routes. Anyone may ask how the service is; everything else wants a signature or the token.
pub(crate) fn routes(service: &Service) -> Router {
    let open = Router::new()
        .route("/health", get(health::health))
        .route("/livez", get(answers::live))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(answers::other_method)
        .layer(middleware::from_fn_with_state(service.auth.clone(), sign_if_asked));

    let known = Router::new()
        .route("/memory-update", post(receive::memory_update).with_state(service.queue.clone()))
        .route("/memory/search", get(recall::search))
        .route("/memory/briefing", get(recall::briefing))
        .route("/memory/forget", post(recall::forget))
        .route("/memory/export", get(transfer::export))
        .route("/memory/import", post(transfer::import))
        .route("/memory/stats", get(recall::stats))
        .route("/memory/{id}", get(recall::get).delete(recall::delete))
        .route("/outcomes", get(outcomes))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(answers::other_method)
        .layer(middleware::from_fn_with_state(service.auth.clone(), guard));

    let agents = Router::new().route("/mcp", any(mcp::handle)).with_state(service.mcp.clone());

    let proxied = Router::new()
        .route("/api/{*path}", any(proxy::handle))
        .route("/v1/{*path}", any(proxy::handle))
        .with_state(service.proxy.clone());
    let proxied = match service.proxy_auth {
        ProxyAuth::Required => proxied.layer(middleware::from_fn_with_state(service.auth.clone(), admit)),
        ProxyAuth::None => proxied.layer(middleware::from_fn(proxy::only_from_here)),
    };
    open.merge(known).with_state(service.clone()).merge(agents).merge(proxied).fallback(answers::unknown)
}

async fn outcomes(
    State(service): State<Service>,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Json<Feed>, ApiError> {
    let Query(query) = query?;
    service.followed.note();
    inbox::outcomes::feed(&service.queue, receive::LANE, query, &service.stop).await
}

async fn metrics(State(service): State<Service>) -> String {
    answers::metrics(&service.queue, &service.metrics).await
}
