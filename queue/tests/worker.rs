//! The worker: what becomes of a job for each verdict, and of a lane whose target is away.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml's exemption for tests does not reach their helpers"
)]

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use queue::{
    Clock, Filter, Finish, Handler, JobState, Lease, Options, Probing, Queue, Schedule, Verdict, Worker,
    WorkerOptions,
    conformance::{ManualClock, delivery},
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

/// Answers from a list, then `Done`; can be held, and counts what runs at a time.
#[derive(Default)]
struct Scripted {
    verdicts: Mutex<VecDeque<Verdict>>,
    handled: Mutex<Vec<String>>,
    back: AtomicBool,
    probes: AtomicUsize,
    started: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    starts: Mutex<Vec<Instant>>,
    gate: Option<Semaphore>,
}

#[async_trait::async_trait]
impl Handler for Scripted {
    async fn handle(&self, lease: &Lease) -> Verdict {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.starts.lock().unwrap().push(Instant::now());
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.handled.lock().unwrap().push(lease.job().id.clone());
        let verdict = self.verdicts.lock().unwrap().pop_front();
        match verdict {
            Some(Verdict::Dead { error }) if error == "panic" => panic!("on purpose"),
            Some(verdict) => verdict,
            None => Verdict::Done(Finish::new("completed", "")),
        }
    }

    async fn probe(&self) -> bool {
        self.probes.fetch_add(1, Ordering::SeqCst);
        self.back.load(Ordering::SeqCst)
    }
}

const SOON: Schedule = Schedule {
    base: Duration::from_millis(2),
    cap: Duration::from_millis(4),
    give_up_after: Duration::from_secs(3600),
    fewest_attempts: 0,
};

struct Lane {
    queue: Queue,
    handler: Arc<Scripted>,
    status: tokio::sync::watch::Receiver<queue::LaneStatus>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

async fn start(handler: Scripted, options: WorkerOptions) -> Lane {
    start_with(Options::default(), handler, options).await
}

async fn start_with(queue_options: Options, handler: Scripted, options: WorkerOptions) -> Lane {
    let folder = tempfile::tempdir().unwrap();
    let queue =
        queue::open(&format!("sqlite://{}/queue.db", folder.path().display()), queue_options).await.unwrap();
    let handler = Arc::new(handler);
    let worker = Worker::new(queue.clone(), "a", Arc::clone(&handler) as Arc<dyn Handler>, options);
    let (status, stop) = (worker.status(), CancellationToken::new());
    tokio::spawn(worker.run(stop.clone()));
    Lane { queue, handler, status, stop, _folder: folder }
}

fn scripted(verdicts: impl IntoIterator<Item = Verdict>) -> Scripted {
    Scripted { verdicts: Mutex::new(verdicts.into_iter().collect()), ..Scripted::default() }
}

fn quick() -> WorkerOptions {
    WorkerOptions {
        retry: SOON,
        probe: Probing { base: SOON.base, every: SOON.cap },
        ..WorkerOptions::default()
    }
}

impl Lane {
    /// Waits until so many run, and makes sure that no more do: what the worker asks of the store before this asks
    /// something of it has been done afterwards.
    async fn running(&self, jobs: usize) {
        let now = || self.handler.running.load(Ordering::SeqCst);
        while now() != jobs {
            tokio::task::yield_now().await;
        }
        for _ in 0..5 {
            self.queue.can_store().await.unwrap();
        }
        assert_eq!(now(), jobs);
    }

    /// Waits until the job of `id` is in `state`.
    async fn until(&self, id: &str, state: JobState) -> queue::JobRecord {
        let mut changes = self.queue.changes();
        loop {
            changes.mark_unchanged();
            let job = self.queue.find(id).await.unwrap().unwrap().jobs.remove(0);
            if job.state == state {
                return job;
            }
            changes.changed().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_failed_job_is_tried_again_until_it_is_done() {
    let failed = || Verdict::Retry { error: "no luck".into(), after: None };
    let lane = start(scripted([failed(), failed()]), quick()).await;
    lane.queue.put(delivery("d1", "a", "k")).await.unwrap();
    let job = lane.until("d1", JobState::Done).await;
    assert_eq!(job.attempts, 3);
    assert_eq!(
        job.history.iter().map(|entry| entry.what.as_str()).collect::<Vec<_>>(),
        ["failed", "failed", "completed"]
    );
}

#[tokio::test]
async fn a_hopeless_job_and_one_that_ran_out_of_time_are_dead() {
    let short = Schedule { give_up_after: Duration::ZERO, ..SOON };
    let verdicts =
        [Verdict::Dead { error: "hopeless".into() }, Verdict::Retry { error: "no luck".into(), after: None }];
    let lane = start(scripted(verdicts), WorkerOptions { retry: short, ..quick() }).await;
    for id in ["d1", "d2"] {
        lane.queue.put(delivery(id, "a", "k")).await.unwrap();
    }
    assert_eq!(lane.until("d1", JobState::Dead).await.error.as_deref(), Some("hopeless"));
    let given_up = lane.until("d2", JobState::Dead).await.error.unwrap();
    assert!(given_up.contains("after 1 attempts") && given_up.contains("no luck"), "{given_up}");
}

#[tokio::test]
async fn a_panic_or_a_hang_is_a_failed_attempt() {
    let lane = start(scripted([Verdict::Dead { error: "panic".into() }]), quick()).await;
    lane.queue.put(delivery("d1", "a", "k")).await.unwrap();
    let job = lane.until("d1", JobState::Done).await;
    assert!(job.history[0].detail.as_deref().unwrap().contains("panicked"));

    let hanging = Scripted { gate: Some(Semaphore::new(0)), ..Scripted::default() };
    let lane = start(hanging, WorkerOptions { timeout: Duration::from_millis(20), ..quick() }).await;
    lane.queue.put(delivery("d1", "a", "k")).await.unwrap();
    let mut changes = lane.queue.changes();
    while lane.queue.find("d1").await.unwrap().unwrap().jobs[0].history.is_empty() {
        changes.changed().await.unwrap();
    }
    lane.handler.gate.as_ref().unwrap().add_permits(100);
    assert!(lane.until("d1", JobState::Done).await.attempts >= 2);
}

#[tokio::test]
async fn a_lane_whose_target_is_away_waits_counts_nothing_and_goes_on() {
    let away = Verdict::Away { reason: "asleep".into() };
    let mut lane = start(scripted([away]), WorkerOptions { concurrency: 1, ..quick() }).await;
    for id in ["d1", "d2"] {
        lane.queue.put(delivery(id, "a", "k")).await.unwrap();
    }
    let paused = lane.status.wait_for(|status| status.paused.is_some()).await.unwrap().clone();
    assert_eq!(paused.paused.as_deref(), Some("asleep"));
    while lane.handler.probes.load(Ordering::SeqCst) < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lane.handler.handled.lock().unwrap().len(), 1, "nothing is tried while the target is away");
    lane.handler.back.store(true, Ordering::SeqCst);
    for id in ["d1", "d2"] {
        assert_eq!(lane.until(id, JobState::Done).await.attempts, 1);
    }
    assert_eq!(*lane.handler.handled.lock().unwrap(), ["d1", "d1", "d2"]);
    assert_eq!(lane.status.borrow().paused, None);
}

/// A lane that was paused with eight jobs in hand, and goes on; twenty others wait.
async fn back_after_a_pause() -> Lane {
    let held = Scripted {
        gate: Some(Semaphore::new(0)),
        back: AtomicBool::new(true),
        ..scripted([Verdict::Away { reason: "asleep".into() }])
    };
    let mut lane = start(held, WorkerOptions { concurrency: 9, ..quick() }).await;
    for n in 0..8 {
        lane.queue.put(delivery(&format!("d{n}"), "a", &format!("k{n}"))).await.unwrap();
    }
    lane.running(8).await;
    lane.handler.gate.as_ref().unwrap().add_permits(1);
    lane.status.wait_for(|status| status.paused.is_some()).await.unwrap();
    lane.status.wait_for(|status| status.paused.is_none()).await.unwrap();
    for n in 8..28 {
        lane.queue.put(delivery(&format!("d{n}"), "a", &format!("k{n}"))).await.unwrap();
    }
    lane
}

#[tokio::test]
async fn what_is_back_gets_one_job_then_twice_as_many_with_each_success() {
    let lane = back_after_a_pause().await;
    lane.running(7 + 1).await;
    let gate = lane.handler.gate.as_ref().unwrap();
    // Those from before the pause are served first, and do not widen the room.
    gate.add_permits(7);
    lane.running(1).await;
    for allowed in [2, 4, 8, 9] {
        gate.add_permits(1);
        lane.running(allowed).await;
    }
    gate.add_permits(100);
    for n in 0..28 {
        assert_eq!(lane.until(&format!("d{n}"), JobState::Done).await.attempts, 1);
    }
}

#[tokio::test]
async fn a_failure_on_the_way_back_starts_again_at_one() {
    let lane = back_after_a_pause().await;
    let gate = lane.handler.gate.as_ref().unwrap();
    gate.add_permits(7);
    lane.running(1).await;
    gate.add_permits(1);
    lane.running(2).await;
    lane.handler.verdicts.lock().unwrap().push_back(Verdict::Retry { error: "busy".into(), after: None });
    gate.add_permits(1);
    lane.running(1).await;
    gate.add_permits(1);
    lane.running(2).await;
}

#[tokio::test]
async fn what_began_before_a_pause_says_nothing_about_the_time_after_it() {
    let lane = back_after_a_pause().await;
    lane.running(7 + 1).await;
    let late = || Verdict::Away { reason: "asleep, said late".into() };
    lane.handler.verdicts.lock().unwrap().extend((0..7).map(|_| late()));
    lane.handler.gate.as_ref().unwrap().add_permits(100);
    for n in 0..28 {
        assert_eq!(lane.until(&format!("d{n}"), JobState::Done).await.attempts, 1);
    }
    assert_eq!(lane.handler.probes.load(Ordering::SeqCst), 1, "paused once");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_rate_start_in_a_second() {
    const RATE: u32 = 20;
    let options = WorkerOptions { rate: NonZeroU32::new(RATE).unwrap(), ..quick() };
    let lane = start(Scripted::default(), options).await;
    for n in 0..60 {
        lane.queue.put(delivery(&format!("d{n}"), "a", &format!("k{n}"))).await.unwrap();
    }
    for n in 0..60 {
        lane.until(&format!("d{n}"), JobState::Done).await;
    }
    let starts = lane.handler.starts.lock().unwrap().clone();
    for (n, start) in starts.iter().enumerate() {
        let within = starts[n..].iter().filter(|other| **other - *start < Duration::from_secs(1)).count();
        assert!(within <= (RATE + RATE / 10) as usize, "{within} within a second");
    }
}

#[tokio::test]
async fn no_more_than_allowed_run_at_a_time_and_a_stop_lets_them_finish() {
    let held = Scripted { gate: Some(Semaphore::new(0)), ..Scripted::default() };
    let lane = start(held, WorkerOptions { concurrency: 3, ..quick() }).await;
    for n in 0..10 {
        lane.queue.put(delivery(&format!("d{n}"), "a", &format!("k{n}"))).await.unwrap();
    }
    while lane.handler.running.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    lane.stop.cancel();
    lane.handler.gate.as_ref().unwrap().add_permits(3);
    for n in 0..3 {
        lane.until(&format!("d{n}"), JobState::Done).await;
    }
    let waiting = lane
        .queue
        .list(Filter { state: Some("pending".into()), limit: 20, ..Filter::default() })
        .await
        .unwrap();
    assert_eq!((waiting.len(), lane.handler.most.load(Ordering::SeqCst)), (7, 3));
}

#[tokio::test]
async fn a_job_whose_lease_ran_out_while_the_machine_slept_never_runs_twice() {
    let clock = Arc::new(ManualClock::default());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
    let held = Scripted { gate: Some(Semaphore::new(0)), ..Scripted::default() };
    let lane = start_with(options, held, quick()).await;
    lane.queue.put(delivery("d1", "a", "k")).await.unwrap();
    while lane.handler.started.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(3600));
    lane.queue.put(delivery("wakes-the-worker", "a", "k2")).await.unwrap();
    while lane.handler.started.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    lane.handler.gate.as_ref().unwrap().add_permits(3);
    lane.until("d1", JobState::Done).await;
    let handled = lane.handler.handled.lock().unwrap().iter().filter(|id| *id == "d1").count();
    assert_eq!(handled, 1, "the first run was stopped before the second began");
}
