//! What the model reads. Pure.
//!
//! The instructions are the same for every review, so they can be cached; what follows is data written by strangers,
//! fenced off by a prefix on every line that no text can leave.
//!
//! What a prompt has room for, the most useful first:
//!
//! 1. the change: what it is, its title, its description;
//! 2. the diff's places that were not reviewed before; where they do not fit one prompt, they are split over several, and
//!    a quarter of each is kept for what all of them share (3 to 5), unless the places need it;
//! 3. the project's own rules, from the base branch;
//! 4. what was told in earlier reviews, so that it is not told again;
//! 5. what the memory knows;
//! 6. the gist of places that were reviewed before;
//! 7. the code around the places: the function or class they stand in, and some lines on either side;
//! 8. the commits' messages;
//! 9. the linked issues;
//! 10. the changed files as a whole, small ones first.
//!
//! What of 2 is not shown is a gap in the review, and is told. The rest is help: a model does without.

mod background;
mod excerpt;
mod packing;
mod patch;
mod surroundings;
mod worth;
mod writing;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use excerpt::{around, of_issue};

use crate::diff::{Diff, File, Hunk};
use packing::{Candidate, Layout, Part};
use patch::Place;
pub use worth::skip_reason;
use writing::Writing;

/// The stable part: who the model is, how to read the data, what to answer.
pub const INSTRUCTIONS: &str = include_str!("prompt.md");

/// Tells one wording of the prompt from another: the first digits of its SHA-256.
pub fn version() -> String {
    hex::encode(Sha256::digest(INSTRUCTIONS)).chars().take(12).collect()
}

/// Why a file is left out of which an earlier review has seen everything.
pub const REVIEWED_BEFORE: &str = "reviewed before";

/// What a token is taken for.
const BYTES_PER_TOKEN: usize = 4;

/// A question for a reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Stable instructions.
    pub system: &'static str,
    /// The change, and what is known.
    pub user: String,
}

/// A file, or part of one, that was not shown to the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its path.
    pub path: String,
    /// Why, in a word or two.
    pub reason: String,
    /// Whether a reviewer would have wanted to see it.
    pub is_gap: bool,
}

/// Where the change comes from and what is claimed about it; all of it untrusted.
#[derive(Debug, Clone, Copy, Default)]
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

/// A file's text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Its path.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// A commit of the change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id.
    pub sha: String,
    /// Its whole message.
    pub message: String,
}

/// An issue that the change is linked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: String,
}

/// What is known beside the diff. The more useful comes first where there is not room for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Background {
    /// The project's rules for reviewers and agents, from the base branch.
    pub rules: Vec<Text>,
    /// Changed files as they are now.
    pub files: Vec<Text>,
    /// The change's commits, in their order.
    pub commits: Vec<Commit>,
    /// Issues that it is said to close.
    pub issues: Vec<Issue>,
    /// What the memory knows.
    pub memories: Vec<String>,
    /// Findings that were told before, one line each.
    pub earlier: Vec<String>,
}

/// All that a review is made of.
pub struct Material<'a> {
    /// What is claimed about the change.
    pub change: Change<'a>,
    /// The change itself.
    pub diff: &'a Diff,
    /// What else is known.
    pub background: &'a Background,
    /// Whether an earlier review has seen this place as it is now.
    pub is_reviewed: &'a (dyn Fn(&File, &Hunk) -> bool + Sync),
    /// Whether the project does not want a path reviewed.
    pub ignored: &'a (dyn Fn(&str) -> bool + Sync),
}

/// The questions of one review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// At least one; each has its own part of the diff.
    pub prompts: Vec<Prompt>,
    /// What no prompt shows.
    pub left_out: Vec<LeftOut>,
    /// What numbering the lines costs.
    pub overhead: Overhead,
}

/// The size of the diff as it is shown beside that of the raw patch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overhead {
    /// Characters that `git diff` takes for the shown places.
    pub raw_chars: usize,
    /// Characters of them in the prompts.
    pub shown_chars: usize,
}

impl Overhead {
    /// How much longer the shown diff is, in percent of the raw patch; below 0 if it is shorter.
    pub fn percent(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no diff has 2^52 characters")]
        let (raw, shown) = (self.raw_chars.max(1) as f64, self.shown_chars as f64);
        (shown / raw - 1.0) * 100.0
    }
}

/// Composes the questions, or says what was left out if nothing is left to show. The budget is that of one prompt.
///
/// # Errors
/// The reasons, when no text of the change can be shown.
pub fn compose(
    material: &Material<'_>,
    budget_tokens: usize,
    most_prompts: usize,
) -> Result<Composed, Vec<LeftOut>> {
    let room = budget_tokens.saturating_mul(BYTES_PER_TOKEN).saturating_sub(INSTRUCTIONS.len());
    let Sorted { candidates, reviewed, mut left_out } = sort(material);
    if candidates.is_empty() {
        left_out.extend(reviewed.iter().map(|(file, _)| left(file, REVIEWED_BEFORE, false)));
        return Err(left_out);
    }
    let about = background::about(&material.change, room);
    let names = writing::room_for_names(material.diff, room);
    let room = room.saturating_sub(about.len() + names + writing::LONGEST_HEADING);
    let shared = background::shared(material.background);
    let layout = Layout::new(&candidates, background::len(&shared), room, most_prompts);
    let mut parts = packing::pack(&candidates, layout);
    parts.retain(|parts| !parts.is_empty());
    left_out.extend(unshown(&candidates, &parts));
    if parts.is_empty() {
        return Err(left_out);
    }
    let overhead = overhead(&candidates, &parts);
    let shared = background::within(&shared, layout.shared);
    let own_room = room.saturating_sub(shared.len());
    let head = about + &shared;
    let writing = Writing { material, candidates: &candidates, reviewed, left_out: &left_out, names };
    let prompts = writing.prompts(&head, &parts, own_room);
    Ok(Composed { prompts, left_out, overhead })
}

/// The changed files by what is to be done with them.
struct Sorted<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Places that were reviewed before.
    reviewed: Vec<(&'a File, Vec<&'a Hunk>)>,
    left_out: Vec<LeftOut>,
}

fn sort<'a>(material: &Material<'a>) -> Sorted<'a> {
    let mut sorted = Sorted { candidates: Vec::new(), reviewed: Vec::new(), left_out: Vec::new() };
    for file in &material.diff.files {
        if let Some(left) = unwanted(material, file) {
            sorted.left_out.push(left);
            continue;
        }
        let (reviewed, focus): (Vec<_>, Vec<_>) =
            file.hunks.iter().partition(|hunk| (material.is_reviewed)(file, hunk));
        if !reviewed.is_empty() {
            sorted.reviewed.push((file, reviewed));
        }
        if !focus.is_empty() {
            sorted.candidates.push(Candidate::new(file, focus));
        }
    }
    if material.diff.unlisted > 0 {
        let reason = format!("at least {} that GitHub does not list", material.diff.unlisted);
        sorted.left_out.push(LeftOut { path: "(more files)".to_owned(), reason, is_gap: true });
    }
    sorted
}

fn unwanted(material: &Material<'_>, file: &File) -> Option<LeftOut> {
    if (material.ignored)(file.path()) {
        // whoever moves a file there could keep it from being read
        let was_read = file.old_path.as_deref().is_some_and(|old| !(material.ignored)(old));
        return Some(left(file, "ignored by the project's rules", was_read));
    }
    worth::skip_reason(file).map(|(reason, is_gap)| left(file, reason, is_gap))
}

fn left(file: &File, reason: impl Into<String>, is_gap: bool) -> LeftOut {
    LeftOut { path: file.path().to_owned(), reason: reason.into(), is_gap }
}

/// The candidates of which no prompt shows all.
fn unshown(candidates: &[Candidate<'_>], prompts: &[Vec<Part<'_>>]) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let places = prompts.iter().flatten().filter(|part| part.file == at).flat_map(|part| &part.places);
        let lines: usize = places.clone().map(|place| place.lines().len()).sum();
        let all: usize = candidate.focus.iter().map(|hunk| hunk.lines.len()).sum();
        if lines == all {
            continue;
        }
        // a place that is cut ends the file
        let whole = places.filter(|place| place.range.end == place.hunk.lines.len()).count();
        let reason = match (whole, lines) {
            (_, 0) => "too large for the token budget".to_owned(),
            (0, _) => format!("only the first {lines} of {all} lines fit the token budget"),
            _ => format!(
                "only the first {whole} of {} changed places fit the token budget",
                candidate.focus.len()
            ),
        };
        left_out.push(left(candidate.patch.file, reason, true));
    }
    left_out
}

fn overhead(candidates: &[Candidate<'_>], prompts: &[Vec<Part<'_>>]) -> Overhead {
    let mut overhead = Overhead::default();
    for (at, Candidate { patch, .. }) in candidates.iter().enumerate() {
        let parts: Vec<&Part<'_>> = prompts.iter().flatten().filter(|part| part.file == at).collect();
        let places: Vec<Place<'_>> = parts.iter().flat_map(|part| part.places.clone()).collect();
        if places.is_empty() {
            continue;
        }
        overhead.raw_chars += patch::raw_chars(patch.file, places.iter().cloned());
        let texts = places.iter().map(|place| patch.place(place)).chain(parts.iter().map(|_| patch.header()));
        overhead.shown_chars += texts.map(|text| text.chars().count()).sum::<usize>();
    }
    overhead
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
