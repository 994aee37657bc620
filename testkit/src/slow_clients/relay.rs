//! A relay of its own: fresh data, free ports, nobody behind it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::time::sleep;

/// Of the relay's webhook.
pub(super) const SECRET: &str = "a-webhook-secret-for-slow-clients";

/// How long the relay may take to answer for the first time, in looks.
const LOOKS: u32 = 200;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running relay; killed when dropped.
pub(super) struct Relay {
    /// Base URL.
    pub(super) url: String,
    metrics: String,
    log: PathBuf,
    http: reqwest::Client,
    process: Child,
    _folder: TempDir,
}

impl Relay {
    /// Starts `program` with room for `connections`.
    pub(super) async fn start(program: Option<&Path>, connections: u32) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe()?.with_file_name("relay"),
        };
        ensure!(program.exists(), "{} is missing; build it: cargo build -p relay", program.display());
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("relay.log");
        let [port, metrics] = [free_port()?, free_port()?];
        let mut command = Command::new(&program);
        command.env_clear();
        command.args(["--port", &port.to_string(), "--listen", "127.0.0.1"]);
        command.args(["--metrics-listen", &format!("127.0.0.1:{metrics}")]);
        command.args(["--max-connections", &connections.to_string()]);
        command.args(["--claude-endpoint", "http://127.0.0.1:9", "--ollama-endpoint", "http://127.0.0.1:9"]);
        command.args(["--rust-log", "warn", "--log-format", "text"]).arg("--data-dir").arg(folder.path());
        command.env("GITHUB_WEBHOOK_SECRET", SECRET);
        command.env("RELAY_SIGNING_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let process = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let mut relay = Self {
            url: format!("http://127.0.0.1:{port}"),
            metrics: format!("http://127.0.0.1:{metrics}/metrics"),
            log,
            http: shared::client::http(Some(Duration::from_secs(10)))?,
            process,
            _folder: folder,
        };
        relay.answers().await?;
        Ok(relay)
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.url);
        for _ in 0..LOOKS {
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            if self.process.try_wait()?.is_some() {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("the relay did not start:\n{}", self.last_words());
    }

    /// Where webhooks go.
    pub(super) fn hook(&self) -> String {
        format!("{}/github-webhook", self.url)
    }

    /// The value of one of its metrics, for its public listener.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.http.get(&self.metrics).send().await?.text().await?;
        let start = format!("{name}{{listener=\"public\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        let value = value.with_context(|| format!("the relay has no metric {name}"))?;
        Ok(value.parse()?)
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
