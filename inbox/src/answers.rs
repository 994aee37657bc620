//! What both endpoints answer alike beside their work.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use queue::Queue;
use shared::error::ApiError;

/// How long the queue may take to write: a probe does not wait for a sick disk.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /livez`: the process runs.
pub async fn live() -> &'static str {
    "ok"
}

/// `GET /readyz`: whether an event could be stored now.
///
/// # Errors
/// 503 when it could not.
pub async fn ready(queue: &Queue) -> Result<&'static str, ApiError> {
    let failed =
        || ApiError::unavailable("store_failed", "the queue cannot be written", Duration::from_secs(5));
    let written = tokio::time::timeout(READY_TIMEOUT, queue.can_store()).await;
    written.map_err(|_| failed())?.map(|()| "ok").map_err(|error| failed().with_source(error))
}

/// `GET /metrics`: the process's metrics with the queue's numbers of now.
pub async fn metrics(queue: &Queue, metrics: &PrometheusHandle) -> String {
    if let Err(error) = queue.publish_metrics().await {
        tracing::warn!(%error, "the queue's numbers are missing from the metrics");
    }
    metrics.render()
}

/// A route's answer to another method.
pub async fn other_method() -> ApiError {
    ApiError::method_not_allowed()
}

/// The answer where there is no route.
pub async fn unknown() -> ApiError {
    ApiError::not_found("there is no such route; the README lists them")
}
