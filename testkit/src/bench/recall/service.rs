//! The ollama-endpoint as a process, and what it is asked over HTTP.

use std::{
    cell::RefCell,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::memory::SearchResponse;

use super::super::{
    SIGNING_KEY, Setup,
    machine::Resident,
    process::{Process, free_address},
    wire::Connection,
};

const TOKEN: &str = "a-memory-token-for-the-benchmark";
/// When imported records arrived; nothing is found by it.
const RECEIVED_AT: &str = "2026-01-01T00:00:00Z";
const START_DEADLINE: Duration = Duration::from_secs(60);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at how far it has come; looking costs it a count of all rows.
const LOOK: Duration = Duration::from_millis(250);
/// Without any progress for so long, it will not get there.
const STANDSTILL: Duration = Duration::from_secs(60);
/// What a writer waits when the service says that its backlog is full.
const FULL: Duration = Duration::from_millis(200);

/// A running ollama-endpoint with a store of its own.
pub(super) struct Service {
    process: Process,
    http: Client,
    address: SocketAddr,
    folder: PathBuf,
    program: PathBuf,
    ollama: String,
    model: String,
    /// From its start to the first 200 of `/readyz`.
    pub(super) ready: Duration,
}

/// How far it has come with what it was sent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Stats {
    pub(super) records: u64,
    pub(super) memories: u64,
    pub(super) vectors: Vectors,
}

/// Of the memories that can be found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Vectors {
    pub(super) with: u64,
    pub(super) waiting: u64,
    pub(super) rejected: u64,
}

/// What is asked of `GET /memory/search`.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask<'a> {
    pub(super) q: &'a str,
    pub(super) mode: &'a str,
    pub(super) repository: Option<&'a str>,
    pub(super) limit: usize,
}

impl Service {
    /// Starts it in `folder` with that Ollama; it is ready when this returns.
    ///
    /// # Errors
    /// It did not come up.
    pub(super) async fn start(
        setup: &Setup,
        folder: &Path,
        ollama: String,
        model: &str,
    ) -> anyhow::Result<Self> {
        let (program, address) = (setup.program("ollama-endpoint")?, free_address());
        let http = shared::client::http(Some(PATIENCE))?;
        let started = Instant::now();
        let process = launch(&program, folder, address, &ollama, model)?;
        let (model, folder) = (model.to_owned(), folder.to_owned());
        let ready = Duration::ZERO;
        let mut service = Self { process, http, address, folder, program, ollama, model, ready };
        service.until_ready(started).await?;
        Ok(service)
    }

    /// Stops it and starts it again with the same store.
    ///
    /// # Errors
    /// It did not stop, or did not come up again.
    pub(super) async fn restart(self) -> anyhow::Result<Self> {
        let Self { process, http, address, folder, program, ollama, model, .. } = self;
        process.stop()?;
        let started = Instant::now();
        let process = launch(&program, &folder, address, &ollama, &model)?;
        let ready = Duration::ZERO;
        let mut service = Self { process, http, address, folder, program, ollama, model, ready };
        service.until_ready(started).await?;
        Ok(service)
    }

    /// Stops it.
    ///
    /// # Errors
    /// It did not stop.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.process.stop()
    }

    async fn until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        let url = self.url("/readyz");
        while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            self.process.check()?;
            if started.elapsed() > START_DEADLINE {
                bail!("the ollama-endpoint did not get ready:\n{}", self.process.last_words());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.ready = started.elapsed();
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its memory now.
    pub(super) fn resident(&self) -> anyhow::Result<Resident> {
        Resident::of(self.process.pid())
    }

    pub(super) async fn stats(&self) -> anyhow::Result<Stats> {
        let request = self.http.get(self.url("/memory/stats")).bearer_auth(TOKEN);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Searches.
    ///
    /// # Errors
    /// It answered with something else than results.
    pub(super) async fn search(&self, ask: &Ask<'_>) -> anyhow::Result<SearchResponse> {
        let limit = ask.limit.to_string();
        let mut query = vec![("q", ask.q), ("limit", &limit), ("mode", ask.mode)];
        query.extend(ask.repository.map(|repository| ("repository", repository)));
        let request = self.http.get(self.url("/memory/search")).query(&query).bearer_auth(TOKEN);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Waits until all of `records` have been made memories of, and returns when that was.
    ///
    /// # Errors
    /// It stands still.
    pub(super) async fn until_remembered(&mut self, records: u64) -> anyhow::Result<Instant> {
        self.until(|stats| stats.records >= records).await
    }

    /// The same, until each of them has its vector as well.
    ///
    /// # Errors
    /// It stands still, or a vector was refused.
    pub(super) async fn until_embedded(&mut self, records: u64) -> anyhow::Result<Instant> {
        let at = self.until(|stats| stats.records >= records && stats.vectors.waiting == 0).await?;
        let stats = self.stats().await?;
        ensure!(stats.vectors.rejected == 0, "vectors were refused: {stats:?}");
        Ok(at)
    }

    async fn until(&mut self, reached: impl Fn(&Stats) -> bool) -> anyhow::Result<Instant> {
        let (mut before, mut since) = (Stats::default(), Instant::now());
        loop {
            let stats = self.stats().await?;
            if reached(&stats) {
                return Ok(Instant::now());
            }
            if stats != before {
                (before, since) = (stats, Instant::now());
            } else if since.elapsed() > STANDSTILL {
                let said = self.process.last_words();
                bail!(
                    "nothing has happened for {STANDSTILL:?} at {before:?}; the ollama-endpoint said\n{said}"
                );
            }
            self.process.check()?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes in what another memory would have exported: records with these ids and bodies.
    ///
    /// # Errors
    /// They were not all taken.
    pub(super) async fn import(&self, records: &[(String, Value)]) -> anyhow::Result<()> {
        let mut lines = vec![json!({"format": "ai-relay-memory", "version": 1}).to_string()];
        lines.extend(records.iter().map(|(id, update)| {
            json!({"record": {"id": id, "received_at": RECEIVED_AT, "body": update.to_string()}}).to_string()
        }));
        let end =
            json!({"records": records.len(), "derivations": 0, "judgements": 0, "audit": 0, "memories": 0});
        lines.push(json!({"end": end}).to_string());
        let request = self.http.post(self.url("/memory/import")).bearer_auth(TOKEN);
        let answer = request.body(lines.join("\n") + "\n").send().await?;
        let (status, said) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "an import was answered {status}: {said}");
        Ok(())
    }

    /// Sends the updates on so many connections; each must be answered 202, at once if `at_once`, else as soon as the
    /// backlog allows. How long it took.
    ///
    /// # Errors
    /// Another answer.
    pub(super) async fn update(
        &self,
        updates: impl Iterator<Item = Value>,
        writers: usize,
        at_once: bool,
    ) -> anyhow::Result<Duration> {
        let waiting = RefCell::new(updates);
        let next = || waiting.borrow_mut().next();
        let one = async || {
            let mut connection = Connection::new(self.address);
            while let Some(update) = next() {
                let request = request(&update, self.address);
                loop {
                    let status =
                        connection.exchange(&request).await.context("the ollama-endpoint is gone")?;
                    match status {
                        202 => break,
                        503 if !at_once => tokio::time::sleep(FULL).await,
                        _ => bail!("an update was answered {}", connection.said()),
                    }
                }
            }
            anyhow::Ok(())
        };
        let started = Instant::now();
        try_join_all((0..writers).map(|_| one())).await?;
        Ok(started.elapsed())
    }
}

fn launch(
    program: &Path,
    folder: &Path,
    address: SocketAddr,
    ollama: &str,
    model: &str,
) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(folder.join("store"));
    command.args(["--listen", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--relay-signing-key", SIGNING_KEY, "--memory-token", TOKEN]);
    command.args(["--ollama-url", ollama, "--ollama-embed-model", model]);
    Process::start(&mut command, &folder.join("ollama-endpoint.log"))
}

fn request(update: &Value, address: SocketAddr) -> Vec<u8> {
    let body = update.to_string();
    let head = format!(
        "POST /memory-update HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
