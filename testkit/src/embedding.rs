//! A real embedding model: `all-minilm`, run by llama.cpp's own server in a process of its own. The stand-in for Ollama
//! speaks Ollama's wire format in front of it ([`Ollama::embed_with`](crate::ollama::Ollama::embed_with)).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::lock;
use crate::python::Python;

/// Tokens that a text may have, with the two at its ends.
const CONTEXT: usize = 512;
/// How long loading may take. It takes 0.2 s.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The running model. Cheap to clone; its process ends with the last clone, and with this process however it ends.
#[derive(Debug, Clone)]
pub struct RealModel(Arc<Running>);

#[derive(Debug)]
struct Running {
    child: Mutex<Child>,
    url: String,
    http: Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        // It may have ended already; then there is nothing to kill, and waiting returns at once.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What became of texts.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// One vector a text, of norm 1.
    pub(crate) vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub(crate) tokens: usize,
}

/// Why texts have no vectors.
#[derive(Debug)]
pub(crate) enum Refused {
    /// One of them has more tokens than the model takes.
    TooLong,
    /// The model's server failed.
    Failed(reqwest::Error),
}

impl From<reqwest::Error> for Refused {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error)
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Vector>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Vector {
    index: usize,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: usize,
}

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<u32>,
}

impl RealModel {
    /// As it is named at Ollama.
    pub const NAME: &str = "all-minilm:latest";

    /// Loads it; it has come up when this returns.
    ///
    /// # Errors
    /// It cannot be started; its own words are on standard error.
    pub async fn start(python: &Python) -> anyhow::Result<Self> {
        let threads = std::thread::available_parallelism()?.get();
        let http = shared::client::http(None)?;
        let mut command = python.script("serve_model.py");
        command.arg(python.model()).args([CONTEXT.to_string(), threads.to_string()]);
        // It ends when its input does, so it does not outlive a process that is killed.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take();
        let mut running = Running { child: Mutex::new(child), url: String::new(), http };
        let out = out.context("its output was not piped")?;
        let first_line = tokio::task::spawn_blocking(move || BufReader::new(out).lines().next());
        let up = tokio::time::timeout(START_DEADLINE, first_line).await;
        match up.context("the embedding model did not come up")?? {
            Some(url) => running.url = url?,
            None => bail!("the embedding model could not be loaded; what it said is above"),
        }
        Ok(Self(Arc::new(running)))
    }

    /// The vectors of `texts`; one that is too long is cut if `truncate`.
    pub(crate) async fn embed(&self, texts: &[&str], truncate: bool) -> Result<Embedded, Refused> {
        let mut inputs = Vec::with_capacity(texts.len());
        for text in texts {
            inputs.push(self.input(text, truncate).await?);
        }
        let answer: Answer = self.post("/v1/embeddings", &json!({"input": inputs})).await?;
        let mut data = answer.data;
        data.sort_unstable_by_key(|vector| vector.index);
        let vectors = data.into_iter().map(|vector| vector.embedding).collect();
        Ok(Embedded { vectors, tokens: answer.usage.prompt_tokens })
    }

    /// The text, or its first tokens where it has too many: as Ollama does it, the mark at the end stays.
    async fn input(&self, text: &str, truncate: bool) -> Result<Value, Refused> {
        // A token has at least one byte.
        if text.len() + 2 <= CONTEXT {
            return Ok(json!(text));
        }
        let asked = json!({"content": text, "add_special": true});
        let Tokens { mut tokens } = self.post("/tokenize", &asked).await?;
        if tokens.len() <= CONTEXT {
            return Ok(json!(text));
        }
        if !truncate {
            return Err(Refused::TooLong);
        }
        tokens.drain(CONTEXT - 1..tokens.len() - 1);
        Ok(json!(tokens))
    }

    async fn post<T: for<'a> Deserialize<'a>>(&self, path: &str, body: &Value) -> Result<T, reqwest::Error> {
        let url = format!("{}{path}", self.0.url);
        self.0.http.post(url).json(body).send().await?.error_for_status()?.json().await
    }
}
