//! The client of Ollama's own API: embeddings, structured answers, and which models are there.

pub mod chat;
mod embed;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde::Deserialize;
use shared::error::chain;
use tokio::sync::Mutex;
use url::Url;

pub use self::embed::{Embedded, Purpose};

/// The largest answer taken: 32 vectors of 4096 numbers fit three times.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// How long the list of models is believed, so that a busy health route does not become Ollama's load.
const LIST_AGE: Duration = Duration::from_secs(5);

/// How long the list of models may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// Why Ollama did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OllamaError {
    /// No answer, or one that says "not now".
    #[error("Ollama does not answer at {url} ({cause}): start it with `ollama serve` or the Ollama app")]
    Away {
        /// Where it was asked.
        url: String,
        /// What happened instead.
        cause: String,
    },
    /// It runs, but does not have the model.
    #[error("Ollama does not have the model {0}: run `ollama pull {0}`")]
    ModelMissing(String),
    /// It took the request and did not answer in time: it is busy or loads a model, or the request is too much for it.
    #[error("Ollama at {url} has not answered within {} s: see with `ollama ps` what it is busy with", timeout.as_secs_f32())]
    Slow {
        /// Where it was asked.
        url: String,
        /// How long it had.
        timeout: Duration,
    },
    /// It refused, or answered with something else than was asked for.
    #[error("Ollama answered: {0}")]
    Refused(String),
    /// The model has answered twice, and neither answer is one that was asked for.
    #[error("the model {model} gave no usable answer: {reason}")]
    Unusable {
        /// The model.
        model: String,
        /// What is wrong with the last of them.
        reason: String,
    },
}

/// One Ollama and the model that embeds. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ollama {
    http: reqwest::Client,
    base: Url,
    embed_model: String,
    listed: Arc<Mutex<Option<Listed>>>,
}

/// The last answer to "which models are there".
#[derive(Debug)]
struct Listed {
    at: Instant,
    models: Result<Vec<String>, OllamaError>,
}

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default)]
    error: String,
}

impl Ollama {
    /// A client for the Ollama at `base` that embeds with `embed_model`.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(base: Url, embed_model: String) -> reqwest::Result<Self> {
        let http = shared::client::http(None)?;
        Ok(Self { http, base, embed_model, listed: Arc::default() })
    }

    /// The model that embeds.
    pub fn embed_model(&self) -> &str {
        &self.embed_model
    }

    /// The same Ollama, with another model to embed.
    pub fn with_embed_model(&self, model: &str) -> Self {
        Self { embed_model: model.to_owned(), ..self.clone() }
    }

    /// Names of the models that are there (`GET /api/tags`), at most a few seconds old.
    ///
    /// # Errors
    /// [`OllamaError`].
    pub async fn models(&self) -> Result<Vec<String>, OllamaError> {
        let mut listed = self.listed.lock().await;
        if let Some(fresh) = listed.as_ref().filter(|listed| listed.at.elapsed() < LIST_AGE) {
            return fresh.models.clone();
        }
        let request = self.http.get(self.url("/api/tags"));
        let models = self.call::<Tags>(request, "", LIST_TIMEOUT).await;
        let models = models.map(|tags| tags.models.into_iter().map(|tag| tag.name).collect());
        *listed = Some(Listed { at: Instant::now(), models: models.clone() });
        models
    }

    /// Its version (`GET /api/version`).
    ///
    /// # Errors
    /// [`OllamaError`].
    pub async fn version(&self) -> Result<String, OllamaError> {
        let request = self.http.get(self.url("/api/version"));
        self.call::<Version>(request, "", LIST_TIMEOUT).await.map(|answer| answer.version)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// The answer to `request`, which speaks of `model`.
    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        model: &str,
        timeout: Duration,
    ) -> Result<T, OllamaError> {
        let away = |cause: String| OllamaError::Away { url: self.base.to_string(), cause };
        let broken = |error: reqwest::Error| {
            if error.is_timeout() && !error.is_connect() {
                return OllamaError::Slow { url: self.base.to_string(), timeout };
            }
            away(chain(&error.without_url()))
        };
        let mut response = request.timeout(timeout).send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(OllamaError::Refused(format!("more than {LARGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 {
            return serde_json::from_slice(&body).map_err(|error| OllamaError::Refused(error.to_string()));
        }
        let error = serde_json::from_slice::<Failure>(&body).unwrap_or_default().error;
        Err(match status {
            404 if error.contains("model") => OllamaError::ModelMissing(model.to_owned()),
            408 | 429 | 502..=504 => away(format!("{status} {error}")),
            _ => OllamaError::Refused(format!("{status} {error}")),
        })
    }
}

/// Whether a listed name is the wanted model: `nomic-embed-text` means `nomic-embed-text:latest`.
pub fn is_model(wanted: &str, listed: &str) -> bool {
    let tagged = |name: &str| {
        if name.rsplit('/').next().unwrap_or(name).contains(':') {
            name.to_owned()
        } else {
            format!("{name}:latest")
        }
    };
    tagged(wanted).eq_ignore_ascii_case(&tagged(listed))
}
