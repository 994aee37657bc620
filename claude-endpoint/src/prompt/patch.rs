//! A file's changed places as the model reads them. Pure.
//!
//! `12+added`, `12 unchanged`, `12-removed`: number, sign, text. A model copies a number better than it counts, but
//! numbers cost tokens: a file bears as many as keep it within [`MOST_OVERHEAD`] of its raw patch, whose headers are
//! saved. A line without one follows the line above it in the same file, old or new; where that would not be so, it has
//! one. No text can be taken for anything else: a line of code starts with a digit or its sign, all others with `=`,
//! `@` or `.`.

use std::ops::Range;

use crate::diff::{File, Hunk, Kind, Line};
use crate::text::visible;

/// In percent of the raw patch's characters.
const MOST_OVERHEAD: usize = 5;
/// A number is on each line whose number is a multiple of this; the first that is cheap enough is taken.
const STEPS: [u32; 6] = [1, 2, 5, 10, 25, 100];
/// Starts a place of which an earlier review has told what there is to tell. A place in focus starts with `@@` and a
/// space, so no function's name can look like this.
const REVIEWED: &str = "@@reviewed-before@@";
/// Stands for lines that are left out.
const OMITTED: &str = "...\n";
/// Lines of a place that was reviewed before.
const MOST_REVIEWED: usize = 12;

/// Lines of a hunk.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    pub(super) hunk: &'a Hunk,
    pub(super) range: Range<usize>,
}

impl<'a> Place<'a> {
    pub(super) fn whole(hunk: &'a Hunk) -> Self {
        Self { hunk, range: 0..hunk.lines.len() }
    }

    pub(super) fn lines(&self) -> &'a [Line] {
        self.hunk.lines.get(self.range.clone()).unwrap_or_default()
    }
}

/// A file and how densely its lines are numbered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch<'a> {
    pub(super) file: &'a File,
    step: u32,
}

impl<'a> Patch<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        let most = raw_chars(file, file.hunks.iter().map(Place::whole)) * (100 + MOST_OVERHEAD) / 100;
        let bare = chars(&header(file)) + file.hunks.iter().map(bare_chars).sum::<usize>();
        let is_cheap =
            |step: &u32| bare + file.hunks.iter().map(|hunk| digits(hunk, *step)).sum::<usize>() <= most;
        let step = STEPS.into_iter().find(is_cheap).unwrap_or(STEPS[STEPS.len() - 1]);
        Self { file, step }
    }

    /// `=== path (new)`.
    pub(super) fn header(&self) -> String {
        header(self.file)
    }

    /// `@@ section` and the lines below.
    pub(super) fn place(&self, place: &Place<'_>) -> String {
        heading("@@", place.hunk) + &self.lines(place.lines())
    }

    /// Where a place that starts at line `from` has to end so that it fits `room` bytes; `from` if nothing does.
    pub(super) fn end_within(&self, hunk: &Hunk, from: usize, room: usize) -> usize {
        let Some(mut room) = room.checked_sub(heading("@@", hunk).len()) else { return from };
        let mut above = None;
        for (at, line) in hunk.lines.iter().enumerate().skip(from) {
            match room.checked_sub(self.line(above, line).len()) {
                Some(rest) => room = rest,
                None => return at,
            }
            above = Some(line);
        }
        hunk.lines.len()
    }

    /// The gist of a place that was reviewed before: what stands there now, around what had changed.
    pub(super) fn reviewed(&self, hunk: &Hunk) -> String {
        let is_change = |at: usize| hunk.lines.get(at).is_some_and(|line| line.kind != Kind::Context);
        let is_near =
            |at: usize| at.checked_sub(1).is_some_and(is_change) || is_change(at) || is_change(at + 1);
        let stays = |at: &usize| hunk.lines[*at].kind != Kind::Removed && is_near(*at);
        let kept: Vec<usize> = (0..hunk.lines.len()).filter(stays).take(MOST_REVIEWED).collect();
        let mut out = heading(REVIEWED, hunk);
        for run in kept.chunk_by(|one, next| one + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if *first > 0 {
                out.push_str(OMITTED);
            }
            out.push_str(&self.lines(&hunk.lines[*first..=*last]));
        }
        if kept.last().is_none_or(|last| last + 1 < hunk.lines.len()) {
            out.push_str(OMITTED);
        }
        out
    }

    fn lines(&self, lines: &[Line]) -> String {
        let above = std::iter::once(None).chain(lines.iter().map(Some));
        above.zip(lines).map(|(above, line)| self.line(above, line)).collect()
    }

    fn line(&self, above: Option<&Line>, line: &Line) -> String {
        let (sign, text) = (sign(line.kind), visible(&line.text));
        match is_numbered(above, line, self.step) {
            true => format!("{}{sign}{text}\n", number(line)),
            false => format!("{sign}{text}\n"),
        }
    }
}

/// Its number in the file it stands in: the old one if it was removed, else the new one.
fn number(line: &Line) -> u32 {
    match line.kind {
        Kind::Removed => line.old_no,
        Kind::Added | Kind::Context => line.new_no,
    }
    .unwrap_or_default()
}

fn sign(kind: Kind) -> char {
    match kind {
        Kind::Added => '+',
        Kind::Removed => '-',
        Kind::Context => ' ',
    }
}

fn is_numbered(above: Option<&Line>, line: &Line, step: u32) -> bool {
    let follows = above.is_some_and(|above| (above.kind == Kind::Removed) == (line.kind == Kind::Removed));
    !follows || number(line).is_multiple_of(step)
}

fn header(file: &File) -> String {
    let origin = match (&file.old_path, &file.new_path) {
        (None, _) => " (new)".to_owned(),
        (_, None) => " (deleted)".to_owned(),
        (Some(old), Some(new)) if old != new => format!(" (was {})", visible(old)),
        _ => String::new(),
    };
    format!("=== {}{origin}\n", visible(file.path()))
}

fn heading(mark: &str, hunk: &Hunk) -> String {
    let heading = format!("{mark} {}", visible(&hunk.section));
    format!("{}\n", heading.trim_end())
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// A place without any number.
fn bare_chars(hunk: &Hunk) -> usize {
    let lines = hunk.lines.iter().map(|line| 2 + chars(&visible(&line.text)));
    chars(&heading("@@", hunk)) + lines.sum::<usize>()
}

/// What a place's numbers add.
fn digits(hunk: &Hunk, step: u32) -> usize {
    let above = std::iter::once(None).chain(hunk.lines.iter().map(Some));
    let numbered = above.zip(&hunk.lines).filter(|(above, line)| is_numbered(*above, line, step));
    numbered.map(|(_, line)| width(number(line))).sum()
}

fn width(number: u32) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The characters of what `git diff` prints for these places of a file, each as a hunk. What the parser does not keep is counted as
/// short as it can be: seven digits of each blob's id, no mode that changed.
pub(super) fn raw_chars<'a>(file: &File, places: impl IntoIterator<Item = Place<'a>>) -> usize {
    let (old, new) = (file.old_path.as_deref(), file.new_path.as_deref());
    let named = |path: Option<&str>| path.map_or("/dev/null".len(), |path| 2 + chars(path));
    let paths = named(old.or(new)) + named(new.or(old)) + named(old) + named(new);
    let extended = match (old, new) {
        (None, _) => "new file mode 100644\nindex 0000000..0000000\n".len(),
        (_, None) => "deleted file mode 100644\nindex 0000000..0000000\n".len(),
        (Some(old), Some(new)) if old != new => {
            "similarity index 90%\nrename from \nrename to \nindex 0000000..0000000 100644\n".len()
                + chars(old)
                + chars(new)
        }
        _ => "index 0000000..0000000 100644\n".len(),
    };
    "diff --git  \n--- \n+++ \n".len()
        + paths
        + extended
        + places.into_iter().map(|place| raw_place_chars(&place)).sum::<usize>()
}

fn raw_place_chars(place: &Place<'_>) -> usize {
    let (section, lines) = (&place.hunk.section, place.lines());
    let range = |number: fn(&Line) -> Option<u32>| {
        let mut numbers = lines.iter().filter_map(number);
        // `0,0`, `12` or `12,34`
        let Some(first) = numbers.next() else { return "0,0".len() };
        match numbers.count() {
            0 => width(first),
            more => width(first) + 1 + width(u32::try_from(more + 1).unwrap_or(u32::MAX)),
        }
    };
    let section = if section.is_empty() { 0 } else { 1 + chars(section) };
    let header = "@@ - + @@\n".len() + range(|line| line.old_no) + range(|line| line.new_no) + section;
    header + lines.iter().map(|line| 2 + chars(&line.text)).sum::<usize>()
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
