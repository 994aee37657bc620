//! Where a finding belongs: checked against the diff before GitHub sees it. Pure.
//!
//! A model miscounts lines but quotes well, so the quotation decides: it confirms the claimed line, or moves the finding
//! to where the quoted text stands. What cannot be placed on a line becomes a comment on its file, and what is about no
//! file of the diff stays for the review's body; nothing is dropped. GitHub refuses a whole review for one line outside
//! of a hunk, or one range that leaves its hunk.
//!
//! Quotations are of what the prompt shows, which differs from the file: [`text::normalise`] is the one place where both
//! are brought to the same form, and must know whatever else is ever changed of a line on its way into the prompt.

mod quote;
mod spots;
mod suggestion;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diff::{Diff, File};
use crate::text;
use crate::verdict::{Finding, Side};
use quote::Quote;
use spots::{Sides, Spot};

/// All findings, each in its place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Anchored {
    /// On a line of the diff.
    pub inline: Vec<InlineComment>,
    /// For a comment on a file of the diff; the findings' paths are as the diff has them.
    #[serde(default)]
    pub file: Vec<Kept>,
    /// For the review's body.
    pub body: Vec<Kept>,
}

/// A finding on a line (or range of lines) of one hunk and one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineComment {
    /// The finding as the model made it.
    pub finding: Finding,
    /// Path as the diff has it.
    pub path: String,
    /// Side of the diff.
    pub side: Side,
    /// First line, if the range has more than one.
    pub start_line: Option<u32>,
    /// Last (or only) line.
    pub line: u32,
    /// Whether the finding's suggestion replaces exactly this range.
    pub committable: bool,
}

/// A finding that has no line to stand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The finding as the model made it.
    pub finding: Finding,
    /// Why it is not inline; `None` where nothing is inline, as in a comment on a commit.
    pub reason: Option<Reason>,
}

impl Anchored {
    /// Each finding, wherever it stands.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let inline = self.inline.iter().map(|comment| &comment.finding);
        inline.chain(self.file.iter().chain(&self.body).map(|kept| &kept.finding))
    }

    /// Without comments on files: their findings go into the body.
    pub fn without_file_comments(self) -> Self {
        let Self { inline, mut file, mut body } = self;
        file.append(&mut body);
        Self { inline, file: vec![], body: file }
    }

    /// Everything for the body: where no inline comments can be made.
    pub fn into_body(self) -> Vec<Kept> {
        let inline = self.inline.into_iter().map(|comment| Kept { finding: comment.finding, reason: None });
        inline.chain(self.file).chain(self.body).collect()
    }
}

/// Why a finding is not inline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The diff does not touch that file.
    FileNotInDiff,
    /// The line lies outside of the changed places, or the file has none with text, and the quotation stands nowhere in
    /// them.
    LineNotInDiff,
    /// The line is there but reads differently, and the quotation stands nowhere else.
    QuoteNotFound,
    /// The quotation stands in several places equally near.
    Ambiguous,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileNotInDiff => "this file is not part of the diff",
            Self::LineNotInDiff => "this line is not part of the diff",
            Self::QuoteNotFound => "the quoted text is not on this line",
            Self::Ambiguous => "the quoted text stands in several places",
        })
    }
}

/// Places every finding.
pub fn anchor(diff: &Diff, findings: Vec<Finding>) -> Anchored {
    let mut anchored = Anchored::default();
    let mut known: BTreeMap<usize, Sides<'_>> = BTreeMap::new();
    for mut finding in findings {
        let Some((at, file)) = find_file(diff, &finding) else {
            anchored.body.push(Kept { finding, reason: Some(Reason::FileNotInDiff) });
            continue;
        };
        let sides = known.entry(at).or_insert_with(|| Sides::of(file));
        match place(sides, &finding) {
            Ok(Place { side, first, last, committable }) => {
                let start_line = (first < last).then_some(first);
                let path = file.path().to_owned();
                anchored.inline.push(InlineComment {
                    finding,
                    path,
                    side,
                    start_line,
                    line: last,
                    committable,
                });
            }
            Err(reason) => {
                file.path().clone_into(&mut finding.path);
                anchored.file.push(Kept { finding, reason: Some(reason) });
            }
        }
    }
    anchored
}

/// The file by its new or old path; a model sometimes keeps the `a/` or `b/` of a raw diff, or what stands behind the
/// path in the prompt.
fn find_file<'a>(diff: &'a Diff, finding: &Finding) -> Option<(usize, &'a File)> {
    let path = finding.path.as_str();
    let named = |path: &str| {
        let is = |have: &Option<String>| {
            have.as_ref().is_some_and(|have| have == path || text::line_for_model(have) == path)
        };
        let find =
            |wanted: &dyn Fn(&File) -> bool| diff.files.iter().enumerate().find(|(_, file)| wanted(file));
        // a file that became a link is there twice, once for each side
        let has_side = |file: &File| finding.side == Side::Right || file.old_path.is_some();
        find(&|file| is(&file.new_path) && has_side(file))
            .or_else(|| find(&|file| is(&file.old_path)))
            .or_else(|| find(&|file| is(&file.new_path)))
    };
    let marked = [" (new)", " (deleted)", " (was "].iter().find_map(|mark| path.find(mark));
    let prefixed = ["a/", "b/", "./"].iter().find_map(|prefix| path.strip_prefix(prefix));
    named(path).or_else(|| named(&path[..marked?])).or_else(|| named(prefixed?))
}

/// A range of lines for a comment.
struct Place {
    side: Side,
    first: u32,
    last: u32,
    committable: bool,
}

fn place(sides: &Sides<'_>, finding: &Finding) -> Result<Place, Reason> {
    let quote = Quote::new(&finding.quote);
    let confirmed = sides
        .numbered(finding.side, finding.line)
        .filter(|&at| quote.starts_at(&sides.on(finding.side)[at..]));
    let spots = match confirmed {
        Some(at) => &sides.on(finding.side)[at..],
        None => relocate(sides, finding, &quote)?,
    };
    let spot = &spots[0];
    let asked = finding.end_line.saturating_sub(finding.line);
    let range = spots.get(..=asked as usize).filter(|range| {
        // a LEFT claim that stands on the right counts in old numbers: its end is not known on the right
        asked == 0 || (spot.side == finding.side && spots::is_range(range))
    });
    let Some(range) = range else {
        return Ok(Place { side: spot.side, first: spot.line, last: spot.line, committable: false });
    };
    // after a move only what was quoted is certain, and a longer quotation has to be of the whole range
    let is_certain = match quote.len() {
        1 => confirmed.is_some() || asked == 0,
        quoted => quoted == range.len() && quote.stands_at(range),
    };
    let committable = is_certain
        && finding.end_line >= finding.line
        && spot.side == Side::Right
        && finding.suggestion.as_deref().is_some_and(|code| suggestion::is_exact(code, range, sides));
    Ok(Place { side: spot.side, first: spot.line, last: range[range.len() - 1].line, committable })
}

/// From the nearest line on that reads as quoted, on the claimed side or else the other one: where all of the quotation
/// stands, or else its first line.
fn relocate<'s, 'a>(
    sides: &'s Sides<'a>,
    finding: &Finding,
    quote: &Quote,
) -> Result<&'s [Spot<'a>], Reason> {
    for is_whole in [true, false] {
        for side in [finding.side, finding.side.other()] {
            let spots = sides.on(side);
            let stands = |at: &usize| match is_whole {
                true => quote.stands_at(&spots[*at..]),
                false => quote.starts_at(&spots[*at..]),
            };
            let candidates = if quote.is_blank() { 0..0 } else { 0..spots.len() };
            let matching: Vec<usize> = candidates.filter(stands).collect();
            if !matching.is_empty() {
                let at = nearest(spots, &matching, finding.line, quote).ok_or(Reason::Ambiguous)?;
                return Ok(&spots[at..]);
            }
        }
    }
    let line_exists = sides.numbered(finding.side, finding.line).is_some();
    Err(if line_exists { Reason::QuoteNotFound } else { Reason::LineNotInDiff })
}

fn nearest(spots: &[Spot<'_>], matching: &[usize], line: u32, quote: &Quote) -> Option<usize> {
    let distance = |at: &usize| spots[*at].claimed_no.abs_diff(line);
    let best = matching.iter().map(distance).min()?;
    let mut closest = matching.iter().filter(|at| distance(at) == best);
    let only = closest.next().filter(|_| closest.next().is_none())?;
    (quote.is_telling() || matching.len() == 1).then_some(*only)
}

#[cfg(test)]
#[path = "anchor_tests.rs"]
mod tests;
