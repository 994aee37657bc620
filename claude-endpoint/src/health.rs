//! `GET /health`, `/livez`, `/readyz`.

use std::time::Duration;

use axum::extract::State;
use shared::error::ApiError;
use shared::health::{Check, Report};

use crate::App;

/// Everything that is to be known about this service. A missing reviewer is a warning: events wait for it.
pub(crate) async fn health(State(app): State<App>) -> Report {
    let lane = app.lane.borrow().clone();
    let report = inbox::queue_health(Report::new("claude-endpoint"), &app.queue, &lane).await;
    let reviewer = match app.reviewers.current().await {
        Ok(reviewer) => {
            Check::pass().observed(format!("{} {}", reviewer.name(), reviewer.model()), "reviewer")
        }
        Err(reason) => Check::warn(reason),
    };
    let github = match app.can_post {
        true => Check::pass(),
        false => Check::warn("GITHUB_TOKEN is not set: reviews are made and remembered, not posted"),
    };
    report.with("reviewer", reviewer).with("github", github)
}

/// The process runs.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Whether an event could be stored now.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    let written = app.queue.set_cursor("ready", 1).await;
    written.map(|()| "ok").map_err(|error| {
        ApiError::unavailable("store_failed", "the queue cannot be written", Duration::from_secs(5))
            .with_source(error)
    })
}
