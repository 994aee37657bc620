//! How long each step took, for the log, the metrics and the outcome.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Instant;

/// The steps taken so far.
#[derive(Debug)]
pub(super) struct Steps {
    delivery: String,
    repository: String,
    milliseconds: BTreeMap<String, u64>,
}

impl Steps {
    pub(super) fn new(delivery: &str, repository: &str) -> Self {
        Self {
            delivery: delivery.to_owned(),
            repository: repository.to_owned(),
            milliseconds: BTreeMap::new(),
        }
    }

    pub(super) fn milliseconds(&self) -> &BTreeMap<String, u64> {
        &self.milliseconds
    }

    /// Takes one step; `done` is what the log says when it succeeds.
    pub(super) async fn run<T, E: Display>(
        &mut self,
        step: &'static str,
        done: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let result = work.await;
        let took = started.elapsed();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (delivery, repository) = (&self.delivery, &self.repository);
        match &result {
            Ok(_) => {
                tracing::info!(delivery, repository, step, ms, "{done}");
                metrics::histogram!("review_step_seconds", "step" => step).record(took.as_secs_f64());
                self.milliseconds.insert(step.to_owned(), ms);
            }
            Err(error) => tracing::info!(delivery, repository, step, ms, %error, "step ended early"),
        }
        result
    }
}
