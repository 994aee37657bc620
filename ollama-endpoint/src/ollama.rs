//! The client of Ollama's own API: embeddings, and which models are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use shared::error::chain;
use tokio::sync::Mutex;
use url::Url;

/// The largest answer taken: 32 vectors of 4096 numbers fit three times.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// How long the list of models is believed, so that a busy health route does not become Ollama's load.
const LIST_AGE: Duration = Duration::from_secs(5);

/// How long the list of models may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// What a text is embedded for; some models want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Document,
    /// To find.
    Query,
}

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
    /// It refused, or answered with something else than was asked for.
    #[error("Ollama answered: {0}")]
    Refused(String),
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

#[derive(Serialize)]
struct EmbedRequest<'a> {
    model: &'a str,
    input: Vec<String>,
    truncate: bool,
}

#[derive(Deserialize)]
struct EmbedAnswer {
    embeddings: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
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

    /// One vector for each text, in order, as the model gave them (`POST /api/embed`; over-long texts are truncated by
    /// Ollama).
    ///
    /// # Errors
    /// [`OllamaError`]; of several texts one bad one fails them all.
    pub async fn embed(
        &self,
        texts: &[&str],
        purpose: Purpose,
        timeout: Duration,
    ) -> Result<Vec<Vec<f32>>, OllamaError> {
        let prefix = prefix(&self.embed_model, purpose);
        let input = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let body = EmbedRequest { model: &self.embed_model, input, truncate: true };
        let request = self.http.post(self.url("/api/embed")).json(&body).timeout(timeout);
        let answer: EmbedAnswer = self.call(request).await?;
        if answer.embeddings.len() != texts.len() {
            let got = answer.embeddings.len();
            return Err(OllamaError::Refused(format!("{got} vectors for {} texts", texts.len())));
        }
        Ok(answer.embeddings)
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
        let request = self.http.get(self.url("/api/tags")).timeout(LIST_TIMEOUT);
        let models = self.call::<Tags>(request).await;
        let models = models.map(|tags| tags.models.into_iter().map(|tag| tag.name).collect());
        *listed = Some(Listed { at: Instant::now(), models: models.clone() });
        models
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, OllamaError> {
        let away = |cause: String| OllamaError::Away { url: self.base.to_string(), cause };
        let broken = |error: reqwest::Error| away(chain(&error.without_url()));
        let mut response = request.send().await.map_err(broken)?;
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
            404 if error.contains("model") => OllamaError::ModelMissing(self.embed_model.clone()),
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

/// The task prefix that `nomic-embed-text` was trained with (its model card); other models take texts as they are.
fn prefix(model: &str, purpose: Purpose) -> &'static str {
    let name = model.rsplit('/').next().unwrap_or(model);
    match purpose {
        _ if !name.starts_with("nomic-embed-text") => "",
        Purpose::Document => "search_document: ",
        Purpose::Query => "search_query: ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_latest() {
        assert!(is_model("nomic-embed-text", "nomic-embed-text:latest"));
        assert!(is_model("nomic-embed-text:latest", "nomic-embed-text"));
        assert!(is_model("smollm2:135m", "smollm2:135m"));
        assert!(is_model("host:5000/a/b", "host:5000/a/b:latest"));
        assert!(!is_model("nomic-embed-text", "nomic-embed-text:v1.5"));
        assert!(!is_model("llama3", "llama3.2:latest"));
    }

    #[test]
    fn only_nomics_family_wants_prefixes() {
        assert_eq!(prefix("nomic-embed-text:v1.5", Purpose::Document), "search_document: ");
        assert_eq!(prefix("someone/nomic-embed-text", Purpose::Query), "search_query: ");
        assert_eq!(prefix("all-minilm", Purpose::Query), "");
    }
}
