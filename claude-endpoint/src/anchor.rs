//! Where a finding belongs: checked against the diff before GitHub sees it. Pure.
//!
//! A model miscounts lines but quotes well, so the quotation decides: it confirms the claimed line, or
//! moves the finding to where the quoted text stands. What cannot be placed is kept for the review's
//! body with the reason; nothing is dropped. GitHub refuses a whole review for one line outside of a
//! hunk, or one range that leaves its hunk.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diff::{Diff, File, Kind};
use crate::text;
use crate::verdict::{Finding, Side};

/// A quotation with fewer letters and digits than this (`}`, `else`) stands in too many places to move
/// a finding by it, unless it stands in exactly one.
const TELLING_QUOTE: usize = 5;

/// All findings, each in its place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Anchored {
    /// On a line of the diff.
    pub inline: Vec<InlineComment>,
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
    /// Everything for the body: where no inline comments can be made.
    pub fn into_body(self) -> Vec<Kept> {
        let inline = self.inline.into_iter().map(|comment| Kept { finding: comment.finding, reason: None });
        inline.chain(self.body).collect()
    }
}

/// Why a finding is not inline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The diff does not touch that file, or shows no text of it.
    FileNotInDiff,
    /// The line lies outside of the changed places and the quotation stands nowhere in them.
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
    for finding in findings {
        match place(diff, &finding) {
            Ok(place) => anchored.inline.push(place.comment(finding)),
            Err(reason) => anchored.body.push(Kept { finding, reason: Some(reason) }),
        }
    }
    anchored
}

/// A line a comment can stand on, with where its hunk ends on that side.
#[derive(Debug, Clone)]
struct Spot<'a> {
    hunk: usize,
    side: Side,
    line: u32,
    /// The line's number on the side the model claimed; differs for a context line claimed on LEFT.
    claimed_no: u32,
    text: &'a str,
}

struct Place {
    path: String,
    side: Side,
    first: u32,
    last: u32,
    committable: bool,
}

impl Place {
    fn comment(self, finding: Finding) -> InlineComment {
        // nobody should commit with one click what they cannot see
        let committable = self.committable && finding.suggestion.as_deref().is_some_and(text::is_plain);
        let start_line = (self.first < self.last).then_some(self.first);
        InlineComment { finding, path: self.path, side: self.side, start_line, line: self.last, committable }
    }
}

fn place(diff: &Diff, finding: &Finding) -> Result<Place, Reason> {
    let file = find_file(diff, &finding.path).ok_or(Reason::FileNotInDiff)?;
    let claimed_side = spots(file, finding.side);
    let (spot, moved) = match confirm(&claimed_side, finding) {
        Some(spot) => (spot, false),
        None => (relocate(file, &claimed_side, finding)?, true),
    };
    let asked = finding.end_line.saturating_sub(finding.line);
    let last = spot.line.saturating_add(asked);
    let fits = asked == 0 || ends_in_hunk(file, &spot, last, finding.side);
    Ok(Place {
        path: file.path().to_owned(),
        side: spot.side,
        first: spot.line,
        last: if fits { last } else { spot.line },
        // after a move only the quoted line itself is certain
        committable: fits
            && finding.end_line >= finding.line
            && spot.side == Side::Right
            && (!moved || asked == 0),
    })
}

/// The file by its new or old path; a model sometimes keeps the `a/` or `b/` of a raw diff.
fn find_file<'a>(diff: &'a Diff, path: &str) -> Option<&'a File> {
    let named = |path: &str| {
        let is = |have: Option<&str>| have.is_some_and(|have| have == path || text::visible(have) == path);
        let by_new = diff.files.iter().find(|file| is(file.new_path.as_deref()));
        by_new.or_else(|| diff.files.iter().find(|file| is(file.old_path.as_deref())))
    };
    let stripped = ["a/", "b/", "./"].iter().find_map(|prefix| path.strip_prefix(prefix));
    named(path)
        .or_else(|| named(stripped?))
        .filter(|file| file.unreadable.is_none() && !file.hunks.is_empty())
}

/// The lines of a side. GitHub takes comments on removed lines left and all others right, so a context
/// line claimed by its old number becomes a comment on the right.
fn spots(file: &File, side: Side) -> Vec<Spot<'_>> {
    let lines =
        file.hunks.iter().enumerate().flat_map(|(hunk, h)| h.lines.iter().map(move |line| (hunk, line)));
    lines
        .filter_map(|(hunk, line)| {
            let claimed_no = if side == Side::Left { line.old_no } else { line.new_no }?;
            let (side, number) = match line.kind {
                Kind::Removed => (Side::Left, line.old_no?),
                Kind::Added | Kind::Context => (Side::Right, line.new_no?),
            };
            Some(Spot { hunk, side, line: number, claimed_no, text: &line.text })
        })
        .collect()
}

fn confirm<'a>(spots: &[Spot<'a>], finding: &Finding) -> Option<Spot<'a>> {
    let quotes = quotes(&finding.quote);
    spots
        .iter()
        .find(|spot| spot.claimed_no == finding.line && quotes.contains(&text::normalise(spot.text)))
        .cloned()
}

/// The quotation as it may stand in the file: as given, or without the marker of our own format or of
/// a raw diff, which a model sometimes copies along. Only its first line counts.
fn quotes(quote: &str) -> Vec<String> {
    let first = quote.split('\n').find(|line| !line.trim().is_empty()).unwrap_or_default();
    let unmarked = first.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(['+', '-', ' ']);
    [Some(first), unmarked].into_iter().flatten().map(text::normalise).collect()
}

/// The nearest line that reads as quoted, on the claimed side or else the other one.
fn relocate<'a>(file: &'a File, claimed: &[Spot<'a>], finding: &Finding) -> Result<Spot<'a>, Reason> {
    let nowhere = || {
        let line_exists = claimed.iter().any(|spot| spot.claimed_no == finding.line);
        if line_exists { Reason::QuoteNotFound } else { Reason::LineNotInDiff }
    };
    let other = spots(file, finding.side.other());
    for quote in quotes(&finding.quote).iter().filter(|quote| !quote.is_empty()) {
        for spots in [claimed, &other] {
            let matching: Vec<_> = spots.iter().filter(|spot| text::normalise(spot.text) == *quote).collect();
            if !matching.is_empty() {
                return nearest(&matching, finding.line, quote).ok_or(Reason::Ambiguous);
            }
        }
    }
    Err(nowhere())
}

fn nearest<'a>(matching: &[&Spot<'a>], line: u32, quote: &str) -> Option<Spot<'a>> {
    let distance = |spot: &Spot<'_>| spot.claimed_no.abs_diff(line);
    let best = matching.iter().map(|spot| distance(spot)).min()?;
    let telling = quote.chars().filter(|c| c.is_alphanumeric()).count() >= TELLING_QUOTE;
    let mut closest = matching.iter().filter(|spot| distance(spot) == best);
    let only = closest.next().filter(|_| closest.next().is_none())?;
    (telling || matching.len() == 1).then(|| (**only).clone())
}

/// Whether `last` lies in the spot's own hunk and side, with nothing of the other side claimed.
fn ends_in_hunk(file: &File, spot: &Spot<'_>, last: u32, claimed: Side) -> bool {
    // a LEFT claim that stands on the right counts in old numbers: its end is not known on the right
    spot.side == claimed
        && spots(file, claimed).iter().any(|s| s.hunk == spot.hunk && s.side == spot.side && s.line == last)
}

#[cfg(test)]
#[path = "anchor_tests.rs"]
mod tests;
