//! `/mcp`: the memory as tools and resources for agents, over the Model Context Protocol's streamable HTTP.
//!
//! No session is kept: each request stands for itself and is answered with one JSON document. The tools neither ask back
//! nor tell of progress, so a stream would only be one more thing to break; and what no session holds, a restart of the
//! service (or of the tunnel) does not end. `rmcp` serves both generations of the protocol this way: clients that
//! introduce themselves first (`initialize`, 2024-11-05 to 2025-11-25), and those that say everything with each request
//! (2026-07-28).
//!
//! Only the token opens it. A signature of our services covers a body and lasts for minutes: whoever sees a signed request
//! could send it again.

mod answers;
mod arguments;
mod calls;
mod client;
mod resources;
mod server;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use inbox::auth::MEMORY_TOKEN;
use queue::Queue;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::StreamableHttpService;
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use serde_json::{Value, json};
use shared::error::ApiError;
use shared::keys::{self, KeyBook};
use shared::server::{BodyMemory, bearer, read_body};
use shared::signature::Tokens;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::calls::Calls;
use self::client::{Newcomer, SESSION};
use self::server::Server;
use crate::memory::Memory;

/// The largest message: the largest update, escaped, and what is around it.
const LARGEST: usize = 1024 * 1024;

/// How long a message may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

/// How long a call may take, waiting for its turn included.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Calls at a time.
const CALLS: usize = 32;

/// Memory for messages, in MiB.
const MEBIBYTES: u32 = 32;

/// Names of this machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Why a tool did not do what it was asked, and what to do about it; the agent reads it.
#[derive(Debug)]
struct Refusal(String);

/// The MCP server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mcp {
    service: StreamableHttpService<Server, NeverSessionManager>,
    tokens: Option<Tokens>,
    book: KeyBook,
    turns: Arc<Semaphore>,
    bodies: BodyMemory,
}

impl std::fmt::Debug for Mcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mcp").field("open", &self.tokens.is_some()).finish_non_exhaustive()
    }
}

impl Mcp {
    /// Tools that work with `memory` and put updates into `queue`, for callers with one of `tokens` that call this machine
    /// by a loopback name or one of `hosts`.
    pub(crate) fn new(memory: Memory, queue: Queue, tokens: Option<Tokens>, hosts: &[String]) -> Self {
        let server = Server::new(Calls::new(memory, queue));
        let hosts: Vec<&str> = LOOPBACK.into_iter().chain(hosts.iter().map(String::as_str)).collect();
        let origins =
            hosts.iter().flat_map(|host| ["http", "https"].map(|scheme| format!("{scheme}://{host}:*")));
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(LARGEST)
            .with_allowed_origins(origins)
            .with_allowed_hosts(hosts);
        Self {
            service: StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config),
            tokens,
            book: KeyBook::default(),
            turns: Arc::new(Semaphore::new(CALLS)),
            bodies: BodyMemory::new(MEBIBYTES),
        }
    }

    /// Notes in `book` which token a caller has.
    pub(crate) fn noting(self, book: KeyBook) -> Self {
        Self { book, ..self }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(tokens) = &self.tokens else {
            let message = "set MEMORY_TOKEN on the ollama-endpoint and send it as `Authorization: Bearer …`; without it /mcp is closed";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "token_required", message));
        };
        if let Some(key) = bearer(headers).and_then(|sent| tokens.find(sent)) {
            self.book.used(MEMORY_TOKEN, key, "/mcp", &keys::caller(headers));
            return Ok(());
        }
        let message = "send `Authorization: Bearer $MEMORY_TOKEN`, as it is set on the ollama-endpoint; /mcp takes no signature";
        Err(ApiError::unauthorized(message))
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let (mut parts, body) = request.into_parts();
        let body = read_body(body, LARGEST, BODY_DEADLINE, &self.bodies).await?;
        if parts.method == Method::POST
            && let Some(error) = no_message(&body.bytes)
        {
            return Ok(error);
        }
        let newcomer = Newcomer::default();
        parts.extensions.insert(newcomer.clone());
        let request = Request::from_parts(parts, Body::from(body.bytes.clone()));
        let mut response = self.service.handle(request).await.map(Body::new);
        if response.status() == StatusCode::FORBIDDEN {
            return Err(foreign());
        }
        if let Some(id) = newcomer.session() {
            response.headers_mut().insert(SESSION, id);
        }
        Ok(response)
    }
}

/// `/mcp`: whoever has the token, one message after the other.
pub(crate) async fn handle(State(mcp): State<Mcp>, request: Request) -> Result<Response, ApiError> {
    mcp.admit(request.headers())?;
    let answer = async {
        let _turn = mcp.turns.acquire().await;
        mcp.answer(request).await
    };
    timeout(CALL_DEADLINE, answer).await.unwrap_or_else(|_| {
        let message = "the call took too long; try again in a minute";
        Err(ApiError::unavailable("too_slow", message, Duration::from_secs(30)))
    })
}

/// A web page that has learnt the token still may not use it from elsewhere.
fn foreign() -> ApiError {
    let message = "`Host` or `Origin` names another machine than this one; if it is yours, add its name to MCP_ALLOWED_HOSTS on the ollama-endpoint";
    ApiError::new(StatusCode::FORBIDDEN, "foreign_caller", message)
}

/// The answer to what is no message; `rmcp` would call it an unknown media type.
fn no_message(body: &Bytes) -> Option<Response> {
    let unread = serde_json::from_slice::<ClientJsonRpcMessage>(body).err()?;
    let (code, id, message) = match serde_json::from_slice::<Value>(body) {
        Err(error) => (-32700, Value::Null, format!("the body is not JSON: {error}")),
        Ok(Value::Array(_)) => {
            let message = "messages are not taken in batches; send each with a request of its own";
            (-32600, Value::Null, message.to_owned())
        }
        Ok(message) => {
            let id = message.get("id").filter(|id| id.is_string() || id.is_number()).cloned();
            (-32600, id.unwrap_or_default(), format!("the body is not a JSON-RPC message: {unread}"))
        }
    };
    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
    Some((StatusCode::BAD_REQUEST, Json(error)).into_response())
}
