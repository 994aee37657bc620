//! OpenAI's newer API, as Ollama imitates it.

use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{Dialect, Failure, json_answer};
use super::chat::write;
use super::models::text;
use super::site::Site;

/// In the order of the capture.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'a str,
    created_at: i64,
    completed_at: i64,
    status: &'a str,
    incomplete_details: Option<&'a str>,
    model: &'a str,
    previous_response_id: Option<&'a str>,
    instructions: &'a Value,
    output: [Message<'a>; 1],
    error: Option<&'a str>,
    tools: [&'a str; 0],
    tool_choice: &'a str,
    truncation: &'a str,
    parallel_tool_calls: bool,
    text: Format<'a>,
    top_p: u8,
    presence_penalty: u8,
    frequency_penalty: u8,
    top_logprobs: u8,
    temperature: u8,
    reasoning: Option<&'a str>,
    usage: Usage,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<u64>,
    store: bool,
    background: bool,
    service_tier: &'a str,
    metadata: Map<String, Value>,
    safety_identifier: Option<&'a str>,
    prompt_cache_key: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'a str,
    status: &'a str,
    role: &'a str,
    content: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'a str,
    text: String,
    annotations: [&'a str; 0],
    logprobs: [&'a str; 0],
}

#[derive(Serialize)]
struct Format<'a> {
    format: Kind<'a>,
}

#[derive(Serialize)]
struct Kind<'a> {
    r#type: &'a str,
}

#[derive(Serialize)]
struct Usage {
    input_tokens: usize,
    output_tokens: usize,
    total_tokens: usize,
    input_tokens_details: Value,
    output_tokens_details: Value,
}

/// `POST /v1/responses`. It was captured unstreamed only, and only that is answered.
pub(super) fn responses(site: &Site, body: &Value) -> Result<Response, Failure> {
    let name = body["model"].as_str().unwrap_or_default();
    site.load(name)?;
    if body["stream"] == true {
        return Err(Failure::new(501, "this stand-in does not stream responses"));
    }
    let messages = match &body["input"] {
        Value::String(prompt) => json!([{"role": "user", "content": prompt}]),
        messages => messages.clone(),
    };
    let max_output_tokens = body["max_output_tokens"].as_u64();
    let written = write(site, &json!({"messages": messages}), max_output_tokens);
    let (input_tokens, output_tokens) = (written.prompt_tokens, written.pieces.len());
    let now = Timestamp::now().as_second();
    let content = [Text { r#type: "output_text", text: written.whole(), annotations: [], logprobs: [] }];
    let answer = Answer {
        id: "resp_495417",
        object: "response",
        created_at: now,
        completed_at: now,
        status: "completed",
        incomplete_details: None,
        model: name,
        previous_response_id: None,
        instructions: &body["instructions"],
        output: [Message {
            id: "msg_417028",
            r#type: "message",
            status: "completed",
            role: "assistant",
            content,
        }],
        error: None,
        tools: [],
        tool_choice: "auto",
        truncation: "disabled",
        parallel_tool_calls: true,
        text: Format { format: Kind { r#type: "text" } },
        top_p: 1,
        presence_penalty: 0,
        frequency_penalty: 0,
        top_logprobs: 0,
        temperature: 1,
        reasoning: None,
        usage: Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens + output_tokens,
            input_tokens_details: json!({"cached_tokens": 0}),
            output_tokens_details: json!({"reasoning_tokens": 0}),
        },
        max_output_tokens,
        max_tool_calls: None,
        store: false,
        background: false,
        service_tier: "default",
        metadata: Map::new(),
        safety_identifier: None,
        prompt_cache_key: None,
    };
    Ok(json_answer(Dialect::OpenAi, text(&answer)))
}
