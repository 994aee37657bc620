//! Of what a model found, what is news: not told before, not dismissed, not about code that was reviewed before. Pure.

use crate::anchor::{Anchored, InlineComment, Kept, anchor};
use crate::diff::{Diff, File, Hunk};
use crate::earlier::{Standing, State, Told};
use crate::fingerprint::{Fingerprint, HunkId, Place, places};
use crate::text::shorten;
use crate::verdict::{Finding, Side};

/// Characters of a title that the state keeps.
const LONGEST_TITLE: usize = 120;

/// Findings that are news, and how many are not.
#[derive(Debug, Default)]
pub struct Sifted {
    /// In the order of the answer.
    pub news: Vec<Finding>,
    /// Told before, dismissed ones included; or twice in this answer.
    pub repeated: usize,
    /// What was told before and is found again: it is not fixed.
    pub again: Vec<Fingerprint>,
    /// About a changed place that an earlier review has seen as it is.
    pub settled: usize,
}

/// Keeps what is news.
pub fn sift(diff: &Diff, state: &State, findings: Vec<Finding>) -> Sifted {
    let mut sifted = Sifted::default();
    let mut told: Vec<Fingerprint> = Vec::new();
    for finding in findings {
        let found = Found::of(diff, &finding);
        let known = state.known(&found.prints);
        sifted.again.extend(known.map(|told| told.fingerprint.clone()));
        let is_repeated =
            known.is_some() || told.iter().any(|told| found.prints.iter().any(|print| print.is_same(told)));
        if is_repeated {
            sifted.repeated += 1;
        } else if found.hunk.is_some_and(|hunk| state.is_reviewed(hunk)) {
            sifted.settled += 1;
        } else {
            told.extend(found.prints);
            sifted.news.push(finding);
        }
    }
    sifted
}

/// A finding's identity, and the changed place that it stands in.
struct Found {
    /// By its present path, and by the one its file had before.
    prints: Vec<Fingerprint>,
    hunk: Option<HunkId>,
}

impl Found {
    fn of(diff: &Diff, finding: &Finding) -> Self {
        let anchored = anchor(diff, vec![finding.clone()]);
        match anchored.inline.first() {
            Some(comment) => Self::inline(diff, comment),
            None => Self { prints: vec![of_quote(finding)], hunk: None },
        }
    }

    fn inline(diff: &Diff, comment: &InlineComment) -> Self {
        let prints = inline_prints(diff, comment);
        let line = comment.start_line.unwrap_or(comment.line);
        let file = file(diff, &comment.path);
        let hunk = file.and_then(|file| {
            let hunk = file.hunks.iter().find(|hunk| holds(hunk, comment.side, line))?;
            Some(HunkId::new(file, hunk))
        });
        Self { prints, hunk }
    }
}

fn holds(hunk: &Hunk, side: Side, line: u32) -> bool {
    hunk.lines.iter().any(|shown| Some(line) == if side == Side::Left { shown.old_no } else { shown.new_no })
}

fn file<'a>(diff: &'a Diff, path: &str) -> Option<&'a File> {
    diff.files.iter().find(|file| file.path() == path)
}

/// The identity of an inline comment: by its present path, then by the one before.
fn inline_prints(diff: &Diff, comment: &InlineComment) -> Vec<Fingerprint> {
    let line = comment.start_line.unwrap_or(comment.line);
    let Some(file) = file(diff, &comment.path) else { return vec![of_quote(&comment.finding)] };
    let old = file.old_path.as_deref().filter(|old| *old != comment.path);
    let paths = std::iter::once(comment.path.as_str()).chain(old);
    let at = |path| {
        let place = places(path, file, comment.side).find(|(number, _)| *number == line)?.1;
        Some(Fingerprint::new(place, &comment.finding.rule, comment.finding.category))
    };
    let prints: Vec<_> = paths.filter_map(at).collect();
    if prints.is_empty() { vec![of_quote(&comment.finding)] } else { prints }
}

/// Where nothing but the finding's own words tell what it is about.
fn of_quote(finding: &Finding) -> Fingerprint {
    let quoted = finding.quote.split('\n').find(|line| !line.trim().is_empty());
    let place = Place::new(&finding.path, quoted.unwrap_or(&finding.title), None);
    Fingerprint::new(place, &finding.rule, finding.category)
}

/// What an inline comment tells, for the state and for the comment's marker.
pub fn told_inline(diff: &Diff, comment: &InlineComment) -> Told {
    let prints = inline_prints(diff, comment);
    let fingerprint = prints.into_iter().next().unwrap_or_else(|| of_quote(&comment.finding));
    let line = comment.start_line.unwrap_or(comment.line);
    told(&comment.finding, fingerprint, &comment.path, line, comment.side, true)
}

/// What a finding without a line tells; `has_comment` if it becomes a comment on its file.
pub fn told_kept(kept: &Kept, has_comment: bool) -> Told {
    let finding = &kept.finding;
    let told = told(finding, of_quote(finding), &finding.path, finding.line, finding.side, has_comment);
    Told { is_anchored: false, ..told }
}

/// Everything that is told.
pub fn told_all(diff: &Diff, anchored: &Anchored) -> Vec<Told> {
    let inline = anchored.inline.iter().map(|comment| told_inline(diff, comment));
    let files = anchored.file.iter().map(|kept| told_kept(kept, true));
    let body = anchored.body.iter().map(|kept| told_kept(kept, false));
    inline.chain(files).chain(body).collect()
}

fn told(
    finding: &Finding,
    fingerprint: Fingerprint,
    path: &str,
    line: u32,
    side: Side,
    has_comment: bool,
) -> Told {
    Told {
        fingerprint,
        severity: finding.severity,
        path: path.to_owned(),
        line,
        side,
        title: shorten(&finding.title, LONGEST_TITLE),
        standing: Standing::Open,
        is_anchored: true,
        has_comment,
        url: None,
    }
}
