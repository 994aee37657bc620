//! Findings as Markdown: the defect first, no praise, and the hidden marker last. Pure.

use crate::anchor::{InlineComment, Kept};
use crate::text::{code_span, fenced, postable, postable_line, shorten, without_commands};
use crate::verdict::Finding;

/// Less than GitHub's limit of 65,536 characters: the marker has room.
const LONGEST_COMMENT: usize = 60_000;
const LONGEST_SHOWN_PATH: usize = 200;

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

/// The text of a comment on a file.
pub fn on_file(kept: &Kept, marker: &str) -> String {
    let text = format!("{}{}", headline(kept).trim_start(), details(kept));
    format!("{}\n\n{marker}", shorten(text.trim_end(), LONGEST_COMMENT))
}

/// The body of a review that only brings comments on lines: the summary stands elsewhere.
pub fn later(comments: usize, head: &str, summary: &str, marker: &str) -> String {
    let head = head.get(..7).unwrap_or(head);
    let news = if comments == 1 { "1 new finding".to_owned() } else { format!("{comments} new findings") };
    format!("{news} in {head}. [Where the review stands]({summary})\n\n{marker}")
}

/// The findings that have no comment of their own, with their details as far as there is room (in characters). What does
/// not fit is reduced to its headline, never dropped.
pub fn findings(kept: &[Kept], room: usize) -> String {
    if kept.is_empty() {
        return String::new();
    }
    let headlines: Vec<String> = kept.iter().map(headline).collect();
    let mut room = room.saturating_sub(headlines.iter().map(|line| line.chars().count()).sum());
    let mut out = "\n\n### Findings\n".to_owned();
    for (kept, headline) in kept.iter().zip(&headlines) {
        out.push_str(headline);
        let details = details(kept);
        if let Some(rest) = room.checked_sub(details.chars().count()) {
            room = rest;
            out.push_str(&details);
        }
    }
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
    use crate::verdict::{Category, Severity, Side};

    const MARKER: &str = "<!-- ai-relay v1 delivery=d head=0123456789 mac=00 -->";

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
}
