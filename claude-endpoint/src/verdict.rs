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

/// The model's opinion of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The text of `line`.
    pub quote: String,
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is.
    pub category: Category,
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
        "required": ["path", "line", "end_line", "side", "quote", "severity", "category", "title", "body", "suggestion"],
        "properties": {
            "path": text, "line": {"type": "integer"}, "end_line": {"type": "integer"},
            "side": one_of(&["RIGHT", "LEFT"]), "quote": text,
            "severity": one_of(&["blocker", "major", "minor", "nit"]),
            "category": one_of(&["bug", "security", "performance", "design", "test", "docs"]),
            "title": text, "body": text, "suggestion": {"type": ["string", "null"]},
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
    review.summary = shorten(review.summary.trim(), LONGEST_SUMMARY);
    if review.findings.len() > MOST_FINDINGS {
        let surplus = review.findings.len() - MOST_FINDINGS;
        review.findings.sort_by_key(|finding| finding.severity);
        review.findings.truncate(MOST_FINDINGS);
        review.summary.push_str(&format!("\n\n({surplus} less severe findings were cut.)"));
    }
    for finding in &mut review.findings {
        cut_to_size(finding);
    }
    review.remember.retain(|memory| !memory.trim().is_empty());
    review.remember.truncate(MOST_MEMORIES);
    for memory in &mut review.remember {
        *memory = shorten(memory.trim(), LONGEST_MEMORY);
    }
    Ok(review)
}

fn cut_to_size(finding: &mut Finding) {
    finding.path = shorten(&finding.path, LONGEST_PATH);
    finding.quote = shorten(&finding.quote, LONGEST_QUOTE);
    finding.title = shorten(finding.title.lines().next().unwrap_or_default().trim(), LONGEST_TITLE);
    finding.body = shorten(finding.body.trim(), LONGEST_FINDING);
    // half a replacement is worse than none
    finding.suggestion = finding.suggestion.take().filter(|code| code.chars().count() <= LONGEST_SUGGESTION);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer() -> Value {
        json!({"summary": " Adds a cache. ", "verdict": "comment", "remember": ["", "Errors are typed"], "findings": [{
            "path": "src/a.rs", "line": 3, "end_line": 3, "side": "RIGHT", "quote": "x", "severity": "major",
            "category": "bug", "title": "Off by one\nsecond line", "body": "b", "suggestion": null}]})
    }

    #[test]
    fn an_answer_is_validated_and_cut_to_size() {
        let review = parse(&answer().to_string()).unwrap();
        assert_eq!((review.summary.as_str(), review.opinion), ("Adds a cache.", Opinion::Comment));
        assert_eq!(review.findings[0].title, "Off by one");
        assert_eq!(review.remember, ["Errors are typed"]);
    }

    #[test]
    fn what_does_not_fit_the_schema_is_refused_with_the_reason() {
        for (pointer, value, reason) in [
            ("/verdict", json!("great"), "unknown variant `great`"),
            ("/findings/0/side", json!("right"), "unknown variant"),
            ("/findings/0/path", json!(null), "invalid type: null"),
            ("/summary", json!("  "), "no summary"),
        ] {
            let mut bad = answer();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(parse(&bad.to_string()).unwrap_err().contains(reason), "{pointer}");
        }
        assert!(parse("I think it is fine").is_err());
    }

    #[test]
    fn a_line_that_cannot_be_costs_its_place_not_the_review() {
        let mut odd = answer();
        for (given, line) in [
            (json!(-4), 0),
            (json!(12), 12),
            (json!(12.0), 12),
            (json!(12.5), 0),
            (json!(1e300), 0),
            (json!(9_000_000_000_u64), 0),
        ] {
            *odd.pointer_mut("/findings/0/line").unwrap() = given;
            assert_eq!(parse(&odd.to_string()).unwrap().findings[0].line, line);
        }
    }

    #[test]
    fn of_too_many_findings_the_most_severe_stay() {
        let mut many = answer();
        let findings = many["findings"].as_array_mut().unwrap();
        let mut nit = findings[0].clone();
        nit["severity"] = json!("nit");
        *findings = (0..70).map(|i| if i % 2 == 0 { nit.clone() } else { findings[0].clone() }).collect();
        let review = parse(&many.to_string()).unwrap();
        assert_eq!(review.findings.len(), MOST_FINDINGS);
        assert_eq!(review.findings.iter().filter(|f| f.severity == Severity::Major).count(), 35);
        assert!(review.summary.ends_with("(20 less severe findings were cut.)"));
    }

    /// The rules of structured output: every object closed, all properties required, no bounds.
    #[test]
    fn the_schema_keeps_the_rules() {
        fn check(schema: &Value) {
            let Some(object) = schema.as_object() else { return };
            if object.get("type") == Some(&json!("object")) {
                assert_eq!(object["additionalProperties"], json!(false));
                let required: Vec<_> =
                    object["required"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
                assert!(
                    object["properties"]
                        .as_object()
                        .unwrap()
                        .keys()
                        .all(|key| required.contains(&key.as_str()))
                );
            }
            for bound in ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"] {
                assert!(!object.contains_key(bound));
            }
            object.values().for_each(check);
        }
        check(&schema());
        check(&schema()["properties"]["findings"]["items"]);
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_or_an_error(text in ".{0,200}") {
            prop_assert!(parse(&text).is_err());
        }
    }
}
