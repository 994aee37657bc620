//! Which places of which files go into which prompt. Pure.
//!
//! Files stay in the diff's order, which is that of their paths, and a prompt is filled before the next is begun: so
//! what belongs together is read together. Where there is room to spare, a prompt is left unfilled rather than a folder,
//! a file or a place cut in two.

use super::patch::{Patch, Place};
use crate::diff::{File, Hunk};

/// A file with places to review.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) patch: Patch<'a>,
    /// Never empty.
    pub(super) focus: Vec<&'a Hunk>,
    size: usize,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(file: &'a File, focus: Vec<&'a Hunk>) -> Self {
        let patch = Patch::new(file);
        let places = focus.iter().map(|hunk| patch.place(&Place::whole(hunk)).len());
        let size = patch.header().len() + places.sum::<usize>();
        Self { patch, focus, size }
    }

    fn folder(&self) -> &'a str {
        self.patch.file.path().rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// What a prompt shows of a file.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    /// Its place among the candidates.
    pub(super) file: usize,
    pub(super) places: Vec<Place<'a>>,
}

/// How many prompts there are, and the room in each: for what they share, and for their own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) prompts: usize,
    pub(super) shared: usize,
    pub(super) files: usize,
}

impl Layout {
    /// As few prompts as hold all files beside what is shared, which gets a quarter at most; where no number of prompts
    /// is enough, the files have precedence.
    pub(super) fn new(candidates: &[Candidate<'_>], shared: usize, room: usize, most_prompts: usize) -> Self {
        let total: usize = candidates.iter().map(|candidate| candidate.size).sum();
        let most = most_prompts.max(1);
        let reserve = shared.min(room / 4);
        // a margin, so that not every prompt ends in the middle of a place
        let holds = |prompts: &usize| match prompts {
            1 => total + reserve <= room,
            _ => total + total / 10 <= prompts.saturating_mul(room - reserve),
        };
        match (1..=most).find(holds) {
            Some(1) => Self { prompts: 1, shared: shared.min(room - total), files: total },
            Some(prompts) => Self { prompts, shared: reserve, files: room - reserve },
            None => {
                let spare = room.saturating_sub(total.div_ceil(most));
                let shared = spare.min(reserve);
                Self { prompts: most, shared, files: room - shared }
            }
        }
    }
}

/// Fills the prompts. What does not fit anywhere is in none.
pub(super) fn pack<'a>(candidates: &[Candidate<'a>], layout: Layout) -> Vec<Vec<Part<'a>>> {
    let limits = limits(candidates, layout.prompts.saturating_mul(layout.files));
    let sizes: Vec<usize> =
        candidates.iter().zip(&limits).map(|(candidate, limit)| candidate.size.min(*limit)).collect();
    let mut filling = Filling::new(layout, sizes.iter().sum());
    let mut at = 0;
    for folder in candidates.chunk_by(|one, next| one.folder() == next.folder()) {
        filling.keep_together(sizes[at..at + folder.len()].iter().sum());
        for candidate in folder {
            filling.keep_together(sizes[at]);
            filling.add(at, candidate, limits[at]);
            at += 1;
        }
    }
    filling.prompts
}

/// The bytes of each file that are shown. Small files first where there is too much, so that as many as possible are
/// seen; the first that does not fit is shown in part.
fn limits(candidates: &[Candidate<'_>], capacity: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|at| candidates[*at].size);
    let mut limits = vec![0; candidates.len()];
    let mut rest = capacity;
    for at in order {
        match rest.checked_sub(candidates[at].size) {
            Some(less) => (limits[at], rest) = (usize::MAX, less),
            None => (limits[at], rest) = (rest, 0),
        }
    }
    limits
}

/// Prompts that are being filled.
struct Filling<'a> {
    prompts: Vec<Vec<Part<'a>>>,
    /// The one at hand, and its room.
    at: usize,
    room: usize,
    files: usize,
    /// Room that may be left unused in all.
    slack: usize,
}

impl<'a> Filling<'a> {
    fn new(layout: Layout, total: usize) -> Self {
        let Layout { prompts, files, .. } = layout;
        let slack = prompts.saturating_mul(files).saturating_sub(total);
        Self { prompts: vec![Vec::new(); prompts.max(1)], at: 0, room: files, files, slack }
    }

    fn is_last(&self) -> bool {
        self.at + 1 == self.prompts.len()
    }

    fn next(&mut self) {
        self.slack = self.slack.saturating_sub(self.room);
        self.at += 1;
        self.room = self.files;
    }

    /// Begins the next prompt if so many bytes fit there and not here.
    fn keep_together(&mut self, size: usize) {
        if size > self.room && size <= self.files && self.room <= self.slack && !self.is_last() {
            self.next();
        }
    }

    fn add(&mut self, file: usize, candidate: &Candidate<'a>, mut limit: usize) {
        for hunk in &candidate.focus {
            let mut from = 0;
            while from < hunk.lines.len() {
                let Some((end, used)) = self.add_lines(file, &candidate.patch, hunk, from, limit) else {
                    return;
                };
                (from, limit) = (end, limit.saturating_sub(used));
            }
        }
    }

    /// Adds a place's lines from one on, as far as they fit; where they end, and the bytes they take.
    fn add_lines(
        &mut self,
        file: usize,
        patch: &Patch<'a>,
        hunk: &'a Hunk,
        from: usize,
        limit: usize,
    ) -> Option<(usize, usize)> {
        let rest = patch.place(&Place { hunk, range: from..hunk.lines.len() }).len();
        self.keep_together(self.header(file, patch) + rest);
        loop {
            let header = self.header(file, patch);
            let room = self.room.min(limit).saturating_sub(header);
            let end = patch.end_within(hunk, from, room);
            let is_limited = end < hunk.lines.len() && limit < self.room;
            // a place is cut for want of room only where nothing else of the file is seen
            if end > from && !(is_limited && self.shows(file)) {
                let place = Place { hunk, range: from..end };
                let used = header + patch.place(&place).len();
                self.push(file, place);
                self.room = self.room.saturating_sub(used);
                return Some((end, used));
            }
            if is_limited || self.is_last() {
                return None;
            }
            self.next();
        }
    }

    /// The bytes of the file's heading, if the prompt at hand has it not yet.
    fn header(&self, file: usize, patch: &Patch<'_>) -> usize {
        let is_open = self.prompts[self.at].last().is_some_and(|part| part.file == file);
        if is_open { 0 } else { patch.header().len() }
    }

    fn shows(&self, file: usize) -> bool {
        self.prompts.iter().flatten().any(|part| part.file == file)
    }

    fn push(&mut self, file: usize, place: Place<'a>) {
        let prompt = &mut self.prompts[self.at];
        match prompt.last_mut().filter(|part| part.file == file) {
            Some(part) => part.places.push(place),
            None => prompt.push(Part { file, places: vec![place] }),
        }
    }
}
