//! Answers of the Messages API, as one JSON object or as server-sent events.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::request::{Request, STRUCTURED_OUTPUT};

/// Characters in one delta of a stream.
const DELTA: usize = 48;

/// An error in Anthropic's shape.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    details: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), details: None, headers: Vec::new() }
    }

    fn body(&self) -> Value {
        let mut body = json!({"type": "error", "error": {"type": self.kind, "message": self.message},
            "request_id": "req_011CTestkit000000000000"});
        if let Some(details) = &self.details {
            body["error"]["details"] = details.clone();
        }
        body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = json_response(self.status, &self.body());
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}

#[derive(Debug, Clone)]
enum Content {
    Json(Value),
    Text(String),
    Tool { name: String, input: Value },
    Nothing,
}

#[derive(Debug, Clone)]
enum Kind {
    Message { content: Content, stop_reason: &'static str },
    Error(ApiError),
    BreaksOff,
}

/// What the stand-in answers to one request.
#[derive(Debug, Clone)]
pub struct Reply(Kind);

impl Reply {
    /// A JSON object in the way the request asks for it: as text, or through the Claude CLI's tool.
    pub fn json(answer: Value) -> Self {
        Self(Kind::Message { content: Content::Json(answer), stop_reason: "end_turn" })
    }

    /// As [`Self::json`].
    pub fn review(review: Value) -> Self {
        Self::json(review)
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Kind::Message { content: Content::Text(text.into()), stop_reason: "end_turn" })
    }

    /// The model calls one of the tools that the request offers.
    pub fn tool(name: impl Into<String>, input: Value) -> Self {
        let content = Content::Tool { name: name.into(), input };
        Self(Kind::Message { content, stop_reason: "tool_use" })
    }

    /// The model declines.
    pub fn refusal() -> Self {
        Self(Kind::Message { content: Content::Nothing, stop_reason: "refusal" })
    }

    /// The answer is cut at the token limit, in the middle of the JSON.
    pub fn max_tokens() -> Self {
        let content = Content::Text("{\"summary\": \"It adds a sea".into());
        Self(Kind::Message { content, stop_reason: "max_tokens" })
    }

    /// The context window is full before the answer is complete.
    pub fn context_window_exceeded() -> Self {
        let content = Content::Text("{\"summary\": \"It".into());
        Self(Kind::Message { content, stop_reason: "model_context_window_exceeded" })
    }

    /// An error with extra headers.
    pub fn error(status: StatusCode, kind: &'static str, headers: Vec<(&'static str, String)>) -> Self {
        let message = status.canonical_reason().unwrap_or("Error");
        Self(Kind::Error(ApiError { headers, ..ApiError::new(status, kind, message) }))
    }

    /// 529: every user at once.
    pub fn overloaded_529() -> Self {
        Self(Kind::Error(overloaded()))
    }

    /// A stream that begins well under status 200 and ends in an `error` event. Without a stream: 529.
    pub fn mid_stream_error() -> Self {
        Self(Kind::BreaksOff)
    }

    /// The monthly cap of the usage tier: 429 without `retry-after`; retrying is of no use.
    pub fn spend_limit() -> Self {
        let message = "Your organization has reached its monthly API spend limit for its usage tier.";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        let details = Some(json!({"error_code": "enforced_spend_limit_reached"}));
        Self(Kind::Error(ApiError { details, ..error }))
    }

    /// A limit the organisation set for itself: 400, told apart by its words only.
    pub fn own_spend_limit() -> Self {
        let message = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at \
                       00:00 UTC.";
        Self(Kind::Error(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)))
    }

    /// The answer on the wire.
    pub(super) fn respond(self, request: &Request, id: u64) -> Response {
        match self.0 {
            Kind::Error(error) => error.into_response(),
            Kind::BreaksOff if !request.stream() => overloaded().into_response(),
            Kind::BreaksOff => {
                let message =
                    Message::new(request, id, Content::Text("{\"summary\": \"It".into()), "end_turn");
                let mut events = message.events();
                // Up to and with the first delta.
                events.truncate(4);
                events.push(overloaded().body());
                event_stream(&events)
            }
            Kind::Message { content, stop_reason } => {
                let message = Message::new(request, id, content, stop_reason);
                if request.stream() { event_stream(&message.events()) } else { message.whole() }
            }
        }
    }
}

fn overloaded() -> ApiError {
    let status = StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    ApiError::new(status, "overloaded_error", "Overloaded")
}

struct Message {
    id: String,
    model: String,
    block: Option<Value>,
    stop_reason: &'static str,
    input_tokens: usize,
    output_tokens: usize,
}

impl Message {
    fn new(request: &Request, id: u64, content: Content, stop_reason: &'static str) -> Self {
        let text = |text: String| Some(json!({"type": "text", "text": text}));
        let tool = |name: &str, input: Value| {
            let id = format!("toolu_01Testkit{id:013}");
            Some(json!({"type": "tool_use", "id": id, "name": name, "input": input}))
        };
        let wants_tool = request.structured_output_tool().is_some() && !request.brings_tool_result();
        let (block, stop_reason) = match content {
            Content::Nothing => (None, stop_reason),
            Content::Text(words) => (text(words), stop_reason),
            Content::Tool { name, input } => (tool(&name, input), stop_reason),
            Content::Json(input) if wants_tool => (tool(STRUCTURED_OUTPUT, input), "tool_use"),
            Content::Json(_) if request.structured_output_tool().is_some() => {
                (text("Done.".into()), stop_reason)
            }
            Content::Json(value) => (text(value.to_string()), stop_reason),
        };
        let output_tokens = block.as_ref().map_or(1, |block| block.to_string().len() / 4);
        Self {
            id: format!("msg_01Testkit{id:015}"),
            model: request.model().to_owned(),
            block,
            stop_reason,
            input_tokens: request.input_tokens(),
            output_tokens,
        }
    }

    fn usage(&self, output_tokens: usize) -> Value {
        json!({"input_tokens": self.input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": output_tokens, "service_tier": "standard"})
    }

    fn envelope(&self, content: &[&Value], stop_reason: Option<&str>, output_tokens: usize) -> Value {
        json!({"id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": stop_reason, "stop_sequence": null, "usage": self.usage(output_tokens)})
    }

    fn whole(&self) -> Response {
        let content: Vec<_> = self.block.iter().collect();
        json_response(StatusCode::OK, &self.envelope(&content, Some(self.stop_reason), self.output_tokens))
    }

    fn events(&self) -> Vec<Value> {
        let start = json!({"type": "message_start", "message": self.envelope(&[], None, 1)});
        let mut events = vec![start];
        if let Some(block) = &self.block {
            events.extend(block_events(block));
        }
        events.push(json!({"type": "message_delta", "usage": {"output_tokens": self.output_tokens},
            "delta": {"stop_reason": self.stop_reason, "stop_sequence": null}}));
        events.push(json!({"type": "message_stop"}));
        events
    }
}

fn block_events(block: &Value) -> Vec<Value> {
    let is_tool = block["type"] == "tool_use";
    let (mut empty, full) = (block.clone(), block["input"].to_string());
    let text = if is_tool { full.as_str() } else { block["text"].as_str().unwrap_or_default() };
    empty[if is_tool { "input" } else { "text" }] = if is_tool { json!({}) } else { json!("") };
    let deltas = pieces(text).into_iter().map(|piece| {
        let delta = if is_tool {
            json!({"type": "input_json_delta", "partial_json": piece})
        } else {
            json!({"type": "text_delta", "text": piece})
        };
        json!({"type": "content_block_delta", "index": 0, "delta": delta})
    });
    let start =
        [json!({"type": "content_block_start", "index": 0, "content_block": empty}), json!({"type": "ping"})];
    start.into_iter().chain(deltas).chain([json!({"type": "content_block_stop", "index": 0})]).collect()
}

fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<_> = text.chars().collect();
    characters.chunks(DELTA).map(|piece| piece.iter().collect()).collect()
}

/// Each event in a chunk of its own.
fn event_stream(events: &[Value]) -> Response {
    let frame =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    let frames: Vec<_> =
        events.iter().map(|event| Ok::<_, std::convert::Infallible>(Bytes::from(frame(event)))).collect();
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(stream::iter(frames))).into_response()
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The body for statuses that faults make up.
pub(super) fn error_body(status: StatusCode) -> String {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    };
    ApiError::new(status, kind, status.canonical_reason().unwrap_or("Overloaded")).body().to_string()
}
