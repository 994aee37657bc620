//! The three doctors as the real programs, at real services: each fault is made, and must be named with what mends it.

use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::{github::HookOwner, scenario::Scenario};

use crate::support::{
    World,
    binaries::{Binaries, binary},
    until,
};

mod home;
mod tls;
mod vps;

/// The relay's own token at GitHub.
const TOKEN: &str = "relay-token";

/// What a doctor said.
struct Seen {
    code: i32,
    json: Value,
}

impl Seen {
    /// Status, words and remedy of a check.
    fn check(&self, hop: &str, check: &str) -> (&str, &str, &str) {
        let hops = self.json["hops"].as_array().unwrap().iter().filter(|one| one["hop"] == hop);
        let mut checks = hops.flat_map(|hop| hop["checks"].as_array().unwrap());
        let Some(found) = checks.find(|one| one["check"] == check) else {
            panic!("there is no `{check}` at `{hop}`: {:#}", self.json)
        };
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        (text("status"), text("says"), text("mend"))
    }

    /// It must be named as broken, in these words and with this remedy.
    #[track_caller]
    fn fails(&self, hop: &str, check: &str, says: &str, mend: &str) {
        self.is("fail", hop, check, says, mend);
        assert_eq!((self.code, self.json["status"].as_str()), (1, Some("fail")));
    }

    #[track_caller]
    fn warns(&self, hop: &str, check: &str, says: &str, mend: &str) {
        self.is("warn", hop, check, says, mend);
    }

    #[track_caller]
    fn is(&self, status: &str, hop: &str, check: &str, says: &str, mend: &str) {
        let found = self.check(hop, check);
        assert!(
            found.0 == status && found.1.contains(says) && found.2.contains(mend),
            "{hop}, {check}: {found:?}"
        );
    }
}

fn command(service: &str, flags: &[String], more: &[&str]) -> Command {
    let mut command = Command::new(binary(service));
    // Programs such as ssh-keyscan are looked for.
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").args(flags);
    command.arg("doctor").args(more).stdin(Stdio::null());
    command
}

/// Runs a doctor with a service's settings.
async fn doctor(service: &str, flags: &[String], more: &[&str]) -> Seen {
    let mut command = command(service, flags, more);
    command.arg("--json");
    ask(command).await
}

async fn ask(mut command: Command) -> Seen {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Seen { code: output.status.code().unwrap(), json }
}

/// Flags as a service takes them; later ones replace earlier ones of the same name.
fn flags(base: &[String], changes: &[(&str, &str)]) -> Vec<String> {
    let mut flags = base.to_vec();
    for (name, value) in changes {
        match flags.iter().position(|flag| flag == name) {
            Some(at) => (*value).clone_into(&mut flags[at + 1]),
            None => flags.extend([(*name).to_owned(), (*value).to_owned()]),
        }
    }
    flags
}

/// All three services running, a webhook at GitHub that leads to the relay, and the flags of each.
struct Site {
    world: World,
    binaries: Binaries,
    hook: u64,
    repository: String,
}

impl Site {
    async fn start() -> Self {
        let scenario = Scenario::default();
        let world = World::start(&scenario).await;
        let mut binaries = Binaries::new(&world);
        let repository = scenario.repository;
        let owner = HookOwner::Repository(repository.clone());
        let url = format!("{}/github-webhook", binaries.relay.url);
        world.github.add_user(TOKEN, "ops");
        world.github.add_hook_admin(owner.clone(), "ops");
        let hook = world.github.add_hook(owner, &url, crate::support::WEBHOOK_SECRET);
        binaries.start(&world).await;
        let site = Self { world, binaries, hook, repository };
        for service in [&site.binaries.claude.url, &site.binaries.ollama.url] {
            let settled = until(async || {
                site.health(service)
                    .await
                    .is_some_and(|health| health["status"] == "pass" && health["checks"]["relay"].is_array())
            });
            assert!(settled.await, "{:#?}", site.health(service).await);
        }
        site
    }

    async fn health(&self, url: &str) -> Option<Value> {
        self.world.http.get(format!("{url}/health")).send().await.ok()?.json().await.ok()
    }

    fn port(url: &str) -> String {
        url.rsplit(':').next().unwrap().to_owned()
    }

    /// The relay's settings, with its view of GitHub.
    fn relay(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let flags_of_all = self.world.relay_flags(&self.binaries.claude.url, &self.binaries.ollama.url);
        let port = Self::port(&self.binaries.relay.url);
        let api = self.world.github.url();
        let github = [
            ("--port", port.as_str()),
            ("--metrics-listen", "127.0.0.1:9420"),
            ("--github-token", TOKEN),
            ("--github-repositories", self.repository.as_str()),
            ("--github-api-url", api.as_str()),
        ];
        flags(&flags(&flags_of_all, &github), changes)
    }

    fn claude(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let port = Self::port(&self.binaries.claude.url);
        let base = flags(&self.world.claude_flags(&self.binaries.ollama.url), &[("--port", &port)]);
        flags(&base, changes)
    }

    fn ollama(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let port = Self::port(&self.binaries.ollama.url);
        flags(&flags(&self.world.ollama_flags(), &[("--port", &port)]), changes)
    }
}

/// Without what differs from run to run.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.len() {
            0..4 => masked.push_str(&digits),
            _ => masked.push('N'),
        }
        digits.clear();
        masked.push(c);
    }
    let lines = masked.trim_end().lines().map(|line| match line.split_once(" GiB are free") {
        Some((start, rest)) => format!("{} N GiB are free{rest}", start.rsplit_once(' ').unwrap().0),
        None if line.contains("no damage, ") && line.ends_with(" KiB") => {
            format!("{}no damage, N KiB", line.split("no damage").next().unwrap())
        }
        None => match line.split_once("(pid ") {
            Some((start, rest)) => format!("{start}(pid N){}", rest.split_once(')').unwrap().1),
            None => line.to_owned(),
        },
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_each_hop_is_told_as_such() {
    let site = Site::start().await;
    site.world.github.list_attempt(
        site.hook,
        testkit::webhook::Delivery::new("d0", "ping", &testkit::webhook::ping(&Scenario::default())),
        200,
    );
    let folder = site.world.folder.path().display().to_string();
    let tunnel = format!("{folder}/tunnel");
    let all = [
        ("relay", site.relay(&[]), vec![]),
        (
            "claude-endpoint",
            site.claude(&[]),
            vec!["--tunnel-dir", &tunnel, "--repository", &site.repository],
        ),
        ("ollama-endpoint", site.ollama(&[]), vec!["--tunnel-dir", &tunnel]),
    ];
    for (service, flags, more) in all {
        let mut command = command(service, &flags, &more);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        let text = masked(&String::from_utf8(output.stdout).unwrap().replace(&folder, "FOLDER"));
        let seen = doctor(service, &flags, &more).await;
        let text = text.replace(seen.json["version"].as_str().unwrap(), "VERSION");
        insta::assert_snapshot!(service, text);
        assert_eq!(seen.json["schema"], 1);
        assert_eq!(seen.json["cause"], Value::Null);
        for secret in [
            crate::support::WEBHOOK_SECRET,
            crate::support::SIGNING_KEY,
            crate::support::ADMIN_TOKEN,
            crate::support::MEMORY_TOKEN,
            TOKEN,
        ] {
            assert!(!seen.json.to_string().contains(secret) && !text.contains(secret));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_that_cannot_look_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, "prot = 1\n").unwrap();
    for service in ["relay", "claude-endpoint", "ollama-endpoint"] {
        for arguments in [vec!["--config", wrong.to_str().unwrap()], vec!["--prot", "1"]] {
            let mut command =
                command(service, &arguments.iter().map(|&one| one.to_owned()).collect::<Vec<_>>(), &[]);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            assert_eq!(output.status.code(), Some(2), "{service} {arguments:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("prot"));
        }
    }
}
