//! `GET /health`, `/livez`, `/readyz`.

use std::time::Duration;

use axum::extract::State;
use shared::error::ApiError;
use shared::health::{Check, Report};

use crate::Service;
use crate::ollama::is_model;

/// Everything that is to be known about this service. Ollama away is a warning: the memory works without it.
pub(crate) async fn health(State(service): State<Service>) -> Report {
    let lane = service.lane.borrow().clone();
    let report = inbox::queue_health(Report::new("ollama-endpoint"), &service.queue, &lane).await;
    let report = match service.memory.counts().await {
        Ok(counts) => {
            let waiting = counts.indexed.saturating_sub(counts.with_vector + counts.rejected);
            report
                .with("memory", Check::pass().observed(counts.memories, "memories"))
                .with("memory:without-vector", Check::pass().observed(waiting, "memories"))
        }
        Err(error) => report.with("memory", Check::fail(error.to_string())),
    };
    let models = match service.ollama.models().await {
        Ok(models) => models,
        Err(error) => return report.with("ollama", Check::warn(error.to_string())),
    };
    let report = report.with("ollama", Check::pass());
    let report = with_model(report, "ollama:chat-model", &service.chat_model, &models);
    with_model(report, "ollama:embed-model", service.ollama.embed_model(), &models)
}

fn with_model(report: Report, component: &str, wanted: &str, models: &[String]) -> Report {
    let check = if models.iter().any(|listed| is_model(wanted, listed)) {
        Check::pass()
    } else {
        Check::warn(format!("the model {wanted} is missing: run `ollama pull {wanted}`"))
    };
    report.with(component, check.observed(wanted, "model"))
}

/// The process runs.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Whether an event could be stored now.
pub(crate) async fn ready(State(service): State<Service>) -> Result<&'static str, ApiError> {
    let written = service.queue.set_cursor("ready", 1).await;
    written.map(|()| "ok").map_err(|error| {
        ApiError::unavailable("store_failed", "the queue cannot be written", Duration::from_secs(5))
            .with_source(error)
    })
}
