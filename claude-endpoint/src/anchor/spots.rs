//! The lines of a file that a comment can stand on. Pure.

use crate::diff::{File, Kind, Line};
use crate::text::normalise;
use crate::verdict::Side;

/// A line a comment can stand on.
#[derive(Debug, Clone)]
pub(super) struct Spot<'a> {
    pub(super) hunk: usize,
    pub(super) side: Side,
    pub(super) line: u32,
    /// The line's number on the side that it is listed for; differs for an unchanged line in the old file.
    pub(super) claimed_no: u32,
    pub(super) text: &'a str,
    normal: String,
}

impl Spot<'_> {
    pub(super) fn reads(&self, normal: &str) -> bool {
        self.normal == normal
    }
}

/// The lines of both sides, each in the order of its numbers.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    left: Vec<Spot<'a>>,
    right: Vec<Spot<'a>>,
}

impl<'a> Sides<'a> {
    pub(super) fn of(file: &'a File) -> Self {
        let spots = |side| {
            let hunks = file.hunks.iter().enumerate();
            let lines = hunks.flat_map(|(hunk, it)| it.lines.iter().map(move |line| (hunk, line)));
            lines.filter_map(|(hunk, line)| spot(side, hunk, line)).collect()
        };
        Self { left: spots(Side::Left), right: spots(Side::Right) }
    }

    pub(super) fn on(&self, side: Side) -> &[Spot<'a>] {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// Where the line with this number is in the list of its side.
    pub(super) fn numbered(&self, side: Side, number: u32) -> Option<usize> {
        self.on(side).binary_search_by_key(&number, |spot| spot.claimed_no).ok()
    }
}

/// GitHub takes comments on removed lines left and all others right, so an unchanged line that is claimed by its old
/// number becomes a comment on the right.
fn spot(listed: Side, hunk: usize, line: &Line) -> Option<Spot<'_>> {
    let claimed_no = if listed == Side::Left { line.old_no } else { line.new_no }?;
    let (side, number) = match line.kind {
        Kind::Removed => (Side::Left, line.old_no?),
        Kind::Added | Kind::Context => (Side::Right, line.new_no?),
    };
    Some(Spot { hunk, side, line: number, claimed_no, text: &line.text, normal: normalise(&line.text) })
}

/// Whether a comment can be on all of these, which follow each other in a side's list.
pub(super) fn is_range(spots: &[Spot<'_>]) -> bool {
    let place = |spot: &Spot<'_>| (spot.hunk, spot.side);
    spots.first().map(place) == spots.last().map(place)
}
