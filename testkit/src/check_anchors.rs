//! Holds the diff parser, the prompt and the anchors against the files themselves, over a repository's history.
//!
//! For each commit the real `git diff` is parsed as a review does it. Line N of a side has to be line N of that file as
//! git has it, the changed places have to turn the old file into the new one, whoever reads the prompt has to come to
//! the same numbers, and a finding that quotes a line has to be placed on it. No part of the claude-endpoint is asked
//! whether it is right: paths and blobs come from git, the prompt is read by [`crate::shown`].

mod git;
mod oracle;
mod report;

use std::{
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, anyhow, ensure};
use claude_endpoint::diff;

use self::{
    git::{Blobs, Commit, Repository},
    oracle::Case,
    report::Tally,
};

/// What is checked.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckAnchors {
    /// A git repository: a work tree, or a bare one
    repository: PathBuf,
    /// So many of the newest commits; a merge is compared with its first parent
    #[arg(long, default_value_t = 500, value_name = "N")]
    commits: usize,
    /// Unchanged lines around each change; GitHub has three
    #[arg(long, default_value_t = 3, value_name = "LINES")]
    context: u32,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Checks, prints what it came to, and fails if anything is wrong.
///
/// # Errors
/// It is no repository, git failed, or a number is wrong.
pub fn run(args: &CheckAnchors) -> anyhow::Result<()> {
    let tally = check(args)?;
    for message in &tally.messages {
        eprintln!("{message}");
    }
    let text = if args.json { tally.json().to_string() } else { tally.to_string() };
    writeln!(std::io::stdout().lock(), "{text}")?;
    ensure!(tally.wrong == 0, "{} wrong", tally.wrong);
    Ok(())
}

/// All commits, on as many threads as there are processors.
fn check(args: &CheckAnchors) -> anyhow::Result<Tally> {
    let repository = Repository::open(&args.repository)?;
    let commits = repository.commits(args.commits)?;
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<Tally> {
        let mut blobs = repository.blobs()?;
        let mut tally = Tally::default();
        while let Some(commit) = commits.get(next.fetch_add(1, Ordering::Relaxed)) {
            let checked = check_commit(&repository, &mut blobs, commit, args.context);
            tally.add(checked.with_context(|| format!("commit {}", commit.id))?);
        }
        Ok(tally)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Tally::default();
        for worker in workers {
            all.add(worker.join().map_err(|_| anyhow!("a check panicked"))??);
        }
        Ok(all)
    })
}

fn check_commit(
    repository: &Repository,
    blobs: &mut Blobs,
    commit: &Commit,
    context: u32,
) -> anyhow::Result<Tally> {
    let (Some(patch), Some(changes)) = (repository.patch(commit, context)?, repository.changes(commit)?)
    else {
        return Ok(Tally::skipped());
    };
    let mut tally = Tally::default();
    let diff = match diff::parse(&patch) {
        Ok(diff) => diff,
        Err(error) => {
            tally.wrong(&commit.id, error);
            return Ok(tally);
        }
    };
    tally.diffs = usize::from(!diff.files.is_empty());
    let case = Case { commit: &commit.id, patch: &patch, diff: &diff };
    case.paths(&changes, &mut tally);
    for (file, change) in diff.files.iter().zip(&changes).filter(|(file, _)| !file.hunks.is_empty()) {
        match (blobs.text(change.old.as_ref())?, blobs.text(change.new.as_ref())?) {
            (Some(old), Some(new)) => case.file(file, &old, &new, &mut tally),
            _ => tally.skipped += 1,
        }
    }
    case.addresses(&mut tally);
    case.prompt(&mut tally);
    Ok(tally)
}

#[cfg(test)]
#[path = "check_anchors_tests.rs"]
mod tests;
