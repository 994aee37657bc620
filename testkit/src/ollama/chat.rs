//! Ollama's own chat and generation.

use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::answer::{Dialect, Failure, json_answer, ndjson};
use super::embed::tokens;
use super::models::{Model, text};
use super::site::Site;

/// What Ollama says when its runner dies under a stream.
pub(super) const BROKEN_OFF: &str = "an error was encountered while running the model: unexpected EOF";

/// A finished piece of writing.
pub(super) struct Written {
    /// Pieces as they are streamed.
    pub(super) pieces: Vec<String>,
    /// `stop` or `length`.
    pub(super) reason: &'static str,
    pub(super) prompt_tokens: usize,
}

impl Written {
    pub(super) fn whole(&self) -> String {
        self.pieces.concat()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Vec<u32>>,
    #[serde(flatten)]
    totals: Option<Totals>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct Totals {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: usize,
    prompt_eval_duration: u64,
    eval_count: usize,
    eval_duration: u64,
}

/// Whether a line carries a chat's message or a generation's response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Chat,
    Generate,
}

impl Call {
    fn line<'a>(self, model: &'a str, content: &'a str) -> Line<'a> {
        let chat = self == Call::Chat;
        Line {
            model,
            // Always nine digits, as Go's RFC3339Nano gives them.
            created_at: format!("{:.9}", Timestamp::now()),
            message: Some(Message { role: "assistant", content }).filter(|_| chat),
            response: Some(content).filter(|_| !chat),
            done: false,
            done_reason: None,
            context: None,
            totals: None,
        }
    }

    fn last<'a>(self, model: &'a str, content: &'a str, written: &Written) -> Line<'a> {
        let count = written.pieces.len();
        Line {
            done: true,
            done_reason: Some(written.reason),
            context: Some((1..=16).collect()).filter(|_| self == Call::Generate),
            totals: Some(Totals {
                total_duration: 141_098_700,
                load_duration: 1_584_510,
                prompt_eval_count: written.prompt_tokens,
                prompt_eval_duration: 24_914_000,
                eval_count: count,
                eval_duration: 18_312_500 * count as u64,
            }),
            ..self.line(model, content)
        }
    }
}

/// `POST /api/chat`.
pub(super) fn chat(site: &Site, body: &Value) -> Result<Response, Failure> {
    answer(site, body, Call::Chat, body["messages"].as_array().is_none_or(Vec::is_empty))
}

/// `POST /api/generate`.
pub(super) fn generate(site: &Site, body: &Value) -> Result<Response, Failure> {
    answer(site, body, Call::Generate, body["prompt"].as_str().is_none_or(str::is_empty))
}

fn answer(site: &Site, body: &Value, call: Call, only_loads: bool) -> Result<Response, Failure> {
    let name = body["model"].as_str().unwrap_or_default();
    let model = site.load(name)?;
    refuse_abilities(&model, name, body)?;
    if only_loads {
        let unloads = body["keep_alive"] == 0 || body["keep_alive"] == "0";
        if unloads {
            site.unload(&model);
        }
        let done_reason = Some(if unloads { "unload" } else { "load" });
        let line = Line { done: true, done_reason, ..call.line(name, "") };
        return Ok(json_answer(Dialect::Ollama, text(&line)));
    }
    let written = write(site, body, body["options"]["num_predict"].as_u64());
    if body["stream"] == false {
        return Ok(json_answer(Dialect::Ollama, text(&call.last(name, &written.whole(), &written))));
    }
    let mut lines: Vec<_> = written.pieces.iter().map(|piece| text(&call.line(name, piece))).collect();
    if site.takes_break() {
        lines.truncate(2);
        lines.push(Failure::new(500, BROKEN_OFF).body(Dialect::Ollama));
    } else {
        lines.push(text(&call.last(name, "", &written)));
    }
    Ok(ndjson(lines))
}

/// None of these models has tools or thinks.
fn refuse_abilities(model: &Model, name: &str, body: &Value) -> Result<(), Failure> {
    if body["tools"].as_array().is_some_and(|tools| !tools.is_empty()) {
        let message = format!("registry.ollama.ai/library/{} does not support tools", model.name);
        return Err(Failure::new(400, message));
    }
    if body["think"] == true || body["think"].is_string() {
        return Err(Failure::new(400, format!("\"{name}\" does not support thinking")));
    }
    Ok(())
}

/// Writes at most `limit` pieces.
pub(super) fn write(site: &Site, body: &Value, limit: Option<u64>) -> Written {
    let whole = site.text_for(body);
    let mut pieces: Vec<_> = whole.split_inclusive(' ').map(str::to_owned).collect();
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let reason = if pieces.len() > limit { "length" } else { "stop" };
    pieces.truncate(limit);
    let prompt_tokens = tokens(&body["messages"].to_string());
    Written { pieces, reason, prompt_tokens }
}
