//! lease → handler → settle, for one lane.

use std::{collections::HashMap, iter, num::NonZeroU32, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{Finish, Job, Lease, Probing, Queue, Result, Schedule};

mod pace;

use pace::{Pace, Room};

/// How long a lane that has nothing to do rests, unless something changes.
const REST: Duration = Duration::from_secs(60);
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
    /// Jobs started in a second, at the most. After a pause a lane begins with one at a time besides, and allows itself
    /// twice as many with each that goes well.
    pub rate: NonZeroU32,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            timeout: Duration::from_secs(60),
            retry: Schedule::default(),
            probe: Probing::default(),
            rate: const { NonZeroU32::new(2000).unwrap() },
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
    settling: TaskTracker,
}

/// What a handler came to, as the loop needs to know it.
enum Came {
    /// To an end.
    End,
    /// To nothing yet.
    Failure,
    /// Nowhere: what it needs is away.
    Away(String),
}

/// A handler that has ended, and the pause since which it ran.
struct Ended {
    round: u32,
    came: Came,
}

/// The jobs in hand.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Ended>,
    by_job: HashMap<i64, (AbortHandle, u32)>,
    /// How often the lane was paused.
    round: u32,
}

impl Running {
    /// Starts a job. Leases expire by the wall clock and handlers by a clock that stands still while the machine
    /// sleeps: a job that is handed out again while it runs is stopped first, so that it never runs twice.
    fn start(&mut self, job: i64, work: impl Future<Output = Came> + Send + 'static) {
        self.by_job.retain(|_, (task, _)| !task.is_finished());
        if let Some((earlier, _)) = self.by_job.remove(&job) {
            earlier.abort();
        }
        let round = self.round;
        let task = self.tasks.spawn(async move { Ended { round, came: work.await } });
        self.by_job.insert(job, (task, round));
    }

    /// How many of them began after the last pause.
    fn since_pause(&self) -> usize {
        self.by_job.values().filter(|(task, round)| *round == self.round && !task.is_finished()).count()
    }

    /// What the handlers that have ended came to, `first` among them. Those that began before the last pause tell
    /// nothing about the time after it.
    fn ended(&mut self, first: Option<Ended>) -> impl Iterator<Item = Came> {
        let round = self.round;
        let others = iter::from_fn(|| self.tasks.try_join_next()).filter_map(std::result::Result::ok);
        first.into_iter().chain(others).filter(move |ended| ended.round == round).map(|ended| ended.came)
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
        let (status, settling) = (watch::Sender::default(), TaskTracker::new());
        Self { queue, lane: lane.into(), handler, options, status, settling }
    }

    /// Follows whether the lane runs.
    pub fn status(&self) -> watch::Receiver<LaneStatus> {
        self.status.subscribe()
    }

    /// Works until `stop`, then lets the jobs in hand finish. What is stopped harder than that is worked on again.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.queue.changes();
        let mut running = Running::default();
        let mut pace = Pace::new(self.options.concurrency, self.options.rate, Instant::now());
        let mut away_in_a_row = 0_u32;
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            let wait = self.fill(&mut running, &mut pace).await;
            let first = tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = running.tasks.join_next() => done.ok(),
                _ = changes.changed() => None,
                () = tokio::time::sleep(wait) => None,
            };
            // All that have ended meanwhile are counted first: one write then leases for all the room there is.
            let mut away = None;
            for came in running.ended(first) {
                match came {
                    Came::End => pace.widen(),
                    Came::Failure => pace.narrow(),
                    Came::Away(reason) => {
                        away.get_or_insert(reason);
                        continue;
                    }
                }
                away_in_a_row = 0;
            }
            if let Some(reason) = away {
                away_in_a_row = away_in_a_row.saturating_add(1);
                pace.pause();
                running.round += 1;
                self.pause(reason, &mut away_in_a_row, &stop).await;
            }
        }
        // A job that is cut off here is handed out again at the next start.
        let finish = async {
            while running.tasks.join_next().await.is_some() {}
            self.settling.close();
            self.settling.wait().await;
        };
        let _ = tokio::time::timeout(DRAIN, finish).await;
    }

    /// Leases as many jobs as there is room for. Says how long there is nothing more to do, unless something changes.
    async fn fill(&self, running: &mut Running, pace: &mut Pace) -> Duration {
        let room = match pace.room(running.tasks.len(), running.since_pause(), Instant::now()) {
            Room::For(jobs) => jobs,
            Room::Busy => return REST,
            Room::TooFast(wait) => return wait,
        };
        match self.lease(room).await {
            Ok((leases, wait)) => {
                pace.started(leases.len());
                for lease in leases {
                    running.start(lease.job().seq, self.work(lease));
                }
                wait.min(REST)
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
            // There may be more. If there is room for it, that is found out at once.
            return Ok((leases, Duration::ZERO));
        }
        let due = self.queue.next_due(&self.lane).await?;
        let wait =
            due.map_or(Duration::MAX, |due| Duration::try_from(due - self.queue.now()).unwrap_or_default());
        Ok((leases, wait))
    }

    /// The handler's part of a job. It has its place among the jobs in hand until its handler has ended; what that came
    /// to is written down beside the next ones' work.
    fn work(&self, lease: Lease) -> impl Future<Output = Came> + use<> {
        let (handler, options, queue) = (Arc::clone(&self.handler), self.options, self.queue.clone());
        let settling = self.settling.clone();
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
            let came = match &verdict {
                Verdict::Done(_) | Verdict::Dead { .. } => Came::End,
                Verdict::Retry { .. } => Came::Failure,
                Verdict::Away { reason } => Came::Away(reason.clone()),
            };
            let settle = async move { settle(&queue, lease, verdict, &options.retry).await };
            settling.spawn(settle.instrument(tracing::Span::current()));
            came
        }
        .instrument(span)
    }

    /// Waits, with growing intervals, until a probe succeeds. Jobs in hand may end meanwhile.
    async fn pause(&self, reason: String, failures: &mut u32, stop: &CancellationToken) {
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

async fn settle(queue: &Queue, lease: Lease, verdict: Verdict, schedule: &Schedule) {
    let job: &Job = lease.job();
    let (attempt, since_first) = (job.attempt, queue.now() - job.first_attempt_at);
    let settled = match verdict {
        Verdict::Done(finish) => lease.done(finish).await,
        Verdict::Away { .. } => lease.release().await,
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
    // A lease that cannot be settled expires, and its job is handed out again: nothing is lost.
    if let Err(error) = settled {
        tracing::error!(%error, "cannot settle the job; it will be worked on again");
    }
}
