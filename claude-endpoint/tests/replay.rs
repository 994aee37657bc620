//! Reviews that the running endpoint recorded, made again by the program: offline, without keys and settings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::anthropic::{Reply, always_review, reviewer};
use testkit::scenario::{REVIEWER_TOKEN, Scenario};
use world::{World, finding, reply};

/// In the diff; none of it may stay in a recording.
const CANARY: &str = "ghp_Q7mZk2Xv9Rt4Lw8Np1Sd6Fg3Hj5Bc0Ya7Ue4";

/// What the program says about a folder, with nothing in its environment.
async fn replay(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_claude-endpoint"));
    command.env_clear().arg("replay").args(arguments).arg(folder);
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A pull request with a secret in it is reviewed, in several prompts if `budget` is small, and again after a push.
async fn recorded(budget: usize, reply: Option<Reply>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let added = format!("+const PAGE_SIZE: usize = 20;\n+const TOKEN: &str = \"{CANARY}\"; // TODO");
    let with_secret = |scenario: Scenario| Scenario {
        diff: scenario
            .diff
            .replace("+const PAGE_SIZE: usize = 20;", &added)
            .replace("@@ -20,6 +20,8 @@", "@@ -20,6 +20,9 @@"),
        ..scenario
    };
    let scenario = Scenario { body: format!("My token is {CANARY}."), ..with_secret(Scenario::default()) };
    let world = World::start_with(reply.map_or_else(reviewer, always_review), scenario).await;
    let recordings = folder.path().join("recordings");
    let record_dir = Some(recordings.clone());
    let endpoint = world
        .endpoint_with(|config| {
            config.desk.terms.second_look = true;
            config.desk.record_dir = record_dir;
            config.review.token_budget = budget;
        })
        .await;
    endpoint.send(&world.opened("d1")).await;
    assert_eq!(endpoint.outcome("d1").await["state"], "completed");
    let fixed = with_secret(world.scenario.fixed());
    fixed.push_to(&world.github);
    endpoint.send(&world.synchronized("d2", &fixed)).await;
    let done = endpoint.outcome("d2").await;
    assert!(["completed", "partial"].contains(&done["state"].as_str().unwrap()), "{done}");
    endpoint.stop().await;
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .flat_map(|path| if path.is_dir() { [files(&path), vec![path]].concat() } else { vec![path] })
        .collect();
    files.sort();
    files
}

fn names(folder: &Path, purpose: &str) -> usize {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files(folder).iter().filter(|path| name(path).ends_with(purpose)).count()
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn a_recorded_review_is_the_same_when_it_is_made_again() {
    let folder = recorded(50_000, None).await;
    let recordings = folder.path().join("recordings");
    let d1 = recordings.join("d1");
    assert_eq!((names(&d1, "-review.json"), names(&d1, "-second_look.json")), (1, 5), "{:?}", files(&d1));
    assert_eq!(replay(&[], &d1).await, (0, "d1: the same\n".into(), String::new()));
    let all = replay(&[], &recordings).await;
    assert_eq!(all, (0, "d1: the same\nd2: the same\n".into(), String::new()));
    let (code, json, _) = replay(&["--json"], &recordings).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    let same = |id: &str| json!({"delivery": id, "questions": [], "findings": [], "fields": []});
    assert_eq!((code, json), (0, json!([same("d1"), same("d2")])));
}

#[tokio::test]
async fn a_review_of_several_prompts_is_the_same_too() {
    let folder = recorded(1_600, None).await;
    let d1 = folder.path().join("recordings/d1");
    assert!(names(&d1, "-review.json") >= 2, "{:?}", files(&d1));
    assert_eq!(replay(&[], &d1).await, (0, "d1: the same\n".into(), String::new()));
}

#[tokio::test]
async fn no_secret_is_recorded_and_nobody_else_can_read() {
    let said =
        finding("src/orders.rs", 24, 24, &format!("const TOKEN: &str = \"{CANARY}\"; // TODO"), "major");
    let folder = recorded(50_000, Some(reply(vec![said]))).await;
    let recordings = folder.path().join("recordings");
    let files = files(&recordings);
    assert!(files.len() > 6, "{files:?}");
    for path in files.iter().chain([&recordings]) {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        let text = if path.is_dir() { String::new() } else { fs::read_to_string(path).unwrap() };
        for secret in [CANARY, REVIEWER_TOKEN, world::API_KEY, world::SIGNING_KEY] {
            assert!(!text.contains(secret), "{secret} is in {}", path.display());
        }
    }
    assert_eq!(replay(&[], &recordings).await.1, "d1: the same\nd2: the same\n");
}

#[tokio::test]
async fn what_differs_is_printed() {
    let folder = recorded(50_000, None).await;
    let d1 = folder.path().join("recordings/d1");
    change(
        &d1.join("inputs.json"),
        "    let mut query = db.prepare(&sql)?;",
        "    let mut query = db.query(&sql)?;\\u001b[2J",
    );
    change(&d1.join("result.json"), "\"Panics when there is no value\"", "\"Panics\"");
    change(&d1.join("result.json"), "\"repeated\": 0", "\"repeated\": 3");
    let (code, text, _) = replay(&[], &d1).await;
    assert_eq!(code, 1);
    // they are recorded in the order of their answers, which come side by side
    let any_number = |text: String, n: u32| text.replace(&format!("0{n}-second_look"), "NN-second_look");
    insta::assert_snapshot!((2..=6).fold(text, any_number));
    let (code, json, _) = replay(&["--json"], &d1).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &json[0]["fields"][1]),
        (1, &json!({"name": "overhead.raw_chars", "then": 2503, "now": 2505}))
    );
}

#[tokio::test]
async fn what_is_missing_or_broken_is_named() {
    let folder = recorded(50_000, None).await;
    let recordings = folder.path().join("recordings");
    let (d1, d2) = (recordings.join("d1"), recordings.join("d2"));
    let error = async |folder: &Path, said: &str| {
        let (code, _, error) = replay(&[], folder).await;
        assert!(code == 2 && error.contains(said) && error.starts_with("error: "), "{code}: {error}");
    };
    error(&folder.path().join("none"), "cannot read the folder").await;
    let empty = tempfile::tempdir().unwrap();
    error(empty.path(), "no review is recorded in").await;
    fs::write(empty.path().join("01-answer.json"), "{}").unwrap();
    error(empty.path(), "inputs.json").await;

    let result = fs::read(d1.join("result.json")).unwrap();
    fs::remove_file(d1.join("result.json")).unwrap();
    error(&d1, "came to no end").await;
    fs::write(d1.join("result.json"), &result[..result.len() / 2]).unwrap();
    error(&d1, "result.json is damaged").await;
    // the others are made all the same
    let (code, text, told) = replay(&[], &recordings).await;
    assert!(
        code == 2 && text.contains("d1: cannot be made again") && text.ends_with("d2: the same\n"),
        "{text}"
    );
    assert_eq!(told, "error: 1 of 2 recorded reviews cannot be made again\n");
    fs::write(d1.join("result.json"), &result).unwrap();

    fs::write(d2.join("01-review.json"), "{}").unwrap();
    error(&d2, "01-review.json is no recorded question").await;
    for path in files(&d1).iter().filter(|path| path.to_string_lossy().contains("-review")) {
        fs::remove_file(path).unwrap();
    }
    let (code, text, _) = replay(&[], &d1).await;
    assert_eq!(code, 1);
    assert!(text.contains("no review is made any more: no answer to this question is recorded"), "{text}");
}
