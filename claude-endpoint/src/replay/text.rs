//! A replay's differences for a terminal. Pure.

use std::fmt::Write;

use serde_json::Value;

use super::{FieldChange, FindingChange, Kind, Replay, unified};
use crate::reviewer::replayed::Difference;
use crate::text::visible;

/// A longer value is told by what differs in it.
const LONGEST_VALUE: usize = 60;

pub(super) fn text(replay: &Replay) -> String {
    let delivery = visible(&replay.delivery);
    if replay.is_same() {
        return format!("{delivery}: the same\n");
    }
    let mut out = format!("{delivery}: differs\n");
    if let Some(reason) = &replay.not_made {
        let _ = writeln!(out, "  no review is made any more: {}", visible(reason));
    }
    for Difference { file, what, diff } in &replay.questions {
        let file = file.as_deref().map_or("another question".into(), |file| format!("question {file}"));
        let _ = writeln!(out, "  {}: {}", visible(&file), visible(what));
        indent(&mut out, diff);
    }
    for change in &replay.findings {
        let _ = writeln!(out, "  {}", visible(&finding(change)));
        indent(&mut out, &change.diff);
    }
    for change in &replay.fields {
        field(&mut out, change);
    }
    out
}

fn finding(change: &FindingChange) -> String {
    let place = |place: &Option<String>| place.clone().unwrap_or_default();
    let (then, now, title) = (place(&change.then), place(&change.now), &change.title);
    match change.kind {
        Kind::New => format!("new finding: {now}  {title}"),
        Kind::Gone => format!("finding is gone: {then}  {title}"),
        Kind::Moved => format!("finding has moved: {then} → {now}  {title}"),
        Kind::Changed => format!("finding has changed: {now}  {title}"),
    }
}

fn field(out: &mut String, change: &FieldChange) {
    let (then, now) = (change.then.to_string(), change.now.to_string());
    let name = visible(&change.name);
    if then.len().max(now.len()) <= LONGEST_VALUE {
        let _ = writeln!(out, "  {name}: {} → {}", visible(&then), visible(&now));
        return;
    }
    let _ = writeln!(out, "  {name}:");
    indent(out, &unified(&pretty(&change.then), &pretty(&change.now)));
}

fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => format!("{other:#}"),
    }
}

fn indent(out: &mut String, lines: &str) {
    for line in lines.lines() {
        // a terminal obeys control characters
        let _ = writeln!(out, "    {}", visible(line));
    }
}
