//! How Ollama words errors and frames its answers, in its own dialect and in the two it imitates.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{StatusCode, header};
use serde::Serialize;

use super::models::text;

/// Go's HTTP server sends a body of known length only up to this size, else in chunks.
const GO_BUFFER: usize = 2_048;

/// Whose API a route speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Ollama,
    OpenAi,
}

/// An error, not yet in a dialect.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    status: u16,
    message: String,
}

#[derive(Serialize)]
struct Plain<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl Failure {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The body alone: also a line of a stream that has begun.
    pub(super) fn body(&self, dialect: Dialect) -> String {
        let r#type = match self.status {
            400 => "invalid_request_error",
            404 => "not_found_error",
            _ => "api_error",
        };
        match dialect {
            Dialect::Ollama => text(&Plain { error: &self.message }),
            Dialect::OpenAi => text(&OpenAi {
                error: OpenAiError { message: &self.message, r#type, param: None, code: None },
            }),
        }
    }

    pub(super) fn respond(&self, dialect: Dialect) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = json_answer(dialect, self.body(dialect));
        *answer.status_mut() = status;
        answer
    }
}

/// A JSON answer, chunked where Go would chunk.
pub(super) fn json_answer(dialect: Dialect, body: String) -> Response {
    let content_type = match dialect {
        Dialect::Ollama => "application/json; charset=utf-8",
        Dialect::OpenAi => "application/json",
    };
    let headers = [(header::CONTENT_TYPE, content_type)];
    if body.len() > GO_BUFFER { chunks(headers, vec![body]) } else { (headers, body).into_response() }
}

/// One chunk per line.
pub(super) fn ndjson(lines: Vec<String>) -> Response {
    let lines = lines.into_iter().map(|line| line + "\n").collect();
    chunks([(header::CONTENT_TYPE, "application/x-ndjson")], lines)
}

/// One chunk per event; an event is its `event:` name, if any, and its data.
pub(super) fn event_stream(events: Vec<(Option<&str>, String)>) -> Response {
    let frame = |(name, data): (Option<&str>, String)| {
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        format!("{name}data: {data}\n\n")
    };
    let frames = events.into_iter().map(frame).collect();
    chunks([(header::CONTENT_TYPE, "text/event-stream")], frames)
}

fn chunks(headers: [(header::HeaderName, &str); 1], chunks: Vec<String>) -> Response {
    let chunks = chunks.into_iter().map(|chunk| Ok::<_, std::convert::Infallible>(Bytes::from(chunk)));
    (headers, Body::from_stream(stream::iter(chunks))).into_response()
}
