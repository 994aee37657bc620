//! Deliveries as text for a terminal. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use shared::terminal::printable;

use crate::view::{DeliveryView, LaneView, TargetView};

const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// A table of deliveries, newest first.
pub fn list(deliveries: &[DeliveryView]) -> String {
    if deliveries.is_empty() {
        return "no deliveries\n".to_owned();
    }
    let mut text = columns(["RECEIVED", "STATE", "EVENT", "REPOSITORY", "DELIVERY", "WHAT"]);
    text.push('\n');
    for delivery in deliveries {
        let _ = writeln!(text, "{}", row(delivery));
    }
    text
}

/// One delivery on one line.
pub fn row(delivery: &DeliveryView) -> String {
    columns([
        &delivery.received_at.strftime(TIME).to_string(),
        &delivery.state,
        &event(delivery),
        delivery.repository.as_deref().unwrap_or("-"),
        &delivery.id,
        &printable(delivery.note.as_deref().unwrap_or(&delivery.headline)),
    ])
}

fn columns([received, state, event, repository, delivery, what]: [&str; 6]) -> String {
    format!("{received:<20} {state:<12} {event:<28} {repository:<24} {delivery:<38} {what}")
        .trim_end()
        .to_owned()
}

/// How full the lanes are, on one line.
pub fn counts(lanes: &[LaneView]) -> String {
    let lane = |lane: &LaneView| {
        format!("{}: {} pending, {} leased, {} dead", lane.target, lane.pending, lane.leased, lane.dead)
    };
    match lanes {
        [] => "nothing was delivered yet".to_owned(),
        _ => lanes.iter().map(lane).collect::<Vec<_>>().join("; "),
    }
}

/// The journey of one delivery, with the time since its arrival, and what can be done about it.
pub fn timeline(delivery: &DeliveryView, now: Timestamp) -> String {
    let mut text =
        format!("{}  {}  {}\n", delivery.id, event(delivery), delivery.repository.as_deref().unwrap_or("-"));
    if !delivery.headline.is_empty() {
        let _ = writeln!(text, "  {}", printable(&delivery.headline));
    }
    let received = delivery.received_at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC");
    let _ = writeln!(text, "  {:>10}  received {received}, {} ago", "0 ms", since(delivery.received_at, now));
    if let Some(note) = &delivery.note {
        let _ = writeln!(text, "  ignored: {}", printable(note));
    }
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    for target in &delivery.targets {
        for entry in &target.history {
            let detail =
                entry.detail.as_deref().map(|detail| format!(": {}", printable(detail))).unwrap_or_default();
            lines.push((entry.at, format!("{} {}{detail}", target.target, entry.what.replace('_', " "))));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    for (at, line) in lines {
        let _ = writeln!(text, "  {:>10}  {line}", since(delivery.received_at, at));
    }
    for target in &delivery.targets {
        text.push_str(&standing(delivery, target, now));
    }
    text
}

/// Where a target's part stands, and what helps.
fn standing(delivery: &DeliveryView, target: &TargetView, now: Timestamp) -> String {
    let name = &target.target;
    let attempts =
        if target.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", target.attempts) };
    let mut text = format!("  = {name} is {} after {attempts}", target.state.replace('_', " "));
    if let Some(end) = target.finished_at {
        let _ = write!(text, ", {} after arrival", since(delivery.received_at, end));
    }
    if let Some(url) = target.outcome.as_ref().and_then(|outcome| outcome.url.as_ref()) {
        let _ = write!(text, ", see {}", printable(url));
    }
    match (&target.paused, target.next_attempt_at) {
        (Some(paused), _) => {
            let since = paused.since.map(|at| format!(" for {}", since(at, now))).unwrap_or_default();
            let reason = printable(&paused.reason);
            let _ = write!(text, "\n    {name} has been away{since}: {reason}\n    it goes on by itself");
        }
        (None, Some(next)) if next > now => {
            let _ = write!(text, ", next in {} ({})", since(now, next), next.strftime("%H:%M:%S UTC"));
        }
        _ if target.state == "pending" => text.push_str(", next when its turn comes"),
        _ => {}
    }
    if let (Some(error), "dead" | "pending") = (&target.error, target.state.as_str()) {
        let _ = write!(text, "\n    the last error: {}", printable(error));
    }
    if target.state == "dead" {
        let id = &delivery.id;
        let _ = write!(
            text,
            "\n    when the cause is gone: relay deliveries redeliver {id} --target {name}\n    \
             to give it up:          relay deliveries discard {id} --target {name}"
        );
    }
    text.push('\n');
    text
}

fn event(delivery: &DeliveryView) -> String {
    match &delivery.action {
        Some(action) => format!("{}.{action}", delivery.event),
        None => delivery.event.clone(),
    }
}

/// A distance as one reads it, in at most two units.
fn since(start: Timestamp, at: Timestamp) -> String {
    const MINUTE: i64 = 60_000;
    let ms = (at.as_millisecond() - start.as_millisecond()).max(0);
    let (minutes, hours) = (ms / MINUTE, ms / (60 * MINUTE));
    match ms {
        ..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{} s", ms / 1000),
        600_000..7_200_000 => format!("{minutes} min"),
        7_200_000..172_800_000 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> DeliveryView {
        let at = |ms: i64| Timestamp::from_millisecond(1_795_341_600_000 + ms).unwrap().to_string();
        let done = |state: &str, summary: &str| serde_json::json!({"state": state, "summary": summary, "url": "https://github.test/r/1", "detail": {}});
        serde_json::from_value(serde_json::json!({
            "id": "72d3162e", "event": "pull_request", "action": "opened", "repository": "o/r", "headline": "#7 Fix \u{1b}[31mred",
            "received_at": at(0), "redelivery": 0, "state": "pending", "note": null,
            "targets": [
                {"target": "claude", "state": "completed", "attempts": 1, "next_attempt_at": null, "finished_at": at(40_300), "error": null,
                 "outcome": done("completed", "review posted"), "history": [
                    {"at": at(3), "what": "handed_over", "detail": "taken by the target"},
                    {"at": at(40_300), "what": "completed", "detail": "review posted"}]},
                {"target": "ollama", "state": "pending", "attempts": 2, "next_attempt_at": at(90_000), "finished_at": null,
                 "error": "the target answered 503", "outcome": null, "paused": {"reason": "no answer", "since": at(20_000)},
                 "history": [{"at": at(9), "what": "failed", "detail": "the target answered 503"}]},
                {"target": "other", "state": "dead", "attempts": 7, "next_attempt_at": null, "finished_at": at(259_200_000), "error": "it said\u{7} 400",
                 "outcome": {"state": "failed", "summary": "it said 400"}, "history": []},
                {"target": "slow", "state": "pending", "attempts": 1, "next_attempt_at": at(1_000_000), "finished_at": null, "error": null, "outcome": null}]
        }))
        .unwrap()
    }

    #[test]
    fn a_journey_reads_as_a_timeline() {
        insta::assert_snapshot!(timeline(
            &delivery(),
            Timestamp::from_millisecond(1_795_341_600_000 + 700_000).unwrap()
        ));
    }

    #[test]
    fn deliveries_read_as_a_table() {
        insta::assert_snapshot!(list(&[delivery()]));
        assert_eq!(list(&[]), "no deliveries\n");
    }

    #[test]
    fn a_distance_has_at_most_two_units() {
        let start = Timestamp::UNIX_EPOCH;
        for (ms, text) in [
            (9_999, "9999 ms"),
            (10_000, "10 s"),
            (600_000, "10 min"),
            (7_260_000, "2 h 1 min"),
            (180_000_000, "2 d 2 h"),
            (-5, "0 ms"),
        ] {
            assert_eq!(since(start, Timestamp::from_millisecond(ms).unwrap()), text);
        }
    }

    #[test]
    fn counts_stand_on_one_line() {
        let lane = LaneView { target: "claude".to_owned(), pending: 3, leased: 1, dead: 0, oldest: None };
        assert_eq!(counts(&[lane]), "claude: 3 pending, 1 leased, 0 dead");
    }
}
