//! The real relay as a process: started, asked, stopped, killed.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use reqwest::Client;
use serde_json::Value;
use tokio::time::Instant;

use super::book::{Part, Shown};
use super::child::Program;
pub(super) use super::child::{PATIENCE, until};
use crate::{place::Place, port};

/// The hook's secret in all these runs.
pub(crate) const WEBHOOK_SECRET: &str = "a-webhook-secret-for-the-crash-test";
/// The key between the services.
pub(crate) const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ADMIN_TOKEN: &str = "an-admin-token-for-the-crash-test";
/// How long a stop by SIGTERM may take: its hand-overs have 8 s to finish.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// Stands between two findings of a health report.
pub(super) const FINDINGS: &str = " · ";

/// A relay, running or not; killed when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    binary: PathBuf,
    data: PathBuf,
    targets: [String; 2],
    /// Its port, where that matters.
    pub(crate) port: u16,
    /// Where it runs.
    pub(crate) place: Place,
    http: Client,
    program: Program,
    /// Environment beside the settings.
    pub(crate) surroundings: Vec<(String, String)>,
    /// The largest file in KiB, for a disk that is full at some time.
    pub(super) largest_file: Option<u64>,
    /// Seconds that a target may take.
    pub(crate) dispatch_timeout: u64,
}

impl Relay {
    /// Not started yet; `targets` are the base URLs of the two endpoints.
    pub(crate) fn new(
        binary: PathBuf,
        data: PathBuf,
        log: PathBuf,
        targets: [String; 2],
    ) -> anyhow::Result<Self> {
        let http = shared::client::http(Some(Duration::from_secs(10)))?;
        Ok(Self {
            binary,
            data,
            targets,
            port: port::port(),
            place: Place::default(),
            http,
            program: Program::new(log),
            surroundings: Vec::new(),
            largest_file: None,
            dispatch_timeout: 2,
        })
    }

    /// Its data folder.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Where it takes webhooks.
    pub(crate) fn webhooks(&self) -> String {
        self.url("/github-webhook")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.place.url(self.port))
    }

    /// Starts it and does not wait for it.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        let command = self.command(&[]);
        self.program.spawn(command)
    }

    /// Starts it and waits until it can take events. How long that took.
    pub(crate) async fn start(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.spawn()?;
        let ready =
            until(PATIENCE, async || self.has_ended() || self.status("/readyz").await == Some(200)).await;
        let took = started.elapsed();
        ensure!(ready && !self.has_ended(), "the relay did not start: {}", self.last_words());
        Ok(took)
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = match self.largest_file {
            None => self.place.command(&self.binary),
            Some(kibibytes) => {
                // Ignoring the signal, which the program inherits, makes the write fail as on a full disk.
                let limited = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", kibibytes * 2);
                let mut shell = self.place.command(Path::new("/bin/sh"));
                shell.arg("-c").arg(limited).arg(&self.binary);
                shell
            }
        };
        let port = self.port.to_string();
        let timeout = self.dispatch_timeout.to_string();
        let settings = [
            ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("RELAY_SIGNING_KEY", SIGNING_KEY),
            ("RELAY_ADMIN_TOKEN", ADMIN_TOKEN),
            ("LISTEN", self.place.listen()),
            ("PORT", &port),
            ("METRICS_LISTEN", "127.0.0.1:0"),
            ("CLAUDE_ENDPOINT", &self.targets[0]),
            ("OLLAMA_ENDPOINT", &self.targets[1]),
            ("DISPATCH_TIMEOUT", &timeout),
            ("LOG_FORMAT", "text"),
            ("RUST_LOG", "warn"),
            ("NO_COLOR", "1"),
        ];
        command.envs(settings).env("DATA_DIR", &self.data);
        command.envs(self.surroundings.iter().cloned()).args(verb).stdin(Stdio::null());
        command
    }

    /// Runs another verb of the program, such as `backup FILE`, with the same settings.
    pub(super) async fn verb(&self, verb: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(verb);
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// Whether the process is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.program.has_ended()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(id) = self.program.id() else { return Ok(()) };
        ensure!(run("kill", &["-TERM", &id.to_string()]).is_ok(), "the relay was not running");
        let status = self.ended(STOP_PATIENCE).await?;
        ensure!(status.success(), "after SIGTERM the relay ended with {status}: {}", self.last_words());
        Ok(())
    }

    /// Waits until the process has ended by itself.
    pub(super) async fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.program.ended(patience).await
    }

    /// Lifts the limit on its files: the disk has room again.
    pub(super) fn make_room(&self) -> anyhow::Result<()> {
        let pid = self.program.id().context("the relay does not run")?;
        run("prlimit", &["--pid", &pid.to_string(), "--fsize=unlimited"])
    }

    /// The status of a `GET`, if there is an answer.
    pub(super) async fn status(&self, path: &str) -> Option<u16> {
        Some(self.http.get(self.url(path)).send().await.ok()?.status().as_u16())
    }

    /// Status and text of `GET /health`'s findings, what fails first: `component: output`.
    pub(super) async fn health(&self) -> anyhow::Result<(u16, String)> {
        let answer = self.http.get(self.url("/health")).send().await.context("/health does not answer")?;
        let status = answer.status().as_u16();
        let report: Value = answer.json().await.context("/health is no JSON")?;
        let mut said = Vec::new();
        for (component, checks) in report["checks"].as_object().into_iter().flatten() {
            let checks = checks.as_array().into_iter().flatten();
            let outputs =
                checks.filter_map(|check| Some((check["status"] != "fail", check["output"].as_str()?)));
            said.extend(outputs.map(|(rank, output)| (rank, format!("{component}: {output}"))));
        }
        said.sort();
        let said: Vec<String> = said.into_iter().map(|(_, text)| text).collect();
        Ok((status, said.join(FINDINGS)))
    }

    /// Every delivery that the relay knows.
    pub(crate) async fn shown(&self) -> anyhow::Result<Shown> {
        let (mut shown, mut before) = (Shown::new(), None::<u64>);
        loop {
            let page = before.map(|before| format!("&before={before}")).unwrap_or_default();
            let answer = self.admin(&format!("/api/deliveries?limit=500{page}")).await?;
            let deliveries = answer["deliveries"].as_array().context("the relay's list cannot be read")?;
            for delivery in deliveries {
                let parts = delivery["targets"].as_array().into_iter().flatten().map(part);
                shown.insert(delivery["id"].as_str().unwrap_or_default().to_owned(), parts.collect());
            }
            before = answer["next"].as_u64();
            if before.is_none() {
                return Ok(shown);
            }
        }
    }

    /// Whether a delivery is in that state.
    pub(crate) async fn any(&self, state: &str) -> anyhow::Result<bool> {
        let answer = self.admin(&format!("/api/deliveries?limit=1&state={state}")).await?;
        Ok(answer["deliveries"].as_array().is_some_and(|found| !found.is_empty()))
    }

    async fn admin(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(self.url(path)).bearer_auth(ADMIN_TOKEN).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{path} answered {status}: {}", answer.text().await.unwrap_or_default());
        answer.json().await.with_context(|| format!("{path} is no JSON"))
    }

    /// The error that it ended with, or the end of its log.
    pub(crate) fn last_words(&self) -> String {
        self.program.last_words()
    }

    /// Whether its log has this text.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.program.has_logged(text)
    }
}

fn part(target: &Value) -> (String, Part) {
    let text = |name: &str| target[name].as_str().map(str::to_owned);
    let part = Part {
        state: text("state").unwrap_or_default(),
        attempts: target["attempts"].as_u64().unwrap_or_default(),
        error: text("error"),
    };
    (text("target").unwrap_or_default(), part)
}

/// Runs a program of the system; its own words are the error.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("{program} is missing"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
