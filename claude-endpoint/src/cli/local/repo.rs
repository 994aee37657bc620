//! A repository on this machine, read with git.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::diff::Diff;
use crate::prompt::{Commit, Text};

/// A larger file is not shown whole anyway.
const LARGEST_FILE: u64 = 512 << 10;
const MOST_FILES: usize = 60;
const MOST_COMMITS: &str = "--max-count=50";

/// Its folder: the top of the work tree, without links. A folder that is no repository has files all the same.
pub(super) struct Repo(PathBuf);

impl Repo {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let no_folder = || format!("--repo {} is no folder that can be read", folder.display());
        let folder = folder.canonicalize().with_context(no_folder)?;
        let inside = Self(folder);
        let top = inside.git(&["rev-parse", "--show-toplevel"]).ok();
        let top = top.and_then(|top| PathBuf::from(top.trim_end_matches('\n')).canonicalize().ok());
        Ok(top.map_or(inside, Self))
    }

    pub(super) fn name(&self) -> String {
        self.0.file_name().map_or("local".into(), |name| name.to_string_lossy().into_owned())
    }

    /// As a webhook's diff looks, whatever this machine's git is set to.
    pub(super) fn diff(&self, range: &str) -> anyhow::Result<String> {
        // outside of a repository `git diff` compares files
        self.git(&["rev-parse", "--git-dir"])?;
        let plain = ["--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--submodule=short"];
        let form =
            ["--unified=3", "-M", "--src-prefix=a/", "--dst-prefix=b/", "--end-of-options", range, "--"];
        self.git(&[["diff"].as_slice(), &plain, &form].concat())
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(arguments)
            .output()
            .context("cannot run git; install it, or give a diff with --diff")?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let told = told.trim();
            bail!("git: {}", told.strip_prefix("fatal: ").unwrap_or(told));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A file as a commit has it.
    pub(super) fn file(&self, commit: &str, path: &str) -> Option<Text> {
        let text =
            self.git(&["show", "--no-textconv", "--end-of-options", &format!("{commit}:{path}")]).ok()?;
        (text.len() as u64 <= LARGEST_FILE).then(|| Text { path: path.to_owned(), text })
    }

    /// Changed files as they are after the change: at `head`, or as they lie in the folder.
    pub(super) fn files(&self, head: Option<&str>, diff: &Diff) -> Vec<Text> {
        let readable = diff.files.iter().filter(|file| file.unreadable.is_none());
        let paths = readable.filter_map(|file| file.new_path.as_deref());
        let text = |path| match head {
            Some(head) => self.file(head, path),
            None => self.lying(path),
        };
        paths.take(MOST_FILES).filter_map(text).collect()
    }

    /// A diff names any path; nothing outside of the repository is read for it, whatever links lead there, and nothing
    /// that git keeps for itself: that may hold passwords.
    fn lying(&self, path: &str) -> Option<Text> {
        if !is_plain(Path::new(path)) {
            return None;
        }
        let real = self.0.join(path).canonicalize().ok()?;
        let inside = real.strip_prefix(&self.0).ok()?;
        // a pipe would be waited for
        if !is_plain(inside) || !fs::metadata(&real).ok()?.is_file() {
            return None;
        }
        let mut text = String::new();
        File::open(&real).ok()?.take(LARGEST_FILE + 1).read_to_string(&mut text).ok()?;
        (text.len() as u64 <= LARGEST_FILE).then(|| Text { path: path.to_owned(), text })
    }

    /// The commits of a range, the newest first.
    pub(super) fn commits(&self, base: &str, head: &str) -> Vec<Commit> {
        let range = format!("{base}..{head}");
        let form = ["--no-show-signature", MOST_COMMITS, "--format=%H%n%B%x00"];
        let log = self.git(&[["log"].as_slice(), &form, &["--end-of-options", &range, "--"]].concat());
        let log = log.unwrap_or_default();
        let entries = log.split('\0').filter_map(|entry| entry.trim_start().split_once('\n'));
        entries
            .map(|(sha, message)| Commit { sha: sha.to_owned(), message: message.trim().to_owned() })
            .collect()
    }
}

fn is_plain(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(name) if !name.eq_ignore_ascii_case(".git")))
}
