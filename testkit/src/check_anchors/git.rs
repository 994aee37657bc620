//! What git itself says of a repository's commits.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};

/// Larger diffs are skipped; GitHub shows a fiftieth of it.
const LONGEST_PATCH: u64 = 50 << 20;
const LONGEST_LIST: u64 = 50 << 20;
const LARGEST_BLOB: u64 = 100 << 20;
/// Whatever the repository and its user have set, it is asked for what GitHub would show.
const SETTINGS: &[&str] = &[
    "safe.directory=*",
    "core.quotePath=true",
    "diff.suppressBlankEmpty=false",
    "diff.interHunkContext=0",
    "diff.renames=true",
    "diff.algorithm=default",
    "diff.orderFile=/dev/null",
];
const PLAIN: &[&str] = &["--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--find-renames"];
const SUBMODULE: &str = "160000";

/// A repository on this machine.
#[derive(Debug)]
pub(super) struct Repository {
    path: PathBuf,
    /// The tree that a first commit is compared with.
    empty_tree: String,
}

/// A commit, and what it is compared with.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: String,
    base: String,
}

/// A file before or after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) path: String,
    mode: String,
    id: String,
}

/// What a commit did to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// `None`: it was not there.
    pub(super) old: Option<Side>,
    /// `None`: it is not there any more.
    pub(super) new: Option<Side>,
}

impl Repository {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut repository = Self { path: path.to_owned(), empty_tree: String::new() };
        let head = repository.output(&["rev-parse", "--verify", "HEAD^{commit}"], LONGEST_LIST)?;
        head.with_context(|| format!("{} is no git repository, or has no commits", path.display()))?;
        let tree = repository.output(&["hash-object", "-t", "tree", "--stdin"], LONGEST_LIST)?;
        let tree = tree.context("git knows no empty tree")?;
        String::from_utf8_lossy(&tree).trim().clone_into(&mut repository.empty_tree);
        Ok(repository)
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.arg("--no-pager").arg("-C").arg(&self.path);
        for setting in SETTINGS {
            git.args(["-c", setting]);
        }
        // what a git hook leaves in the environment names another repository
        git.args(arguments)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        git
    }

    /// What git prints; `None` if that is longer than `limit`, or it fails, as it does where the repository is not whole.
    fn output(&self, arguments: &[&str], limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        // messages must not fill a pipe that nobody reads
        let mut child = self.git(arguments).stderr(Stdio::null()).spawn().context("git cannot be started")?;
        let mut out = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(limit + 1).read_to_end(&mut out)?;
        }
        let is_whole = out.len() as u64 <= limit;
        if !is_whole {
            child.kill()?;
        }
        let has_ended_well = child.wait()?.success();
        Ok(Some(out).filter(|_| is_whole && has_ended_well))
    }

    /// The newest commits, each with its first parent.
    pub(super) fn commits(&self, most: usize) -> anyhow::Result<Vec<Commit>> {
        let most = most.to_string();
        let list = self.output(&["rev-list", "--parents", "--max-count", &most, "HEAD"], LONGEST_LIST)?;
        let list = String::from_utf8(list.context("the commits cannot be listed")?)?;
        let commit = |line: &str| {
            let mut ids = line.split(' ').map(str::to_owned);
            let id = ids.next()?;
            Some(Commit { id, base: ids.next().unwrap_or_else(|| self.empty_tree.clone()) })
        };
        Ok(list.lines().filter_map(commit).collect())
    }

    fn diff(&self, commit: &Commit, own: &[&str], limit: u64) -> anyhow::Result<Option<String>> {
        let between = [commit.base.as_str(), commit.id.as_str(), "--"];
        let out = self.output(&[&["diff"], PLAIN, own, &between].concat(), limit)?;
        // as in GitHub's answer, bytes that are no UTF-8 are replaced
        Ok(out.map(|out| String::from_utf8_lossy(&out).into_owned()))
    }

    /// What `git diff` prints for a commit.
    pub(super) fn patch(&self, commit: &Commit, context: u32) -> anyhow::Result<Option<String>> {
        let context = format!("--unified={context}");
        let own = ["--patch", &context, "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short"];
        self.diff(commit, &own, LONGEST_PATCH)
    }

    /// The changed files, in the order of the patch and with as many entries as it has.
    pub(super) fn changes(&self, commit: &Commit) -> anyhow::Result<Option<Vec<Change>>> {
        let list = self.diff(commit, &["--raw", "--no-abbrev", "-z"], LONGEST_LIST)?;
        list.map(|list| changes(&list)).transpose()
    }

    pub(super) fn blobs(&self) -> anyhow::Result<Blobs> {
        let mut git = self.git(&["cat-file", "--batch"]);
        let mut child = git.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("git has no pipes");
        };
        Ok(Blobs { child, stdin, stdout: BufReader::new(stdout) })
    }
}

/// Reads `git diff --raw -z`.
fn changes(list: &str) -> anyhow::Result<Vec<Change>> {
    let mut fields = list.split('\0').filter(|field| !field.is_empty());
    let mut changes = Vec::new();
    while let Some(entry) = fields.next() {
        let entry: Vec<&str> = entry.trim_start_matches(':').split(' ').collect();
        let [old_mode, new_mode, old_id, new_id, status] = entry[..] else {
            bail!("git diff --raw printed {entry:?}");
        };
        let old_path = fields.next().context("git diff --raw ends in an entry")?;
        let has_two = status.starts_with(['R', 'C']);
        let new_path = if has_two { fields.next() } else { None }.unwrap_or(old_path);
        let side = |path: &str, mode: &str, id: &str| {
            let is_there = mode != "000000";
            is_there.then(|| Side { path: path.to_owned(), mode: mode.to_owned(), id: id.to_owned() })
        };
        let (old, new) = (side(old_path, old_mode, old_id), side(new_path, new_mode, new_id));
        // a file that becomes a link or a submodule is deleted and added
        if status.starts_with('T') {
            changes.extend([Change { old, new: None }, Change { old: None, new }]);
        } else {
            changes.push(Change { old, new });
        }
    }
    Ok(changes)
}

/// A `git cat-file --batch`.
#[derive(Debug)]
pub(super) struct Blobs {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Blobs {
    /// The text of a file; empty if there is no file, `None` if the repository lacks it or it is too large.
    pub(super) fn text(&mut self, side: Option<&Side>) -> anyhow::Result<Option<String>> {
        let Some(side) = side else { return Ok(Some(String::new())) };
        if side.mode == SUBMODULE {
            return Ok(Some(format!("Subproject commit {}\n", side.id)));
        }
        writeln!(self.stdin, "{}", side.id)?;
        self.stdin.flush()?;
        let mut header = String::new();
        self.stdout.read_line(&mut header)?;
        // `ID blob SIZE`, or `ID missing`
        let Some((_, size)) = header.trim_end().split_once(" blob ") else { return Ok(None) };
        let size: u64 = size.parse()?;
        let mut rest = self.stdout.by_ref().take(size + 1);
        if size > LARGEST_BLOB {
            std::io::copy(&mut rest, &mut std::io::sink())?;
            return Ok(None);
        }
        let mut content = Vec::new();
        rest.read_to_end(&mut content)?;
        content.pop();
        Ok(Some(String::from_utf8_lossy(&content).into_owned()))
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // both may fail only if it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
