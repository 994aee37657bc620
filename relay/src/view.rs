//! Deliveries as the admin routes show them.

use jiff::Timestamp;
use queue::{JobRecord, JobState, Record};
use serde::{Deserialize, Serialize};

use crate::{App, dispatch::DELIVERED};

/// A delivery.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliveryView {
    /// The delivery id.
    pub id: String,
    /// GitHub's event.
    pub event: String,
    /// Its action.
    pub action: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// One line.
    pub headline: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Redeliveries that were asked for.
    pub redelivery: u32,
    /// Of all its targets, what matters most: `dead`, then `pending`, `handed_over`, `partial`, …
    pub state: String,
    /// Why it was ignored.
    pub note: Option<String>,
    /// Each target's part.
    pub targets: Vec<TargetView>,
}

/// One target's part of a delivery.
#[derive(Debug, Serialize, Deserialize)]
pub struct TargetView {
    /// The target.
    pub target: String,
    /// `pending`, `leased`, `handed_over`, `delivered`, `dead`, or the outcome's state.
    pub state: String,
    /// Attempts to hand it over.
    pub attempts: u32,
    /// When a waiting one is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last error.
    pub error: Option<String>,
    /// What it came to.
    pub outcome: Option<queue::Finish>,
    /// That the target is away, for an unfinished one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// What happened, oldest first; only for a single delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<queue::HistoryEntry>,
}

/// A lane that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Paused {
    /// What it waits for.
    pub reason: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// How full a target's lane is.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaneView {
    /// The target.
    pub target: String,
    /// Waiting jobs.
    pub pending: u64,
    /// Jobs that are being handed over.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Arrival of the oldest unfinished delivery.
    pub oldest: Option<Timestamp>,
}

/// A stored delivery, with what is known of its targets now.
pub fn delivery(app: &App, record: Record) -> DeliveryView {
    let targets: Vec<TargetView> = record.jobs.into_iter().map(|job| target(app, job)).collect();
    DeliveryView {
        state: overall(&targets).to_owned(),
        id: record.id,
        event: record.event,
        action: record.action,
        repository: record.repository,
        headline: record.headline,
        received_at: record.received_at,
        redelivery: record.redelivery,
        note: record.note,
        targets,
    }
}

fn target(app: &App, job: JobRecord) -> TargetView {
    let state = match (&job.finish, job.state) {
        (Some(finish), JobState::Done) => finish.state.clone(),
        (_, state) => state.as_str().to_owned(),
    };
    let is_open = matches!(job.state, JobState::Pending | JobState::Leased);
    TargetView {
        paused: paused(app, &job.lane).filter(|_| is_open),
        target: job.lane,
        state,
        attempts: job.attempts,
        next_attempt_at: job.due_at.filter(|_| job.state == JobState::Pending),
        finished_at: job.finished_at,
        error: job.error,
        outcome: job.finish,
        history: job.history,
    }
}

fn paused(app: &App, lane: &str) -> Option<Paused> {
    let target = app.targets.iter().find(|target| target.name == lane)?;
    let status = target.lane.borrow().clone();
    status.paused.map(|reason| Paused { reason, since: status.since })
}

/// The state that an operator must see first.
fn overall(targets: &[TargetView]) -> &str {
    let by_weight = [
        "dead",
        "leased",
        "pending",
        "handed_over",
        "discarded",
        "partial",
        "completed",
        DELIVERED,
        "skipped",
        "superseded",
    ];
    let found = by_weight.into_iter().find(|state| targets.iter().any(|target| target.state == *state));
    found.unwrap_or(if targets.is_empty() { "ignored" } else { "unknown" })
}
