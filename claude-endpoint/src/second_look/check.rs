//! The check of one finding: the question, its answer, and what follows from it. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::text::{quoted_block, readable, shorten, visible};
use crate::verdict::{Finding, Severity, Side};

/// The stable part of the question.
pub(super) const INSTRUCTIONS: &str = include_str!("../second_look.md");

const LONGEST_BODY: usize = 4_000;
/// In characters; a hunk and its surroundings have some thousand.
const LONGEST_CODE: usize = 24_000;
const LONGEST_REASON: usize = 600;

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verdict {
    pub(super) holds: Holds,
    pub(super) severity: Severity,
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Holds {
    Yes,
    No,
    Unsure,
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lowered(Severity),
    Dropped,
}

/// The answer's JSON Schema, by the rules of `verdict::schema`.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["holds", "severity", "reason"],
        "properties": {
            "holds": {"type": "string", "enum": ["yes", "no", "unsure"]},
            "severity": {"type": "string", "enum": ["blocker", "major", "minor", "nit"]},
            "reason": {"type": "string"},
        },
    })
}

/// Validates an answer.
pub(super) fn parse(answer: &str) -> Result<Verdict, String> {
    let mut verdict: Verdict = serde_json::from_str(answer.trim())
        .map_err(|error| format!("the answer does not fit the schema: {error}"))?;
    verdict.reason = shorten(&readable(&verdict.reason), LONGEST_REASON);
    match verdict.reason.is_empty() {
        true => Err("the answer has no reason".to_owned()),
        false => Ok(verdict),
    }
}

/// A check can only take away: the severity never rises, so that nothing gets louder by being doubted.
pub(super) fn fate(claimed: Severity, verdict: &Verdict) -> Fate {
    let lowest = match verdict.holds {
        Holds::No => return Fate::Dropped,
        Holds::Yes => claimed,
        Holds::Unsure => one_lower(claimed),
    };
    // the least severe is the greatest
    match lowest.max(verdict.severity) {
        severity if severity > claimed => Fate::Lowered(severity),
        _ => Fate::Kept,
    }
}

fn one_lower(severity: Severity) -> Severity {
    match severity {
        Severity::Blocker => Severity::Major,
        Severity::Major => Severity::Minor,
        Severity::Minor | Severity::Nit => Severity::Nit,
    }
}

/// The claim and the code. No text in them can leave its block: each line gets its `| ` here.
pub(super) fn question(finding: &Finding, code: &str) -> String {
    let Finding { path, line, end_line, side, severity, category, .. } = finding;
    let side = if *side == Side::Right { "new" } else { "old" };
    let mut user = format!(
        "## Claim\n| {severity} {category} in {}, lines {line} to {end_line} of the {side} file\n",
        visible_line(path)
    );
    user.push_str(&format!(
        "| quoted: {}\n| {}\n",
        visible_line(&finding.quote),
        visible_line(&finding.title)
    ));
    user.push_str(&quoted_block(&shorten(&readable(&finding.body), LONGEST_BODY)));
    if let Some(suggestion) = &finding.suggestion {
        user.push_str("\n## Suggestion\n");
        user.push_str(&lines(&shorten(suggestion, LONGEST_BODY)));
    }
    user.push_str("\n## Code\n");
    user.push_str(&lines(&shorten(code, LONGEST_CODE)));
    user
}

fn visible_line(text: &str) -> String {
    visible(&text.replace(['\r', '\n'], " "))
}

/// Code as a block: split at line feeds only, as git does, and whatever else would break a line is made visible.
fn lines(code: &str) -> String {
    let code = code.strip_suffix('\n').unwrap_or(code);
    code.split('\n').map(|line| format!("| {}\n", visible(line))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::second_look::tests::finding;

    fn verdict(holds: Holds, severity: Severity) -> Verdict {
        Verdict { holds, severity, reason: "because".into() }
    }

    #[test]
    fn a_check_only_takes_away() {
        use Holds::{No, Unsure, Yes};
        use Severity::{Blocker, Major, Minor, Nit};
        for (claimed, holds, severity, expected) in [
            (Major, Yes, Major, Fate::Kept),
            (Major, Yes, Blocker, Fate::Kept),
            (Major, Yes, Nit, Fate::Lowered(Nit)),
            (Blocker, Yes, Major, Fate::Lowered(Major)),
            (Blocker, Unsure, Blocker, Fate::Lowered(Major)),
            (Major, Unsure, Blocker, Fate::Lowered(Minor)),
            (Major, Unsure, Nit, Fate::Lowered(Nit)),
            (Nit, Unsure, Nit, Fate::Kept),
            (Nit, Yes, Blocker, Fate::Kept),
            (Blocker, No, Blocker, Fate::Dropped),
            (Nit, No, Nit, Fate::Dropped),
        ] {
            assert_eq!(fate(claimed, &verdict(holds, severity)), expected, "{claimed} {holds:?} {severity}");
        }
    }

    #[test]
    fn an_answer_is_validated() {
        let answer = json!({"holds": "unsure", "severity": "nit", "reason": " see<!-- x --> line 3 "});
        let parsed = parse(&answer.to_string()).unwrap();
        assert_eq!((parsed.holds, parsed.reason.as_str()), (Holds::Unsure, "see line 3"));
        for (field, wrong) in [
            ("holds", json!("maybe")),
            ("severity", json!("huge")),
            ("reason", json!("  ")),
            ("more", json!(1)),
        ] {
            let mut bad = answer.clone();
            bad[field] = wrong;
            assert!(parse(&bad.to_string()).is_err(), "{field}");
        }
        assert!(parse("no").is_err());
    }

    #[test]
    fn the_model_reads_this() {
        let mut finding = finding("src/a.rs", "major");
        finding.suggestion = Some("    let x = first(&items)?;\n".into());
        insta::assert_snapshot!(question(
            &finding,
            "@@ fn a\n11 fn a() {\n12+    let x = items[0];\n-12 }\n"
        ));
    }

    proptest! {
        /// Whatever the claim and the code say, the only headings are ours.
        #[test]
        fn no_text_leaves_its_block(
            title in any::<String>(), body in any::<String>(), path in any::<String>(), quote in any::<String>(),
            code in "(\\PC|[\n\r\u{b}\u{c}\u{85}\u{2028}\u{2029}# ]|\n## Claim\n){0,60}",
            suggestion in proptest::option::of(any::<String>()),
        ) {
            let finding = Finding { title, body, path, quote, suggestion, ..finding("a", "nit") };
            let user = question(&finding, &code);
            let is_break = |c: char| "\n\r\u{b}\u{c}\u{85}\u{2028}\u{2029}".contains(c);
            for line in user.split(is_break).filter(|line| !line.is_empty() && !line.starts_with("| ")) {
                prop_assert!(["## Claim", "## Suggestion", "## Code"].contains(&line), "{line:?}");
            }
        }
    }
}
