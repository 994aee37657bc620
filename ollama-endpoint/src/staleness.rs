//! Whether a memory still holds, given what later commits did to the code it speaks of. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::distil::{Draft, Touch, Touched};

/// How much a memory has lost; the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A file it speaks of has other contents now.
    Changed,
    /// Some of the files it speaks of are gone.
    Thinned,
    /// All files it speaks of are gone.
    Gone,
    /// One of its commits was reverted.
    Reverted,
}

/// That a memory is stale, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// How much it has lost.
    pub level: Level,
    /// One line for people, such as "src/queue.rs changed in 1a2b3c4 (2026-11-20), 3 commits since".
    pub reason: String,
}

/// Kinds that tell what happened. It has happened even when the file has changed since.
const HISTORY: [&str; 3] = ["change", "release", "discussion"];

/// What the newest touch of a file was.
struct Fate<'a> {
    path: &'a str,
    touch: &'a Touch,
    removed: bool,
    /// Commits that touched it.
    commits: BTreeSet<&'a str>,
}

/// Whether `memory` is stale after `touches`, in whatever order they are given. Only what came to the default branch later
/// than the memory counts, and neither the memory's own commits nor those of its own pull request.
pub fn standing(memory: &Draft, touches: &[Touch]) -> Option<Stale> {
    let mut later: Vec<&Touch> = touches.iter().filter(|touch| is_later(memory, touch)).collect();
    // A rename within one commit removes and adds; of one path the addition has the last word.
    let rank = |what: &Touched| matches!(what, Touched::Changed(_));
    later.sort_by(|a, b| {
        let key = |touch: &Touch| (touch.at, rank(&touch.what), touch.pull_request);
        key(a).cmp(&key(b)).then_with(|| (&a.commit, subject(a)).cmp(&(&b.commit, subject(b))))
    });
    reverted(memory, &later).or_else(|| of_files(memory, &later))
}

fn is_later(memory: &Draft, touch: &Touch) -> bool {
    let source = &memory.source;
    let own_pull = source.pull_request.is_some() && source.pull_request == touch.pull_request;
    let own_commit = source.commits.iter().any(|commit| is_same_commit(commit, &touch.commit));
    touch.at > memory.created_at && !own_pull && !own_commit
}

/// Whether two ids, of which either may be shortened, are of one commit.
fn is_same_commit(a: &str, b: &str) -> bool {
    let length = a.len().min(b.len());
    length >= 7 && a.get(..length).zip(b.get(..length)).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
}

fn subject(touch: &Touch) -> &str {
    match &touch.what {
        Touched::Changed(subject) | Touched::Removed(subject) | Touched::Reverted(subject) => subject,
    }
}

/// The newest revert of one of its commits. A revert that was reverted itself does not count, so the newest decide first.
fn reverted(memory: &Draft, later: &[&Touch]) -> Option<Stale> {
    let mut undone: Vec<&str> = Vec::new();
    for touch in later.iter().rev() {
        let Touched::Reverted(target) = &touch.what else { continue };
        if undone.iter().any(|undone| is_same_commit(undone, &touch.commit)) {
            continue;
        }
        if let Some(own) = memory.source.commits.iter().find(|commit| is_same_commit(commit, target)) {
            let reason = format!("its commit {} was reverted in {}", short(own), when(touch));
            return Some(Stale { level: Level::Reverted, reason });
        }
        undone.push(target);
    }
    None
}

fn of_files(memory: &Draft, later: &[&Touch]) -> Option<Stale> {
    let mut fates: BTreeMap<&str, Fate<'_>> = BTreeMap::new();
    for &touch in later {
        let removed = match &touch.what {
            Touched::Reverted(_) => continue,
            what => matches!(what, Touched::Removed(_)),
        };
        for path in memory.source.paths.iter().filter(|path| means(path, subject(touch))) {
            let new = || Fate { path, touch, removed, commits: BTreeSet::new() };
            let fate = fates.entry(path).or_insert_with(new);
            (fate.touch, fate.removed) = (touch, removed);
            fate.commits.insert(&touch.commit);
        }
    }
    let (gone, changed): (Vec<&Fate<'_>>, Vec<&Fate<'_>>) = fates.values().partition(|fate| fate.removed);
    let newest = |fates: &[&Fate<'_>]| fates.iter().map(|fate| fate.touch.at).max();
    let named = |fates: &[&Fate<'_>]| {
        let newest = newest(fates)?;
        let fate = fates.iter().find(|fate| fate.touch.at == newest)?;
        Some((fate.path.to_owned(), when(fate.touch), fate.commits.len()))
    };
    if let Some((path, when, _)) = named(&gone) {
        let (lost, all) = (gone.len(), memory.source.paths.iter().collect::<BTreeSet<_>>().len());
        let reason = match (lost, all) {
            (1, 1) => format!("{path} was removed in {when}"),
            _ if lost == all => format!("all {all} files it speaks of are gone, {path} in {when}"),
            _ => format!("{lost} of the {all} files it speaks of are gone, {path} in {when}"),
        };
        return Some(Stale { level: if lost == all { Level::Gone } else { Level::Thinned }, reason });
    }
    let (path, when, commits) = named(&changed).filter(|_| !HISTORY.contains(&memory.kind.as_str()))?;
    let since = if commits > 1 { format!(", {commits} commits since") } else { String::new() };
    Some(Stale { level: Level::Changed, reason: format!("{path} changed in {when}{since}") })
}

/// Whether `named` means the file at `path`: its path from the root, or the end of one. A bare name could be any file's.
fn means(named: &str, path: &str) -> bool {
    named == path || (named.contains('/') && path.strip_suffix(named).is_some_and(|rest| rest.ends_with('/')))
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

fn when(touch: &Touch) -> String {
    format!("{} ({})", short(&touch.commit), touch.at.strftime("%Y-%m-%d"))
}

#[cfg(test)]
mod tests;
