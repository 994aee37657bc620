//! What the two endpoints have in common: who may call, the signed inbox, and the outcome feed.
//!
//! A request is verified, its envelope stored (fsync), and answered; nobody waits for a model here. The answer is
//! signed, so that the relay believes nobody else on the tunnel's port.

pub mod answers;
pub mod auth;
pub mod doctor;
pub mod outcomes;
pub mod receive;

use queue::{LaneStatus, Options, Queue, Retention};
use shared::{
    config::RetentionArgs,
    health::{Check, Report},
};

/// Unfinished events at which an endpoint answers 503 to more: the relay keeps those.
pub const MOST_OPEN: u64 = 500_000;

/// Opens an endpoint's queue for so many unfinished events.
///
/// # Errors
/// As [`queue::open`].
pub async fn open_queue(url: &str, keep: RetentionArgs, most_open: u64) -> queue::Result<Queue> {
    let retention = Retention {
        finished: keep.finished(),
        dead: keep.dead(),
        store_bytes: keep.store_bytes(),
        ..Retention::default()
    };
    queue::open(url, Options { most_open, retention: Some(retention), ..Options::default() }).await
}

/// What happens when the queue is full.
const FULL: &str = "at the limit events are answered 503, and whoever sends them keeps them: the log says what holds them up";

/// Adds what is to be known about an endpoint's queue to its health report.
pub async fn queue_health(report: Report, queue: &Queue, lane: &LaneStatus, most_open: u64) -> Report {
    if let Err(error) = queue.can_store().await {
        return report.with(
            "store",
            Check::fail(format!("{error}; events are answered 503 until the disk can be written again")),
        );
    }
    let report = match queue.stats().await {
        Err(error) => return report.with("store", Check::fail(format!("the queue cannot be read: {error}"))),
        Ok(lanes) => {
            let (pending, dead) = lanes.iter().fold((0, 0), |(pending, dead), lane| {
                (pending + lane.pending + lane.leased, dead + lane.dead)
            });
            let dead_letters = match dead {
                0 => Check::pass(),
                _ => Check::warn(
                    "some events failed for good; `relay deliveries list --state dead` shows them",
                ),
            };
            report
                .with("store", Check::pass())
                .with("queue:pending", Check::backlog(pending, most_open, "events", FULL))
                .with("queue:dead", dead_letters.observed(dead, "events"))
        }
    };
    match &lane.paused {
        Some(reason) => report.with("queue:lane", Check::warn(format!("events wait: {reason}"))),
        None => report,
    }
}
