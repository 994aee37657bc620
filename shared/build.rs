//! Tells the library which commit is built: from the environment, where that knows better (a container has no `.git`),
//! else from git, else it says that nobody knows.
//!
//! A debug build does not ask git: it would be built anew, with all that depends on it, after each commit.

#![expect(clippy::disallowed_methods, reason = "a build script is told everything by its environment")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

#[path = "src/version/date.rs"]
mod date;

/// Coolify and others set it.
const COMMIT: &str = "SOURCE_COMMIT";
/// <https://reproducible-builds.org/specs/source-date-epoch/>
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Digits of a commit that are shown.
const SHORT: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    println!("cargo::rerun-if-env-changed={EPOCH}");
    println!("cargo::rustc-env=AI_RELAY_BUILD={}", build());
}

fn build() -> String {
    let git = Git::at_the_root();
    let commit = given(COMMIT).or_else(|| git.as_ref()?.commit());
    let date = given(EPOCH).or_else(|| git.as_ref()?.ask(&["show", "--no-patch", "--format=%ct", "HEAD"]));
    let date = date.and_then(|seconds| seconds.parse().ok()).map(date::utc);
    match (commit, date) {
        (Some(commit), Some(date)) => format!("{commit} {date}"),
        (Some(commit), None) => commit,
        (None, _) if env::var("PROFILE").is_ok_and(|profile| profile == "debug") => "debug build".to_owned(),
        (None, Some(date)) => format!("unknown commit {date}"),
        (None, None) => "unknown commit".to_owned(),
    }
}

fn given(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty())?;
    assert!(value.chars().all(|char| char.is_ascii_alphanumeric()), "{name} is neither a commit nor a time");
    Some(if name == COMMIT { value.chars().take(SHORT).collect() } else { value })
}

/// The repository of these sources.
struct Git(PathBuf);

impl Git {
    /// None in a debug build, and where the sources lie in another repository or in none.
    fn at_the_root() -> Option<Self> {
        let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).parent()?.canonicalize().ok()?;
        if env::var("PROFILE").ok()? == "debug" {
            return None;
        }
        let git = Self(root);
        let top = PathBuf::from(git.ask(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
        (top == git.0).then_some(git)
    }

    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("git").arg("-C").arg(&self.0).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    }

    fn commit(&self) -> Option<String> {
        // Each commit and each checkout adds a line to the log of HEAD; the index tells what is added or taken out.
        for file in ["HEAD", "logs/HEAD", "index"] {
            watch(&self.0.join(self.ask(&["rev-parse", "--git-path", file])?));
        }
        for file in self.about_programs(&["ls-files", "-z"])?.split_terminator('\0') {
            watch(&self.0.join(file));
        }
        let commit = self.ask(&["rev-parse", &format!("--short={SHORT}"), "HEAD"])?;
        let changed = !self.about_programs(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        Some(if changed { commit + "+" } else { commit })
    }

    /// Asks about the files that programs are made of: without pages, tests and scripts.
    fn about_programs(&self, arguments: &[&str]) -> Option<String> {
        let files = [
            "--",
            "*.toml",
            "Cargo.lock",
            ":(glob)*/build.rs",
            ":(glob)*/src/**",
            "deploy",
            ":(exclude)testkit",
        ];
        self.ask(&[arguments, &files].concat())
    }
}

/// Has the script run again when a file changes. What is missing would count as changed each time.
fn watch(file: &Path) {
    if file.exists() {
        println!("cargo::rerun-if-changed={}", file.display());
    }
}
