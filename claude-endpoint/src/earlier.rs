//! What earlier reviews of a pull request told, and what became of it. Pure.
//!
//! The state travels in the summary comment, so that a Mac that lost its disk knows what it said; the threads on GitHub
//! have the last word, since people resolve and delete there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::diff::{Diff, File};
use crate::fingerprint::{Fingerprint, HunkId, Place, places};
use crate::verdict::{Severity, Side};

/// Findings that are kept; beyond it those that are settled go first.
const MOST_TOLD: usize = 200;
/// Changed places that are remembered as reviewed; one beyond it is reviewed again.
const MOST_HUNKS: usize = 1_500;

/// All that is known of a pull request's reviews.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The head that was reviewed last; empty if none was.
    pub head: String,
    /// Reviews since a person last asked for one.
    pub rounds: u32,
    /// Files of that head that were not reviewed, or not whole.
    #[serde(default)]
    pub gaps: usize,
    /// Who paused the reviews, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// What was found so far.
    pub findings: Vec<Told>,
    /// Changed places that were reviewed.
    pub hunks: BTreeSet<HunkId>,
}

/// A finding that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its identity.
    pub fingerprint: Fingerprint,
    /// How bad it is.
    pub severity: Severity,
    /// File, by the name it had when it was told.
    pub path: String,
    /// Line, where it was told.
    pub line: u32,
    /// Side of the diff it was told on.
    pub side: Side,
    /// One line.
    pub title: String,
    /// Where it stands.
    pub standing: Standing,
    /// Whether it stands on a line of the diff, by which it can be missed; else it is about a file or the whole change.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub is_anchored: bool,
    /// Whether it has a comment of its own; else it stands in the summary.
    pub has_comment: bool,
    /// That comment, once GitHub has shown it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// Where a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody did anything about it yet.
    Open,
    /// What it was about is gone.
    Fixed,
    /// A person resolved or deleted it. A reaction does not count: on a public repository anybody has one.
    Dismissed,
}

/// One of our comments as it is on GitHub now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it told, as far as the comment says.
    pub told: Told,
    /// Its thread is resolved.
    pub is_resolved: bool,
}

impl State {
    /// Brings in what GitHub shows of our comments. One that has disappeared was deleted by a person.
    pub fn see(&mut self, seen: &[Seen]) {
        // what came back after it was fixed has two threads: each finding has its own
        let mut taken: BTreeSet<Option<String>> = self.findings.iter().map(|told| told.url.clone()).collect();
        for told in self.findings.iter_mut().rev().filter(|told| told.has_comment) {
            let at = seen.iter().rev().find(|seen| match &told.url {
                Some(_) => seen.told.url == told.url,
                None => seen.told.fingerprint == told.fingerprint && !taken.contains(&seen.told.url),
            });
            told.url = at.and_then(|seen| seen.told.url.clone());
            taken.insert(told.url.clone());
            if told.standing == Standing::Open && at.is_none_or(|seen| seen.is_resolved) {
                told.standing = Standing::Dismissed;
            }
        }
        // posted before the summary could be updated, or the summary is gone
        for new in seen.iter().filter(|new| !taken.contains(&new.told.url)) {
            let standing = if new.is_resolved { Standing::Dismissed } else { Standing::Open };
            self.findings.push(Told { standing, ..new.told.clone() });
        }
    }

    /// The finding that was told before and is the same, unless it was fixed meanwhile: what comes back is news.
    pub fn known(&self, prints: &[Fingerprint]) -> Option<&Told> {
        let mut unsettled = self.findings.iter().filter(|told| told.standing != Standing::Fixed);
        unsettled.find(|told| prints.iter().any(|print| print.is_same(&told.fingerprint)))
    }

    /// Findings that nobody did anything about.
    pub fn open(&self) -> impl Iterator<Item = &Told> {
        self.with(Standing::Open)
    }

    /// Findings that stand so.
    pub fn with(&self, standing: Standing) -> impl Iterator<Item = &Told> {
        self.findings.iter().filter(move |told| told.standing == standing)
    }

    /// Whether a changed place was reviewed before.
    pub fn is_reviewed(&self, hunk: HunkId) -> bool {
        self.hunks.contains(&hunk)
    }

    /// Open findings whose line is not part of the change any more, by their place in `findings`. `text` tells a file's
    /// whole text where it is at hand.
    pub fn gone<'a>(&self, diff: &Diff, text: impl Fn(&str) -> Option<&'a str>) -> Vec<usize> {
        let open = self.findings.iter().enumerate().filter(|(_, told)| told.standing == Standing::Open);
        let is_gone = |told: &Told| match told.is_anchored {
            true => !is_there(told, diff, &text),
            false => !self.may_be_there(told, diff),
        };
        open.filter(|(_, told)| is_gone(told)).map(|(index, _)| index).collect()
    }

    /// What stands on no line is believed to be there as long as a place of its file is as it was; a finding about no file
    /// of the change, as long as any is.
    fn may_be_there(&self, told: &Told, diff: &Diff) -> bool {
        let is_kept = |file: &File| file.hunks.iter().any(|hunk| self.is_reviewed(HunkId::new(file, hunk)));
        match diff.files.iter().find(|file| file.path() == told.path) {
            Some(file) => file.hunks.is_empty() || is_kept(file),
            None => diff.unlisted > 0 || (!told.has_comment && diff.files.iter().any(is_kept)),
        }
    }

    /// The head `head` was reviewed: `fixed` are gone, `new` are told, and `hunks` need no second review.
    pub fn advance(&mut self, head: &str, fixed: &[usize], new: Vec<Told>, hunks: BTreeSet<HunkId>) {
        for &index in fixed {
            if let Some(told) = self.findings.get_mut(index) {
                told.standing = Standing::Fixed;
            }
        }
        head.clone_into(&mut self.head);
        self.rounds += 1;
        self.findings.extend(new);
        self.hunks = hunks.into_iter().take(MOST_HUNKS).collect();
        let mut surplus = self.findings.len().saturating_sub(MOST_TOLD);
        for settled in [Standing::Fixed, Standing::Dismissed] {
            self.findings.retain(|told| {
                let goes = surplus > 0 && told.standing == settled;
                surplus -= usize::from(goes);
                !goes
            });
        }
        self.findings.truncate(MOST_TOLD);
    }
}

/// Whether the line of a finding still is part of the change. One that cannot be told by its text is believed to be.
fn is_there<'a>(told: &Told, diff: &Diff, text: impl Fn(&str) -> Option<&'a str>) -> bool {
    let named = |path: &Option<String>| path.as_deref() == Some(&told.path);
    let renamed = || diff.files.iter().find(|file| named(&file.old_path));
    let Some(file) = diff.files.iter().find(|file| named(&file.new_path)).or_else(renamed) else {
        // it may be one of those that GitHub does not list
        return diff.unlisted > 0;
    };
    let place = told.fingerprint.place();
    if !place.is_telling() {
        return true;
    }
    match text(file.path()) {
        // GitHub left out a patch: the file itself has to tell
        Some(text) if file.hunks.is_empty() => {
            text.split('\n').any(|line| Place::new(&told.path, line, None) == place)
        }
        _ => file.hunks.is_empty() || is_shown(file, told, place),
    }
}

fn is_shown(file: &File, told: &Told, place: Place) -> bool {
    places(&told.path, file, told.side).any(|(_, shown)| shown == place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff;
    use crate::verdict::Category;

    const DIFF: &str = "diff --git a/x.rs b/x.rs\n--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1,4 @@\n fn main() {\n+    let first = 1;\n+    let second = 2;\n }\n";

    fn told(path: &str, line: &str, url: Option<&str>) -> Told {
        let place = Place::new(path, line, None);
        Told {
            fingerprint: Fingerprint::new(place, "rule", Category::Bug),
            severity: Severity::Major,
            path: path.to_owned(),
            line: 2,
            side: Side::Right,
            title: line.to_owned(),
            standing: Standing::Open,
            is_anchored: true,
            has_comment: url.is_some(),
            url: url.map(str::to_owned),
        }
    }

    fn seen(told: &Told, is_resolved: bool) -> Seen {
        Seen { told: told.clone(), is_resolved }
    }

    fn standings(state: &State) -> Vec<Standing> {
        state.findings.iter().map(|told| told.standing).collect()
    }

    #[test]
    fn people_have_the_last_word() {
        let all = ["open", "resolved", "deleted"].map(|at| told("x.rs", at, Some(at)));
        let mut state = State { findings: all.to_vec(), ..State::default() };
        state.findings.push(told("x.rs", "in the summary", None));
        let lost = told("x.rs", "posted before a crash", Some("lost"));
        state.see(&[seen(&all[0], false), seen(&all[1], true), seen(&lost, false)]);
        use Standing::{Dismissed, Open};
        assert_eq!(standings(&state), [Open, Dismissed, Dismissed, Open, Open]);
        assert!(state.known(&[all[1].fingerprint.clone()]).is_some(), "dismissed stays dismissed");
        let before = state.clone();
        state.see(&[seen(&all[0], false), seen(&all[1], false), seen(&lost, false)]);
        assert_eq!(state, before, "and looking again changes nothing");
    }

    #[test]
    fn a_finding_that_came_back_has_a_thread_of_its_own() {
        let old = Told { standing: Standing::Fixed, ..told("x.rs", "let first = 1;", Some("old")) };
        let new = Told { standing: Standing::Open, url: None, ..old.clone() };
        let at = |url: &str, is_resolved| seen(&Told { url: Some(url.into()), ..new.clone() }, is_resolved);
        let mut state = State { findings: vec![old.clone(), new.clone()], ..State::default() };
        let threads = [at("old", true), at("new", false)];
        state.see(&threads);
        assert_eq!(standings(&state), [Standing::Fixed, Standing::Open]);
        assert_eq!(state.findings[1].url.as_deref(), Some("new"));
        let mut state = State { findings: vec![old], ..State::default() };
        state.see(&threads);
        assert_eq!(standings(&state), [Standing::Fixed, Standing::Open], "posted before a crash");
        state.see(&[at("old", true), at("new", true)]);
        assert_eq!(standings(&state), [Standing::Fixed, Standing::Dismissed]);
    }

    #[test]
    fn a_file_that_github_does_not_list_is_not_gone() {
        let mut diff = diff::parse(DIFF).unwrap();
        let state = State { findings: vec![told("other.rs", "let x = 10;", None)], ..State::default() };
        assert_eq!(state.gone(&diff, |_| None), [0]);
        diff.unlisted = 1;
        assert!(state.gone(&diff, |_| None).is_empty());
    }

    #[test]
    fn what_is_gone_from_the_change_is_fixed_and_news_when_it_comes_back() {
        let diff = diff::parse(DIFF).unwrap();
        let findings = vec![
            told("x.rs", "let first = 1;", None),
            told("x.rs", "let third = 3;", None),
            told("other.rs", "let first = 1;", None),
            told("x.rs", "}", None),
        ];
        let mut state = State { findings, ..State::default() };
        let gone = state.gone(&diff, |_| None);
        assert_eq!(gone, [1, 2], "a line that says little is not missed");
        state.advance("abc", &gone, vec![], BTreeSet::new());
        use Standing::{Fixed, Open};
        assert_eq!(standings(&state), [Open, Fixed, Fixed, Open]);
        assert_eq!((state.head.as_str(), state.rounds), ("abc", 1));
        let print = |line| [Fingerprint::new(Place::new("x.rs", line, None), "rule", Category::Bug)];
        assert!(state.known(&print("let third = 3;")).is_none());
        assert!(state.known(&print("  let  first = 1;")).is_some());
    }

    #[test]
    fn what_stands_on_no_line_is_there_as_long_as_its_file_is_as_it_was() {
        let diff = diff::parse(DIFF).unwrap();
        let loose = |path: &str, url| Told { is_anchored: false, ..told(path, "nobody wrote this", url) };
        let findings =
            vec![loose("x.rs", Some("on the file")), loose("other.rs", None), loose("gone.rs", Some("u"))];
        let mut state = State { findings, ..State::default() };
        assert_eq!(state.gone(&diff, |_| None), [0, 1, 2], "all of the change is another");
        state.hunks = [HunkId::new(&diff.files[0], &diff.files[0].hunks[0])].into();
        assert_eq!(state.gone(&diff, |_| None), [2], "its file is not part of the change any more");
    }

    #[test]
    fn a_renamed_file_keeps_its_findings() {
        let renamed =
            DIFF.replace("b/x.rs", "b/y.rs").replace("--- a", "rename from x.rs\nrename to y.rs\n--- a");
        let diff = diff::parse(&renamed).unwrap();
        let state = State { findings: vec![told("x.rs", "let first = 1;", None)], ..State::default() };
        assert!(state.gone(&diff, |_| None).is_empty());
    }

    #[test]
    fn of_too_many_findings_the_settled_go_first() {
        let many = (0..MOST_TOLD + 20).map(|n| told("x.rs", &format!("statement {n}"), None));
        let mut state = State { findings: many.collect(), ..State::default() };
        state.advance("abc", &(0..30).collect::<Vec<_>>(), vec![], BTreeSet::new());
        assert_eq!((state.findings.len(), state.open().count()), (MOST_TOLD, MOST_TOLD - 10));
    }
}
