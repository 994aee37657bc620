//! The real ollama-endpoint, with an Ollama that answers at once.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::crash::child::{PATIENCE, Program, until};
use crate::crash::process::SIGNING_KEY;
use crate::ollama::{Model, Ollama};
use crate::port;

/// The token of those who write and ask.
pub(super) const TOKEN: &str = "a-memory-token-for-the-crash-test";

/// The models that embed in turn; neither takes a question for anything else than a text.
const MODELS: [(&str, usize); 2] = [("first-embed", 96), ("second-embed", 64)];

/// See the module. Killed when dropped.
pub(super) struct Endpoint {
    binary: PathBuf,
    data: PathBuf,
    port: u16,
    model: usize,
    ollama: Ollama,
    program: Program,
    http: Client,
}

impl Endpoint {
    /// Not started yet; its data and its log are in `folder`.
    pub(super) async fn new(binary: PathBuf, folder: &Path) -> anyhow::Result<Self> {
        let ollama = Ollama::start().await.context("no port for Ollama")?;
        let embed = MODELS.map(|(name, dimensions)| Model::new(name, dimensions));
        ollama.set_models([Model::llama3_2()].into_iter().chain(embed).collect());
        ollama.write_with(Arc::new(write));
        Ok(Self {
            binary,
            data: folder.join("data"),
            port: port::port(),
            model: 0,
            ollama,
            program: Program::new(folder.join("ollama-endpoint.log")),
            http: shared::client::http(Some(Duration::from_secs(60)))?,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The other model embeds from the next start on.
    pub(super) fn change_model(&mut self) {
        self.model = (self.model + 1) % MODELS.len();
    }

    /// The model that embeds.
    pub(super) fn model(&self) -> &'static str {
        MODELS[self.model].0
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        let port = self.port.to_string();
        let settings = [
            ("RELAY_SIGNING_KEY", SIGNING_KEY),
            ("MEMORY_TOKEN", TOKEN),
            ("PORT", &port),
            ("OLLAMA_URL", &self.ollama.url()),
            ("OLLAMA_EMBED_MODEL", self.model()),
            ("LOG_FORMAT", "text"),
            ("RUST_LOG", "warn"),
            ("NO_COLOR", "1"),
        ];
        command.env_clear().envs(settings).env("DATA_DIR", &self.data).args(verb);
        command
    }

    /// Starts it and does not wait for it.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        let command = self.command(&[]);
        self.program.spawn(command)
    }

    /// Starts it and waits until it answers. How long that took.
    pub(super) async fn start(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.spawn()?;
        let url = format!("{}/readyz", self.url());
        let mut program = std::mem::replace(&mut self.program, Program::new(PathBuf::new()));
        let ready = until(PATIENCE, async || {
            program.has_ended() || self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        let ended = program.has_ended();
        self.program = program;
        ensure!(ready && !ended, "it did not start: {}", self.program.last_words());
        Ok(started.elapsed())
    }

    pub(super) fn kill(&mut self) {
        self.program.kill();
    }

    pub(super) fn has_logged(&self, text: &str) -> bool {
        self.program.has_logged(text)
    }

    /// Runs another verb of the program, such as `check`, with the same settings.
    pub(super) async fn verb(&self, verb: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(verb);
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// The text of a `GET` with the token.
    pub(super) async fn text(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        let request = self.http.get(format!("{}{path}", self.url())).query(query).bearer_auth(TOKEN);
        let answer = request.send().await.with_context(|| format!("{path} does not answer"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{path} broke off"))?;
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(text)
    }

    pub(super) async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text(path, query).await?).with_context(|| format!("{path} is no JSON"))
    }
}

/// A model that words events as their records do, and judges by the flip of a coin; the same question gets the same answer.
fn write(body: &Value) -> String {
    let asked = body["messages"].as_array().and_then(|messages| messages.last());
    let asked = asked.and_then(|message| message["content"].as_str()).unwrap_or_default();
    let coin = Sha256::digest(asked)[0];
    if !body["format"]["properties"]["relation"].is_null() {
        let relation = ["different", "different", "same", "contradicts"][usize::from(coin % 4)];
        return json!({"relation": relation}).to_string();
    }
    let fenced = asked.split_once(">\n").map_or(asked, |(_, rest)| rest);
    let record = fenced.rsplit_once("\n</").map_or(fenced, |(record, _)| record);
    let sentences: Vec<&str> = record.split_inclusive(". ").skip(usize::from(coin % 2)).take(3).collect();
    json!({"kind": "decision", "text": sentences.concat().trim()}).to_string()
}
