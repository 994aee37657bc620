//! The APIs of OpenAI and Anthropic, as Ollama imitates them.

use axum::response::Response;
use http::{HeaderValue, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Dialect, Failure, event_stream, json_answer};
use super::chat::{BROKEN_OFF, Written, write};
use super::models::text;
use super::site::Site;

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'a str,
    created: i64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Delta<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Delta<'a>>,
    finish_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    fn of(written: &Written) -> Self {
        let (prompt_tokens, completion_tokens) = (written.prompt_tokens, written.pieces.len());
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// `POST /v1/chat/completions`.
pub(super) fn completions(site: &Site, body: &Value) -> Result<Response, Failure> {
    let name = body["model"].as_str().unwrap_or_default();
    if body["messages"].as_array().is_none_or(Vec::is_empty) {
        return Err(Failure::new(400, "[] is too short - 'messages'"));
    }
    site.load(name)?;
    let written = write(site, body, body["max_tokens"].as_u64());
    let base = |object, choices, usage| Completion {
        id: "chatcmpl-839",
        object,
        created: Timestamp::now().as_second(),
        model: name,
        system_fingerprint: "fp_ollama",
        choices,
        usage,
    };
    let choice = |message, delta, finish_reason| vec![Choice { index: 0, message, delta, finish_reason }];
    if body["stream"] != true {
        let whole = written.whole();
        let message = Some(Delta { role: Some("assistant"), content: Some(&whole) });
        let choices = choice(message, None, Some(written.reason));
        let completion = base("chat.completion", choices, Some(Usage::of(&written)));
        return Ok(json_answer(Dialect::OpenAi, text(&completion)));
    }
    let chunk = |choices, usage| text(&base("chat.completion.chunk", choices, usage));
    let mut events: Vec<(Option<&str>, String)> = vec![];
    for (index, piece) in written.pieces.iter().enumerate() {
        let role = Some("assistant").filter(|_| index == 0);
        events.push((None, chunk(choice(None, Some(Delta { role, content: Some(piece) }), None), None)));
    }
    if site.takes_break() {
        events.truncate(2);
        events.push((None, Failure::new(500, BROKEN_OFF).body(Dialect::OpenAi)));
        return Ok(event_stream(events));
    }
    events.push((
        None,
        chunk(choice(None, Some(Delta { role: None, content: None }), Some(written.reason)), None),
    ));
    if body["stream_options"]["include_usage"] == true {
        events.push((None, chunk(vec![], Some(Usage::of(&written)))));
    }
    events.push((None, "[DONE]".into()));
    Ok(event_stream(events))
}

#[derive(Serialize)]
struct AnthropicMessage<'a> {
    id: &'a str,
    r#type: &'a str,
    role: &'a str,
    model: &'a str,
    content: Vec<AnthropicText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
    usage: AnthropicUsage,
}

#[derive(Serialize)]
struct AnthropicText<'a> {
    r#type: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct AnthropicUsage {
    input_tokens: usize,
    output_tokens: usize,
}

#[derive(Serialize)]
struct AnthropicEvent<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<AnthropicMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_block: Option<AnthropicText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<AnthropicUsage>,
}

const EVENT: AnthropicEvent<'static> =
    AnthropicEvent { r#type: "", message: None, index: None, content_block: None, delta: None, usage: None };

/// `POST /v1/messages`; schemas are ignored there.
pub(super) fn messages(site: &Site, body: &Value) -> Result<Response, Failure> {
    let name = body["model"].as_str().unwrap_or_default();
    site.load(name)?;
    let mut plain = body.clone();
    plain["format"] = Value::Null;
    let written = write(site, &plain, body["max_tokens"].as_u64());
    let stop_reason = if written.reason == "length" { "max_tokens" } else { "end_turn" };
    let usage = |output_tokens| AnthropicUsage { input_tokens: written.prompt_tokens, output_tokens };
    let message = |content, stop_reason, output_tokens| AnthropicMessage {
        id: "msg_b21032e74676b45862f88f6c",
        r#type: "message",
        role: "assistant",
        model: name,
        content,
        stop_reason,
        usage: usage(output_tokens),
    };
    let whole = written.whole();
    if body["stream"] != true {
        let content = vec![AnthropicText { r#type: "text", text: &whole }];
        let message = message(content, Some(stop_reason), written.pieces.len());
        return Ok(json_answer(Dialect::OpenAi, text(&message)));
    }
    let event = |r#type, event: AnthropicEvent<'_>| (Some(r#type), text(&AnthropicEvent { r#type, ..event }));
    let block = AnthropicText { r#type: "text", text: "" };
    let mut events = vec![
        event("message_start", AnthropicEvent { message: Some(message(vec![], None, 0)), ..EVENT }),
        event("content_block_start", AnthropicEvent { index: Some(0), content_block: Some(block), ..EVENT }),
    ];
    events.extend(written.pieces.iter().map(|piece| {
        let delta = Some(json!({"type": "text_delta", "text": piece}));
        event("content_block_delta", AnthropicEvent { index: Some(0), delta, ..EVENT })
    }));
    let delta = Some(json!({"stop_reason": stop_reason}));
    let usage = Some(usage(written.pieces.len()));
    events.push(event("content_block_stop", AnthropicEvent { index: Some(0), ..EVENT }));
    events.push(event("message_delta", AnthropicEvent { delta, usage, ..EVENT }));
    events.push(event("message_stop", EVENT));
    let mut answer = event_stream(events);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}
