//! The model's answer: its JSON Schema and its validation. Pure.
//!
//! Structured output enforces the shape but no bounds, and a model is not trusted with either: what
//! comes back is checked and cut to size here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::text::shorten;

/// The most findings one review keeps; beyond it the least severe go, and the review says so.
pub const MOST_FINDINGS: usize = 50;
const LONGEST_SUMMARY: usize = 8_000;
const LONGEST_RULE: usize = 60;
const LONGEST_TITLE: usize = 200;
const LONGEST_FINDING: usize = 6_000;
const LONGEST_SUGGESTION: usize = 12_000;
const LONGEST_QUOTE: usize = 4_000;
const LONGEST_PATH: usize = 4_096;
const MOST_MEMORIES: usize = 20;
const LONGEST_MEMORY: usize = 600;

/// A validated answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// What the change does and what matters about it.
    pub summary: String,
    /// The model's opinion; recorded, never posted as an approval.
    #[serde(rename = "verdict")]
    pub opinion: Opinion,
    /// What it found.
    pub findings: Vec<Finding>,
    /// Decisions and conventions worth recalling next time.
    pub remember: Vec<String>,
}

/// The model's opinion of a change; the worst is the greatest in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    /// Nothing stands against it.
    Approve,
    /// Remarks only.
    Comment,
    /// Something must change.
    RequestChanges,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Path of the file.
    pub path: String,
    /// First line, in the numbers of `side`; 0 if the model gave none that makes sense.
    #[serde(deserialize_with = "line_number")]
    pub line: u32,
    /// Last line.
    #[serde(deserialize_with = "line_number")]
    pub end_line: u32,
    /// Which file the numbers count in.
    pub side: Side,
    /// The text of `line`, or of all lines to `end_line`.
    pub quote: String,
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is.
    pub category: Category,
    /// The kind of defect in kebab-case, such as `off-by-one`: with path and quote it tells whether two findings are the
    /// same. Empty if the model gave none.
    #[serde(default)]
    pub rule: String,
    /// One line.
    pub title: String,
    /// What is wrong and why, Markdown.
    pub body: String,
    /// Replacement for the lines `line..=end_line`.
    pub suggestion: Option<String>,
}

/// The two sides of a diff, as GitHub names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// The old file.
    Left,
    /// The new file.
    Right,
}

/// How bad a finding is; the worst is the least in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Must not be merged: data loss, a hole, a crash in normal use.
    Blocker,
    /// Wrong behaviour that users will meet.
    Major,
    /// Worth fixing, harms little.
    Minor,
    /// Taste.
    Nit,
}

/// What kind of thing a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Category {
    Bug,
    Security,
    Performance,
    Design,
    Test,
    Docs,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Self {
        if self == Self::Left { Self::Right } else { Self::Left }
    }
}

impl Finding {
    /// The text of `line`, as the model quotes it: the first line that says something.
    pub fn quoted_line(&self) -> &str {
        self.quote.split('\n').find(|line| !line.trim().is_empty()).unwrap_or_default()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocker => "blocker",
            Self::Major => "major",
            Self::Minor => "minor",
            Self::Nit => "nit",
        })
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bug => "bug",
            Self::Security => "security",
            Self::Performance => "performance",
            Self::Design => "design",
            Self::Test => "test",
            Self::Docs => "docs",
        })
    }
}

/// Any number; what no line can have becomes 0, so that one bad number costs one place, not a review. Some models
/// write `12.0`.
fn line_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    Ok(whole.and_then(|number| format!("{number:.0}").parse().ok()).unwrap_or(0))
}

/// The answer's JSON Schema: every object closed, everything required, no bounds (they are not
/// enforced by structured output; some back ends refuse them).
pub fn schema() -> Value {
    let text = json!({"type": "string"});
    let one_of = |names: &[&str]| json!({"type": "string", "enum": names});
    let finding = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["path", "line", "end_line", "side", "quote", "severity", "category", "rule", "title", "body", "suggestion"],
        "properties": {
            "path": text, "line": {"type": "integer"}, "end_line": {"type": "integer"},
            "side": one_of(&["RIGHT", "LEFT"]), "quote": text,
            "severity": one_of(&["blocker", "major", "minor", "nit"]),
            "category": one_of(&["bug", "security", "performance", "design", "test", "docs"]),
            "rule": text, "title": text, "body": text, "suggestion": {"type": ["string", "null"]},
        },
    });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["summary", "verdict", "findings", "remember"],
        "properties": {
            "summary": text,
            "verdict": one_of(&["approve", "comment", "request_changes"]),
            "findings": {"type": "array", "items": finding},
            "remember": {"type": "array", "items": text},
        },
    })
}

/// Validates an answer and cuts it to size.
///
/// # Errors
/// What does not fit the schema, for the log and for asking again.
pub fn parse(answer: &str) -> Result<Review, String> {
    let mut review: Review = serde_json::from_str(answer.trim())
        .map_err(|error| format!("the answer does not fit the schema: {error}"))?;
    if review.summary.trim().is_empty() {
        return Err("the answer has no summary".to_owned());
    }
    review.findings.iter_mut().for_each(cut_to_size);
    review.remember.iter_mut().for_each(|memory| *memory = shorten(memory.trim(), LONGEST_MEMORY));
    review.summary = shorten(review.summary.trim(), LONGEST_SUMMARY);
    review.keep_bounds();
    Ok(review)
}

/// One review out of those of a change's parts: all findings, what is said twice only once, and the worst opinion.
/// Of no review at all nothing can be said, least of all that the change is fine.
pub fn merge(reviews: Vec<Review>) -> Review {
    let parts = reviews.len().max(1);
    let longest_summary = LONGEST_SUMMARY / parts;
    let mut merged =
        Review { summary: String::new(), opinion: Opinion::Approve, findings: vec![], remember: vec![] };
    if reviews.is_empty() {
        merged.opinion = Opinion::Comment;
    }
    let mut summaries: Vec<String> = Vec::new();
    for review in reviews {
        merged.opinion = merged.opinion.max(review.opinion);
        push_new(&mut summaries, std::iter::once(review.summary));
        push_new(&mut merged.findings, review.findings);
        push_new(&mut merged.remember, review.remember);
    }
    if summaries.len() > 1 {
        summaries.iter_mut().for_each(|summary| *summary = shorten(summary, longest_summary));
    }
    merged.summary = summaries.join("\n\n");
    merged.keep_bounds();
    merged
}

/// What is not there yet.
fn push_new<T: PartialEq>(all: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

impl Review {
    /// Of too many findings the most severe stay, in their order.
    fn keep_bounds(&mut self) {
        if let Some(surplus) = self.findings.len().checked_sub(MOST_FINDINGS).filter(|&surplus| surplus > 0) {
            let mut order: Vec<usize> = (0..self.findings.len()).collect();
            order.sort_by_key(|at| self.findings[*at].severity);
            order.truncate(MOST_FINDINGS);
            let mut at = 0..;
            self.findings.retain(|_| at.next().is_some_and(|at| order.contains(&at)));
            self.summary.push_str(&format!("\n\n({surplus} less severe findings were cut.)"));
        }
        self.remember.retain(|memory| !memory.is_empty());
        self.remember.truncate(MOST_MEMORIES);
    }
}

fn cut_to_size(finding: &mut Finding) {
    finding.path = shorten(&finding.path, LONGEST_PATH);
    finding.quote = shorten(&finding.quote, LONGEST_QUOTE);
    finding.rule = kebab(&finding.rule);
    finding.title = shorten(finding.title.lines().next().unwrap_or_default().trim(), LONGEST_TITLE);
    finding.body = shorten(finding.body.trim(), LONGEST_FINDING);
    // half a replacement is worse than none
    finding.suggestion = finding.suggestion.take().filter(|code| code.chars().count() <= LONGEST_SUGGESTION);
}

/// `Off by One!` as `off-by-one`.
fn kebab(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let whole = words.collect::<Vec<_>>().join("-");
    whole.chars().take(LONGEST_RULE).collect()
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
