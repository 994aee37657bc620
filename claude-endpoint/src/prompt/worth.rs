//! Which changed files a reviewer has no use for. Pure.

use crate::diff::{File, Kind, Line, Unreadable};

/// A line longer than this was not written by hand.
const LONGEST_LINE: usize = 2_000;

/// Why nobody would want this file reviewed line by line, and whether that is a gap all the same: where the reason comes
/// from the change itself, its author could use it to keep a file from being read.
pub fn skip_reason(file: &File) -> Option<(&'static str, bool)> {
    let path = file.path();
    let name = path.rsplit('/').next().unwrap_or(path);
    match file.unreadable {
        Some(Unreadable::Binary) => return Some(("binary", false)),
        Some(Unreadable::TooLarge) => return Some(("too large for GitHub to show", true)),
        Some(Unreadable::Submodule) => return Some(("submodule", false)),
        None => {}
    }
    if file.hunks.is_empty() {
        return Some(("no changed lines", false));
    }
    if LOCK_FILES.contains(&name) {
        return Some(("lock file", false));
    }
    if let Some(reason) = said_by_path(path, name) {
        return Some((reason, file.new_path.is_some() && file.old_path != file.new_path));
    }
    let lines = || file.hunks.iter().flat_map(|hunk| &hunk.lines);
    if let Some(is_added) = added_or_there(lines().filter(|line| says_generated(line))) {
        return Some(("generated", is_added));
    }
    let long = lines().filter(|line| line.text.len() > LONGEST_LINE);
    added_or_there(long).map(|is_added| ("minified", is_added))
}

/// Of telling lines: whether all are new, so that only the change itself says so; `None` if there are none.
fn added_or_there<'a>(lines: impl Iterator<Item = &'a Line>) -> Option<bool> {
    lines.map(|line| line.kind == Kind::Added).reduce(|all, is_added| all && is_added)
}

/// The lock files of the package managers, by their exact names.
const LOCK_FILES: [&str; 22] = [
    "Cargo.lock",
    "Gemfile.lock",
    "Package.resolved",
    "Pipfile.lock",
    "Podfile.lock",
    ".terraform.lock.hcl",
    "bun.lock",
    "bun.lockb",
    "composer.lock",
    "deno.lock",
    "flake.lock",
    "go.sum",
    "gradle.lockfile",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "packages.lock.json",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pubspec.lock",
    "uv.lock",
    "yarn.lock",
];

const GENERATED: &[&str] =
    &[".pb.go", "_pb2.py", "_pb2_grpc.py", ".pb.cc", ".pb.h", ".g.dart", ".freezed.dart", ".designer.cs"];

fn said_by_path(path: &str, name: &str) -> Option<&'static str> {
    let has_end = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let is_foreign =
        |part: &str| matches!(part, "vendor" | "node_modules" | "third_party" | "bower_components");
    if has_end(&[".lock"]) {
        Some("lock file")
    } else if path.split('/').any(is_foreign) {
        Some("vendored")
    } else if has_end(GENERATED) || name.contains(".generated.") {
        Some("generated")
    } else if has_end(&[".min.js", ".min.css", ".map"]) {
        Some("minified")
    } else {
        None
    }
}

/// The usual headers, in the first ten lines of the file where the diff shows them.
fn says_generated(line: &Line) -> bool {
    let is_top = line.new_no.or(line.old_no).is_some_and(|number| number <= 10);
    let text = &line.text;
    is_top
        && (text.contains("@generated") || (text.contains("Code generated") && text.contains("DO NOT EDIT")))
}

#[cfg(test)]
#[path = "worth_tests.rs"]
mod tests;
