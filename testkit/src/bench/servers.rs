//! What is compared: how each is started and what it does with a webhook.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::json;

use super::{
    SIGNING_KEY, Setup, WEBHOOK_SECRET,
    payload::Template,
    process::{Process, free_address, pause},
    wire::Connection,
};
use crate::port::port;

/// The path that all of them take webhooks at.
pub(super) const PATH: &str = "/github-webhook";
const START_DEADLINE: Duration = Duration::from_secs(20);
/// More than any round can send: what a full backlog costs is not measured here.
const MAX_BACKLOG: &str = "100000000";

/// A receiver of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// Ours: verifies, parses, stores durably, then answers.
    Relay,
    /// `@octokit/webhooks`' Node middleware: verifies and parses; stores nothing.
    Octokit,
    /// adnanh/webhook: verifies and starts a command.
    Webhook,
    /// Answers and does nothing else.
    Nginx,
}

impl Server {
    pub(super) const ALL: [Self; 4] = [Self::Relay, Self::Octokit, Self::Webhook, Self::Nginx];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Octokit => "octokit",
            Self::Webhook => "webhook",
            Self::Nginx => "nginx",
        }
    }

    /// What it does with a webhook before it answers.
    pub(super) fn does(self) -> &'static str {
        match self {
            Self::Relay => "verifies, parses, stores durably",
            Self::Octokit => "verifies, parses",
            Self::Webhook => "verifies, runs /bin/true",
            Self::Nginx => "nothing",
        }
    }

    fn verifies(self) -> bool {
        self != Self::Nginx
    }

    /// Its version, in its own words.
    pub(super) fn version(self, setup: &Setup) -> anyhow::Result<String> {
        let first_line = |command: &mut Command| -> anyhow::Result<String> {
            let output = command
                .output()
                .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
            let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
            Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
        };
        match self {
            Self::Relay => first_line(Command::new(setup.relay()?).arg("--version")),
            Self::Webhook => first_line(Command::new("webhook").arg("-version")),
            Self::Nginx => first_line(Command::new("/usr/sbin/nginx").arg("-v")),
            Self::Octokit => {
                let manifest = setup.tools.join("node_modules/@octokit/webhooks/package.json");
                let text = fs::read_to_string(&manifest).with_context(|| {
                    format!("{} is missing; scripts/bench.sh installs it", manifest.display())
                })?;
                let manifest: serde_json::Value = serde_json::from_str(&text)?;
                let node = first_line(Command::new("node").arg("--version"))?;
                Ok(format!(
                    "@octokit/webhooks {} on node {node}",
                    manifest["version"].as_str().unwrap_or("?")
                ))
            }
        }
    }

    /// Starts it in `folder` and waits until it takes a webhook. One that should verify must refuse a forged one.
    pub(super) fn start(
        self,
        setup: &Setup,
        folder: &Path,
        templates: &[Template],
    ) -> anyhow::Result<Running> {
        let address = free_address();
        let mut command = match self {
            Self::Relay => relay_with_room(setup, folder, address)?,
            Self::Octokit => octokit(setup, address)?,
            Self::Webhook => webhook(folder, address)?,
            Self::Nginx => nginx(folder, address)?,
        };
        let log = folder.join(format!("{}.log", self.name()));
        let process = Process::start(&mut command, &log)?;
        let mut running = Running { process, address };
        running.check(self, templates).with_context(|| format!("{} did not start well", self.name()))?;
        Ok(running)
    }
}

/// A server that takes webhooks.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
}

impl Running {
    fn check(&mut self, server: Server, templates: &[Template]) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut connection = Connection::new(self.address);
        let mut template = templates.first().context("there is no payload")?.clone();
        let deadline = Instant::now() + START_DEADLINE;
        let status = loop {
            self.process.check()?;
            match runtime.block_on(connection.exchange(template.next())) {
                Ok(status) => break status,
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => pause(),
            }
        };
        if !(200..300).contains(&status) {
            bail!("a webhook was answered {}", connection.said());
        }
        let status = runtime.block_on(connection.exchange(template.forged()))?;
        if server.verifies() && (200..300).contains(&status) {
            bail!("a forged webhook was taken: {}", connection.said());
        }
        Ok(())
    }
}

/// Starts the relay on what `folder` has, with its targets at these ports, and waits until it can take webhooks.
pub(super) async fn start_relay(setup: &Setup, folder: &Path, targets: [u16; 2]) -> anyhow::Result<Running> {
    let address = free_address();
    let process = Process::start(&mut relay(setup, folder, address, targets)?, &folder.join("relay.log"))?;
    let mut running = Running { process, address };
    let mut connection = Connection::new(address);
    let deadline = Instant::now() + START_DEADLINE;
    while !matches!(connection.exchange(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await, Ok(200)) {
        running.process.check()?;
        if Instant::now() > deadline {
            bail!("the relay did not become ready:\n{}", running.process.last_words());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(running)
}

/// The relay as `deploy/` runs it.
fn relay(setup: &Setup, folder: &Path, address: SocketAddr, targets: [u16; 2]) -> anyhow::Result<Command> {
    let mut command = Command::new(setup.relay()?);
    command.arg("--data-dir").arg(folder.join("data")).args(["--listen", "127.0.0.1"]);
    command.args(["--port", &address.port().to_string(), "--metrics-listen", "127.0.0.1:0"]);
    command.args(["--github-webhook-secret", WEBHOOK_SECRET, "--relay-signing-key", SIGNING_KEY]);
    let [claude, ollama] = targets.map(|port| format!("http://127.0.0.1:{port}"));
    command.args(["--claude-endpoint", &claude, "--ollama-endpoint", &ollama]);
    Ok(command)
}

/// The relay with targets that are away, and without the limits that a round would reach.
fn relay_with_room(setup: &Setup, folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let mut command = relay(setup, folder, address, [port(), port()])?;
    command.args(["--max-backlog", MAX_BACKLOG]);
    if knows(&setup.relay()?, "rate_limit")? {
        command.args(["--rate-limit", "0"]);
    }
    Ok(command)
}

/// Whether this relay has a setting of that name.
fn knows(relay: &Path, setting: &str) -> anyhow::Result<bool> {
    let output = Command::new(relay).args(["config", "show"]).env_clear().output()?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(shown.lines().any(|line| line.split([' ', '=']).next() == Some(setting)))
}

fn octokit(setup: &Setup, address: SocketAddr) -> anyhow::Result<Command> {
    let script = std::path::absolute(&setup.tools)?.join("octokit.mjs");
    fs::write(&script, include_str!("octokit.mjs"))
        .with_context(|| format!("cannot write {}; scripts/bench.sh makes the folder", script.display()))?;
    let mut command = Command::new("node");
    command.arg(script).args([&address.port().to_string(), PATH, WEBHOOK_SECRET]);
    Ok(command)
}

fn webhook(folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let signed = json!({"match": {
        "type": "payload-hmac-sha256",
        "secret": WEBHOOK_SECRET,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    }});
    let hooks = json!([{
        "id": PATH.trim_start_matches('/'),
        "execute-command": "/bin/true",
        "trigger-rule": signed,
        "trigger-rule-mismatch-http-response-code": 403,
    }]);
    let path = folder.join("hooks.json");
    fs::write(&path, hooks.to_string())?;
    let mut command = Command::new("webhook");
    command.arg("-hooks").arg(path).args(["-urlprefix", "", "-ip", "127.0.0.1"]);
    command.args(["-port", &address.port().to_string()]);
    Ok(command)
}

fn nginx(folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let path = folder.join("nginx.conf");
    fs::write(&path, include_str!("nginx.conf").replace("PORT", &address.port().to_string()))?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(path);
    Ok(command)
}
