//! The relay: GitHub's webhook made durable and handed home. The modules stand in the order of an event's journey.

use std::{ops::Deref, sync::Arc, time::Duration};

use anyhow::Context;
use queue::{LaneStatus, Queue, Retention, Worker, WorkerOptions};
use shared::{
    keys::KeyBook,
    server::{BodyMemory, Limits, serve},
    telemetry,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub mod config;
pub mod limits;
pub mod routes;

pub mod arrival;
pub mod github;
pub mod receive;
pub mod targets;

pub mod dispatch;
pub mod outcomes;

pub mod missed;

pub mod admin;
pub mod stream;
pub mod view;

pub mod cli;
pub mod doctor;
pub mod sse;
pub mod table;

pub mod health;
pub mod metrics;

use arrival::LastArrival;
use config::{Config, Kind, RelayArgs};
use dispatch::Dispatch;
use missed::Missed;
use outcomes::{Follower, Reachable};
use stream::Streams;

/// What to do about a store that is damaged.
pub const WHEN_DAMAGED: &str = "the relay does not start on a damaged store; bring back your last `relay backup FILE` with \
    `relay restore FILE --replace`, which moves the damaged one aside";

/// What to do about a store that cannot be opened.
pub const WHEN_CLOSED: &str = "the relay does not start without its store; DATA_DIR must be a folder that it may write, \
    on a disk that is not read-only";

/// What the routes share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

/// See [`App`].
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// The deliveries.
    pub queue: Queue,
    /// Memory for bodies that are being received.
    pub body_memory: BodyMemory,
    /// Who may send how much.
    pub limits: limits::Limits,
    /// How much may wait before webhooks are refused.
    pub backlog: Backlog,
    /// What is known of the targets.
    pub targets: Vec<TargetStatus>,
    /// How the search for missed deliveries is.
    pub missed: watch::Receiver<missed::State>,
    /// Room for readers of the live stream.
    pub streams: Streams,
    /// What keys are used for.
    pub book: KeyBook,
    /// Whether webhooks come over TLS.
    pub arrival: LastArrival,
}

/// How much may wait before webhooks are refused.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Unfinished jobs.
    pub jobs: u64,
    /// Bytes of their stored payloads.
    pub bytes: u64,
}

/// What is known of a target.
#[derive(Debug)]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// Whether its lane runs.
    pub lane: watch::Receiver<LaneStatus>,
    /// Whether it answers; of an extra target no more is known than whether its lane runs.
    pub reachable: Option<watch::Receiver<Reachable>>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// A relay that is ready to run.
pub struct Relay {
    app: App,
    workers: Vec<Worker>,
    followers: Vec<Follower>,
    missed: Missed,
}

impl Relay {
    /// Opens the queue and sets up one lane per target.
    ///
    /// # Errors
    /// The queue cannot be opened, or TLS cannot be set up.
    pub async fn build(mut config: Config) -> anyhow::Result<Self> {
        let options = store_options(&config.args);
        let backlog = Backlog { jobs: options.most_open, bytes: options.most_open_bytes };
        let queue =
            queue::open(&config.args.service.queue_url(), options).await.map_err(|error| match error {
                queue::Error::Damaged(_) => anyhow::Error::new(error).context(WHEN_DAMAGED),
                queue::Error::Open { .. } => anyhow::Error::new(error).context(WHEN_CLOSED),
                error => error.into(),
            })?;
        let rings = std::mem::take(&mut config.rings);
        let book = KeyBook::open(&config.args.service.data_dir, rings);
        let timeout = Duration::from_secs(config.args.dispatch.dispatch_timeout);
        // The handler's own limit is the client's, and that of its probe; the worker's only catches what they do not.
        let largest = shared::client::travel(receive::LARGEST_WEBHOOK);
        let options = WorkerOptions {
            concurrency: usize::from(config.args.dispatch.dispatch_concurrency),
            timeout: timeout + largest + Duration::from_secs(15),
            rate: config.args.dispatch.drain_rate,
            ..WorkerOptions::default()
        };
        let (mut workers, mut followers, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for target in &config.targets {
            let client = dispatch::client(target, timeout)?.noting(book.clone(), target.key_name());
            let handler = Arc::new(Dispatch::new(target, client.clone()));
            let worker = Worker::new(queue.clone(), &target.name, handler, options);
            let tells = matches!(target.kind, Kind::Endpoint { .. });
            let follower = tells.then(|| Follower::new(queue.clone(), &target.name, client));
            targets.push(TargetStatus {
                name: target.name.clone(),
                lane: worker.status(),
                reachable: follower.as_ref().map(Follower::reachable),
            });
            workers.push(worker);
            followers.extend(follower);
        }
        let body_memory = BodyMemory::new(config.args.limits.max_body_memory);
        let limits = limits::Limits::new(&config.args.limits);
        let missed = Missed::new(queue.clone(), &config.missed)?;
        let (state, streams, arrival) = (missed.state(), Streams::default(), LastArrival::default());
        let shared = Shared {
            config,
            queue,
            body_memory,
            limits,
            backlog,
            targets,
            missed: state,
            streams,
            book,
            arrival,
        };
        Ok(Self { app: App(Arc::new(shared)), workers, followers, missed })
    }

    /// What the routes share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop`, then lets open requests and hand-overs finish.
    ///
    /// # Errors
    /// The metrics listener's address is taken.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        let args = &self.app.config.args;
        let limits = args.service.limits();
        let metrics_listener = TcpListener::bind(args.metrics_listen)
            .await
            .with_context(|| format!("cannot listen on METRICS_LISTEN {}", args.metrics_listen))?;
        let scrape = routes::metrics(self.app.clone(), telemetry::metrics()?);
        metrics::start(&self.app);
        tracing::info!(address = %listener.local_addr()?, "the relay takes webhooks at /github-webhook");
        let tasks = TaskTracker::new();
        tasks.spawn(self.app.streams.end_with(stop.clone()));
        tasks.spawn(serve(
            metrics_listener,
            scrape,
            Limits { name: "metrics", connections: 16, ..Limits::default() },
            stop.clone(),
        ));
        for worker in self.workers {
            tasks.spawn(worker.run(stop.clone()));
        }
        for follower in self.followers {
            tasks.spawn(follower.run(stop.clone()));
        }
        tasks.spawn(self.missed.run(stop.clone()));
        tasks.spawn(self.app.book.clone().keep(stop.clone()));
        let queue = self.app.queue.clone();
        serve(listener, routes::public(self.app), limits, stop).await;
        tasks.close();
        tasks.wait().await;
        if let Err(error) = queue.wind_down().await {
            tracing::warn!(%error, "the store's log stays as it is until the next start");
        }
        Ok(())
    }
}

fn store_options(args: &RelayArgs) -> queue::Options {
    let keep = &args.service.retention;
    let retention = Retention {
        finished: keep.finished(),
        dead: keep.dead(),
        store_bytes: keep.store_bytes(),
        ..Retention::default()
    };
    queue::Options {
        most_open: args.limits.max_backlog,
        most_open_bytes: args.limits.max_backlog_size << 20,
        retention: Some(retention),
        ..queue::Options::default()
    }
}
