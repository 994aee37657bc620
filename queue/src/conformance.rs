//! What every back end must do, as a suite that its tests call: [`run_all`] with a way to open an empty queue that
//! allows 50 unfinished jobs with 4096 bytes of payload and takes its time from the given clock.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is a test suite; it is public so that back ends elsewhere can call it"
)]

use std::{pin::Pin, sync::Arc, sync::Mutex, time::Duration};

use jiff::Timestamp;

use crate::{
    Clock, Error, Filter, Finish, JobState, Lease, NewDelivery, Put, Queue, Redelivered, Replaces, Result,
    Route,
};

mod keeping;

/// A clock that moves only by hand.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl Default for ManualClock {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_second(1_800_000_000).unwrap()))
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    /// Sets the time back.
    pub fn set_back(&self, by: Duration) {
        *self.0.lock().unwrap() -= by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A queue on its way to being open.
pub type Opening = Pin<Box<dyn Future<Output = Result<Queue>> + Send>>;

const TTL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A delivery with one job.
pub fn delivery(id: &str, lane: &str, key: &str) -> NewDelivery {
    NewDelivery {
        id: id.into(),
        digest: None,
        replay_window: Duration::ZERO,
        redelivery: 0,
        event: "push".into(),
        action: None,
        repository: Some("o/r".into()),
        headline: format!("headline of {id}"),
        note: None,
        received_at: Timestamp::from_second(1_800_000_000).unwrap(),
        payload: format!("payload of {id}").into_bytes(),
        routes: vec![Route { lane: lane.into(), key: key.into(), replaces: None }],
    }
}

fn head(id: &str, version: i64) -> NewDelivery {
    let mut delivery = delivery(id, "a", "pr");
    delivery.routes[0].replaces = Some(Replaces { group: "pr/head".into(), version });
    delivery
}

async fn lease(queue: &Queue, lane: &str) -> Vec<Lease> {
    queue.lease(lane, 10, TTL).await.unwrap()
}

async fn one(queue: &Queue, lane: &str) -> Lease {
    let mut leases = lease(queue, lane).await;
    assert_eq!(leases.len(), 1, "expected exactly one job to be due");
    leases.remove(0)
}

async fn state(queue: &Queue, id: &str) -> JobState {
    queue.find(id).await.unwrap().unwrap().jobs[0].state
}

fn ids(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.job().id.as_str()).collect()
}

/// Runs every case on a queue of its own.
///
/// # Panics
/// When the back end does not conform.
pub async fn run_all(open: &dyn Fn(Arc<ManualClock>) -> Opening) {
    macro_rules! run {
        ($($case:path),+) => {$({
            let clock = Arc::new(ManualClock::default());
            $case(open(Arc::clone(&clock)).await.unwrap(), clock).await;
        })+};
    }
    run!(
        an_id_is_stored_once,
        a_body_under_another_id_is_a_replay_within_its_window,
        a_key_keeps_its_order_and_lanes_do_not_wait_for_each_other,
        a_failed_job_waits_and_blocks_only_its_key,
        a_release_counts_no_attempt,
        an_expired_lease_is_lost_to_the_next,
        a_dead_job_is_revived_by_its_own_delivery,
        a_finished_job_is_sent_again_only_when_asked,
        only_the_newest_head_is_worked_on,
        what_has_begun_or_is_as_new_is_not_superseded,
        the_backlog_has_a_limit,
        the_feed_tells_each_end_once_and_in_order,
        an_outcome_is_recorded_once,
        an_outcome_may_overtake_the_answer,
        deliveries_are_listed_newest_first,
        lanes_are_counted,
        a_cursor_is_kept,
        keeping::the_backlog_has_a_limit_in_bytes,
        keeping::what_is_discarded_is_not_worked_on,
        keeping::a_round_is_that_of_the_jobs_that_were_sent,
        keeping::what_ended_long_ago_is_given_up,
        keeping::room_is_made_and_ids_are_remembered,
        keeping::changes_are_told,
        keeping::a_clock_that_is_set_back_delays_nothing
    );
}

async fn an_id_is_stored_once(queue: Queue, _: Arc<ManualClock>) {
    assert_eq!(queue.put(delivery("d1", "a", "k")).await.unwrap(), Put::Stored);
    assert_eq!(queue.put(delivery("d1", "a", "k")).await.unwrap(), Put::Duplicate { of: "d1".into() });
    let lease = one(&queue, "a").await;
    assert_eq!(lease.job().payload, b"payload of d1");
    lease.done(Finish::new("completed", "done")).await.unwrap();
    assert_eq!(queue.put(delivery("d1", "a", "k")).await.unwrap(), Put::Duplicate { of: "d1".into() });
    assert!(self::lease(&queue, "a").await.is_empty());
}

async fn a_body_under_another_id_is_a_replay_within_its_window(queue: Queue, _: Arc<ManualClock>) {
    let at = |id: &str, seconds: i64| {
        let mut delivery = delivery(id, "a", "k");
        delivery.digest = Some([7; 32]);
        delivery.replay_window = 600 * SECOND;
        delivery.received_at = Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        delivery
    };
    assert_eq!(queue.put(at("d1", 0)).await.unwrap(), Put::Stored);
    assert_eq!(queue.put(at("d2", 599)).await.unwrap(), Put::Duplicate { of: "d1".into() });
    assert_eq!(queue.put(at("d3", 601)).await.unwrap(), Put::Stored);
    let off = NewDelivery { replay_window: Duration::ZERO, ..at("d4", 602) };
    assert_eq!(queue.put(off).await.unwrap(), Put::Stored);
}

async fn a_key_keeps_its_order_and_lanes_do_not_wait_for_each_other(queue: Queue, _: Arc<ManualClock>) {
    for (id, lane, key) in [("d1", "a", "x"), ("d2", "a", "x"), ("d3", "a", "y"), ("d4", "b", "x")] {
        queue.put(delivery(id, lane, key)).await.unwrap();
    }
    let mut first = lease(&queue, "a").await;
    assert_eq!(ids(&first), ["d1", "d3"]);
    assert!(lease(&queue, "a").await.is_empty(), "d2 must wait for d1");
    assert_eq!(ids(&lease(&queue, "b").await), ["d4"]);
    first.remove(0).done(Finish::new("completed", "")).await.unwrap();
    assert_eq!(ids(&lease(&queue, "a").await), ["d2"]);
}

async fn a_failed_job_waits_and_blocks_only_its_key(queue: Queue, clock: Arc<ManualClock>) {
    for (id, key) in [("d1", "x"), ("d2", "x"), ("d3", "y")] {
        queue.put(delivery(id, "a", key)).await.unwrap();
    }
    let mut leases = lease(&queue, "a").await;
    leases.remove(0).retry(queue.now() + 30 * SECOND, "no luck".into()).await.unwrap();
    leases.remove(0).done(Finish::new("completed", "")).await.unwrap();
    assert!(lease(&queue, "a").await.is_empty());
    clock.advance(31 * SECOND);
    let again = one(&queue, "a").await;
    assert_eq!((again.job().id.as_str(), again.job().attempt), ("d1", 2));
    assert_eq!(again.job().first_attempt_at + 31 * SECOND, queue.now());
    again.dead("hopeless".into()).await.unwrap();
    let record = queue.find("d1").await.unwrap().unwrap();
    assert_eq!((record.jobs[0].state, record.jobs[0].error.as_deref()), (JobState::Dead, Some("hopeless")));
    let history: Vec<_> =
        record.jobs[0].history.iter().map(|entry| (entry.what.as_str(), entry.detail.as_deref())).collect();
    assert_eq!(history, [("failed", Some("no luck")), ("failed", Some("hopeless"))]);
    assert_eq!(ids(&lease(&queue, "a").await), ["d2"], "a dead job frees its key");
}

async fn a_release_counts_no_attempt(queue: Queue, clock: Arc<ManualClock>) {
    queue.put(delivery("d1", "a", "k")).await.unwrap();
    for _ in 0..3 {
        let lease = one(&queue, "a").await;
        assert_eq!(lease.job().attempt, 1);
        lease.release().await.unwrap();
    }
    clock.advance(TTL);
    let failed = one(&queue, "a").await;
    let first = queue.now();
    assert_eq!(failed.job().first_attempt_at, first, "nobody was reached before");
    failed.retry(queue.now(), "no luck".into()).await.unwrap();
    one(&queue, "a").await.release().await.unwrap();
    clock.advance(TTL);
    let again = one(&queue, "a").await;
    assert_eq!((again.job().attempt, again.job().first_attempt_at), (2, first), "a pause changes nothing");
}

async fn an_expired_lease_is_lost_to_the_next(queue: Queue, clock: Arc<ManualClock>) {
    queue.put(delivery("d1", "a", "k")).await.unwrap();
    let slow = one(&queue, "a").await;
    clock.advance(TTL + SECOND);
    let next = one(&queue, "a").await;
    assert_eq!(next.job().attempt, 2);
    assert!(matches!(slow.checkpoint(vec![1]).await, Err(Error::LeaseLost)));
    assert!(matches!(slow.done(Finish::new("completed", "late")).await, Err(Error::LeaseLost)));
    next.checkpoint(b"kept".to_vec()).await.unwrap();
    next.release().await.unwrap();
    assert_eq!(one(&queue, "a").await.job().checkpoint.as_deref(), Some(&b"kept"[..]));
}

async fn a_dead_job_is_revived_by_its_own_delivery(queue: Queue, _: Arc<ManualClock>) {
    queue.put(delivery("d1", "a", "k")).await.unwrap();
    one(&queue, "a").await.dead("hopeless".into()).await.unwrap();
    assert_eq!(queue.put(delivery("d1", "a", "k")).await.unwrap(), Put::Revived);
    assert_eq!(one(&queue, "a").await.job().attempt, 1);
}

async fn a_finished_job_is_sent_again_only_when_asked(queue: Queue, _: Arc<ManualClock>) {
    queue.put(delivery("d1", "a", "k")).await.unwrap();
    one(&queue, "a").await.done(Finish::new("partial", "")).await.unwrap();
    assert_eq!(queue.redeliver("d1", None).await.unwrap(), Some(Redelivered { count: 1, jobs: 1 }));
    assert_eq!(
        queue.redeliver("d1", None).await.unwrap(),
        Some(Redelivered { count: 1, jobs: 0 }),
        "it is on its way"
    );
    assert!(queue.record("d1", "a", 0, Finish::new("partial", "of the first round")).await.unwrap());
    assert_eq!(state(&queue, "d1").await, JobState::Pending, "an old outcome does not end the new round");
    let lease = one(&queue, "a").await;
    assert_eq!(lease.job().redelivery, 1);
    lease.done(Finish::new("completed", "")).await.unwrap();
    let known = NewDelivery { redelivery: 1, ..delivery("d1", "a", "k") };
    assert_eq!(queue.put(known.clone()).await.unwrap(), Put::Duplicate { of: "d1".into() });
    let asked = NewDelivery { redelivery: 2, ..known };
    assert_eq!(queue.put(asked).await.unwrap(), Put::Revived);
    assert_eq!(queue.redeliver("unknown", None).await.unwrap(), None);
}

async fn only_the_newest_head_is_worked_on(queue: Queue, _: Arc<ManualClock>) {
    for (id, version) in [("d1", 1), ("d3", 3), ("d2", 2)] {
        queue.put(head(id, version)).await.unwrap();
    }
    assert_eq!(state(&queue, "d1").await, JobState::Superseded, "replaced by d3");
    assert_eq!(state(&queue, "d2").await, JobState::Superseded, "late");
    let begun = one(&queue, "a").await;
    assert_eq!(begun.job().id, "d3");
    queue.put(head("d4", 4)).await.unwrap();
    assert_eq!(state(&queue, "d3").await, JobState::Leased, "what has begun is not taken away");
    begun.done(Finish::new("superseded", "the head moved on")).await.unwrap();
    assert_eq!(state(&queue, "d3").await, JobState::Superseded);
    assert_eq!(one(&queue, "a").await.job().id, "d4");
}

async fn what_has_begun_or_is_as_new_is_not_superseded(queue: Queue, clock: Arc<ManualClock>) {
    queue.put(head("d1", 1)).await.unwrap();
    one(&queue, "a").await.retry(queue.now() + 3600 * SECOND, "posted, not remembered".into()).await.unwrap();
    queue.put(head("d2", 2)).await.unwrap();
    assert!(lease(&queue, "a").await.is_empty(), "what is newer waits for what has begun");
    clock.advance(3601 * SECOND);
    let begun = one(&queue, "a").await;
    assert_eq!((begun.job().id.as_str(), begun.job().attempt), ("d1", 2));
    begun.done(Finish::new("completed", "")).await.unwrap();
    queue.put(head("d3", 2)).await.unwrap();
    assert_eq!(
        (state(&queue, "d2").await, state(&queue, "d3").await),
        (JobState::Pending, JobState::Pending)
    );
}

async fn the_backlog_has_a_limit(queue: Queue, _: Arc<ManualClock>) {
    for n in 0..50 {
        queue.put(delivery(&format!("d{n}"), "a", &format!("k{n}"))).await.unwrap();
    }
    assert!(matches!(queue.put(delivery("one-more", "a", "k")).await, Err(Error::Full { limit: 50, .. })));
    assert!(queue.find("one-more").await.unwrap().is_none(), "nothing is half-stored");
    let ignored =
        NewDelivery { routes: vec![], note: Some("no rule".into()), ..delivery("ignored", "a", "k") };
    assert_eq!(queue.put(ignored).await.unwrap(), Put::Stored, "what makes no job does not count");
    lease(&queue, "a").await.remove(0).done(Finish::new("completed", "")).await.unwrap();
    assert_eq!(queue.put(delivery("one-more", "a", "k")).await.unwrap(), Put::Stored);
}

async fn the_feed_tells_each_end_once_and_in_order(queue: Queue, _: Arc<ManualClock>) {
    for id in ["d1", "d2", "d3"] {
        queue.put(delivery(id, "a", id)).await.unwrap();
    }
    for (lease, word) in lease(&queue, "a").await.into_iter().zip(["completed", "failed", "skipped"]).rev() {
        match word {
            "failed" => lease.dead("why".into()).await.unwrap(),
            word => lease.done(Finish::new(word, "")).await.unwrap(),
        }
    }
    let feed = queue.finished(0, 10).await.unwrap();
    let told: Vec<_> = feed.iter().map(|entry| (entry.id.as_str(), entry.finish.state.as_str())).collect();
    assert_eq!(told, [("d3", "skipped"), ("d2", "failed"), ("d1", "completed")]);
    let last = feed[2].seq;
    assert_eq!(queue.feed_end().await.unwrap().last, last);
    assert!(queue.finished(last, 10).await.unwrap().is_empty());
    queue.redeliver("d1", None).await.unwrap();
    one(&queue, "a").await.done(Finish::new("completed", "again")).await.unwrap();
    let news = queue.finished(last, 10).await.unwrap();
    assert_eq!((news.len(), news[0].id.as_str()), (1, "d1"), "a revived job ends at a new position");
}

async fn an_outcome_is_recorded_once(queue: Queue, _: Arc<ManualClock>) {
    queue.put(delivery("d1", "a", "k")).await.unwrap();
    one(&queue, "a").await.done(Finish::new("handed_over", "")).await.unwrap();
    for _ in 0..2 {
        assert!(queue.record("d1", "a", 0, Finish::new("completed", "review posted")).await.unwrap());
    }
    let job = queue.find("d1").await.unwrap().unwrap().jobs.remove(0);
    assert_eq!((job.state, job.finish.unwrap().state.as_str()), (JobState::Done, "completed"));
    let words: Vec<_> = job.history.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(words, ["handed_over", "completed"]);
    queue.record("d1", "a", 0, Finish::new("failed", "model refused")).await.unwrap();
    assert_eq!(state(&queue, "d1").await, JobState::Dead);
    assert!(!queue.record("d1", "b", 0, Finish::new("completed", "")).await.unwrap());
    assert!(!queue.record("unknown", "a", 0, Finish::new("completed", "")).await.unwrap());
}

async fn an_outcome_may_overtake_the_answer(queue: Queue, _: Arc<ManualClock>) {
    queue.put(delivery("d1", "a", "k")).await.unwrap();
    let lease = one(&queue, "a").await;
    queue.record("d1", "a", 0, Finish::new("completed", "review posted")).await.unwrap();
    lease.done(Finish::new("handed_over", "")).await.unwrap();
    let job = queue.find("d1").await.unwrap().unwrap().jobs.remove(0);
    assert_eq!((job.state, job.finish.unwrap().state.as_str()), (JobState::Done, "completed"));
    let words: Vec<_> = job.history.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(words, ["handed_over", "completed"]);
}

async fn deliveries_are_listed_newest_first(queue: Queue, _: Arc<ManualClock>) {
    for (id, lane) in [("d1", "a"), ("d2", "b"), ("d3", "a")] {
        queue.put(delivery(id, lane, id)).await.unwrap();
    }
    queue
        .put(NewDelivery { routes: vec![], note: Some("no rule".into()), ..delivery("d4", "a", "k") })
        .await
        .unwrap();
    lease(&queue, "a").await.remove(0).done(Finish::new("completed", "")).await.unwrap();
    let listed = async |filter: Filter| -> Vec<String> {
        let limit = if filter.limit == 0 { 10 } else { filter.limit };
        queue.list(Filter { limit, ..filter }).await.unwrap().into_iter().map(|record| record.id).collect()
    };
    let by_state = |word: &str| Filter { state: Some(word.into()), ..Filter::default() };
    assert_eq!(listed(Filter::default()).await, ["d4", "d3", "d2", "d1"]);
    assert_eq!(listed(Filter { lane: Some("b".into()), ..Filter::default() }).await, ["d2"]);
    assert_eq!(listed(by_state("completed")).await, ["d1"]);
    assert_eq!(listed(by_state("pending")).await, ["d2"]);
    assert_eq!(listed(by_state("ignored")).await, ["d4"]);
    assert_eq!(listed(Filter { lane: Some("a".into()), ..by_state("pending") }).await, ["d3"; 0]);
    assert_eq!(listed(Filter { event: Some("push".into()), ..Filter::default() }).await.len(), 4);
    assert_eq!(listed(Filter { event: Some("issues".into()), ..Filter::default() }).await, [""; 0]);
    assert_eq!(listed(Filter { since: Some(queue.now()), ..Filter::default() }).await.len(), 4);
    assert_eq!(listed(Filter { since: Some(queue.now() + SECOND), ..Filter::default() }).await, [""; 0]);
    assert_eq!(listed(Filter { repository: Some("o/other".into()), ..Filter::default() }).await, [""; 0]);
    let newest = queue.list(Filter { limit: 2, ..Filter::default() }).await.unwrap();
    assert_eq!(listed(Filter { before: Some(newest[1].seq), ..Filter::default() }).await, ["d2", "d1"]);
}

async fn lanes_are_counted(queue: Queue, clock: Arc<ManualClock>) {
    for id in ["d1", "d2", "d3"] {
        queue.put(delivery(id, "a", "k")).await.unwrap();
    }
    one(&queue, "a").await.dead("why".into()).await.unwrap();
    let running = one(&queue, "a").await;
    let stats = queue.stats().await.unwrap().remove(0);
    assert_eq!((stats.lane.as_str(), stats.pending, stats.leased, stats.dead), ("a", 1, 1, 1));
    assert_eq!(stats.oldest, Some(delivery("d2", "a", "k").received_at));
    assert_eq!(queue.next_due("a").await.unwrap(), Some(queue.now() + TTL), "when the lease expires");
    let later = queue.now() + 5 * SECOND;
    running.retry(later, "no luck".into()).await.unwrap();
    assert_eq!((queue.next_due("a").await.unwrap(), queue.next_due("b").await.unwrap()), (Some(later), None));
    clock.advance(6 * SECOND);
    assert_eq!(queue.next_due("a").await.unwrap(), Some(later), "due by now, and nobody has it");
}

async fn a_cursor_is_kept(queue: Queue, _: Arc<ManualClock>) {
    assert_eq!(queue.cursor("c").await.unwrap(), None);
    for value in [1, 7] {
        queue.set_cursor("c", value).await.unwrap();
        assert_eq!(queue.cursor("c").await.unwrap(), Some(value));
    }
}
