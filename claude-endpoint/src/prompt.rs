//! What the model reads. Pure.
//!
//! The instructions are the same for every review, so they can be cached; what follows is data written
//! by strangers, fenced off by a prefix on every line that no text can leave.

mod patch;
mod worth;

use patch::Patch;
use worth::skip_reason;

use crate::diff::{Diff, File};
use crate::text::{quoted_block, readable, shorten, visible};

/// The stable part: who the model is, how to read the data, what to answer.
pub const INSTRUCTIONS: &str = include_str!("prompt.md");

const LONGEST_TITLE: usize = 500;
const LONGEST_BODY: usize = 8_000;
const LONGEST_MEMORY: usize = 1_200;
/// Files named in the prompt as left out; the review's body names more.
const MOST_NAMED: usize = 100;

/// A question for a reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Stable instructions.
    pub system: &'static str,
    /// The change, and what is known.
    pub user: String,
    /// What the model does not see.
    pub left_out: Vec<LeftOut>,
}

/// A file, or part of one, that was not shown to the model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// Why, in a word or two.
    pub reason: String,
    /// Whether a reviewer would have wanted to see it.
    pub is_gap: bool,
}

/// Where the change comes from and what is claimed about it; all of it untrusted.
#[derive(Debug, Clone, Default)]
pub struct Change<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    /// `pull request #7`, `push to main`.
    pub what: &'a str,
    /// Login of the author.
    pub author: &'a str,
    /// Title or first line of the commit message.
    pub title: &'a str,
    /// Description.
    pub body: &'a str,
}

/// Composes the question, or says what was left out if nothing is left to show. `budget` is in tokens,
/// taken as four characters each.
///
/// # Errors
/// The reasons, when no text of the change can be shown.
pub fn compose(
    change: &Change<'_>,
    memories: &[String],
    diff: &Diff,
    budget: usize,
) -> Result<Prompt, Vec<LeftOut>> {
    let mut user = about(change);
    user.push_str(&known(memories));
    let room = (budget * 4).saturating_sub(INSTRUCTIONS.len() + user.len());
    let Shown { files, left_out } = select(diff, room);
    if files.is_empty() {
        return Err(left_out);
    }
    user.push_str("## Diff\n");
    user.push_str(&files);
    if !left_out.is_empty() {
        user.push_str("\n## Changed, but not shown\n");
        for left in left_out.iter().take(MOST_NAMED) {
            user.push_str(&format!("| {} ({})\n", visible(&left.path), left.reason));
        }
        if left_out.len() > MOST_NAMED {
            user.push_str(&format!("and {} more\n", left_out.len() - MOST_NAMED));
        }
    }
    Ok(Prompt { system: INSTRUCTIONS, user, left_out })
}

fn about(change: &Change<'_>) -> String {
    let Change { repository, what, author, .. } = change;
    let text = format!(
        "{}\n\n{}",
        shorten(&readable(change.title), LONGEST_TITLE),
        shorten(&readable(change.body), LONGEST_BODY)
    );
    let head = format!("## Change\n| {} in {}, by {}\n", visible(what), visible(repository), visible(author));
    format!("{head}{}\n", quoted_block(text.trim()))
}

fn known(memories: &[String]) -> String {
    if memories.is_empty() {
        return String::new();
    }
    let texts = memories.iter().map(|memory| quoted_block(&shorten(&readable(memory), LONGEST_MEMORY)));
    format!("## Memory\n{}\n", texts.collect::<Vec<_>>().join("\n"))
}

struct Shown {
    files: String,
    left_out: Vec<LeftOut>,
}

/// Takes small files first, so that as many as possible are seen, and shows them in the diff's order.
/// Of the first that does not fit, the hunks that do are shown.
fn select(diff: &Diff, mut room: usize) -> Shown {
    let mut left_out = Vec::new();
    let mut candidates: Vec<(usize, String)> = Vec::new();
    for (index, file) in diff.files.iter().enumerate() {
        match skip_reason(file) {
            Some((reason, is_gap)) => {
                left_out.push(LeftOut { path: file.path().to_owned(), reason: reason.to_owned(), is_gap });
            }
            None => candidates.push((index, render_file(file, usize::MAX).0)),
        }
    }
    if diff.unlisted > 0 {
        let reason = format!("at least {} that GitHub does not list", diff.unlisted);
        left_out.push(LeftOut { path: "(more files)".to_owned(), reason, is_gap: true });
    }
    candidates.sort_by_key(|(index, text)| (text.len(), *index));
    let mut taken = Vec::new();
    for (index, text) in candidates {
        let file = &diff.files[index];
        if let Some(rest) = room.checked_sub(text.len()) {
            room = rest;
            taken.push((index, text));
            continue;
        }
        let (part, hunks) = render_file(file, room);
        let reason = match hunks {
            0 => "too large for the token budget".to_owned(),
            _ => {
                format!("only the first {hunks} of {} changed places fit the token budget", file.hunks.len())
            }
        };
        left_out.push(LeftOut { path: file.path().to_owned(), reason, is_gap: true });
        if hunks > 0 {
            room = room.saturating_sub(part.len());
            taken.push((index, part));
        }
    }
    taken.sort_by_key(|(index, _)| *index);
    Shown { files: taken.into_iter().map(|(_, text)| text).collect(), left_out }
}

/// A file's hunks as far as they fit `room` bytes, and how many did.
fn render_file(file: &File, room: usize) -> (String, usize) {
    let patch = Patch::new(file);
    let mut out = patch.header();
    for (shown, hunk) in file.hunks.iter().enumerate() {
        let text = patch.place(hunk, 0..hunk.lines.len());
        if out.len() + text.len() > room {
            return (out, shown);
        }
        out.push_str(&text);
    }
    (out, file.hunks.len())
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
