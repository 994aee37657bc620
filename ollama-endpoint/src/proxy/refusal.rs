//! What the proxy itself answers, in the words of the API that was called.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

/// Whose errors a route answers with: Ollama words them as the API that it imitates there (`openai.NewError` and
/// `anthropic.NewError` in its source).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Ollama,
    OpenAi,
    Anthropic,
}

impl Dialect {
    pub(super) fn of(path: &str) -> Self {
        match path {
            _ if path.starts_with("/v1/messages") => Self::Anthropic,
            _ if path.starts_with("/v1/") => Self::OpenAi,
            _ => Self::Ollama,
        }
    }
}

/// An error of the proxy.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The answer in that dialect, as the clients of that API can show it.
    pub(super) fn answer(self, dialect: Dialect) -> Response {
        let Self { status, message, retry_after } = self;
        let message = Value::from(message);
        let body = match dialect {
            Dialect::Ollama => format!(r#"{{"error":{message}}}"#),
            Dialect::OpenAi => {
                let kind =
                    if status == StatusCode::BAD_REQUEST { "invalid_request_error" } else { "api_error" };
                format!(r#"{{"error":{{"message":{message},"type":"{kind}","param":null,"code":null}}}}"#)
            }
            Dialect::Anthropic => {
                let kind = match status.as_u16() {
                    400 => "invalid_request_error",
                    403 => "permission_error",
                    503 => "overloaded_error",
                    _ => "api_error",
                };
                format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}}}"#)
            }
        };
        let content_type = [(CONTENT_TYPE, "application/json; charset=utf-8")];
        let mut response = (status, content_type, body).into_response();
        if let Some(after) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, after.as_secs().into());
        }
        response
    }
}
