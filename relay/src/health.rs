//! How the relay is. A Mac that is away is a warning, never a failure: the relay's job, to take and keep events, goes on.

use axum::{extract::State, response::IntoResponse};
use http::StatusCode;
use jiff::{Timestamp, Unit};
use shared::health::{Check, Report};

use crate::{App, TargetStatus, missed};

/// `GET /health`.
pub async fn health(State(app): State<App>) -> impl IntoResponse {
    report(&app).await
}

/// `GET /livez`: the process is up.
pub async fn livez() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: events can be taken and kept.
pub async fn readyz(State(app): State<App>) -> StatusCode {
    match app.queue.can_store().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn report(app: &App) -> Report {
    let mut report = Report::new("relay").with(
        "store",
        match app.queue.can_store().await {
            Ok(()) => Check::pass(),
            Err(error @ queue::Error::Damaged(_)) => {
                Check::fail(format!("{error}; webhooks are answered 503. {}", crate::WHEN_DAMAGED))
            }
            Err(error) => {
                Check::fail(format!("{error}; webhooks are answered 503 until the disk can be written again"))
            }
        },
    );
    for target in &app.targets {
        report = report.with(&format!("target:{}", target.name), target_check(target));
    }
    match app.queue.usage().await {
        Ok(usage) => {
            report = report
                .with("store:backlog", backlog_check(usage.open_jobs, app.backlog.jobs, "jobs"))
                .with("store:backlog-size", backlog_check(usage.open_bytes, app.backlog.bytes, "bytes"))
                .with("store:size", Check::pass().observed(usage.store_bytes, "bytes"));
        }
        Err(error) => return report.with("store", unreadable(&error)),
    }
    if let Some(check) = app.arrival.check() {
        report = report.with("webhooks:tls", check);
    }
    report = report.with("github:missed", missed_check(&app.missed.borrow()));
    let lanes = match app.queue.stats().await {
        Ok(lanes) => lanes,
        Err(error) => return report.with("store", unreadable(&error)),
    };
    for lane in lanes {
        if !app.targets.iter().any(|target| target.name == lane.lane) && lane.pending + lane.leased > 0 {
            let advice =
                "events wait for a target that is not configured any more: bring it back into [[targets]]";
            report = report.with(&format!("target:{}", lane.lane), Check::warn(advice));
        }
        let age = lane
            .oldest
            .and_then(|oldest| (Timestamp::now() - oldest).total(Unit::Second).ok())
            .unwrap_or(0.0);
        report = report.with(
            &format!("{}:pending", lane.lane),
            Check::pass().observed(lane.pending + lane.leased, "events"),
        );
        report =
            report.with(&format!("{}:oldest", lane.lane), Check::pass().observed(age.round(), "seconds"));
        if lane.dead > 0 {
            let advice = format!("`relay deliveries list --state dead --target {}` shows them", lane.lane);
            report = report
                .with(&format!("{}:dead", lane.lane), Check::warn(advice).observed(lane.dead, "events"));
        }
    }
    report
}

fn unreadable(error: &queue::Error) -> Check {
    Check::fail(format!("the queue cannot be read: {error}"))
}

fn backlog_check(open: u64, limit: u64, unit: &str) -> Check {
    let otherwise = "at the limit webhooks are answered 503: bring the targets back, or `relay deliveries discard` what nobody needs";
    Check::backlog(open, limit, unit, otherwise)
}

fn target_check(target: &TargetStatus) -> Check {
    let paused = target.lane.borrow().paused.clone();
    let reachable = target.reachable.as_ref().map(|reachable| reachable.borrow().clone());
    match (paused, reachable) {
        (Some(reason), _) | (None, Some(Some(Err(reason)))) => {
            Check::warn(format!("away; events wait and nothing is lost: {reason}"))
        }
        (None, None | Some(Some(Ok(())))) => Check::pass(),
        (None, Some(None)) => Check::warn("not asked yet"),
    }
}

fn missed_check(state: &missed::State) -> Check {
    match state {
        missed::State::Off(why) => Check { output: Some(why.clone()), ..Check::pass() },
        missed::State::Lacking(why) => Check::warn(why.clone()),
        missed::State::Unasked => Check::pass(),
        missed::State::Looked { open, troubles } => {
            let check = match troubles.len() {
                0 => Check::pass(),
                _ => Check::warn(troubles.iter().map(String::as_str).collect::<Vec<_>>().join("; ")),
            };
            check.observed(*open, "events")
        }
    }
}
