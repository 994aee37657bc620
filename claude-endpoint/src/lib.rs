//! The claude-endpoint: reads the diff, asks the reviewer, posts the review.
//!
//! An event is verified, stored in the queue and answered (`receive`); a worker reviews it (`review`): the `diff` from
//! `github`, what the `memory` knows, the `prompt` for a `reviewer`, its `verdict` anchored (`anchor`) and rendered
//! (`render`), posted with a `marker`, and remembered; what the memory cannot be told at once waits in a lane of its own
//! (`remember`).

pub mod cli;
pub mod config;
pub mod doctor;
mod health;
mod routes;

mod receive;
mod remember;
pub mod review;

pub mod diff;
pub mod github;

pub mod memory;
pub mod prompt;

pub mod budget;
pub mod desk;
pub mod ledger;
pub mod prices;
pub mod record;
pub mod replay;
pub mod reviewer;
pub mod second_look;
pub mod verdict;

pub mod anchor;
pub mod earlier;
pub mod examine;
pub mod fingerprint;
pub mod marker;
pub mod project;
pub mod render;
pub mod report;
pub mod sift;
pub mod status;
pub mod summary;

pub mod commands;
pub mod provenance;
pub mod redact;
pub mod text;

use std::sync::Arc;

use anyhow::Context;
use inbox::auth::Auth;
use inbox::outcomes::Followed;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use queue::{LaneStatus, Queue, Worker, WorkerOptions};
use shared::keys::KeyBook;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, DeskSettings, Limits};
use crate::desk::Desk;
use crate::github::Github;
use crate::ledger::Ledger;
use crate::marker::Marker;
use crate::memory::Memory;
use crate::record::{Recorder, Redact};
use crate::remember::Remember;
use crate::review::{Handoff, Review};
use crate::reviewer::Reviewers;

/// The name of this service.
const NAME: &str = "claude-endpoint";

/// What the routes work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    queue: Queue,
    auth: Auth,
    followed: Followed,
    reviewers: Arc<Reviewers>,
    desk: Arc<Desk>,
    poster: Option<&'static str>,
    lane: watch::Receiver<LaneStatus>,
    remembering: watch::Receiver<LaneStatus>,
    metrics: PrometheusHandle,
    server: shared::server::Limits,
    book: KeyBook,
    stop: CancellationToken,
}

/// The service, ready to run.
pub struct Service {
    app: App,
    reviewing: Worker,
    remembering: Worker,
}

impl App {
    /// Opens the queue and puts the parts together.
    ///
    /// # Errors
    /// The queue cannot be opened, or TLS cannot be set up.
    pub async fn build(config: Config) -> anyhow::Result<Service> {
        let queue = inbox::open_queue(&config.queue_url, config.retention, inbox::MOST_OPEN).await?;
        let github = Github::new(&config.github);
        let github = github.context("cannot set up the client for GITHUB_API_URL; without CA certificates, on Debian: apt-get install ca-certificates")?;
        let poster = github.poster();
        let book = KeyBook::open(&config.data_dir, config.rings);
        let memory = Memory::new(config.memory, config.keys.clone())?.noting(book.clone());
        let reviewers = Arc::new(config.reviewers);
        let desk = Arc::new(open_desk(config.desk, Arc::clone(&reviewers), redact::redact)?);
        let remember = Arc::new(Remember(memory.clone()));
        let remembering = Worker::new(queue.clone(), remember::LANE, remember, remember_options());
        let marker = Marker::new(&config.keys).noting(book.clone());
        let review = Review::new(queue.clone(), github, memory, Arc::clone(&desk), marker, config.review)
            .with_handoff(Handoff::new(&config.github)?);
        let reviewing =
            Worker::new(queue.clone(), receive::LANE, Arc::new(review), review_options(config.review));
        let app = Self {
            queue,
            auth: Auth::signed(NAME, config.keys).noting(book.clone()),
            followed: Followed::default(),
            reviewers,
            desk,
            poster,
            lane: reviewing.status(),
            remembering: remembering.status(),
            metrics: shared::telemetry::metrics()?,
            server: config.server,
            book,
            stop: CancellationToken::new(),
        };
        Ok(Service { app, reviewing, remembering })
    }
}

impl Service {
    /// Serves, reviews and remembers until `shutdown`.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let Self { mut app, reviewing, remembering } = self;
        app.stop = shutdown.clone();
        // so that `/health` knows soon
        app.reviewers.refresh();
        let book = tokio::spawn(app.book.clone().keep(shutdown.clone()));
        let workers = [reviewing, remembering].map(|worker| tokio::spawn(worker.run(shutdown.clone())));
        shared::server::serve(listener, routes::routes(&app), app.server, shutdown).await;
        for task in workers.into_iter().chain([book]) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task did not end in order");
            }
        }
    }
}

/// The desk with its ledger; `redact` takes the secrets out of what is recorded.
///
/// # Errors
/// The ledger cannot be read.
pub fn open_desk(settings: DeskSettings, reviewers: Arc<Reviewers>, redact: Redact) -> anyhow::Result<Desk> {
    let DeskSettings { terms, ollama, ledger, record_dir } = settings;
    let ledger = match ledger {
        Some(file) => Ledger::open(&file, Timestamp::now())
            .with_context(|| format!("cannot open the ledger {}", file.display()))?,
        None => Ledger::in_memory(),
    };
    let recorder = record_dir.map(|folder| Recorder::new(folder, redact));
    Ok(Desk::new(reviewers, terms, ledger).with_ollama(ollama).with_recorder(recorder))
}

fn review_options(limits: Limits) -> WorkerOptions {
    WorkerOptions {
        concurrency: limits.concurrency,
        timeout: Review::longest(limits),
        ..WorkerOptions::default()
    }
}

fn remember_options() -> WorkerOptions {
    WorkerOptions { concurrency: 2, ..WorkerOptions::default() }
}
