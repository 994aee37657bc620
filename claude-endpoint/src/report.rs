//! A review as text for a terminal. Pure.

use std::fmt::Write;

use crate::examine::Examined;
use crate::prompt::LeftOut;
use crate::text::{readable, visible};
use crate::verdict::Finding;

/// What was found, the worst first, and what was not looked at.
pub fn text(examined: &Examined) -> String {
    let mut out = format!("{}\n", readable(&examined.review.summary));
    let anchored = &examined.anchored;
    let inline = anchored.inline.iter().map(|comment| (&comment.finding, Some(comment.line)));
    let others = anchored.file.iter().chain(&anchored.body).map(|kept| (&kept.finding, None));
    let mut findings: Vec<(&Finding, Option<u32>)> = inline.chain(others).collect();
    findings.sort_by_key(|(finding, _)| finding.severity);
    for (finding, line) in &findings {
        out.push_str(&one(finding, *line));
    }
    if findings.is_empty() {
        out.push_str("\nNo findings.\n");
    }
    out.push_str(&not_reviewed(&examined.left_out));
    let _ = writeln!(out, "\n{}", footer(examined));
    out
}

/// Where there was nothing that a model could read.
pub fn nothing(left_out: &[LeftOut]) -> String {
    match left_out {
        [] => "The change is empty.".to_owned(),
        _ => format!("There is nothing to review.\n{}", not_reviewed(left_out).trim_end()),
    }
}

fn one(finding: &Finding, line: Option<u32>) -> String {
    let place = match line.or(Some(finding.line).filter(|line| *line > 0)) {
        Some(line) => format!("{}:{line}", finding.path),
        None => finding.path.clone(),
    };
    let (severity, category) = (finding.severity, finding.category);
    // a terminal obeys control characters
    let mut out = format!("\n{}  {severity} · {category}  {}\n", visible(&place), visible(&finding.title));
    for text in [Some(&finding.body), finding.suggestion.as_ref()].into_iter().flatten() {
        for line in text.trim_end().lines() {
            let _ = writeln!(out, "    {}", visible(line));
        }
    }
    out
}

fn not_reviewed(left_out: &[LeftOut]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    let mut out = "\nNot reviewed:\n".to_owned();
    for left in left_out {
        let _ = writeln!(out, "  {} ({})", visible(&left.path), left.reason);
    }
    out
}

fn footer(examined: &Examined) -> String {
    let Examined { model, label, usage, questions, second_look, .. } = examined;
    let read = usage.input_tokens + usage.cached_tokens + usage.cache_write_tokens;
    let calls = if *questions == 1 { "1 question".to_owned() } else { format!("{questions} questions") };
    let model = visible(label.as_deref().unwrap_or(model));
    let mut out = format!("{model}: {calls}, {read} tokens read, {} written", usage.output_tokens);
    if let Some(look) = second_look {
        let _ = write!(out, "; second look: {} checked, {} dropped", look.checked, look.dropped.len());
    }
    out
}
