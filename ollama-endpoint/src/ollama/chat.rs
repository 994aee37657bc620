//! `POST /api/chat` with a schema: an answer that a program can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ollama, OllamaError};
use crate::distil::thoughts::without_thoughts;

/// The context that Ollama is to provide, in tokens. Always the same: another one would load the model again.
const CONTEXT: u32 = 8192;

/// The longest answer, in tokens. A model that repeats itself without end stops here.
const LONGEST_ANSWER: u32 = 768;

/// How much of a useless answer is shown to the model again.
const SHOWN_AGAIN: usize = 2000;

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it is to do, in our words.
    pub instructions: String,
    /// What it is to do that with; the words of others are fenced in.
    pub text: String,
    /// JSON Schema of the answer.
    pub schema: Value,
}

/// The model that answers questions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chat {
    ollama: Ollama,
    model: String,
    /// Whether the model refuses to be told that it shall not think.
    cannot_think: Arc<AtomicBool>,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    format: &'a Value,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<bool>,
    options: Options,
}

#[derive(Serialize)]
struct Options {
    temperature: f32,
    num_ctx: u32,
    num_predict: u32,
}

#[derive(Serialize, Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Answer {
    message: Message,
}

impl Message {
    fn new(role: &str, content: String) -> Self {
        Self { role: role.to_owned(), content }
    }
}

impl Chat {
    /// The model of this name at `ollama`.
    pub fn new(ollama: Ollama, model: String) -> Self {
        Self { ollama, model, cannot_think: Arc::default() }
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What `accept` makes of the model's answer to `question`. An answer that is not JSON, or that `accept` refuses with a
    /// reason, is asked for once more with the reason. `timeout` is that of one call to Ollama.
    ///
    /// # Errors
    /// [`OllamaError`]; [`OllamaError::Unusable`] if the second answer is no better.
    pub async fn ask<T>(
        &self,
        question: &Question,
        timeout: Duration,
        accept: impl Fn(Value) -> Result<T, String>,
    ) -> Result<T, OllamaError> {
        // Also in words: `format` keeps a model from writing anything else, but does not tell it why.
        let Question { instructions, text, schema } = question;
        let instructions = format!(
            "{instructions}\n\nAnswer with one JSON object of this JSON Schema, and nothing else:\n{schema}"
        );
        let mut messages = vec![Message::new("system", instructions), Message::new("user", text.clone())];
        let read = |answer: &str| {
            let json = serde_json::from_str(answer).map_err(|error| format!("it is not JSON ({error})"))?;
            accept(json)
        };
        let first = self.answer(&messages, schema, timeout).await?;
        let reason = match read(&first) {
            Ok(accepted) => return Ok(accepted),
            Err(reason) => reason,
        };
        let again = format!(
            "That answer cannot be used: {reason}. Answer again, with one JSON object of the schema."
        );
        messages.push(Message::new("assistant", first.chars().take(SHOWN_AGAIN).collect()));
        messages.push(Message::new("user", again));
        let second = self.answer(&messages, schema, timeout).await?;
        read(&second).map_err(|reason| OllamaError::Unusable { model: self.model.clone(), reason })
    }

    /// What the model says, without its thoughts.
    async fn answer(
        &self,
        messages: &[Message],
        schema: &Value,
        timeout: Duration,
    ) -> Result<String, OllamaError> {
        let cannot_think = self.cannot_think.load(Ordering::Relaxed);
        let answered = self.call(messages, schema, (!cannot_think).then_some(false), timeout).await;
        let answered = match answered {
            Err(OllamaError::Refused(reason))
                if !cannot_think && reason.contains("does not support thinking") =>
            {
                self.cannot_think.store(true, Ordering::Relaxed);
                self.call(messages, schema, None, timeout).await
            }
            answered => answered,
        };
        Ok(without_thoughts(&answered?.message.content).trim().to_owned())
    }

    async fn call(
        &self,
        messages: &[Message],
        format: &Value,
        think: Option<bool>,
        timeout: Duration,
    ) -> Result<Answer, OllamaError> {
        let options = Options { temperature: 0.0, num_ctx: CONTEXT, num_predict: LONGEST_ANSWER };
        let body = Request { model: &self.model, messages, format, stream: false, think, options };
        let request = self.ollama.http.post(self.ollama.url("/api/chat")).json(&body);
        self.ollama.call(request, &self.model, timeout).await
    }
}
