//! Ollama's chat with a JSON Schema as `format`.
//! <https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion>

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::client;
use shared::doctor::Finding;
use shared::error::chain;
use url::Url;

use super::{Failed, Question, Reply, ReviewError, Reviewer, Usage};
use crate::text::shorten;

const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a machine at home can hold beside the model.
pub(super) const MOST_TOKENS: usize = 24_000;
/// Room in the context for the answer; Ollama's own default context would cut the prompt.
const MOST_OUTPUT_TOKENS: u32 = 6_000;
const SMALLEST_CONTEXT: usize = 8_192;

/// Answers with a local model.
#[derive(Debug)]
pub struct Ollama {
    http: reqwest::Client,
    base: Url,
    model: String,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Deserialize)]
struct Chat {
    model: String,
    message: Message,
    #[serde(default)]
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: u64,
    #[serde(default)]
    eval_count: u64,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

impl Ollama {
    /// A reviewer that asks `model` at `base`; `timeout` is for one answer, which may include loading the model.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(base: Url, model: String, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self { http: client::http(Some(timeout))?, base, model })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    fn away(&self, error: reqwest::Error) -> String {
        format!(
            "Ollama does not answer at {}: {}; start it with `ollama serve`",
            self.base,
            chain(&error.without_url())
        )
    }

    /// `objection` is what was wrong with the answer before.
    fn request(&self, question: &Question<'_>, objection: Option<&str>) -> Value {
        let Question { system, schema, .. } = question;
        // the schema constrains the grammar; in the prompt it tells the model what the fields are
        let mut user = format!("{}\n\n## Answer\nOne JSON object of this schema:\n{schema}\n", question.user);
        if let Some(objection) = objection {
            user.push_str(&format!("Your last answer was refused: {objection}. Answer again.\n"));
        }
        let output = question.most_output_tokens.min(MOST_OUTPUT_TOKENS);
        let context = (system.len() + user.len()) / 4 + output as usize;
        json!({
            "model": self.model,
            "stream": false,
            "think": false,
            "format": schema,
            "options": {"num_ctx": context.max(SMALLEST_CONTEXT), "num_predict": output, "temperature": 0},
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        })
    }

    async fn attempt(&self, question: &Question<'_>, objection: Option<&str>) -> Result<Reply, Failed> {
        let chat = self.chat(&self.request(question, objection)).await?;
        let usage = Usage {
            input_tokens: chat.prompt_eval_count,
            output_tokens: chat.eval_count,
            ..Usage::default()
        };
        let reply = Reply { text: chat.message.content, model: chat.model, usage, cost_usd: None };
        super::usable(reply, chat.done_reason.as_deref(), question)
    }

    async fn chat(&self, body: &Value) -> Result<Chat, ReviewError> {
        let response = self.http.post(self.url("/api/chat")).json(body).send().await.map_err(|error| {
            if error.is_connect() {
                ReviewError::unreachable(self.away(error))
            } else if error.is_timeout() {
                ReviewError::Unusable("Ollama did not answer in time; REVIEW_TIMEOUT allows more".to_owned())
            } else {
                ReviewError::retry(format!("the call to Ollama failed: {}", chain(&error.without_url())))
            }
        })?;
        let status = response.status();
        let bytes = super::read(response, LARGEST_ANSWER).await.map_err(ReviewError::Unusable)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| ReviewError::Unusable(format!("Ollama's answer cannot be read: {error}")));
        }
        let error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = shorten(error["error"].as_str().unwrap_or("no reason given"), 300);
        Err(match status.as_u16() {
            404 => ReviewError::unreachable(format!("Ollama: {message}; `ollama pull {}`", self.model)),
            400..=499 => ReviewError::NoReview(format!("Ollama answered {status}: {message}")),
            _ => ReviewError::retry(format!("Ollama answered {status}: {message}")),
        })
    }
}

#[async_trait]
impl Reviewer for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn most_tokens(&self) -> usize {
        MOST_TOKENS
    }

    fn is_free(&self) -> bool {
        true
    }

    /// Whether Ollama runs and has the model.
    async fn ready(&self) -> Result<(), String> {
        let response = self.http.get(self.url("/api/tags")).timeout(PROBE_TIMEOUT).send().await;
        let body = super::read(response.map_err(|error| self.away(error))?, LARGEST_ANSWER).await?;
        let tags: Tags = serde_json::from_slice(&body).map_err(|_| format!("{} is not Ollama", self.base))?;
        let is_it =
            |tag: &Tag| tag.name == self.model || tag.name.strip_suffix(":latest") == Some(&self.model);
        let have = tags.models.iter().any(is_it);
        if have { Ok(()) } else { Err(format!("the model is missing; `ollama pull {}`", self.model)) }
    }

    async fn examine(&self, _offline: bool) -> Vec<Finding> {
        vec![match self.ready().await {
            Ok(()) => Finding::ok("ready", format!("it has {}", self.model)),
            Err(reason) if reason.contains("pull") => {
                Finding::fail("ready", reason, format!("ollama pull {}", self.model))
            }
            Err(reason) => Finding::fail("ready", reason, "ollama serve"),
        }]
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failed> {
        let first = self.attempt(question, None).await;
        let Err(Failed { error: ReviewError::Unusable(objection), paid: Some(paid) }) = first else {
            return first;
        };
        let mut second = self.attempt(question, Some(&objection)).await;
        match &mut second {
            Ok(reply) => reply.usage += paid.usage,
            Err(Failed { error, paid: Some(again) }) => {
                again.usage += paid.usage;
                if let ReviewError::Unusable(reason) = error {
                    *reason = format!("{} does not keep to the schema: {reason}", self.model);
                }
            }
            Err(failed) => failed.paid = Some(paid),
        }
        second
    }
}

#[cfg(test)]
#[path = "ollama_tests.rs"]
mod tests;
