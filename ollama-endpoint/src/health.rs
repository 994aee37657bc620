//! `GET /health` and `/readyz`.

use axum::extract::State;
use shared::error::ApiError;
use shared::health::{Check, Report};

use crate::Service;
use crate::embedder::Status;
use crate::ollama::is_model;

/// Everything that is to be known about this service. Ollama away is a warning: the memory works without it.
pub(crate) async fn health(State(service): State<Service>) -> Report {
    let lane = service.lane.borrow().clone();
    let report =
        inbox::queue_health(Report::new(crate::SERVICE), &service.queue, &lane, service.most_open).await;
    let report = service.followed.health(report);
    let report = match service.memory.counts().await {
        Ok(counts) => report
            .with("memory", Check::pass().observed(counts.memories, "memories"))
            .with("memory:without-vector", Check::pass().observed(counts.waiting(), "memories"))
            .with("memory:set-aside", Check::pass().observed(counts.rejected, "memories"))
            .with("memory:embedded-in-part", Check::pass().observed(counts.cut, "memories"))
            .with("memory:unrefined", Check::pass().observed(counts.unrefined, "memories"))
            .with("memory:unrefinable", Check::pass().observed(counts.unrefinable, "memories")),
        Err(error) => report.with("memory", Check::fail(error.to_string())),
    };
    let report = report
        .with("embedder", background(&service.embedder.borrow(), "search goes on by words"))
        .with("refiner", background(&service.refiner.borrow(), "memories stay as they are"));
    let models = match service.ollama.models().await {
        Ok(models) => models,
        Err(error) => return report.with("ollama", Check::warn(error.to_string())),
    };
    let report = report.with("ollama", Check::pass());
    let report = with_model(report, "ollama:chat-model", &service.chat_model, &models);
    with_model(report, "ollama:embed-model", service.ollama.embed_model(), &models)
}

fn background(status: &Status, meanwhile: &str) -> Check {
    match status {
        Status::Idle | Status::Working => Check::pass(),
        Status::Waiting(error) => Check::warn(format!("{meanwhile}: {error}")),
    }
}

fn with_model(report: Report, component: &str, wanted: &str, models: &[String]) -> Report {
    let check = if models.iter().any(|listed| is_model(wanted, listed)) {
        Check::pass()
    } else {
        Check::warn(format!("the model {wanted} is missing: run `ollama pull {wanted}`"))
    };
    report.with(component, check.observed(wanted, "model"))
}

/// Whether an event could be stored now.
pub(crate) async fn ready(State(service): State<Service>) -> Result<&'static str, ApiError> {
    inbox::answers::ready(&service.queue).await
}
