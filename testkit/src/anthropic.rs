//! A stand-in for Anthropic's Messages API that the real Claude CLI accepts too.

mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use self::reply::Reply;
use self::reply::{ApiError, error_body, json_response};
pub use self::request::{Request, STRUCTURED_OUTPUT};
use crate::control::{Control, Overdue, Wording, lock};
use crate::server::{ANY_PORT, Server};
use crate::{instance, reviewer};

/// Largest request (vendor documentation, "Request size limits").
const MAX_REQUEST: usize = 32 << 20;
/// Tokens that fit the context window.
const CONTEXT_WINDOW: usize = 200_000;
/// The models it has.
pub const MODELS: [&str; 3] = ["claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"];

/// Decides what to answer.
pub type Responder = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// Answers any structured question by its schema: reviews the diff in the prompt by [`reviewer::review`] where findings
/// are asked for; finds that a claim holds as it is; else answers with the plainest value that fits.
pub fn reviewer() -> Responder {
    Arc::new(|request| Reply::json(answer(request)))
}

fn answer(request: &Request) -> Value {
    match request.schema() {
        Some(schema) if schema["properties"].is_object() && !request.asks_for("findings") => {
            instance::of(schema, &request.prompt())
        }
        _ => reviewer::review(&request.prompt()),
    }
}

/// The same answer to each question that asks for findings, and that of [`reviewer`] to all others.
pub fn always_review(reply: Reply) -> Responder {
    Arc::new(move |request| match request.asks_for("findings") {
        true => reply.clone(),
        false => Reply::json(answer(request)),
    })
}

/// The same answer each time.
pub fn always(reply: Reply) -> Responder {
    Arc::new(move |_| reply.clone())
}

struct Model {
    responder: Mutex<Responder>,
    next: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Request>>,
    models: Vec<String>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("models", &self.models).finish_non_exhaustive()
    }
}

/// The running stand-in. Cheap to clone; stops with its last clone. Faults, gates and the call log are
/// those of [`Control`].
#[derive(Debug, Clone)]
pub struct Anthropic {
    model: Arc<Model>,
    control: Control,
    server: Arc<Server>,
}

impl Deref for Anthropic {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Anthropic {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(responder: Responder) -> io::Result<Self> {
        Self::start_on(ANY_PORT, responder).await
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start_on(address: SocketAddr, responder: Responder) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let model = Arc::new(Model {
            responder: Mutex::new(responder),
            next: Mutex::default(),
            requests: Mutex::default(),
            models: MODELS.map(str::to_owned).to_vec(),
        });
        let control = Control::new(Wording { error: error_body, rate_limited });
        let server = Server::start(listener, routes(Arc::clone(&model)), control.clone())?;
        Ok(Self { model, control, server: Arc::new(server) })
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Closes the port and cuts every connection.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// If the port has been taken meanwhile.
    pub async fn start_again(&self) -> io::Result<()> {
        self.server.start_again().await
    }

    /// From now on `responder` decides.
    pub fn respond_with(&self, responder: Responder) {
        *lock(&self.model.responder) = responder;
    }

    /// The next request gets `reply`; several queue up.
    pub fn answer_next(&self, reply: Reply) {
        lock(&self.model.next).push_back(reply);
    }

    /// The message requests that were not refused, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.model.requests).clone()
    }

    /// Waits until the requests satisfy `predicate`.
    ///
    /// # Errors
    /// [`Overdue`] with the call log after [`crate::control::DEADLINE`].
    pub async fn wait_for(&self, predicate: impl Fn(&[Request]) -> bool) -> Result<(), Overdue> {
        self.wait_until(|| predicate(&lock(&self.model.requests))).await
    }
}

fn routes(model: Arc<Model>) -> Router {
    Router::new()
        .route("/", get(async || StatusCode::NOT_FOUND).head(async || StatusCode::OK))
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(one_model))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "not_found_error", "Not found"))
        .layer(DefaultBodyLimit::disable())
        .with_state(model)
}

async fn models(Shared(model): Shared<Arc<Model>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = request::check_credentials(&headers) {
        return refusal.into_response();
    }
    let data: Vec<_> = model.models.iter().map(described).collect();
    let ends = json!({"data": data, "has_more": false, "first_id": model.models.first(), "last_id": model.models.last()});
    json_response(StatusCode::OK, &ends)
}

async fn one_model(
    Shared(model): Shared<Arc<Model>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    request::check_credentials(&headers)?;
    match model.models.contains(&id) {
        true => Ok(json_response(StatusCode::OK, &described(&id))),
        false => Err(ApiError::new(StatusCode::NOT_FOUND, "not_found_error", format!("model: {id}"))),
    }
}

fn described(id: &String) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-09-01T00:00:00Z"})
}

async fn messages(Shared(model): Shared<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    let request = match checked(&model, headers, &body, false) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    let reply = match lock(&model.next).pop_front() {
        Some(reply) => reply,
        None => {
            let responder = Arc::clone(&lock(&model.responder));
            responder(&request)
        }
    };
    let mut requests = lock(&model.requests);
    requests.push(request.clone());
    let id = requests.len();
    drop(requests);
    let mut answer = reply.respond(&request, id as u64);
    if let Ok(value) = format!("req_011CTestkit{id:012}").parse() {
        answer.headers_mut().insert("request-id", value);
    }
    answer
}

async fn count_tokens(Shared(model): Shared<Arc<Model>>, headers: HeaderMap, body: Bytes) -> Response {
    match checked(&model, headers, &body, true) {
        Ok(request) => json_response(StatusCode::OK, &json!({"input_tokens": request.input_tokens()})),
        Err(refusal) => refusal.into_response(),
    }
}

fn checked(model: &Model, headers: HeaderMap, body: &Bytes, counting: bool) -> Result<Request, ApiError> {
    request::check_credentials(&headers)?;
    if body.len() > MAX_REQUEST {
        let message = "Request exceeds the maximum allowed number of bytes.";
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
    }
    let invalid = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The request body is not valid JSON: {error}")))?;
    request::check(&body, &model.models, counting)?;
    let request = Request { headers, body };
    let tokens = request.input_tokens();
    if !counting && tokens > CONTEXT_WINDOW {
        return Err(invalid(format!("prompt is too long: {tokens} tokens > {CONTEXT_WINDOW} maximum")));
    }
    Ok(request)
}

fn rate_limited() -> (StatusCode, String) {
    (StatusCode::TOO_MANY_REQUESTS, error_body(StatusCode::TOO_MANY_REQUESTS))
}
