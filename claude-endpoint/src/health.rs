//! `GET /health`, `/livez`, `/readyz`.

use std::time::Duration;

use axum::extract::State;
use shared::error::ApiError;
use shared::health::{Check, Report};

use crate::{App, NAME};

/// How long the queue may take to write: a probe does not wait for a sick disk.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that is to be known about this service. A missing reviewer is a warning: events wait for it. Nobody is
/// asked here: a reviewer can take many seconds to say whether it is there.
pub(crate) async fn health(State(app): State<App>) -> Report {
    let lane = app.lane.borrow().clone();
    let report = inbox::queue_health(Report::new(NAME), &app.queue, &lane).await;
    app.reviewers.refresh();
    let reviewer = match app.reviewers.known() {
        Some(Ok(reviewer)) => {
            Check::pass().observed(format!("{} {}", reviewer.name(), reviewer.model()), "reviewer")
        }
        Some(Err(reason)) => Check::warn(reason),
        None => Check::warn("it is being found out who can review; ask again in a few seconds"),
    };
    let github = match app.can_post {
        true => Check::pass(),
        false => Check::warn("GITHUB_TOKEN is not set: reviews are made and remembered, not posted"),
    };
    let memory = match &app.remembering.borrow().paused {
        None => Check::pass(),
        Some(reason) => Check::warn(format!("reviews wait to be remembered: {reason}")),
    };
    report.with("reviewer", reviewer).with("github", github).with("memory", memory)
}

/// The process runs.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Whether an event could be stored now.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    let failed =
        || ApiError::unavailable("store_failed", "the queue cannot be written", Duration::from_secs(5));
    let written = tokio::time::timeout(READY_TIMEOUT, app.queue.can_store()).await;
    written.map_err(|_| failed())?.map(|()| "ok").map_err(|error| failed().with_source(error))
}
