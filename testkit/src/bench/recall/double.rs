//! A double of Ollama for latency only: it answers at once, with vectors that mean nothing.

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::texts::vector;
use crate::{
    control::{Control, Wording},
    server::{ANY_PORT, Server},
};

/// The only model it has.
pub(super) const MODEL: &str = "instant:768";

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    input: Input,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

impl Default for Input {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Serialize)]
struct Answer {
    model: &'static str,
    embeddings: Vec<Vec<f32>>,
}

/// The running double; stops when dropped.
pub(super) struct Double(Server);

impl Double {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// There is no port.
    pub(super) async fn start() -> std::io::Result<Self> {
        let routes = Router::new()
            .route("/api/version", get(async || Json(json!({"version": "0.33.0"}))))
            .route("/api/tags", get(async || Json(json!({"models": [{"name": MODEL, "model": MODEL}]}))))
            .route("/api/show", post(async || Json(json!({"capabilities": ["embedding"], "model_info": {}}))))
            .route("/api/embed", post(embed))
            .layer(DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind(ANY_PORT).await?;
        let wording = Wording { error: |status| status.to_string(), rate_limited: || Default::default() };
        Ok(Self(Server::start(listener, routes, Control::new(wording))?))
    }

    pub(super) fn url(&self) -> String {
        self.0.url()
    }
}

async fn embed(Json(asked): Json<Value>) -> Json<Answer> {
    let Asked { input } = serde_json::from_value(asked).unwrap_or(Asked { input: Input::default() });
    let embeddings = match input {
        Input::One(text) => vec![vector(&text)],
        Input::Many(texts) => texts.iter().map(|text| vector(text)).collect(),
    };
    Json(Answer { model: MODEL, embeddings })
}
