//! An Ollama whose every answer the test decides.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Ollama;

/// What it does with a request.
pub(crate) enum Reply {
    /// A status and a body.
    Json(u16, Value),
    /// Nothing at all.
    Hang,
}

impl Reply {
    /// The answer of `/api/chat`, as it was captured.
    pub(crate) fn says(content: &str) -> Self {
        let message = json!({"role": "assistant", "content": content});
        Self::Json(200, json!({"model": "m", "message": message, "done": true, "done_reason": "stop"}))
    }

    pub(crate) fn error(status: u16, error: &str) -> Self {
        Self::Json(status, json!({"error": error}))
    }
}

type Script = Box<dyn FnMut(&str, &Value) -> Reply + Send>;

#[derive(Clone)]
struct Shared {
    requests: Arc<Mutex<Vec<Value>>>,
    script: Arc<Mutex<Script>>,
}

/// The running one; it ends with the test's runtime.
pub(crate) struct Scripted {
    pub(crate) ollama: Ollama,
    shared: Shared,
}

impl Scripted {
    /// `script` gets the path and the body of each request.
    pub(crate) async fn new(script: impl FnMut(&str, &Value) -> Reply + Send + 'static) -> Self {
        let shared = Shared { requests: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) };
        let router = axum::Router::new().fallback(answer).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(shared::server::serve(listener, router, Default::default(), Default::default()));
        Self { ollama: Ollama::new(base, "embedder".into()).unwrap(), shared }
    }

    pub(crate) fn answer(&self, script: impl FnMut(&str, &Value) -> Reply + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// The bodies of all requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.shared.requests.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Shared>, uri: Uri, Json(body): Json<Value>) -> Response {
    let reply = shared.script.lock().unwrap()(uri.path(), &body);
    shared.requests.lock().unwrap().push(body);
    match reply {
        Reply::Json(status, body) => (StatusCode::from_u16(status).unwrap(), Json(body)).into_response(),
        Reply::Hang => std::future::pending().await,
    }
}
