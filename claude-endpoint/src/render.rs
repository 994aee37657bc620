//! A review as Markdown: findings first, no praise, and the hidden marker last. Pure.

use crate::anchor::{InlineComment, Kept};
use crate::prompt::LeftOut;
use crate::text::{code_span, fenced, postable, postable_line, shorten, without_commands};
use crate::verdict::{Finding, Review};

/// GitHub's limit on a body or comment, in characters.
const LONGEST_BODY: usize = 65_536;
const LONGEST_COMMENT: usize = 60_000;
const LONGEST_SHOWN_PATH: usize = 200;
const MOST_LEFT_OUT: usize = 50;

/// What the body says beside the answer itself.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The reviewed commit.
    pub head: &'a str,
    /// Who reviewed, for the last visible line.
    pub model: &'a str,
    /// What was not shown to the model.
    pub left_out: &'a [LeftOut],
    /// The hidden marker; stands last.
    pub marker: &'a str,
}

/// The text of an inline comment. It ends with the hidden marker, by which it is known as ours when GitHub tells of it.
pub fn comment(comment: &InlineComment, marker: &str) -> String {
    let finding = &comment.finding;
    let mut parts = vec![format!("**{}** {}", label(finding), postable_line(&finding.title))];
    if !finding.body.is_empty() {
        parts.push(postable(&finding.body));
    }
    if let Some(code) = &finding.suggestion {
        // only an exact replacement gets GitHub's button
        parts.push(match comment.committable {
            true => fenced("suggestion", code),
            false => fenced("", &without_commands(code)),
        });
    }
    format!("{}\n\n{marker}", shorten(&parts.join("\n\n"), LONGEST_COMMENT))
}

/// The body of a review or commit comment: the summary, the findings that have no line, what was not
/// reviewed, the marker. What does not fit GitHub's limit is reduced to its headline, never dropped.
pub fn body(review: &Review, kept: &[Kept], frame: Frame<'_>) -> String {
    let tail = tail(frame);
    let mut out = postable(&review.summary);
    if !kept.is_empty() {
        out.push_str("\n\n### Findings\n");
    }
    let headlines: Vec<String> = kept.iter().map(headline).collect();
    let mut room = LONGEST_BODY
        .saturating_sub(out.chars().count() + tail.chars().count())
        .saturating_sub(headlines.iter().map(|line| line.chars().count()).sum());
    for (kept, headline) in kept.iter().zip(&headlines) {
        out.push_str(headline);
        let details = details(kept);
        if let Some(rest) = room.checked_sub(details.chars().count()) {
            room = rest;
            out.push_str(&details);
        }
    }
    // escaping can make text longer than what was counted on
    out = shorten(out.trim_end(), LONGEST_BODY - tail.chars().count().min(LONGEST_BODY));
    out.push_str(&tail);
    out
}

fn tail(frame: Frame<'_>) -> String {
    let head = frame.head.get(..7).unwrap_or(frame.head);
    let mut out = String::new();
    if !frame.left_out.is_empty() {
        out.push_str(&format!("\n\n<details><summary>Not reviewed: {}</summary>\n\n", frame.left_out.len()));
        for left in frame.left_out.iter().take(MOST_LEFT_OUT) {
            let path = code_span(&shorten(&left.path, LONGEST_SHOWN_PATH));
            out.push_str(&format!("- {path}: {}\n", left.reason));
        }
        if let Some(more) = frame.left_out.len().checked_sub(MOST_LEFT_OUT).filter(|&more| more > 0) {
            out.push_str(&format!("- and {more} more\n"));
        }
        out.push_str("\n</details>");
    }
    out.push_str(&format!(
        "\n\n<sub>Reviewed {head} with {}</sub>\n\n{}",
        postable_line(frame.model),
        frame.marker
    ));
    out
}

fn label(finding: &Finding) -> String {
    format!("{} · {}", finding.severity, finding.category)
}

fn headline(kept: &Kept) -> String {
    let finding = &kept.finding;
    let path = shorten(&finding.path, LONGEST_SHOWN_PATH);
    let place = match finding.line {
        0 => path,
        line if finding.end_line > line => format!("{path}:{line}-{}", finding.end_line),
        line => format!("{path}:{line}"),
    };
    format!("\n**{}** {} {}\n", label(finding), code_span(&place), postable_line(&finding.title))
}

fn details(kept: &Kept) -> String {
    let finding = &kept.finding;
    let mut out = String::new();
    if !finding.body.is_empty() {
        out.push_str(&format!("\n{}\n", postable(&finding.body)));
    }
    if !finding.quote.trim().is_empty() {
        out.push_str(&format!("\n{}\n", fenced("", &without_commands(&finding.quote))));
    }
    if let Some(code) = &finding.suggestion {
        out.push_str(&format!("\nInstead:\n\n{}\n", fenced("", &without_commands(code))));
    }
    if let Some(reason) = kept.reason {
        out.push_str(&format!("\n<sub>Not inline: {reason}.</sub>\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchor::Reason;
    use crate::verdict::{Category, Opinion, Severity, Side};

    fn finding(title: &str, body: &str) -> Finding {
        Finding {
            path: "src/cache.rs".into(),
            line: 12,
            end_line: 14,
            side: Side::Right,
            quote: "let n = len - 1;".into(),
            severity: Severity::Major,
            category: Category::Bug,
            rule: "rule".into(),
            title: title.into(),
            body: body.into(),
            suggestion: Some("let n = len.saturating_sub(1);".into()),
        }
    }

    fn review() -> Review {
        Review {
            summary: "Adds a cache in front of the store. Entries are never evicted, says @octocat.".into(),
            opinion: Opinion::RequestChanges,
            findings: vec![],
            remember: vec![],
        }
    }

    const MARKER: &str = "<!-- ai-relay v1 delivery=d head=0123456789 mac=00 -->";

    fn frame(left_out: &[LeftOut]) -> Frame<'_> {
        Frame { head: "0123456789", model: "claude-sonnet-5-5", left_out, marker: MARKER }
    }

    #[test]
    fn a_review_reads_like_this() {
        let left_out = [
            LeftOut { path: "Cargo.lock".into(), reason: "lock file".into(), is_gap: false },
            LeftOut { path: "a`b\n.bin".into(), reason: "binary".into(), is_gap: false },
        ];
        let kept = [
            Kept {
                finding: finding("Underflow on an empty cache", "`len` can be 0.\n\n<img src=x>"),
                reason: Some(Reason::QuoteNotFound),
            },
            Kept {
                finding: Finding {
                    line: 0,
                    end_line: 0,
                    suggestion: None,
                    quote: String::new(),
                    ..finding("No test", "")
                },
                reason: None,
            },
        ];
        insta::assert_snapshot!(body(&review(), &kept, frame(&left_out)));
    }

    #[test]
    fn a_review_without_findings_is_its_summary() {
        insta::assert_snapshot!(body(&review(), &[], frame(&[])));
    }

    #[test]
    fn an_inline_comment_reads_like_this() {
        let place = |committable| InlineComment {
            finding: finding("Underflow on an empty cache", "`len` can be 0."),
            path: "src/cache.rs".into(),
            side: Side::Right,
            start_line: Some(12),
            line: 14,
            committable,
        };
        insta::assert_snapshot!(comment(&place(true), MARKER));
        assert!(!comment(&place(false), MARKER).contains("suggestion\n"));
    }

    #[test]
    fn the_limit_costs_details_never_a_finding_or_the_marker() {
        let kept: Vec<Kept> = (0..50)
            .map(|i| Kept { finding: finding(&format!("Number {i}."), &"long ".repeat(1200)), reason: None })
            .collect();
        let text = body(&review(), &kept, frame(&[]));
        assert!(text.chars().count() <= LONGEST_BODY, "{}", text.chars().count());
        assert!((0..50).all(|i| text.contains(&format!("Number {i}."))));
        assert!(text.ends_with(MARKER));
    }
}
