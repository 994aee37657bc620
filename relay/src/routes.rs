//! The table of routes.

use axum::{
    Router,
    extract::State,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use shared::error::ApiError;

use crate::{App, admin, health, limits, metrics, receive, stream};

/// What the relay answers on its port.
pub fn public(app: App) -> Router {
    let admin = Router::new()
        .route("/test-webhook", post(admin::test_webhook))
        .route("/api/deliveries", get(admin::list))
        .route("/api/deliveries/{id}", get(admin::show))
        .route("/api/deliveries/{id}/redeliver", post(admin::redeliver))
        .route("/api/deliveries/{id}/discard", post(admin::discard))
        .route("/api/keys", get(admin::keys))
        .route("/api/stream", get(stream::stream))
        .layer(from_fn_with_state(app.clone(), admin::guard));
    Router::new()
        .route("/github-webhook", post(receive::github_webhook))
        .route("/health", get(health::health))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .merge(admin)
        .fallback(async || {
            ApiError::not_found("there is no such route; GitHub's webhook goes to POST /github-webhook")
        })
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(app.clone(), limits::guard))
        .with_state(app)
}

/// What it answers on its metrics listener.
pub fn metrics(app: App, handle: PrometheusHandle) -> Router {
    let render = async |State((app, handle)): State<(App, PrometheusHandle)>| {
        metrics::publish(&app).await;
        handle.render()
    };
    Router::new().route("/metrics", get(render)).with_state((app, handle))
}
