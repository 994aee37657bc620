//! Deliveries as text for a terminal. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::view::{DeliveryView, TargetView};

/// A table of deliveries, newest first.
pub fn list(deliveries: &[DeliveryView]) -> String {
    if deliveries.is_empty() {
        return "no deliveries\n".to_owned();
    }
    let mut text = format!(
        "{:<20} {:<12} {:<28} {:<24} {:<38} {}\n",
        "RECEIVED", "STATE", "EVENT", "REPOSITORY", "DELIVERY", "WHAT"
    );
    for delivery in deliveries {
        let what = delivery.note.as_deref().unwrap_or(&delivery.headline);
        let _ = writeln!(
            text,
            "{:<20} {:<12} {:<28} {:<24} {:<38} {}",
            delivery.received_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            delivery.state,
            event(delivery),
            delivery.repository.as_deref().unwrap_or("-"),
            delivery.id,
            printable(what)
        );
    }
    text
}

/// The journey of one delivery, with the time since its arrival.
pub fn timeline(delivery: &DeliveryView) -> String {
    let mut text =
        format!("{}  {}  {}\n", delivery.id, event(delivery), delivery.repository.as_deref().unwrap_or("-"));
    if !delivery.headline.is_empty() {
        let _ = writeln!(text, "  {}", printable(&delivery.headline));
    }
    let _ = writeln!(
        text,
        "  {:>10}  received {}",
        "0 ms",
        delivery.received_at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC")
    );
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
        let _ = writeln!(text, "  {}", standing(target));
    }
    text
}

fn standing(target: &TargetView) -> String {
    let attempts =
        if target.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", target.attempts) };
    let mut line = format!("= {} is {} after {attempts}", target.target, target.state.replace('_', " "));
    if let Some(next) = target.next_attempt_at {
        let _ = write!(line, ", next at {}", next.strftime("%Y-%m-%d %H:%M:%S UTC"));
    }
    if let Some(url) = target.outcome.as_ref().and_then(|outcome| outcome.url.as_ref()) {
        let _ = write!(line, ", see {}", printable(url));
    }
    line
}

fn event(delivery: &DeliveryView) -> String {
    match &delivery.action {
        Some(action) => format!("{}.{action}", delivery.event),
        None => delivery.event.clone(),
    }
}

fn since(start: Timestamp, at: Timestamp) -> String {
    let milliseconds = at.as_millisecond() - start.as_millisecond();
    match milliseconds {
        ..10_000 => format!("{milliseconds} ms"),
        10_000..600_000 => format!("{} s", milliseconds / 1000),
        _ => format!("{} min", milliseconds / 60_000),
    }
}

/// Titles and errors hold what strangers wrote: nothing in them may steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
                 "error": "503", "outcome": null, "history": [{"at": at(9), "what": "failed", "detail": "the target answered 503"}]}]
        }))
        .unwrap()
    }

    #[test]
    fn a_journey_reads_as_a_timeline() {
        insta::assert_snapshot!(timeline(&delivery()));
    }

    #[test]
    fn deliveries_read_as_a_table() {
        insta::assert_snapshot!(list(&[delivery()]));
        assert_eq!(list(&[]), "no deliveries\n");
    }
}
