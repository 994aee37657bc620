//! The rules of the house that a compiler does not know (ARCHITECTURE.md, "Never").

use std::{
    fs,
    path::{Path, PathBuf},
};

const LONGEST_FILE: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below `folder`, by its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

const CRATES: [&str; 8] =
    ["shared", "queue", "inbox", "relay", "claude-endpoint", "ollama-endpoint", "home", "testkit"];

fn all() -> Vec<(String, String)> {
    CRATES.iter().flat_map(|name| sources(&format!("{name}/src"))).collect()
}

/// What a file says outside of comments and of its tests.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn manifest(name: &str) -> String {
    fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap()
}

fn dependencies(name: &str) -> String {
    manifest(name)
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("[dev-dependencies]")
        .next()
        .unwrap()
        .to_owned()
}

fn depends_on(name: &str, other: &str) -> bool {
    dependencies(name)
        .lines()
        .any(|line| line.starts_with(&format!("{other}.")) || line.starts_with(&format!("{other} ")))
}

#[test]
fn crates_know_only_what_they_may() {
    let may: [(&str, &[&str]); 7] = [
        ("shared", &[]),
        ("queue", &[]),
        ("inbox", &["shared", "queue"]),
        ("relay", &["shared", "queue"]),
        ("claude-endpoint", &["shared", "queue", "inbox"]),
        ("ollama-endpoint", &["shared", "queue", "inbox"]),
        ("home", &["shared"]),
    ];
    for (name, allowed) in may {
        for other in CRATES.iter().filter(|other| !allowed.contains(other)) {
            assert!(!depends_on(name, other), "{name} must not depend on {other}");
        }
    }
}

/// What names neither a runtime nor a clock.
const PURE: &[&str] = &[
    "shared/src/event.rs",
    "shared/src/memory.rs",
    "shared/src/outcome.rs",
    "shared/src/signature.rs",
    "shared/src/doctor/exposure.rs",
    "shared/src/doctor/github.rs",
    "shared/src/doctor/clock.rs",
    "shared/src/doctor/secrets.rs",
    "shared/src/signature/keys.rs",
    "shared/src/keys/show.rs",
    "shared/src/version/date.rs",
    "queue/src/retry.rs",
    "relay/src/arrival.rs",
    "relay/src/github.rs",
    "relay/src/missed/plan.rs",
    "relay/src/targets.rs",
    "relay/src/limits/accounts.rs",
    "relay/src/limits/client.rs",
    "relay/src/limits/rate.rs",
    "relay/src/targets/subscription.rs",
    "relay/src/sse.rs",
    "relay/src/table.rs",
    "relay/src/doctor/hook.rs",
    "relay/src/doctor/sshd_policy.rs",
    "claude-endpoint/src/diff.rs",
    "claude-endpoint/src/github/pace.rs",
    "claude-endpoint/src/github/context/document.rs",
    "claude-endpoint/src/prompt.rs",
    "claude-endpoint/src/prompt/background.rs",
    "claude-endpoint/src/prompt/packing.rs",
    "claude-endpoint/src/prompt/patch.rs",
    "claude-endpoint/src/prompt/surroundings.rs",
    "claude-endpoint/src/prompt/worth.rs",
    "claude-endpoint/src/prompt/writing.rs",
    "claude-endpoint/src/verdict.rs",
    "claude-endpoint/src/anchor.rs",
    "claude-endpoint/src/anchor/quote.rs",
    "claude-endpoint/src/anchor/spots.rs",
    "claude-endpoint/src/anchor/suggestion.rs",
    "claude-endpoint/src/marker.rs",
    "claude-endpoint/src/render.rs",
    "claude-endpoint/src/status.rs",
    "claude-endpoint/src/earlier.rs",
    "claude-endpoint/src/fingerprint.rs",
    "claude-endpoint/src/project.rs",
    "claude-endpoint/src/prompt/excerpt.rs",
    "claude-endpoint/src/report.rs",
    "claude-endpoint/src/sift.rs",
    "claude-endpoint/src/summary.rs",
    "claude-endpoint/src/prices.rs",
    "claude-endpoint/src/budget.rs",
    "claude-endpoint/src/commands.rs",
    "claude-endpoint/src/provenance.rs",
    "claude-endpoint/src/redact.rs",
    "claude-endpoint/src/redact/guess.rs",
    "claude-endpoint/src/redact/pem.rs",
    "claude-endpoint/src/redact/rules.rs",
    "claude-endpoint/src/text.rs",
    "claude-endpoint/src/text/hidden.rs",
    "claude-endpoint/src/text/markdown.rs",
    "claude-endpoint/src/text/plain.rs",
    "claude-endpoint/src/text/postable.rs",
    "claude-endpoint/src/text/repeats.rs",
    "home/src/tunnel/policy.rs",
    "home/src/tunnel/prove/attempts.rs",
    "home/src/tunnel/prove/judge.rs",
    "home/src/tunnel/prove/report.rs",
    "home/src/tunnel/supervise/backoff.rs",
    "home/src/tunnel/supervise/said.rs",
    "ollama-endpoint/src/cli/show.rs",
    "ollama-endpoint/src/rank.rs",
    "ollama-endpoint/src/store/portable.rs",
    "ollama-endpoint/src/briefing.rs",
    "ollama-endpoint/src/words.rs",
    "ollama-endpoint/src/store/vectors.rs",
    "ollama-endpoint/src/store/vectors/quantised.rs",
    "ollama-endpoint/src/staleness.rs",
    "ollama-endpoint/src/refine/compare.rs",
    "ollama-endpoint/src/refine/fence.rs",
    "ollama-endpoint/src/refine/identifiers.rs",
    "ollama-endpoint/src/refine/prompt.rs",
    "ollama-endpoint/src/refine/wording.rs",
    "ollama-endpoint/src/distil.rs",
    "ollama-endpoint/src/distil/junk.rs",
    "ollama-endpoint/src/distil/mentions.rs",
    "ollama-endpoint/src/distil/payload.rs",
    "ollama-endpoint/src/distil/provenance.rs",
    "ollama-endpoint/src/distil/push.rs",
    "ollama-endpoint/src/distil/templates.rs",
    "ollama-endpoint/src/distil/text.rs",
    "ollama-endpoint/src/distil/thoughts.rs",
    "ollama-endpoint/src/mcp/answers.rs",
    "ollama-endpoint/src/mcp/arguments.rs",
    "ollama-endpoint/src/mcp/tools.rs",
    "ollama-endpoint/src/proxy/background.rs",
    "ollama-endpoint/src/proxy/guard.rs",
    "ollama-endpoint/src/proxy/headers.rs",
    "ollama-endpoint/src/proxy/local.rs",
    "ollama-endpoint/src/proxy/tally.rs",
    "home/src/services/launchd.rs",
    "home/src/services/systemd.rs",
    "home/src/services/text.rs",
    "testkit/src/bench/recall/corpus.rs",
    "testkit/src/bench/recall/exact.rs",
    "testkit/src/bench/recall/measure.rs",
    "testkit/src/bench/recall/texts.rs",
];

#[test]
fn pure_files_stay_pure() {
    let forbidden = [
        "tokio",
        "hyper",
        "axum",
        "reqwest",
        "rusqlite",
        "tracing",
        "Timestamp::now",
        "SystemTime",
        "Instant::now",
    ];
    for name in PURE {
        let code = code(&fs::read_to_string(root().join(name)).unwrap());
        for word in forbidden {
            assert!(!code.contains(word), "{name} is pure and must not name {word}");
        }
    }
}

#[test]
fn only_the_stores_know_sqlite() {
    for (name, text) in all() {
        let store = name.starts_with("queue/src/sqlite") || name.starts_with("ollama-endpoint/src/store/");
        assert!(store || !code(&text).contains("rusqlite"), "{name} must not name rusqlite");
    }
}

fn is_configuration(name: &str) -> bool {
    name.ends_with("/config.rs") || name.contains("/config/")
}

#[test]
fn only_configuration_reads_the_environment() {
    for (name, text) in all().into_iter().filter(|(name, _)| !name.starts_with("testkit/")) {
        let reads = code(&text).contains("env::var");
        assert!(!reads || is_configuration(&name), "{name} must not read the environment");
    }
}

#[test]
fn receiving_and_working_meet_only_at_the_queue() {
    for (name, text) in all().into_iter().filter(|(name, _)| name.ends_with("/receive.rs")) {
        for word in ["dispatch", "client::", "reqwest", "Reviewer", "Ollama"] {
            assert!(!code(&text).contains(word), "{name} must not name {word}");
        }
    }
    for name in ["ollama-endpoint/src/routes.rs", "ollama-endpoint/src/mcp.rs"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_default();
        assert!(!code(&text).contains("store"), "{name} must not go past memory.rs to the store");
    }
}

#[test]
fn files_are_short_enough_to_read() {
    for (name, text) in all() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{name} has {lines} lines; {LONGEST_FILE} is the limit");
    }
    for name in CRATES {
        let path = root().join(name).join("src/main.rs");
        let lines = fs::read_to_string(path).unwrap_or_default().lines().count();
        assert!(name == "testkit" || lines <= 50, "{name}/src/main.rs has {lines} lines; 50 is the limit");
    }
}

#[test]
fn every_setting_is_explained_in_the_example() {
    let example = fs::read_to_string(root().join(".env.example")).unwrap();
    let surroundings = ["HOME", "PATH", "USER"];
    for (name, text) in all().into_iter().filter(|(name, _)| is_configuration(name)) {
        for variable in text.split("env = \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let explained = example.contains(&format!("{variable}=")) || variable.ends_with("_FILE");
            assert!(
                explained || surroundings.contains(&variable),
                "{variable} of {name} is missing in .env.example"
            );
        }
    }
}
