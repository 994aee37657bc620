//! Untrusted text on its way into a prompt and out onto GitHub. Pure.
//!
//! Titles, descriptions and diffs are written by strangers, and a model's answer is shaped by them: both directions are
//! cleaned here, so that nobody hides an instruction from the human reader, notifies people, loads a picture through us,
//! or carries a secret out.
//!
//! The doors: [`prose_for_model`], [`line_for_model`] and [`code_for_model`] on the way in, [`postable`],
//! [`postable_line`], [`fenced`] and [`code_span`] on the way to GitHub, [`memorable`] to the memory. What has not passed one
//! of them does not leave.

mod hidden;
mod markdown;
mod plain;
mod postable;
mod repeats;

use crate::redact::redact;
use hidden::{cleaned, is_hidden, is_line_break};
use markdown::without_hidden;
pub use plain::is_plain;
use postable::shown;
pub use postable::{postable, postable_line, without_commands};
pub use repeats::without_repeats;

/// Prose as the model reads it: what its human readers see, without secrets. Cut it to size only after this: half a
/// token is not known as one.
pub fn prose_for_model(prose: &str) -> String {
    redact(&readable(prose)).into_owned()
}

/// One line that stands by itself, such as a path or a name, as the model reads it.
pub fn line_for_model(line: &str) -> String {
    redact(&visible(line)).into_owned()
}

/// Lines of code that stand together, as the model reads them, each in its place. They are looked at together because a
/// private key has many lines; a place of a diff or a file belongs in one call.
pub fn code_for_model<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let lines: Vec<String> = lines.into_iter().map(visible).collect();
    if lines.is_empty() {
        return lines;
    }
    redact(&lines.join("\n")).split('\n').map(str::to_owned).collect()
}

/// What a model wrote, fit to be remembered: without hidden text and secrets, and without what was recalled for it.
pub fn memorable(text: &str, recalled: &[String]) -> String {
    without_repeats(&prose_for_model(text), recalled)
}

/// A line of code with everything to be seen: what is invisible is spelt out (`<U+202E>`) because in code it may be the
/// very defect; odd white space becomes a space, so that a line stays one line.
pub fn visible(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut before = None;
    for c in line.trim_end_matches('\r').chars() {
        match c {
            '\t' | ' ' => out.push(c),
            c if is_hidden(before, c) => out.push_str(&format!("<U+{:04X}>", u32::from(c))),
            c if c.is_control() || is_line_break(c) => out.push(' '),
            c => out.push(c),
        }
        before = Some(c);
    }
    out
}

/// A line reduced to what a quotation of it must share: [`visible`], white space collapsed, one kind of at sign (a back
/// end may have to widen it), and secrets replaced, since the model saw none.
pub fn normalise(line: &str) -> String {
    let line = visible(line).replace('\u{FF20}', "@");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    redact(&line).into_owned()
}

/// Prose from GitHub without what its readers do not see: HTML comments, link definitions (used as comments, or with a
/// title that nobody sees), footnotes that nothing leads to, attributes of HTML tags, invisible characters. Line ends
/// become `\n`.
pub fn readable(prose: &str) -> String {
    without_hidden(&without_html_comments(&cleaned(prose))).trim().to_owned()
}

/// Removes `<!-- … -->`; one that is never closed hides the rest on GitHub, so the rest goes. What
/// the removal joins together is looked at again.
fn without_html_comments(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(start) = out.find("<!--") {
        let end = out[start + 4..].find("-->").map_or(out.len(), |i| start + 4 + i + 3);
        out.replace_range(start..end, "");
    }
    out
}

/// Untrusted prose as a block of a prompt: each line starts with `| `, so no text can end the block.
pub fn quoted_block(prose: &str) -> String {
    prose.lines().map(|line| format!("| {line}\n")).collect()
}

/// At most `limit` characters, with an ellipsis where something was cut.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// What GitHub takes for code to commit.
const SUGGESTION: &str = "suggestion";

/// A code block whose fence is longer than any run of backticks inside, without secrets. Only a suggestion keeps each
/// character as it is, since it is to be committed (see [`is_plain`]); elsewhere what is invisible is spelt out, and no
/// line is a command to a bot.
pub fn fenced(info: &str, code: &str) -> String {
    let code = if info == SUGGESTION { redact(code).into_owned() } else { shown(code) };
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let newline = if code.is_empty() || code.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{info}\n{code}{newline}{fence}")
}

/// Inline code that no content can leave; line breaks and backticks are replaced, and secrets.
pub fn code_span(text: &str) -> String {
    let mut before = None;
    let mut plain = String::with_capacity(text.len());
    for c in redact(text).chars() {
        let odd = c.is_control() || is_line_break(c) || is_hidden(before, c) || c == '`';
        plain.push(if odd { '\u{FFFD}' } else { c });
        before = Some(c);
    }
    // two backticks with nothing between them would begin a span instead of being one
    if plain.is_empty() { "`\u{FFFD}`".to_owned() } else { format!("`{plain}`") }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
