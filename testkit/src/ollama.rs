//! A stand-in for Ollama. It answers as the real one was captured, down to field order and framing.

mod answer;
mod chat;
mod embed;
mod imitations;
mod models;
mod responses;
mod routes;
mod site;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;

use self::answer::{Dialect, Failure};
pub use self::models::Model;
use self::site::Site;
pub use self::site::Writer;
use crate::control::{Control, Wording, lock};
use crate::embedding::RealModel;
use crate::server::{ANY_PORT, Server};

/// The running stand-in. Cheap to clone; stops with its last clone. Faults, gates and the call log are
/// those of [`Control`]: a gate on `/api/embed` is a model that takes long to load.
#[derive(Debug, Clone)]
pub struct Ollama {
    site: Site,
    control: Control,
    server: Arc<Server>,
}

impl Deref for Ollama {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Ollama {
    /// Listens on a free port of loopback, with the project's two models.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(ANY_PORT, vec![Model::llama3_2(), Model::nomic_embed_text()]).await
    }

    /// Listens on `address` with these models.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start_on(address: SocketAddr, models: Vec<Model>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (site, control) = (Site::new(models), Control::new(Wording { error, rate_limited }));
        let server = Server::start(listener, routes::routes(site.clone()), control.clone())?;
        Ok(Self { site, control, server: Arc::new(server) })
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Quits: closes the port and cuts every connection.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Starts again on the same port.
    ///
    /// # Errors
    /// If the port has been taken meanwhile.
    pub async fn start_again(&self) -> io::Result<()> {
        self.server.start_again().await
    }

    /// Replaces the models that are there.
    pub fn set_models(&self, models: Vec<Model>) {
        let mut inner = lock(&self.site.0);
        inner.loaded.clear();
        inner.models = models;
    }

    /// From now on there is the model `all-minilm`, and its vectors are the real ones.
    pub fn embed_with(&self, real: RealModel) {
        let mut inner = lock(&self.site.0);
        inner.models.retain(|model| model.name != RealModel::NAME);
        inner.models.push(Model::all_minilm());
        inner.real = Some(real);
    }

    /// While busy, everything that runs a model answers 503: the queue is full.
    pub fn set_busy(&self, busy: bool) {
        lock(&self.site.0).busy = busy;
    }

    /// The next chat or generation that is streamed breaks off with an error line, under status 200.
    pub fn break_next_stream(&self) {
        lock(&self.site.0).breaks += 1;
    }

    /// A text that contains `poison` cannot be embedded, and fails its whole batch with 500.
    pub fn poison(&self, poison: &str) {
        lock(&self.site.0).poison = Some(poison.to_owned());
    }

    /// From now on `writer` decides what chats and generations say.
    pub fn write_with(&self, writer: Writer) {
        lock(&self.site.0).writer = writer;
    }

    /// Path and body of every JSON request, oldest first.
    pub fn requests(&self) -> Vec<(String, Value)> {
        lock(&self.site.0).requests.clone()
    }

    /// The vector `text` gets in `dimensions` numbers.
    pub fn vector(text: &str, dimensions: usize) -> Vec<f32> {
        embed::vector(text, dimensions)
    }
}

fn error(status: StatusCode) -> String {
    let message = status.canonical_reason().unwrap_or("error").to_lowercase();
    Failure::new(status.as_u16(), message).body(Dialect::Ollama)
}

/// Ollama has no rate limit but a queue.
fn rate_limited() -> (StatusCode, String) {
    let failure = Failure::new(503, "server busy, please try again.  maximum pending requests exceeded");
    (StatusCode::SERVICE_UNAVAILABLE, failure.body(Dialect::Ollama))
}
