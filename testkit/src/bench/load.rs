//! The load: a closed loop, in which each connection waits for its answer, and an open one at a given rate.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::{
    sync::{Mutex, mpsc},
    task::LocalSet,
    time::timeout,
};

use super::{machine, payload::Template, wire::Connection};

/// GitHub gives up after this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that an open loop has started to wait for; more mean that the server is lost.
const MOST_LATE: usize = 100_000;

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Load {
    /// Each connection sends as soon as it was answered.
    Closed { connections: usize },
    /// So many a second, whether or not the server keeps up. Latency counts from when a request was due, so that a
    /// server that stalls is not measured less often for it.
    Open { per_second: u32, connections: usize },
}

/// What came of it.
pub(super) struct Measured {
    /// In nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Over which requests were counted.
    pub(super) seconds: f64,
    /// By what went wrong.
    pub(super) errors: BTreeMap<String, u64>,
    /// CPU time of this process per wall-clock time: 1.0 would be a generator at its limit.
    pub(super) own_cpu: f64,
}

impl Measured {
    fn new() -> anyhow::Result<Self> {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        Ok(Self { latency, seconds: 0.0, errors: BTreeMap::new(), own_cpu: 0.0 })
    }

    /// Answers a second.
    pub(super) fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.seconds
    }

    fn count(&mut self, since: Instant, answer: io::Result<u16>) {
        match answer {
            Ok(200..=299) => self.latency.saturating_record(nanoseconds(since)),
            Ok(status) => *self.errors.entry(format!("status {status}")).or_default() += 1,
            Err(error) => *self.errors.entry(error.to_string()).or_default() += 1,
        }
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Sends `load` to `address` for `duration`, the templates in turn, on this thread alone.
///
/// # Errors
/// The runtime cannot be built. What a server does wrong is counted instead.
pub(super) fn run(
    load: Load,
    address: SocketAddr,
    templates: &[Template],
    duration: Duration,
) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = Rc::new(RefCell::new(Measured::new()?));
    let cpu = machine::own_cpu();
    let started = Instant::now();
    let tasks = LocalSet::new();
    match load {
        Load::Closed { connections } => {
            let until = started + duration;
            for index in 0..connections {
                tasks.spawn_local(ask_on(address, turn(templates, index), until, measured.clone()));
            }
        }
        Load::Open { per_second, connections } => {
            let (due, waiting) = mpsc::channel(MOST_LATE);
            let waiting = Rc::new(Mutex::new(waiting));
            std::thread::spawn(move || pace(&due, started, duration, per_second));
            for index in 0..connections {
                tasks.spawn_local(ask_when_due(
                    address,
                    turn(templates, index),
                    waiting.clone(),
                    measured.clone(),
                ));
            }
        }
    }
    runtime.block_on(tasks);
    let seconds = started.elapsed().as_secs_f64();
    let own_cpu = (machine::own_cpu() - cpu).as_secs_f64() / seconds;
    let measured = Rc::into_inner(measured).context("a connection still runs")?.into_inner();
    Ok(Measured { seconds, own_cpu, ..measured })
}

/// The templates, beginning with another one for every other connection.
fn turn(templates: &[Template], index: usize) -> Vec<Template> {
    let mut turned = templates.to_vec();
    turned.rotate_left(index % templates.len().max(1));
    turned
}

async fn ask_on(
    address: SocketAddr,
    mut templates: Vec<Template>,
    until: Instant,
    measured: Rc<RefCell<Measured>>,
) {
    let mut connection = Connection::new(address);
    let mut turn = 0;
    while Instant::now() < until {
        let sent = Instant::now();
        let answer = ask(&mut connection, &mut templates, &mut turn).await;
        measured.borrow_mut().count(sent, answer);
    }
}

async fn ask_when_due(
    address: SocketAddr,
    mut templates: Vec<Template>,
    waiting: Rc<Mutex<mpsc::Receiver<Instant>>>,
    measured: Rc<RefCell<Measured>>,
) {
    let mut connection = Connection::new(address);
    let mut turn = 0;
    loop {
        let Some(due) = waiting.lock().await.recv().await else { return };
        let answer = ask(&mut connection, &mut templates, &mut turn).await;
        measured.borrow_mut().count(due, answer);
    }
}

async fn ask(connection: &mut Connection, templates: &mut [Template], turn: &mut usize) -> io::Result<u16> {
    let next = *turn % templates.len();
    *turn += 1;
    let request = templates[next].next();
    match timeout(PATIENCE, connection.exchange(request)).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => {
            // A server that refuses connections would be asked a million times.
            tokio::time::sleep(Duration::from_millis(10)).await;
            Err(error)
        }
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Says when each request is due. A thread of its own, because a runtime's timer knows only whole milliseconds.
#[expect(clippy::disallowed_methods, reason = "no runtime has this thread")]
fn pace(due: &mpsc::Sender<Instant>, started: Instant, duration: Duration, per_second: u32) {
    let between = Duration::from_secs(1) / per_second;
    let mut next = started;
    while next < started + duration {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if due.blocking_send(next).is_err() {
            return;
        }
        next += between;
    }
}
