//! Whether a parsed diff, its prompt and its anchors are right.

use claude_endpoint::{
    anchor,
    diff::{Diff, File, Hunk, Kind, Line},
    prompt::{self, Background, Change as Claim, Material},
    text::visible,
    verdict::{Category, Finding, Severity, Side},
};

use super::{
    git::Change,
    report::{Size, Tally},
};
use crate::shown::{self, Shown};

/// In tokens; more than any diff that is looked at.
const NO_LIMIT: usize = 1 << 40;
/// Lines of a file whose findings claim a wrong number, and by how much it is wrong.
const MOST_MOVED: usize = 20;
const OFF_BY: u32 = 3;
/// Files of a diff among which a finding has to find its own.
const MOST_FILES: usize = 50;

/// One commit's diff.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) commit: &'a str,
    /// As git printed it.
    pub(super) patch: &'a str,
    pub(super) diff: &'a Diff,
}

/// The side on which GitHub takes a comment on a line, and its number there.
fn place(line: &Line) -> (Side, u32) {
    match line.kind {
        Kind::Removed => (Side::Left, line.old_no.unwrap_or_default()),
        Kind::Added | Kind::Context => (Side::Right, line.new_no.unwrap_or_default()),
    }
}

fn lines_of(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    lines
}

fn lines(file: &File) -> impl Iterator<Item = &Line> {
    file.hunks.iter().flat_map(|hunk| &hunk.lines)
}

impl Case<'_> {
    /// The files are those that git lists.
    pub(super) fn paths(&self, changes: &[Change], tally: &mut Tally) {
        let files = &self.diff.files;
        if files.len() != changes.len() {
            let (parsed, real) = (files.len(), changes.len());
            tally.wrong(self.commit, format_args!("{parsed} files in the diff, {real} in the commit"));
        }
        for (file, change) in files.iter().zip(changes) {
            let real = [&change.old, &change.new].map(|side| side.as_ref().map(|side| side.path.as_str()));
            let parsed = [file.old_path.as_deref(), file.new_path.as_deref()];
            if real != parsed {
                tally.wrong(self.commit, format_args!("the paths {real:?} were read as {parsed:?}"));
            }
        }
    }

    /// Every line stands where it says, the changes are all there are, and a finding on any line stays there.
    pub(super) fn file(&self, file: &File, old: &str, new: &str, tally: &mut Tally) {
        tally.hunks += file.hunks.len();
        tally.lines += lines(file).count();
        let (old, new) = (lines_of(old), lines_of(new));
        for line in lines(file) {
            for (side, number, real) in [("LEFT", line.old_no, &old), ("RIGHT", line.new_no, &new)] {
                let Some(number) = number else { continue };
                let there = (number as usize).checked_sub(1).and_then(|at| real.get(at));
                if there != Some(&line.text.as_str()) {
                    let path = file.path();
                    tally.wrong(self.commit, format_args!("{path}: {side} line {number} reads otherwise"));
                }
            }
        }
        if !turns_into(&file.hunks, &old, &new) {
            tally.wrong(
                self.commit,
                format_args!("{}: the old file with the changes is not the new one", file.path()),
            );
        }
        self.anchors(file, tally);
    }

    fn anchors(&self, file: &File, tally: &mut Tally) {
        let diff = Diff { files: vec![file.clone()], unlisted: 0 };
        let all: Vec<&Line> = lines(file).collect();
        let path = visible(file.path());
        let exact = all.iter().map(|line| finding(&path, line, 0)).collect();
        self.placed(file, &all, anchor::anchor(&diff, exact), tally);
        let telling: Vec<&Line> = telling(&all);
        let step = telling.len().div_ceil(MOST_MOVED).max(1);
        let some: Vec<&Line> = telling.into_iter().step_by(step).collect();
        let moved = some.iter().map(|line| finding(&path, line, OFF_BY)).collect();
        self.placed(file, &some, anchor::anchor(&diff, moved), tally);
    }

    /// Among all files of the diff a finding comes to its own, also where files swap their paths.
    pub(super) fn addresses(&self, tally: &mut Tally) {
        let files: Vec<&File> = self.diff.files.iter().filter(|file| !file.hunks.is_empty()).collect();
        for file in files.iter().step_by(files.len().div_ceil(MOST_FILES).max(1)) {
            let first: Vec<&Line> = lines(file).take(1).collect();
            let claims = first.iter().map(|line| finding(&visible(file.path()), line, 0)).collect();
            self.placed(file, &first, anchor::anchor(self.diff, claims), tally);
        }
    }

    fn placed(&self, file: &File, lines: &[&Line], anchored: anchor::Anchored, tally: &mut Tally) {
        let path = file.path();
        let mut placed = anchored.inline.into_iter().peekable();
        for line in lines {
            let (side, number) = place(line);
            // those that were not placed are missing in between
            let is_it = |comment: &anchor::InlineComment| {
                (comment.path.as_str(), comment.side, comment.start_line, comment.line)
                    == (path, side, None, number)
            };
            if placed.next_if(is_it).is_none() {
                tally.wrong(
                    self.commit,
                    format_args!("{path}: a finding on {side:?} line {number} is not placed there"),
                );
                placed.next_if(|comment| comment.finding.quote == visible(&line.text));
            }
        }
    }

    /// Who reads the prompt comes to the same lines and numbers.
    pub(super) fn prompt(&self, tally: &mut Tally) {
        let background = Background::default();
        let material = Material {
            change: Claim::default(),
            diff: self.diff,
            background: &background,
            is_reviewed: &|_, _| false,
            ignored: &|_| false,
        };
        let Ok(composed) = prompt::compose(&material, NO_LIMIT, 1) else { return };
        let is_shown = |file: &&File| prompt::skip_reason(file).is_none();
        let all: Vec<(&File, &Line)> = (self.diff.files.iter().filter(is_shown))
            .flat_map(|file| lines(file).map(move |line| (file, line)))
            .collect();
        let read: Vec<Shown<'_>> =
            composed.prompts.iter().flat_map(|prompt| shown::lines(&prompt.user)).collect();
        if read.len() != all.len() {
            let (read, real) = (read.len(), all.len());
            tally.wrong(self.commit, format_args!("{read} lines in the prompt, {real} in the diff"));
        }
        for ((file, line), read) in all.into_iter().zip(read) {
            let (side, number) = place(line);
            let path = visible(file.path());
            let is_path = read.path == path || path.contains(" (");
            let is_side = (read.sign == '-') == (side == Side::Left)
                && (read.sign == '+') == (line.kind == Kind::Added);
            if !is_path
                || !is_side
                || read.number != Some(u64::from(number))
                || read.text != visible(&line.text)
            {
                tally.wrong(
                    self.commit,
                    format_args!("{path}: {side:?} line {number} is read as {read:?} in the prompt"),
                );
            }
        }
        let raw = sections(self.patch).zip(&self.diff.files).filter(|(_, file)| is_shown(file));
        let raw = raw.map(|(section, _)| section.chars().count()).sum();
        tally.size(Size { commit: self.commit.to_owned(), raw, shown: composed.overhead.shown_chars });
    }
}

/// A finding on this line whose number is too high by `off`.
fn finding(path: &str, line: &Line, off: u32) -> Finding {
    let (side, number) = place(line);
    Finding {
        path: path.to_owned(),
        line: number + off,
        end_line: number + off,
        side,
        quote: visible(&line.text),
        severity: Severity::Minor,
        category: Category::Bug,
        rule: String::new(),
        title: String::new(),
        body: String::new(),
        suggestion: None,
    }
}

/// Lines that can be told by their text alone: it stands nowhere else, whatever its signs and white space.
fn telling<'a>(lines: &[&'a Line]) -> Vec<&'a Line> {
    let core = |line: &Line| -> String { line.text.chars().filter(|c| c.is_alphanumeric()).collect() };
    let mut cores: Vec<(String, usize)> =
        lines.iter().enumerate().map(|(at, line)| (core(line), at)).collect();
    cores.sort();
    let of_one = cores.chunk_by(|one, next| one.0 == next.0).filter(|same| same.len() == 1);
    let mut found: Vec<usize> =
        of_one.flatten().filter(|(core, _)| core.chars().count() > 8).map(|(_, at)| *at).collect();
    found.sort_unstable();
    found.into_iter().map(|at| lines[at]).collect()
}

/// Whether the hunks are all there is between the two: what they leave out is the same on both sides.
fn turns_into(hunks: &[Hunk], old: &[&str], new: &[&str]) -> bool {
    let (mut at_old, mut at_new) = (0, 0);
    for hunk in hunks {
        let first = |number: fn(&Line) -> Option<u32>| hunk.lines.iter().find_map(number);
        let gap = match (first(|line| line.old_no), first(|line| line.new_no)) {
            (Some(number), _) => (number as usize).checked_sub(at_old + 1),
            (None, Some(number)) => (number as usize).checked_sub(at_new + 1),
            (None, None) => return false,
        };
        let Some(gap) = gap else { return false };
        if old.get(at_old..at_old + gap).is_none_or(|same| new.get(at_new..at_new + gap) != Some(same)) {
            return false;
        }
        at_old += gap + hunk.lines.iter().filter(|line| line.old_no.is_some()).count();
        at_new += gap + hunk.lines.iter().filter(|line| line.new_no.is_some()).count();
    }
    old.get(at_old..).is_some_and(|rest| new.get(at_new..) == Some(rest))
}

/// What git printed for each file. A line of a file never starts like this: it has its sign first.
fn sections(patch: &str) -> impl Iterator<Item = &str> {
    let mut starts: Vec<usize> = patch.match_indices("\ndiff --git ").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    starts.push(patch.len());
    let bounds: Vec<[usize; 2]> = starts.windows(2).map(|pair| [pair[0], pair[1]]).collect();
    bounds.into_iter().map(|[start, end]| &patch[start..end])
}
