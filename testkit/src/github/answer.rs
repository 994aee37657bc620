//! What all of GitHub's answers share: errors, pages, and who is asking.

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::rules::invalid_request;
use crate::shape::User;

const DOCS: &str = "https://docs.github.com/rest";
/// Content type of every JSON answer.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// Who is asking; `None` without credentials.
#[derive(Debug, Clone)]
pub(crate) struct Viewer(pub(crate) Option<User>);

impl Viewer {
    /// The account, where one is needed.
    pub(crate) fn signed_in(&self) -> Result<&User, Refusal> {
        self.0.as_ref().ok_or_else(|| Refusal::new(401, "Requires authentication"))
    }
}

/// An error answer in GitHub's shape.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    message: String,
    errors: Option<Value>,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: None, retry_after: None }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    pub(crate) fn errors(mut self, errors: Value) -> Self {
        self.errors = Some(errors);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// GitHub's error body.
pub(crate) fn error_body(status: u16, message: &str, errors: Option<Value>) -> String {
    let mut body = json!({"message": message, "documentation_url": DOCS, "status": status.to_string()});
    if let Some(errors) = errors {
        body["errors"] = errors;
    }
    body.to_string()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = error_body(self.status, &self.message, self.errors);
        let mut answer = (status, [(header::CONTENT_TYPE, JSON)], body).into_response();
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

/// A JSON answer.
pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// Reads a request body against its schema.
pub(crate) fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let value: Value =
        serde_json::from_slice(body).map_err(|_| Refusal::new(400, "Problems parsing JSON"))?;
    serde_json::from_value(value).map_err(|error| invalid_request(&in_githubs_words(&error.to_string())))
}

/// GitHub names keys it does not permit; the rest of serde's text serves a reader as well.
fn in_githubs_words(error: &str) -> String {
    let key = error.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    key.map_or_else(|| error.to_owned(), |key| format!("\"{key}\" is not a permitted key."))
}

/// Whether the diff media type is asked for.
pub(crate) fn wants_diff(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["application/vnd.github.diff", "application/vnd.github.v3.diff"]
        .iter()
        .any(|wanted| accept.split(',').any(|one| one.trim().split(';').next() == Some(wanted)))
}

/// One page of `items` by `page` and `per_page` (30, at most 100), with the `Link` header.
pub(crate) fn page(api: &str, uri: &Uri, items: &[Value]) -> Response {
    let (per_page, page) =
        (number(uri, "per_page").unwrap_or(30).clamp(1, 100), number(uri, "page").unwrap_or(1));
    let page = page.max(1);
    let last = items.len().div_ceil(per_page).max(1);
    let shown: Vec<_> = items.iter().skip((page - 1) * per_page).take(per_page).collect();
    let mut answer = json_answer(StatusCode::OK, &json!(shown));
    let target = |wanted: usize| format!("<{api}{}>", with_page(uri, wanted));
    let mut links = Vec::new();
    if page > 1 {
        links.push(format!("{}; rel=\"prev\"", target(page - 1)));
    }
    if page < last {
        links.push(format!("{}; rel=\"next\"", target(page + 1)));
        links.push(format!("{}; rel=\"last\"", target(last)));
    }
    if page > 1 {
        links.push(format!("{}; rel=\"first\"", target(1)));
    }
    if let Ok(value) = links.join(", ").parse()
        && !links.is_empty()
    {
        answer.headers_mut().insert(header::LINK, value);
    }
    answer
}

/// A number in the query.
pub(crate) fn number(uri: &Uri, key: &str) -> Option<usize> {
    text(uri, key)?.parse().ok()
}

/// A value in the query; those that GitHub makes need no decoding.
pub(crate) fn text<'a>(uri: &'a Uri, key: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next()
}

fn with_page(uri: &Uri, page: usize) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("page="));
    let pairs: Vec<_> = kept.map(str::to_owned).chain([format!("page={page}")]).collect();
    format!("{}?{}", uri.path(), pairs.join("&"))
}
