//! The code around what changed: of a changed file as it is now, the lines that the diff does not show. Pure.

use std::ops::Range;

use super::patch::Place;
use crate::diff::{Hunk, Kind};
use crate::text::{normalise, visible};

/// Lines on either side of a place that are near it.
const NEAR: usize = 10;
/// The same where there is less room; git shows three of them.
const NEAREST: usize = 6;
/// A function or class around a place is shown whole up to so many lines.
const LONGEST_BLOCK: usize = 120;
/// A number is on each line whose number is a multiple of this, and on the first after a gap.
const STEP: usize = 10;
/// Stands for lines that are left out.
const OMITTED: &str = "...\n";

/// A changed file as it is now.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    heading: String,
    lines: Vec<&'a str>,
    /// By line: whether the diff shows it.
    shown: Vec<bool>,
    /// The changed lines of each place, from 0.
    changes: Vec<Range<usize>>,
}

impl<'a> Surroundings<'a> {
    /// `None` if the text is not that of the diff's new side.
    pub(super) fn new(path: &str, text: &'a str, places: &[Place<'_>]) -> Option<Self> {
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let mut shown = vec![false; lines.len()];
        let mut changes = Vec::new();
        for place in places {
            for line in place.lines() {
                let Some(number) = line.new_no else { continue };
                let at = (number as usize).checked_sub(1)?;
                if lines.get(at).is_none_or(|there| normalise(there) != normalise(&line.text)) {
                    return None;
                }
                shown[at] = true;
            }
            changes.extend(changed(place.hunk));
        }
        Some(Self { heading: format!("=== {}\n", visible(path)), lines, shown, changes })
    }

    /// All that the diff does not show; empty if there is nothing.
    pub(super) fn whole(&self) -> String {
        self.render(|_| true)
    }

    /// What stands near the places: some lines on either side, the function or class around them, and what that stands
    /// in, line by line.
    pub(super) fn near(&self) -> String {
        self.around(NEAR, |change| self.block(change))
    }

    /// The same in short: a few lines on either side, and the first lines of what they stand in.
    pub(super) fn nearest(&self) -> String {
        self.around(NEAREST, Range::clone)
    }

    fn around(&self, lines: usize, block: impl Fn(&Range<usize>) -> Range<usize>) -> String {
        let mut wanted = vec![false; self.lines.len()];
        for change in &self.changes {
            let (start, end) =
                (change.start.saturating_sub(lines), (change.end + lines).min(self.lines.len()));
            let block = block(change);
            for at in (start..end).chain(block.clone()).chain(self.ancestors(block.start)) {
                wanted[at] = true;
            }
        }
        self.render(|at| wanted[at])
    }

    /// The largest block around a change that is not too long, told by its indentation.
    fn block(&self, change: &Range<usize>) -> Range<usize> {
        let mut block = change.clone();
        for head in self.ancestors(change.start) {
            let Some(level) = indentation(self.lines[head]) else { continue };
            let ends = |at: &usize| indentation(self.lines[*at]).is_some_and(|other| other <= level);
            let end = (change.end..self.lines.len()).find(ends).map_or(self.lines.len(), |end| end + 1);
            if end - head > LONGEST_BLOCK {
                break;
            }
            block = head..end;
        }
        block
    }

    /// The lines that a line is nested in, the nearest first.
    fn ancestors(&self, line: usize) -> impl Iterator<Item = usize> {
        let below = self.lines[line..].iter().find_map(|line| indentation(line));
        let mut level = below.unwrap_or_default();
        (0..line).rev().filter(move |at| {
            let is_outer = indentation(self.lines[*at]).is_some_and(|other| other < level);
            if is_outer {
                level = indentation(self.lines[*at]).unwrap_or_default();
            }
            is_outer
        })
    }

    fn render(&self, wanted: impl Fn(usize) -> bool) -> String {
        let kept: Vec<usize> = (0..self.lines.len()).filter(|at| wanted(*at) && !self.shown[*at]).collect();
        let mut out = String::new();
        let mut next = 0;
        for run in kept.chunk_by(|one, other| one + 1 == *other) {
            let is_telling = |at: &usize| self.lines[*at].contains(char::is_alphanumeric);
            let (Some(first), true) = (run.first(), run.iter().any(is_telling)) else { continue };
            if *first > next {
                out.push_str(OMITTED);
            }
            for at in run {
                let number = at + 1;
                if at == first || number.is_multiple_of(STEP) {
                    out.push_str(&number.to_string());
                }
                out.push_str(&format!("|{}\n", visible(self.lines[*at])));
                next = number;
            }
        }
        match out.is_empty() {
            true => out,
            false if next < self.lines.len() => format!("{}{out}{OMITTED}", self.heading),
            false => format!("{}{out}", self.heading),
        }
    }
}

/// The lines of the new file from a place's first change to its last; where lines were only removed, the one behind.
fn changed(hunk: &Hunk) -> Option<Range<usize>> {
    let is_change = |line: &crate::diff::Line| line.kind != Kind::Context;
    let first = hunk.lines.iter().position(is_change)?;
    let last = hunk.lines.iter().rposition(is_change)?;
    let above = hunk.lines[..first].iter().rev().find_map(|line| line.new_no);
    let start = hunk.lines[first..].iter().find_map(|line| line.new_no).or(above)?;
    let end = hunk.lines[first..=last].iter().rev().find_map(|line| line.new_no).unwrap_or(start);
    Some((start as usize).saturating_sub(1)..end as usize)
}

/// `None` for a blank line.
fn indentation(line: &str) -> Option<usize> {
    let text = line.trim_start();
    let width = |c: char| if c == '\t' { 4 } else { 1 };
    (!text.is_empty()).then(|| line.chars().take_while(|c| c.is_whitespace()).map(width).sum())
}

#[cfg(test)]
#[path = "surroundings_tests.rs"]
mod tests;
