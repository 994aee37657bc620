//! lease → handler → settle, for one lane.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{Finish, Job, Lease, Probing, Queue, Result, Schedule};

/// How long jobs in hand may go on after the signal to stop.
const DRAIN: Duration = Duration::from_secs(8);

/// What a handler came to.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The work is done.
    Done(Finish),
    /// It failed, and may go better later. Counts as an attempt.
    Retry {
        /// Why, for the one who looks at the delivery.
        error: String,
        /// The delay that was asked for, instead of the schedule's.
        after: Option<Duration>,
    },
    /// It failed, and trying again would not help.
    Dead {
        /// Why.
        error: String,
    },
    /// What the work needs is not there. The lane pauses until [`Handler::probe`] says otherwise; no attempt counts.
    Away {
        /// What is missing, and what to do about it.
        reason: String,
    },
}

/// The work of a lane.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Works on one job. It may run again for the same job after a crash, so an effect on the outside is looked up
    /// before it is made.
    async fn handle(&self, lease: &Lease) -> Verdict;

    /// Whether that which was away is back.
    async fn probe(&self) -> bool {
        true
    }
}

/// How a worker runs.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Jobs at a time.
    pub concurrency: usize,
    /// The longest that a handler may take; it is then stopped, and that counts as a failed attempt.
    pub timeout: Duration,
    /// When failed jobs are tried again.
    pub retry: Schedule,
    /// How a paused lane is probed.
    pub probe: Probing,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            timeout: Duration::from_secs(60),
            retry: Schedule::default(),
            probe: Probing::default(),
        }
    }
}

/// Whether a lane runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// Works off one lane of a queue.
pub struct Worker {
    queue: Queue,
    lane: String,
    handler: Arc<dyn Handler>,
    options: WorkerOptions,
    status: watch::Sender<LaneStatus>,
}

/// What became of one lease, as the loop needs to know it.
enum Settled {
    Progress,
    Away(String),
}

/// The jobs in hand.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Settled>,
    by_job: HashMap<i64, AbortHandle>,
}

impl Running {
    /// Starts a job. Leases expire by the wall clock and handlers by a clock that stands still while the machine
    /// sleeps: a job that is handed out again while it runs is stopped first, so that it never runs twice.
    fn start(&mut self, job: i64, work: impl Future<Output = Settled> + Send + 'static) {
        self.by_job.retain(|_, task| !task.is_finished());
        if let Some(earlier) = self.by_job.remove(&job) {
            earlier.abort();
        }
        self.by_job.insert(job, self.tasks.spawn(work));
    }
}

impl Worker {
    /// A worker for `lane`.
    pub fn new(
        queue: Queue,
        lane: impl Into<String>,
        handler: Arc<dyn Handler>,
        options: WorkerOptions,
    ) -> Self {
        Self { queue, lane: lane.into(), handler, options, status: watch::Sender::default() }
    }

    /// Follows whether the lane runs.
    pub fn status(&self) -> watch::Receiver<LaneStatus> {
        self.status.subscribe()
    }

    /// Works until `stop`, then lets the jobs in hand finish. What is stopped harder than that is worked on again.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.queue.changes();
        let mut running = Running::default();
        let mut failures_in_a_row = 0_u32;
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            let wait = self.fill(&mut running).await;
            let settled = tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = running.tasks.join_next() => done.ok(),
                _ = changes.changed() => None,
                () = tokio::time::sleep(wait) => None,
            };
            match settled {
                Some(Settled::Away(reason)) => {
                    failures_in_a_row = failures_in_a_row.saturating_add(1);
                    self.pause(reason, &mut failures_in_a_row, &mut running, &stop).await;
                }
                Some(Settled::Progress) => failures_in_a_row = 0,
                None => {}
            }
        }
        // A job that is cut off here is handed out again at the next start.
        let finish = async { while running.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, finish).await;
    }

    /// Leases as many jobs as there is room for. Says how long there is nothing more to do, unless something changes.
    async fn fill(&self, running: &mut Running) -> Duration {
        const WHEN_BUSY: Duration = Duration::from_secs(60);
        let room = self.options.concurrency.saturating_sub(running.tasks.len());
        if room == 0 {
            return WHEN_BUSY;
        }
        match self.lease(room).await {
            Ok((leases, wait)) => {
                for lease in leases {
                    running.start(lease.job().seq, self.work(lease));
                }
                wait.min(WHEN_BUSY)
            }
            Err(error) => {
                tracing::error!(lane = self.lane, %error, "cannot take work from the queue; trying again");
                Duration::from_secs(1)
            }
        }
    }

    async fn lease(&self, room: usize) -> Result<(Vec<Lease>, Duration)> {
        // The lease outlives the handler's time, so that nobody else has the job while it still runs.
        let leases =
            self.queue.lease(&self.lane, room, self.options.timeout + Duration::from_secs(30)).await?;
        if leases.len() == room {
            return Ok((leases, Duration::MAX));
        }
        let due = self.queue.next_due(&self.lane).await?;
        let wait =
            due.map_or(Duration::MAX, |due| Duration::try_from(due - self.queue.now()).unwrap_or_default());
        Ok((leases, wait))
    }

    fn work(&self, lease: Lease) -> impl Future<Output = Settled> + use<> {
        let (handler, options, queue) = (Arc::clone(&self.handler), self.options, self.queue.clone());
        let job = lease.job();
        let span = tracing::info_span!(
            "job",
            lane = job.lane,
            delivery = job.id,
            event = job.event,
            attempt = job.attempt,
            // For the handler, which can read what the job is about.
            trace_id = tracing::field::Empty
        );
        async move {
            let verdict = judge(handler.as_ref(), &lease, options.timeout).await;
            settle(&queue, lease, verdict, &options.retry).await
        }
        .instrument(span)
    }

    /// Waits, with growing intervals, until a probe succeeds. Jobs in hand may end meanwhile.
    async fn pause(
        &self,
        reason: String,
        failures: &mut u32,
        running: &mut Running,
        stop: &CancellationToken,
    ) {
        tracing::warn!(
            lane = self.lane,
            reason,
            "lane paused; nothing is lost, it goes on when the other side is back"
        );
        self.status.send_replace(LaneStatus { paused: Some(reason), since: Some(self.queue.now()) });
        loop {
            let delay = self.options.probe.delay(*failures, self.queue.now());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
            let back = tokio::select! {
                () = stop.cancelled() => return,
                back = self.handler.probe() => back,
            };
            if back {
                break;
            }
            *failures = failures.saturating_add(1);
        }
        // What these came to belongs to the time before the pause.
        while running.tasks.try_join_next().is_some() {}
        tracing::info!(lane = self.lane, "lane goes on");
        self.status.send_replace(LaneStatus::default());
    }
}

/// The handler's verdict. One that takes too long or panics has failed, and the job is tried again like any other.
async fn judge(handler: &dyn Handler, lease: &Lease, limit: Duration) -> Verdict {
    let handled = AssertUnwindSafe(handler.handle(lease)).catch_unwind();
    let error = match tokio::time::timeout(limit, handled).await {
        Ok(Ok(verdict)) => return verdict,
        Ok(Err(_)) => "the handler panicked; the log has the place".to_owned(),
        Err(_) => format!("not finished within {} s", limit.as_secs()),
    };
    Verdict::Retry { error, after: None }
}

async fn settle(queue: &Queue, lease: Lease, verdict: Verdict, schedule: &Schedule) -> Settled {
    let job: &Job = lease.job();
    let (attempt, since_first) = (job.attempt, queue.now() - job.first_attempt_at);
    let settled = match verdict {
        Verdict::Done(finish) => lease.done(finish).await,
        Verdict::Away { reason } => {
            report(lease.release().await);
            return Settled::Away(reason);
        }
        Verdict::Dead { error } => {
            tracing::error!(error, "dead letter; look at it and send it again when the cause is gone");
            lease.dead(error).await
        }
        Verdict::Retry { error, after } => {
            let since_first = Duration::try_from(since_first).unwrap_or_default();
            match schedule.next(attempt, since_first, after, fastrand::f64()) {
                Some(delay) => {
                    tracing::warn!(error, retry_in_seconds = delay.as_secs_f64(), "attempt failed");
                    lease.retry(queue.now() + delay, error).await
                }
                None => {
                    tracing::error!(error, attempt, "dead letter after the last attempt");
                    lease.dead(format!("given up after {attempt} attempts; the last error: {error}")).await
                }
            }
        }
    };
    report(settled);
    Settled::Progress
}

/// A lease that cannot be settled expires, and its job is handed out again: nothing is lost.
fn report(settled: Result<()>) {
    if let Err(error) = settled {
        tracing::error!(%error, "cannot settle the job; it will be worked on again");
    }
}
