//! What the tests of several modules need.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::StatusCode;
use serde_json::{Value, json};
use shared::memory::Update;
use tokio::net::TcpListener;

use crate::distil::LOCAL_PREFIX;
use crate::memory::Memory;
use crate::ollama::Ollama;
use crate::store::sqlite::SqliteStore;

/// What the scripted Ollama answers to `POST /api/embed`; gets the input texts.
pub(crate) type Script = Box<dyn Fn(&[String]) -> (StatusCode, Value) + Send + Sync>;

/// A memory on disk with an Ollama whose answers the test decides.
pub(crate) struct Fixture {
    pub(crate) memory: Memory,
    pub(crate) ollama: Ollama,
    pub(crate) calls: Arc<Mutex<Vec<Vec<String>>>>,
    pub(crate) script: Arc<Mutex<Script>>,
    directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) async fn new(script: Script) -> Self {
        let (calls, script) = (Arc::default(), Arc::new(Mutex::new(script)));
        let router = axum::Router::new()
            .route("/api/embed", post(embed))
            .with_state((Arc::clone(&calls), Arc::clone(&script)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(shared::server::serve(listener, router, Default::default(), Default::default()));
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("memory.db")).unwrap();
        let ollama = Ollama::new(base, "letters".into()).unwrap();
        Self { memory: Memory::new(Arc::new(store), ollama.clone()), ollama, calls, script, directory }
    }

    /// Where it is on disk.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("memory.db")
    }

    pub(crate) fn answer(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub(crate) async fn say(&self, repository: &str, text: &str) -> String {
        let update: Update =
            serde_json::from_value(json!({"repository": repository, "context": text})).unwrap();
        let body = serde_json::to_vec(&update).unwrap().into();
        let at = "2026-11-22T10:00:00Z".parse().unwrap();
        let learnt = self.memory.learn(&format!("{LOCAL_PREFIX}{text}"), body, at).await.unwrap();
        let crate::memory::Learnt::Stored { id } = learnt else { panic!("{learnt:?}") };
        id
    }
}

type Shared = (Arc<Mutex<Vec<Vec<String>>>>, Arc<Mutex<Script>>);

async fn embed(State((calls, script)): State<Shared>, Json(body): Json<Value>) -> Response {
    let input: Vec<String> = serde_json::from_value(body["input"].clone()).unwrap();
    let answer = script.lock().unwrap()(&input);
    calls.lock().unwrap().push(input);
    (answer.0, Json(answer.1)).into_response()
}

/// A "meaning" that the tests can read: how often each of four letters occurs.
pub(crate) fn letters(text: &str) -> Value {
    "aeio".chars().map(|letter| text.matches(letter).count()).collect::<Vec<_>>().into()
}

/// An Ollama in good health.
pub(crate) fn healthy(input: &[String]) -> (StatusCode, Value) {
    let vectors: Vec<Value> = input.iter().map(|text| letters(text)).collect();
    (StatusCode::OK, json!({"model": "letters", "embeddings": vectors}))
}

pub(crate) fn unavailable(_: &[String]) -> (StatusCode, Value) {
    (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "server busy"}))
}
