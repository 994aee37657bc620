//! `GET /outcomes`: what became of the events, for the relay to follow. A long poll, so that nothing at home has to
//! reach out and no further port has to be open.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant as Moment},
};

use axum::Json;
use queue::{Finished, Queue};
use shared::{
    error::ApiError,
    health::{Check, Report},
    outcome::{Feed, FeedQuery, MAX_WAIT_SECONDS, Outcome, State},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The most outcomes in one answer.
const MOST: usize = 100;

/// When the relay asked last. It asks all the time, so that its silence shows that the way from it is broken. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Followed(Arc<Mutex<Option<Moment>>>);

impl Followed {
    /// It asks now.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Moment::now());
    }

    /// Adds to a health report how long ago it asked, if it did. A relay that is away is no fault of this service.
    pub fn health(&self, report: Report) -> Report {
        let asked = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Some(asked) => report.with("relay", Check::pass().observed(asked.elapsed().as_secs(), "seconds")),
            None => report,
        }
    }
}

/// Outcomes of `lane` after `query.after`, waiting up to `query.wait` seconds for one, but not past `stop`. A reader that is
/// past the feed's end has followed a feed that is gone: it is told to start again.
///
/// # Errors
/// 503 when the store cannot be read.
pub async fn feed(
    queue: &Queue,
    lane: &str,
    query: FeedQuery,
    stop: &CancellationToken,
) -> Result<Json<Feed>, ApiError> {
    let until = Instant::now() + Duration::from_secs(query.wait.min(MAX_WAIT_SECONDS));
    let mut changes = queue.changes();
    let end = queue.feed_end().await.map_err(unreadable)?;
    let answer = |outcomes, next| Ok(Json(Feed { outcomes, next, epoch: Some(end.epoch) }));
    if query.after > end.last {
        return answer(Vec::new(), 0);
    }
    let mut next = query.after;
    loop {
        changes.mark_unchanged();
        let finished = queue.finished(next, MOST).await.map_err(unreadable)?;
        if let Some(last) = finished.last() {
            next = last.seq;
            let outcomes: Vec<_> = finished.into_iter().filter(|one| one.lane == lane).map(outcome).collect();
            if outcomes.is_empty() {
                continue;
            }
            return answer(outcomes, next);
        }
        let changed = tokio::select! {
            () = stop.cancelled() => false,
            changed = timeout_at(until, changes.changed()) => matches!(changed, Ok(Ok(()))),
        };
        if !changed {
            return answer(Vec::new(), next);
        }
    }
}

fn outcome(finished: Finished) -> Outcome {
    Outcome {
        seq: finished.seq,
        delivery: finished.id,
        redelivery: finished.redelivery,
        state: state(&finished.finish.state),
        summary: finished.finish.summary,
        url: finished.finish.url,
        detail: finished.finish.detail,
        finished_at: finished.finished_at,
    }
}

/// The state of a finish; our handlers use no other words.
fn state(word: &str) -> State {
    let all = [State::Completed, State::Partial, State::Skipped, State::Failed, State::Superseded];
    all.into_iter().find(|state| state.as_str() == word).unwrap_or(State::Failed)
}

fn unreadable(error: queue::Error) -> ApiError {
    ApiError::unavailable("store_failed", "the queue cannot be read", Duration::from_secs(5))
        .with_source(error)
}
