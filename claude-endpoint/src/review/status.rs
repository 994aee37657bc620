//! The status of a head: what everybody sees who decides about merging.

use queue::Finish;
use serde_json::Value;
use shared::outcome::State;
use tokio_util::sync::CancellationToken;

use super::ending::{self, Stop};
use super::{Journey, Review};
use crate::github::{GithubError, Told};
use crate::status::{Came, Status};

impl Review {
    /// Does some work, and says that it is under way where it takes long. What is being said is said to its end: a call
    /// that is given up could still arrive, and stand in the place of the status that follows.
    pub(super) async fn announced<T>(
        &self,
        repository: &str,
        head: &str,
        work: impl Future<Output = T>,
    ) -> T {
        let done = CancellationToken::new();
        let announcing = async {
            let is_slow = tokio::time::sleep(self.limits.announced_after);
            if self.github.can_post() && done.run_until_cancelled(is_slow).await.is_some() {
                let announced = self.github.set_status(repository, head, &Status::pending()).await;
                if let Err(error) = announced {
                    tracing::info!(%error, "the status stays as it is");
                }
            }
        };
        let working = async {
            let result = work.await;
            done.cancel();
            result
        };
        tokio::join!(working, announcing).0
    }

    /// Sets the status that goes with the end of a review. What only waits or is tried again has none yet.
    pub(super) async fn conclude(
        &self,
        journey: &mut Journey<'_>,
        head: &str,
        result: Result<(Finish, Came), Stop>,
    ) -> Result<Finish, Stop> {
        let (mut finish, came) = match result {
            Ok(done) => done,
            Err(Stop::Already(finish, came)) => (*finish, came),
            Err(Stop::Finish(finish)) => {
                let came = came_to(&finish);
                (finish, came)
            }
            Err(stop) => {
                if let Some(reason) = ending::final_reason(&stop, journey.lease.job().attempt) {
                    // what stands in the way of the review may stand in the way of its status, too
                    let _ = self.tell(journey, head, &Came::Failed(reason), None).await;
                }
                return Err(stop);
            }
        };
        let is_wanted = !finish.detail.contains_key("status");
        if is_wanted && self.github.can_post() {
            let told = self.tell(journey, head, &came, finish.url.clone()).await?;
            finish.detail.insert("status".to_owned(), told.into());
        }
        Ok(finish)
    }

    /// A status that may not be set costs no review, only a word in the outcome.
    async fn tell(
        &self,
        journey: &mut Journey<'_>,
        head: &str,
        came: &Came,
        url: Option<String>,
    ) -> Result<String, GithubError> {
        let status = Status::of(came, journey.wishes.fail_on.unwrap_or(self.limits.fail_on)).linked(url);
        let setting = self.github.set_status(journey.repository, head, &status);
        Ok(match journey.steps.run("status", "status set", setting).await {
            Ok(Told::Set | Told::Unchanged) => status.conclusion.as_str().to_owned(),
            Ok(Told::Off) => "off".to_owned(),
            Ok(Told::Unpermitted(what_to_do)) => format!("not permitted: {what_to_do}"),
            // a commit that a force-push has taken away, or one with a thousand statuses
            Err(GithubError::Unprocessable(reason)) => format!("refused: {reason}"),
            Err(error) => return Err(error),
        })
    }
}

/// What a finish without a review means for the head.
fn came_to(finish: &Finish) -> Came {
    let reason = finish.summary.clone();
    match finish.state.as_str() {
        state if state == State::Superseded.as_str() => {
            let newer = finish.detail.get("newer_head").and_then(Value::as_str);
            Came::Superseded(newer.unwrap_or_default().to_owned())
        }
        state if state == State::Failed.as_str() => Came::Failed(reason),
        _ if finish.detail.contains_key("stopped") => Came::Stopped(reason),
        _ => Came::Skipped(reason),
    }
}
