//! `GET /health` and `/readyz`.

use axum::extract::State;
use shared::error::ApiError;
use shared::health::{Check, Report};

use crate::{App, NAME};

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
        false => Check::warn(
            "GITHUB_TOKEN is not set, nor a GitHub App: reviews are made and remembered, not posted",
        ),
    };
    let memory = match &app.remembering.borrow().paused {
        None => Check::pass(),
        Some(reason) => Check::warn(format!("reviews wait to be remembered: {reason}")),
    };
    report.with("reviewer", reviewer).with("github", github).with("memory", memory)
}

/// Whether an event could be stored now.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    inbox::answers::ready(&app.queue).await
}
