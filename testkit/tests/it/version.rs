//! What the build script says about a build: compiled by itself, and run where it has something to find.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The build script as a program, and sources for it to be told about.
struct Script {
    folder: TempDir,
    program: PathBuf,
}

impl Script {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/build.rs");
        let program = folder.path().join("script");
        let output = Command::new("rustc")
            .args(["--edition", "2024", "-o"])
            .arg(&program)
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder, program }
    }

    fn sources(&self, name: &str) -> PathBuf {
        let sources = self.folder.path().join(name);
        fs::create_dir_all(sources.join("shared")).unwrap();
        sources
    }

    /// All that it told cargo.
    fn told(&self, sources: &Path, profile: &str, environment: &[(&str, &str)]) -> Option<String> {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("PROFILE", profile);
        command.env("CARGO_MANIFEST_DIR", sources.join("shared")).envs(environment.iter().copied());
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// What stands in the parentheses of a version.
    fn build(&self, sources: &Path, profile: &str, environment: &[(&str, &str)]) -> Option<String> {
        let told = self.told(sources, profile, environment)?;
        let line = told.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=AI_RELAY_BUILD="));
        Some(line.unwrap().to_owned())
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(arguments)
        .current_dir(folder);
    command.env("GIT_COMMITTER_DATE", "2026-11-30T23:30:00-03:00");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_build_says_what_is_known_of_it_and_no_more() {
    let script = Script::new();
    let nowhere = script.sources("nowhere");
    let commit = ("SOURCE_COMMIT", "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d");
    let day = ("SOURCE_DATE_EPOCH", "1796040000");
    let build = |environment: &[(&str, &str)]| script.build(&nowhere, "release", environment);
    assert_eq!(build(&[commit, day]).as_deref(), Some("1a2b3c4d5e6f 2026-11-30"));
    assert_eq!(build(&[commit]).as_deref(), Some("1a2b3c4d5e6f"));
    assert_eq!(build(&[day]).as_deref(), Some("unknown commit 2026-11-30"));
    assert_eq!(build(&[]).as_deref(), Some("unknown commit"));
    assert_eq!(build(&[("SOURCE_COMMIT", "x\ncargo::rustc-link-arg=y")]), None, "it would be told to cargo");
}

#[test]
fn git_is_asked_about_its_own_sources_only_and_not_by_debug_builds() {
    let script = Script::new();
    let sources = script.sources("ai-relay");
    git(&sources, &["init", "--quiet"]);
    for (folder, file) in [("shared/src", "lib.rs"), ("relay/src/cli", "x.rs"), ("docs", "page.md")] {
        fs::create_dir_all(sources.join(folder)).unwrap();
        fs::write(sources.join(folder).join(file), "").unwrap();
    }
    git(&sources, &["add", "."]);
    git(&sources, &["commit", "--quiet", "--message", "a"]);
    let commit = git(&sources, &["rev-parse", "--short=12", "HEAD"]);
    let build = |profile| script.build(&sources, profile, &[]).unwrap();
    assert_eq!(build("release"), format!("{commit} 2026-12-01"), "the day in UTC");
    assert_eq!(build("debug"), "debug build");
    let given = script.build(&sources, "release", &[("SOURCE_COMMIT", "abc")]).unwrap();
    assert_eq!(given, "abc 2026-12-01");
    let told = script.told(&sources, "release", &[]).unwrap();
    let watched = |file: &str| {
        told.contains(&format!(
            "cargo::rerun-if-changed={}\n",
            sources.canonicalize().unwrap().join(file).display()
        ))
    };
    for file in [".git/HEAD", ".git/logs/HEAD", ".git/index", "shared/src/lib.rs", "relay/src/cli/x.rs"] {
        assert!(watched(file), "{file}: {told}");
    }
    assert!(!watched("docs/page.md"), "{told}");
    assert!(!script.told(&sources, "debug", &[]).unwrap().contains("HEAD"));
    fs::write(sources.join("docs/page.md"), "changed").unwrap();
    assert_eq!(build("release"), format!("{commit} 2026-12-01"), "no program is made of it");
    fs::write(sources.join("relay/src/cli/x.rs"), "// changed").unwrap();
    assert_eq!(build("release"), format!("{commit}+ 2026-12-01"));
    let vendored = script.sources("ai-relay/vendor/ai-relay");
    assert_eq!(
        script.build(&vendored, "release", &[]).unwrap(),
        "unknown commit",
        "another repository's commit"
    );
}
