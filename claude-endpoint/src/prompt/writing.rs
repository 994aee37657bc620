//! The prompts' texts, once it is settled which shows what. Pure.

use super::packing::{Candidate, Part};
use super::patch::Patch;
use super::surroundings::Surroundings;
use super::{INSTRUCTIONS, LeftOut, Material, Prompt, background};
use crate::diff::{Diff, File, Hunk};
use crate::text::visible;

/// The longest heading of a diff, with some room for high numbers.
pub(super) const LONGEST_HEADING: usize = 40;
const CODE: &str = "## Code around the change\n";
/// Files that a prompt names without showing them; the review's body names more.
const MOST_NAMED: usize = 100;
/// What a name takes beside the path.
const LONGEST_REASON: usize = 90;
/// The heading above names, and the number of those that are not named.
const NAMES_FRAME: usize = 80;
/// Whole files longer than this cost more than they help.
const LONGEST_FILE: usize = 60_000;

/// What all prompts of a review are written from.
pub(super) struct Writing<'a, 'b> {
    pub(super) material: &'b Material<'a>,
    pub(super) candidates: &'b [Candidate<'a>],
    /// Places that were reviewed before, as long as no prompt shows them.
    pub(super) reviewed: Vec<(&'a File, Vec<&'a Hunk>)>,
    pub(super) left_out: &'b [LeftOut],
    /// Bytes for the names of what is not shown.
    pub(super) names: usize,
}

/// The bytes that names may take.
pub(super) fn room_for_names(diff: &Diff, room: usize) -> usize {
    let named = diff.files.iter().take(MOST_NAMED);
    let names: usize = named.map(|file| visible(file.path()).len() + LONGEST_REASON).sum();
    (names + 2 * NAMES_FRAME).min(room / 10)
}

/// Takes the text's bytes off the room, if they fit.
fn fit(room: &mut usize, text: String) -> Option<String> {
    *room = room.checked_sub(text.len())?;
    Some(text)
}

impl Writing<'_, '_> {
    /// One prompt for each list of parts, below what all share. `room` is for each one's own text.
    pub(super) fn prompts(mut self, shared: &str, prompts: &[Vec<Part<'_>>], room: usize) -> Vec<Prompt> {
        let mut written = Vec::new();
        for (at, parts) in prompts.iter().enumerate() {
            let heading = match prompts.len() {
                1 => "## Diff\n".to_owned(),
                all => format!("## Diff, part {} of {all}\n", at + 1),
            };
            let own = self.own(parts, &heading, room);
            let user = format!("{shared}{own}{}", self.names(parts));
            written.push(Prompt { system: INSTRUCTIONS, user });
        }
        written
    }

    fn own(&mut self, parts: &[Part<'_>], heading: &str, mut room: usize) -> String {
        let files: Vec<String> = parts.iter().map(|part| self.file(part)).collect();
        room = room.saturating_sub(files.iter().map(String::len).sum());
        let diff = self.with_reviewed(parts, files, &mut room);
        let files: Vec<Surroundings<'_>> = parts.iter().filter_map(|part| self.surroundings(part)).collect();
        room = room.saturating_sub(CODE.len() + 1);
        let near = |file: &Surroundings<'_>| {
            fit(&mut room, file.near()).or_else(|| fit(&mut room, file.nearest())).unwrap_or_default()
        };
        let near: Vec<String> = files.iter().map(near).collect();
        let history = background::within(&background::history(self.material), room);
        let code = match widened(&files, near, room - history.len()) {
            code if code.is_empty() => code,
            code => format!("{CODE}{code}\n"),
        };
        format!("{history}{code}{heading}{diff}")
    }

    /// A file's places in focus.
    fn file(&self, part: &Part<'_>) -> String {
        let patch = &self.candidates[part.file].patch;
        part.places.iter().fold(patch.header(), |out, place| out + &patch.place(place))
    }

    /// The files' texts, with the gist of what was reviewed before as far as there is room: places of the same files, then
    /// files that have no others.
    fn with_reviewed(&mut self, parts: &[Part<'_>], files: Vec<String>, room: &mut usize) -> String {
        let mut diff = String::new();
        for (part, text) in parts.iter().zip(files) {
            diff.push_str(&text);
            let file = self.candidates[part.file].patch.file;
            if let Some(at) = self.reviewed.iter().position(|(other, _)| std::ptr::eq(*other, file)) {
                let (_, hunks) = self.reviewed.remove(at);
                let patch = Patch::new(file);
                diff.extend(hunks.iter().filter_map(|hunk| fit(room, patch.reviewed(hunk))));
            }
        }
        let candidates = self.candidates;
        self.reviewed.retain(|(file, hunks)| {
            let patch = Patch::new(file);
            let text = hunks.iter().fold(patch.header(), |out, hunk| out + &patch.reviewed(hunk));
            has_focus(candidates, file) || fit(room, text).map(|text| diff.push_str(&text)).is_none()
        });
        diff
    }

    /// The code around a part's places; none for a new file, which the diff shows as a whole.
    fn surroundings(&self, part: &Part<'_>) -> Option<Surroundings<'_>> {
        let file = self.candidates[part.file].patch.file;
        let path = file.new_path.as_deref().filter(|_| file.old_path.is_some())?;
        let text = self.material.background.files.iter().find(|text| text.path == path)?;
        Surroundings::new(path, &text.text, &part.places)
    }

    /// What is not shown here, by name.
    fn names(&self, parts: &[Part<'_>]) -> String {
        let is_here = |at: usize| parts.iter().any(|part| part.file == at);
        let others = self.candidates.iter().enumerate().filter(|(at, _)| !is_here(*at));
        let left_out = |path: &str| self.left_out.iter().any(|left| left.path == path);
        let elsewhere =
            others.map(|(_, candidate)| candidate.patch.file.path()).filter(|path| !left_out(path));
        let elsewhere: Vec<String> = elsewhere.map(|path| format!("| {}\n", visible(path))).collect();
        let reviewed = self.reviewed.iter().filter(|(file, _)| !has_focus(self.candidates, file));
        let reviewed = reviewed.map(|(file, _)| (file.path(), "reviewed before"));
        let left = self.left_out.iter().map(|left| (left.path.as_str(), left.reason.as_str()));
        let left = left.chain(reviewed).map(|(path, reason)| format!("| {} ({reason})\n", visible(path)));
        let mut room = self.names;
        let not_shown = list("\n## Changed, but not shown\n", left.collect(), &mut room);
        not_shown + &list("\n## In the other parts\n", elsewhere, &mut room)
    }
}

/// Whether something of the file is to be reviewed.
fn has_focus(candidates: &[Candidate<'_>], file: &File) -> bool {
    candidates.iter().any(|candidate| std::ptr::eq(candidate.patch.file, file))
}

/// The heading and as many lines as there is room for; nothing without lines.
fn list(heading: &str, lines: Vec<String>, room: &mut usize) -> String {
    let Some(rest) = room.checked_sub(NAMES_FRAME).filter(|_| !lines.is_empty()) else {
        return String::new();
    };
    *room = rest;
    let all = lines.len();
    let named: Vec<String> = lines.into_iter().take(MOST_NAMED).map_while(|line| fit(room, line)).collect();
    let more = match all - named.len() {
        0 => String::new(),
        more => format!("and {more} more\n"),
    };
    format!("{heading}{}{more}", named.concat())
}

/// The code near the places, or the whole file where there is room for it; short files first.
fn widened(files: &[Surroundings<'_>], near: Vec<String>, mut room: usize) -> String {
    let whole: Vec<String> = files.iter().map(Surroundings::whole).collect();
    let mut order: Vec<usize> = (0..files.len()).filter(|at| whole[*at].len() <= LONGEST_FILE).collect();
    order.sort_by_key(|at| whole[*at].len());
    let mut code = near;
    for at in order {
        if let Some(rest) = (room + code[at].len()).checked_sub(whole[at].len()) {
            room = rest;
            code[at].clone_from(&whole[at]);
        }
    }
    code.concat()
}
