//! What the model reads. Pure.
//!
//! The instructions are the same for every review, so they can be cached; what follows is data written
//! by strangers, fenced off by a prefix on every line that no text can leave.

use crate::diff::{Diff, File, Hunk, Kind, Line, Unreadable};
use crate::text::{code_for_model, line_for_model, prose_for_model, quoted_block, shorten};

/// The stable part: who the model is, how to read the data, what to answer.
pub const INSTRUCTIONS: &str = include_str!("prompt.md");

const LONGEST_TITLE: usize = 500;
const LONGEST_BODY: usize = 8_000;
const LONGEST_MEMORY: usize = 1_200;
/// A line longer than this was not written by hand.
const LONGEST_LINE: usize = 2_000;
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
            user.push_str(&format!("| {} ({})\n", line_for_model(&left.path), left.reason));
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
        shorten(&prose_for_model(change.title), LONGEST_TITLE),
        shorten(&prose_for_model(change.body), LONGEST_BODY)
    );
    let head = format!(
        "## Change\n| {} in {}, by {}\n",
        line_for_model(what),
        line_for_model(repository),
        line_for_model(author)
    );
    format!("{head}{}\n", quoted_block(text.trim()))
}

fn known(memories: &[String]) -> String {
    if memories.is_empty() {
        return String::new();
    }
    let texts =
        memories.iter().map(|memory| quoted_block(&shorten(&prose_for_model(memory), LONGEST_MEMORY)));
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
    let mut out = format!("=== {}{}\n", line_for_model(file.path()), origin(file));
    for (shown, hunk) in file.hunks.iter().enumerate() {
        let text = render_hunk(hunk);
        if out.len() + text.len() > room {
            return (out, shown);
        }
        out.push_str(&text);
    }
    (out, file.hunks.len())
}

fn origin(file: &File) -> String {
    match (&file.old_path, &file.new_path) {
        (None, _) => " (new)".to_owned(),
        (_, None) => " (deleted)".to_owned(),
        (Some(old), Some(new)) if old != new => format!(" (was {})", line_for_model(old)),
        _ => String::new(),
    }
}

/// `@@ section`, then each line behind its number: `12+added`, `12 context` in the new file's numbers,
/// `-12 removed` in the old one's.
fn render_hunk(hunk: &Hunk) -> String {
    let mut out = format!("@@ {}", line_for_model(&hunk.section));
    out.truncate(out.trim_end().len());
    out.push('\n');
    let texts = code_for_model(hunk.lines.iter().map(|line| line.text.as_str()));
    for (line, text) in hunk.lines.iter().zip(texts) {
        let numbered = match line.kind {
            Kind::Added => format!("{}+{text}\n", line.new_no.unwrap_or_default()),
            Kind::Context => format!("{} {text}\n", line.new_no.unwrap_or_default()),
            Kind::Removed => format!("-{} {text}\n", line.old_no.unwrap_or_default()),
        };
        out.push_str(&numbered);
    }
    out
}

/// Why nobody would want this file reviewed line by line, and whether that is a gap all the same: where the reason comes
/// from the change itself, its author could use it to keep a file from being read.
fn skip_reason(file: &File) -> Option<(&'static str, bool)> {
    let path = file.path();
    let name = path.rsplit('/').next().unwrap_or(path);
    match file.unreadable {
        Some(Unreadable::Binary) => return Some(("binary", false)),
        Some(Unreadable::TooLarge) => return Some(("too large for GitHub to show", true)),
        Some(Unreadable::Submodule) => return Some(("submodule", false)),
        None => {}
    }
    if file.hunks.is_empty() {
        return Some(("no changed lines", false));
    }
    if LOCK_FILES.contains(&name) {
        return Some(("lock file", false));
    }
    if let Some(reason) = said_by_path(path, name) {
        return Some((reason, file.new_path.is_some() && file.old_path != file.new_path));
    }
    let lines = || file.hunks.iter().flat_map(|hunk| &hunk.lines);
    if let Some(is_added) = added_or_there(lines().filter(|line| says_generated(line))) {
        return Some(("generated", is_added));
    }
    let long = lines().filter(|line| line.text.len() > LONGEST_LINE);
    added_or_there(long).map(|is_added| ("minified", is_added))
}

/// Of telling lines: whether all are new, so that only the change itself says so; `None` if there are none.
fn added_or_there<'a>(lines: impl Iterator<Item = &'a Line>) -> Option<bool> {
    lines.map(|line| line.kind == Kind::Added).reduce(|all, is_added| all && is_added)
}

/// The lock files of the package managers, by their exact names.
const LOCK_FILES: [&str; 22] = [
    "Cargo.lock",
    "Gemfile.lock",
    "Package.resolved",
    "Pipfile.lock",
    "Podfile.lock",
    ".terraform.lock.hcl",
    "bun.lock",
    "bun.lockb",
    "composer.lock",
    "deno.lock",
    "flake.lock",
    "go.sum",
    "gradle.lockfile",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "packages.lock.json",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pubspec.lock",
    "uv.lock",
    "yarn.lock",
];

const GENERATED: &[&str] =
    &[".pb.go", "_pb2.py", "_pb2_grpc.py", ".pb.cc", ".pb.h", ".g.dart", ".freezed.dart", ".designer.cs"];

fn said_by_path(path: &str, name: &str) -> Option<&'static str> {
    let has_end = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let is_foreign =
        |part: &str| matches!(part, "vendor" | "node_modules" | "third_party" | "bower_components");
    if has_end(&[".lock"]) {
        Some("lock file")
    } else if path.split('/').any(is_foreign) {
        Some("vendored")
    } else if has_end(GENERATED) || name.contains(".generated.") {
        Some("generated")
    } else if has_end(&[".min.js", ".min.css", ".map"]) {
        Some("minified")
    } else {
        None
    }
}

/// The usual headers, in the first ten lines of the file where the diff shows them.
fn says_generated(line: &Line) -> bool {
    let is_top = line.new_no.or(line.old_no).is_some_and(|number| number <= 10);
    let text = &line.text;
    is_top
        && (text.contains("@generated") || (text.contains("Code generated") && text.contains("DO NOT EDIT")))
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
