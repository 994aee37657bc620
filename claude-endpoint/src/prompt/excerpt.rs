//! Parts of what a review sees, for other questions: the code that a finding is about, an issue. Pure.

use super::background::{Section, lines};
use super::patch::{Patch, Place};
use super::{Issue, background};
use crate::diff::{Diff, Hunk};
use crate::text::{line_for_model, prose_for_model, quoted_block, shorten};
use crate::verdict::{Finding, Side};

/// Lines on either side of a finding; a whole hunk may be a whole file.
const NEAR: usize = 60;
const LONGEST_BODY: usize = 20_000;

/// The changed place that a finding is about, in the form of a prompt's diff; all places of its file where it names none.
/// Empty if the change has no such file.
pub fn around(diff: &Diff, finding: &Finding) -> String {
    let named = |path: Option<&str>| path == Some(finding.path.as_str());
    let mut files = diff.files.iter();
    let Some(file) = files.find(|file| named(file.new_path.as_deref()) || named(file.old_path.as_deref()))
    else {
        return String::new();
    };
    let patch = Patch::new(file);
    let at = file.hunks.iter().find_map(|hunk| Some((hunk, position(hunk, finding)?)));
    let places: Vec<Place<'_>> = match at {
        Some((hunk, at)) => {
            vec![Place { hunk, range: at.saturating_sub(NEAR)..(at + NEAR).min(hunk.lines.len()) }]
        }
        None => file.hunks.iter().map(Place::whole).collect(),
    };
    let texts = places.iter().map(|place| patch.place(place));
    shorten(&std::iter::once(patch.header()).chain(texts).collect::<String>(), LONGEST_BODY)
}

fn position(hunk: &Hunk, finding: &Finding) -> Option<usize> {
    hunk.lines.iter().position(|line| {
        let number = if finding.side == Side::Left { line.old_no } else { line.new_no };
        number == Some(finding.line)
    })
}

/// An issue and what the memory knows, for a question about it.
pub fn of_issue(repository: &str, issue: &Issue, memories: &[String]) -> String {
    let title = line_for_model(&issue.title);
    let body = shorten(&prose_for_model(&issue.body), LONGEST_BODY);
    let head = format!("## Issue\n| #{} in {}: {title}\n", issue.number, line_for_model(repository));
    let memories = Section::new("## Memory", lines(memories.iter().map(|memory| prose_for_model(memory))));
    format!("{head}{}\n{}", quoted_block(&body), background::within(&[memories], LONGEST_BODY))
}
