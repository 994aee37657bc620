//! What the memory could not be told at once, in a lane of its own: a review is finished without it.

use async_trait::async_trait;
use queue::{Finish, Handler, Job, Lease, NewDelivery, Route, Verdict};
use serde::{Deserialize, Serialize};
use shared::memory::Update;
use shared::outcome::State;
use shared::trace::{self, TraceParent};

use crate::memory::{Memory, MemoryError};

/// The lane of updates that wait for the memory.
pub(crate) const LANE: &str = "remember";

/// Tells the memory what comes out of the queue.
#[derive(Debug)]
pub(crate) struct Remember(pub(crate) Memory);

/// What waits. Earlier versions kept the update alone.
#[derive(Serialize, Deserialize)]
struct Waiting {
    /// Of the event that was reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    update: Update,
}

/// The update that a review leaves behind, as a delivery. The same review again is a duplicate.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn delivery(review: &Job, update: &Update) -> serde_json::Result<NewDelivery> {
    let traceparent = trace::current().map(|trace| trace.to_string());
    let waiting = Waiting { traceparent, update: update.clone() };
    Ok(NewDelivery {
        id: format!("{}/{LANE}", review.id),
        digest: None,
        replay_window: std::time::Duration::ZERO,
        redelivery: review.redelivery,
        event: LANE.to_owned(),
        action: None,
        repository: Some(update.repository.clone()),
        headline: format!("what the memory is to be told of {}", review.id),
        note: None,
        received_at: review.received_at,
        payload: serde_json::to_vec(&waiting)?,
        routes: vec![Route { lane: LANE.to_owned(), key: update.repository.clone(), replaces: None }],
    })
}

#[async_trait]
impl Handler for Remember {
    async fn handle(&self, lease: &Lease) -> Verdict {
        let payload = &lease.job().payload;
        let waiting = serde_json::from_slice(payload).map(|waiting: Waiting| waiting.update);
        let update = match waiting.or_else(|_| serde_json::from_slice(payload)) {
            Ok(update) => update,
            Err(error) => return Verdict::Dead { error: format!("the update cannot be read: {error}") },
        };
        match trace::within(TraceParent::of_envelope(payload), self.0.remember(&update)).await {
            Ok(()) => Verdict::Done(Finish::new(State::Completed.as_str(), "remembered")),
            Err(error) if error.is_final() => Verdict::Dead { error: error.to_string() },
            Err(error @ MemoryError::Unavailable(_)) => Verdict::Away { reason: error.to_string() },
            Err(error) => Verdict::Retry { error: error.to_string(), after: None },
        }
    }

    async fn probe(&self) -> bool {
        self.0.is_there().await
    }
}
