//! The ollama-endpoint: the shared memory of all agents, and the door to Ollama.
//!
//! An update is verified, stored in the queue and answered (`receive`); a worker makes a memory of it (`remember`,
//! `memory`, `distil`) that full text finds at once; when Ollama answers, the `embedder` adds its vector, and `refine`
//! words it better and finds out which memories say the same or otherwise. `recall` asks `memory` again, and `briefing`
//! makes one text of what it finds; `mcp` does all of this for agents. Beside that, `proxy` streams Ollama's own API through.

pub mod cli;
pub mod config;
pub mod doctor;
mod routes;

mod receive;
mod remember;
mod retention;

pub mod memory;

pub mod distil;
pub mod staleness;

pub mod store;

pub mod embedder;
pub mod ollama;
pub mod refine;

mod recall;
mod transfer;

mod mcp;

pub mod briefing;
pub mod rank;
pub mod words;

pub mod proxy;

mod health;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use anyhow::Context;
use inbox::auth::Auth;
use inbox::outcomes::Followed;
use metrics_exporter_prometheus::PrometheusHandle;
use queue::{LaneStatus, Queue, Worker, WorkerOptions};
use shared::keys::KeyBook;
use shared::signature::{SigningKeys, Tokens};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ProxyAuth, Refine};
use crate::mcp::Mcp;
use crate::memory::Memory;
use crate::ollama::Ollama;
use crate::ollama::chat::Chat;
use crate::proxy::Proxy;
use crate::refine::Pace;
use crate::remember::Remember;
use crate::store::sqlite::SqliteStore;

/// The service's name, as it stands in health reports and signed answers.
pub(crate) const SERVICE: &str = "ollama-endpoint";

/// The service, built and not yet running.
pub struct App {
    service: Service,
    worker: Worker,
    embedder: watch::Sender<embedder::Status>,
    refiner: watch::Sender<embedder::Status>,
    chat: Option<Chat>,
    retention: memory::Retention,
    limits: shared::server::Limits,
    book: KeyBook,
}

/// What the routes work with. Cheap to clone.
#[derive(Debug, Clone)]
struct Service {
    memory: Memory,
    ollama: Ollama,
    chat_model: String,
    queue: Queue,
    most_open: u64,
    auth: Auth,
    followed: Followed,
    proxy: Arc<Proxy>,
    proxy_auth: ProxyAuth,
    mcp: Mcp,
    embedder: watch::Receiver<embedder::Status>,
    refiner: watch::Receiver<embedder::Status>,
    lane: watch::Receiver<LaneStatus>,
    metrics: PrometheusHandle,
    stop: CancellationToken,
}

impl App {
    /// Opens the stores and puts the parts together. Ollama need not run.
    ///
    /// # Errors
    /// The data folder, the memory or the queue cannot be opened; the text says what to do.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let store = SqliteStore::open(&config.memory_path()?)?;
        let queue = inbox::open_queue(&config.queue_url, config.retention, config.most_open)
            .await
            .context("cannot open the queue")?;
        let ollama = Ollama::new(config.ollama_url.clone(), config.embed_model)?;
        let memory = Memory::new(Arc::new(store), ollama.clone());
        let remember = Arc::new(Remember::new(memory.clone()));
        let worker = Worker::new(queue.clone(), receive::LANE, remember, WorkerOptions::default());
        let [embedder, refiner] = [(); 2].map(|()| watch::Sender::new(embedder::Status::default()));
        let chat =
            (config.refine == Refine::Auto).then(|| Chat::new(ollama.clone(), config.chat_model.clone()));
        let book = KeyBook::open(&config.data_dir, config.rings);
        let mcp = Mcp::new(memory.clone(), queue.clone(), config.token.clone(), &config.mcp_allowed_hosts)
            .noting(book.clone());
        let proxy = Proxy::new(&config.ollama_url, config.proxy).with_memory(Arc::new(memory.clone()));
        let service = Service {
            memory,
            ollama,
            chat_model: config.chat_model,
            queue,
            most_open: config.most_open,
            auth: auth(config.keys, config.token).noting(book.clone()),
            followed: Followed::default(),
            proxy: Arc::new(proxy),
            proxy_auth: config.proxy_auth,
            mcp,
            embedder: embedder.subscribe(),
            refiner: refiner.subscribe(),
            lane: worker.status(),
            metrics: shared::telemetry::metrics()?,
            stop: CancellationToken::new(),
        };
        Ok(Self {
            service,
            worker,
            embedder,
            refiner,
            chat,
            retention: config.memory_retention,
            limits: config.server,
            book,
        })
    }

    /// Serves on `listener` until `stop`, then lets open work finish.
    pub async fn run(mut self, listener: TcpListener, stop: CancellationToken) {
        self.service.stop = stop.clone();
        let Service { memory, ollama, .. } = self.service.clone();
        let worker = tokio::spawn(self.worker.run(stop.clone()));
        let sweeper = tokio::spawn(retention::run(memory.clone(), self.retention, stop.clone()));
        let backlog = Arc::new(memory.clone());
        let refiner = refine::run(backlog, self.chat, Pace::default(), self.refiner, stop.clone());
        let refiner = tokio::spawn(refiner);
        let book = tokio::spawn(self.book.keep(stop.clone()));
        let embedder = tokio::spawn(embedder::run(memory, ollama, self.embedder, stop.clone()));
        shared::server::serve(listener, routes::routes(&self.service), self.limits, stop).await;
        for ended in [worker.await, embedder.await, refiner.await, sweeper.await, book.await] {
            if let Err(error) = ended {
                tracing::error!(%error, "a background task did not end in order");
            }
        }
    }
}

fn auth(keys: SigningKeys, tokens: Option<Tokens>) -> Auth {
    let hint = if tokens.is_some() {
        "send `Authorization: Bearer $MEMORY_TOKEN`, or sign the request with RELAY_SIGNING_KEY"
    } else {
        "sign the request with RELAY_SIGNING_KEY, or set MEMORY_TOKEN on the ollama-endpoint and send it as a bearer token"
    };
    Auth::signed_or_bearer(SERVICE, keys, tokens, hint)
}

#[cfg(test)]
mod tests;
