//! The relay's metrics, all of them: their names, what they mean, and where each is counted. Names follow
//! <https://prometheus.io/docs/practices/naming/>. Labels take few values; an id or a repository is never one.

use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use jiff::Timestamp;
use queue::Verdict;
use shared::{outcome::State, version::VERSION};

use crate::App;

mod process;

/// Webhooks by how they were answered (`result`).
pub const WEBHOOKS: &str = "ai_relay_webhooks_total";
/// From a webhook's first byte to its answer.
pub const WEBHOOK_DURATION: &str = "ai_relay_webhook_duration_seconds";
/// Sizes of the bodies whose signature was right.
pub const WEBHOOK_BODY: &str = "ai_relay_webhook_body_bytes";
/// Jobs by `lane` and `state`; set by the queue.
pub const QUEUE_JOBS: &str = "ai_relay_queue_jobs";
/// Age of the oldest unfinished event by `lane`; set by the queue.
pub const OLDEST_AGE: &str = "ai_relay_queue_oldest_age_seconds";
/// Unfinished jobs at which webhooks are refused.
pub const BACKLOG_LIMIT: &str = "ai_relay_backlog_limit_jobs";
/// Bytes of the stored payloads of unfinished jobs.
pub const BACKLOG_BYTES: &str = "ai_relay_backlog_bytes";
/// The bytes of them at which webhooks are refused.
pub const BACKLOG_LIMIT_BYTES: &str = "ai_relay_backlog_limit_bytes";
/// Bytes of the store's files.
pub const STORE_BYTES: &str = "ai_relay_store_bytes";
/// Attempts to hand an event over, by `target` and `result`.
pub const HANDOVERS: &str = "ai_relay_handovers_total";
/// From an event's arrival to the target's answer, by `target`.
pub const HANDOVER_DURATION: &str = "ai_relay_handover_duration_seconds";
/// Whether a `lane` waits for its target.
pub const LANE_PAUSED: &str = "ai_relay_lane_paused";
/// Whether a `target` answers.
pub const TARGET_UP: &str = "ai_relay_target_up";
/// What became of events, by `target` and `state`.
pub const OUTCOMES: &str = "ai_relay_outcomes_total";
/// Deliveries that GitHub could not make, by what was done about them (`result`).
pub const MISSED: &str = "ai_relay_missed_deliveries_total";
/// When all of GitHub's lists of deliveries were last read.
pub const MISSED_CHECK: &str = "ai_relay_missed_check_timestamp_seconds";
/// Requests that were too many, by whose limit (`reason`).
pub const REQUESTS_REFUSED: &str = "ai_relay_requests_refused_total";
/// Open connections by `listener`; set by the server.
pub const CONNECTIONS: &str = "ai_relay_connections_open";
/// Connections that made room for others, by `listener`; counted by the server.
pub const CONNECTIONS_EVICTED: &str = "ai_relay_connections_evicted_total";
/// Which build runs (`version`).
pub const BUILD_INFO: &str = "ai_relay_build_info";
/// Readers of the live stream.
pub const STREAMS: &str = "ai_relay_streams";

/// How webhooks are answered: the words of the answers, and the codes of the errors.
const RESULTS: [&str; 15] = [
    "accepted",
    "duplicate",
    "ignored",
    "pong",
    "unauthorized",
    "missing_header",
    "invalid_payload",
    "unsupported_content_type",
    "body_too_large",
    "body_timeout",
    "body_incomplete",
    "busy",
    "backlog_full",
    "store_failed",
    "internal",
];
/// What an attempt to hand over can come to.
const ATTEMPTS: [&str; 4] = ["accepted", "retried", "dead", "away"];
const STATES: [State; 5] =
    [State::Completed, State::Partial, State::Skipped, State::Failed, State::Superseded];

/// Describes all metrics and sets the counters to zero: an alert on an increase must see the first one as such.
pub fn start(app: &App) {
    describe();
    process::start();
    gauge!(BUILD_INFO, "version" => VERSION).set(1);
    gauge!(BACKLOG_LIMIT).set(float(app.backlog.jobs));
    gauge!(BACKLOG_LIMIT_BYTES).set(float(app.backlog.bytes));
    for result in RESULTS {
        counter!(WEBHOOKS, "result" => result).increment(0);
    }
    for reason in ["address", "all"] {
        counter!(REQUESTS_REFUSED, "reason" => reason).increment(0);
    }
    for result in ["redelivered", "given_up"] {
        counter!(MISSED, "result" => result).increment(0);
    }
    for target in &app.targets {
        for result in ATTEMPTS {
            counter!(HANDOVERS, "target" => target.name.clone(), "result" => result).increment(0);
        }
        // An extra target tells no outcomes.
        for state in STATES.iter().filter(|_| target.reachable.is_some()) {
            counter!(OUTCOMES, "target" => target.name.clone(), "state" => state.as_str()).increment(0);
        }
    }
}

fn describe() {
    describe_counter!(WEBHOOKS, "Webhooks by how they were answered.");
    describe_histogram!(WEBHOOK_DURATION, "Time from a webhook's head to its answer, in seconds.");
    describe_histogram!(WEBHOOK_BODY, "Sizes of correctly signed webhook bodies, in bytes.");
    describe_gauge!(QUEUE_JOBS, "Jobs in the queue by lane and state.");
    describe_gauge!(OLDEST_AGE, "Age of the oldest unfinished event by lane, in seconds.");
    describe_gauge!(BACKLOG_LIMIT, "Unfinished jobs at which webhooks are answered 503.");
    describe_gauge!(BACKLOG_BYTES, "Bytes of the stored payloads of unfinished jobs.");
    describe_gauge!(BACKLOG_LIMIT_BYTES, "Bytes of such payloads at which webhooks are answered 503.");
    describe_gauge!(STORE_BYTES, "Bytes of the store's files.");
    describe_counter!(HANDOVERS, "Attempts to hand an event over, by what they came to.");
    describe_histogram!(
        HANDOVER_DURATION,
        "Time from an event's arrival to the target's answer, in seconds."
    );
    describe_gauge!(LANE_PAUSED, "1 while a lane waits for its target to come back.");
    describe_gauge!(TARGET_UP, "1 while a target answers.");
    describe_counter!(OUTCOMES, "What became of events, as their targets tell it.");
    describe_counter!(MISSED, "Deliveries that GitHub could not make, by what was done about them.");
    describe_gauge!(
        MISSED_CHECK,
        "When GitHub's deliveries were last looked through, in seconds since 1970."
    );
    describe_counter!(REQUESTS_REFUSED, "Requests answered 429, by whose limit it was.");
    describe_gauge!(CONNECTIONS, "Open connections by listener.");
    describe_counter!(CONNECTIONS_EVICTED, "Connections that were closed to make room for others.");
    describe_gauge!(BUILD_INFO, "Always 1; the label names the build that runs.");
    describe_gauge!(STREAMS, "Readers of the live stream.");
}

/// Sets the gauges to what they are now, for a scrape.
pub async fn publish(app: &App) {
    process::publish();
    for target in &app.targets {
        let paused = target.lane.borrow().paused.is_some();
        // Of an extra target no more is known than whether its lane runs.
        let answers = target.reachable.as_ref().is_none_or(|is| matches!(*is.borrow(), Some(Ok(()))));
        let up = !paused && answers;
        gauge!(LANE_PAUSED, "lane" => target.name.clone()).set(f64::from(paused));
        gauge!(TARGET_UP, "target" => target.name.clone()).set(f64::from(up));
    }
    gauge!(STREAMS).set(float(app.streams.open()));
    let published = async {
        app.queue.publish_metrics().await?;
        app.queue.usage().await
    };
    match published.await {
        Ok(usage) => {
            gauge!(BACKLOG_BYTES).set(float(usage.open_bytes));
            gauge!(STORE_BYTES).set(float(usage.store_bytes));
        }
        Err(error) => tracing::warn!(%error, "the queue's numbers are missing from the metrics"),
    }
}

/// A webhook was answered.
pub fn webhook(result: &'static str, took: Duration) {
    counter!(WEBHOOKS, "result" => result).increment(1);
    histogram!(WEBHOOK_DURATION).record(took.as_secs_f64());
}

/// A webhook's signature was right.
pub fn webhook_body(bytes: usize) {
    histogram!(WEBHOOK_BODY).record(float(bytes as u64));
}

/// An attempt to hand over came to an end.
pub fn handover(target: &str, verdict: &Verdict) {
    let result = match verdict {
        Verdict::Done(_) => "accepted",
        Verdict::Retry { .. } => "retried",
        Verdict::Dead { .. } => "dead",
        Verdict::Away { .. } => "away",
    };
    counter!(HANDOVERS, "target" => target.to_owned(), "result" => result).increment(1);
}

/// A target answered for an event that arrived at `received_at`.
pub fn answered(target: &str, received_at: Timestamp) {
    let seconds = (Timestamp::now() - received_at).total(jiff::Unit::Second).unwrap_or(0.0);
    histogram!(HANDOVER_DURATION, "target" => target.to_owned()).record(seconds);
}

/// A request was one too many.
pub fn refused(reason: &'static str) {
    counter!(REQUESTS_REFUSED, "reason" => reason).increment(1);
}

/// Something was done about a delivery that GitHub could not make.
pub fn missed(result: &'static str) {
    counter!(MISSED, "result" => result).increment(1);
}

/// All that GitHub lists was looked through at `at`.
pub fn looked_for_missed(at: Timestamp) {
    gauge!(MISSED_CHECK).set(at.as_duration().as_secs_f64());
}

/// A target told what became of an event.
pub fn outcome(target: &str, state: State) {
    counter!(OUTCOMES, "target" => target.to_owned(), "state" => state.as_str()).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a float, and exact up to 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
