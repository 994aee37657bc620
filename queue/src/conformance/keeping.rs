//! What is kept, for how long, and how much of it.

use super::*;
use crate::{Pruned, Retention};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Nothing is given up for want of room.
const BY_AGE: Retention =
    Retention { finished: HOUR, dead: Duration::from_secs(7200), store_bytes: u64::MAX, remember: HOUR };

/// Bytes that no compression makes smaller, other ones for each number.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

fn large(id: &str, seed: u64, bytes: usize) -> NewDelivery {
    NewDelivery { payload: noise(seed, bytes), ..delivery(id, "a", id) }
}

async fn completed(queue: &Queue, new: NewDelivery) {
    queue.put(new).await.unwrap();
    one(queue, "a").await.done(Finish::new("completed", "")).await.unwrap();
}

pub(super) async fn the_backlog_has_a_limit_in_bytes(queue: Queue, _: Arc<ManualClock>) {
    for id in ["d1", "d2"] {
        queue.put(large(id, 1, 3000)).await.unwrap();
    }
    let usage = queue.usage().await.unwrap();
    assert_eq!(usage.open_jobs, 2);
    assert!((6000..6200).contains(&usage.open_bytes) && usage.store_bytes > 6000, "{usage:?}");
    let full = queue.put(large("d3", 1, 10)).await.unwrap_err();
    assert!(matches!(full, Error::Full { limit: 4096, .. }), "{full}");
    lease(&queue, "a").await.remove(0).done(Finish::new("completed", "")).await.unwrap();
    assert_eq!(queue.put(large("d3", 1, 10)).await.unwrap(), Put::Stored);
}

pub(super) async fn what_is_discarded_is_not_worked_on(queue: Queue, _: Arc<ManualClock>) {
    for id in ["waiting", "dead", "done", "leased"] {
        queue.put(delivery(id, "a", id)).await.unwrap();
    }
    let mut leases = lease(&queue, "a").await;
    let held = leases.remove(3);
    leases.remove(2).done(Finish::new("completed", "")).await.unwrap();
    leases.remove(1).dead("why".into()).await.unwrap();
    leases.remove(0).release().await.unwrap();
    for (id, jobs) in [("waiting", 1), ("dead", 1), ("done", 0), ("leased", 1)] {
        assert_eq!(queue.discard(id, None).await.unwrap(), Some(jobs), "{id}");
    }
    held.done(Finish::new("completed", "")).await.unwrap();
    for id in ["waiting", "dead", "leased"] {
        let job = queue.find(id).await.unwrap().unwrap().jobs.remove(0);
        assert_eq!((job.state, job.finish.unwrap().state.as_str()), (JobState::Done, "discarded"), "{id}");
    }
    assert!(lease(&queue, "a").await.is_empty());
    assert_eq!(queue.discard("unknown", None).await.unwrap(), None);
}

/// One lane of two is sent again while the outcome of the other is awaited.
pub(super) async fn a_round_is_that_of_the_jobs_that_were_sent(queue: Queue, _: Arc<ManualClock>) {
    let mut both = delivery("d1", "a", "k");
    both.routes.push(Route { lane: "b".into(), ..both.routes[0].clone() });
    queue.put(both.clone()).await.unwrap();
    for lane in ["a", "b"] {
        one(&queue, lane).await.done(Finish::new("handed_over", "")).await.unwrap();
    }
    let sent = queue.redeliver("d1", Some("a")).await.unwrap();
    assert_eq!(sent, Some(Redelivered { count: 1, jobs: 1 }));
    let state = async |job: usize| {
        let job = queue.find("d1").await.unwrap().unwrap().jobs.remove(job);
        job.finish.map(|finish| finish.state)
    };
    for lane in ["a", "b"] {
        assert!(queue.record("d1", lane, 0, Finish::new("completed", "")).await.unwrap());
    }
    assert_eq!(state(0).await, None, "what the first round came to does not end the second");
    assert_eq!(state(1).await.as_deref(), Some("completed"), "and is all that there is of the other");
    let again = one(&queue, "a").await;
    assert_eq!(again.job().redelivery, 1);

    // Whoever is asked for a new round while it works on the old one answers for the new one.
    assert!(matches!(queue.put(NewDelivery { redelivery: 2, ..both }).await.unwrap(), Put::Revived));
    again.done(Finish::new("completed", "")).await.unwrap();
    one(&queue, "b").await.done(Finish::new("completed", "")).await.unwrap();
    let ended = queue.finished(0, 10).await.unwrap();
    assert!(ended.iter().all(|job| job.redelivery == 2), "{ended:?}");
}

pub(super) async fn what_ended_long_ago_is_given_up(queue: Queue, clock: Arc<ManualClock>) {
    completed(&queue, delivery("done", "a", "k1")).await;
    queue.put(delivery("dead", "a", "k2")).await.unwrap();
    one(&queue, "a").await.dead("why".into()).await.unwrap();
    queue.put(delivery("open", "a", "k3")).await.unwrap();
    let ignored =
        NewDelivery { routes: vec![], note: Some("no rule".into()), ..delivery("ignored", "a", "k") };
    queue.put(ignored).await.unwrap();
    assert_eq!(queue.prune(BY_AGE).await.unwrap(), Pruned::default());
    let left = async || -> Vec<String> {
        let all = queue.list(Filter { limit: 10, ..Filter::default() }).await.unwrap();
        all.into_iter().map(|record| record.id).collect()
    };
    clock.advance(HOUR + SECOND);
    assert_eq!(queue.prune(BY_AGE).await.unwrap(), Pruned { deliveries: 2, payloads: 0 });
    assert_eq!(left().await, ["open", "dead"]);
    clock.advance(HOUR);
    queue.prune(BY_AGE).await.unwrap();
    assert_eq!(left().await, ["open"], "what is unfinished is never given up");
    assert_eq!(
        queue.put(delivery("done", "a", "k1")).await.unwrap(),
        Put::Stored,
        "and is not known any more"
    );
}

pub(super) async fn room_is_made_and_ids_are_remembered(queue: Queue, clock: Arc<ManualClock>) {
    for (seed, id) in ["old", "young"].into_iter().enumerate() {
        let received_at = queue.now();
        completed(&queue, NewDelivery { received_at, ..large(id, seed as u64, 4000) }).await;
        clock.advance(HOUR);
    }
    queue.put(NewDelivery { received_at: queue.now(), ..large("dead", 3, 4000) }).await.unwrap();
    one(&queue, "a").await.dead("why".into()).await.unwrap();
    let used = queue.usage().await.unwrap().store_bytes;
    let remember = HOUR + HOUR / 2;
    let retention = Retention { finished: 100 * HOUR, dead: 100 * HOUR, store_bytes: used - 1000, remember };
    assert_eq!(
        queue.prune(retention).await.unwrap(),
        Pruned { deliveries: 1, payloads: 0 },
        "the oldest goes"
    );
    assert!(queue.find("old").await.unwrap().is_none());
    let tight = Retention { store_bytes: 0, ..retention };
    assert_eq!(queue.prune(tight).await.unwrap(), Pruned { deliveries: 0, payloads: 2 });
    let again = queue.redeliver("young", None).await.unwrap();
    assert_eq!(again, Some(Redelivered { count: 0, jobs: 0 }), "there is nothing left to send");
    assert!(matches!(queue.put(large("young", 1, 4000)).await.unwrap(), Put::Duplicate { .. }));
    assert_eq!(
        queue.put(large("dead", 3, 4000)).await.unwrap(),
        Put::Revived,
        "GitHub sent the payload again"
    );
    assert_eq!(one(&queue, "a").await.job().payload, noise(3, 4000));
}

pub(super) async fn changes_are_told(queue: Queue, _: Arc<ManualClock>) {
    let mut touched = queue.touched();
    queue.put(head("d1", 1)).await.unwrap();
    queue.put(head("d2", 2)).await.unwrap();
    one(&queue, "a").await.done(Finish::new("handed_over", "")).await.unwrap();
    queue.record("d2", "a", 0, Finish::new("completed", "")).await.unwrap();
    let mut told = Vec::new();
    while let Ok(id) = touched.try_recv() {
        told.push(id.to_string());
    }
    assert_eq!(told, ["d1", "d2", "d1", "d2", "d2"], "stored, stored, superseded, handed over, completed");
}

pub(super) async fn a_clock_that_is_set_back_delays_nothing(queue: Queue, clock: Arc<ManualClock>) {
    for (id, wait) in [("soon", SECOND), ("later", HOUR / 2), ("by another clock", 24 * HOUR)] {
        queue.put(delivery(id, "a", id)).await.unwrap();
        one(&queue, "a").await.retry(queue.now() + wait, "no luck".into()).await.unwrap();
    }
    let next = async || {
        let lease = one(&queue, "a").await;
        let id = lease.job().id.clone();
        lease.done(Finish::new("completed", "")).await.unwrap();
        id
    };
    assert_eq!(next().await, "by another clock", "no schedule lets it wait for so long");
    queue.put(delivery("fresh", "a", "fresh")).await.unwrap();
    clock.set_back(40 * MINUTE);
    assert_eq!(next().await, "fresh");
    clock.advance(SECOND);
    assert_eq!(next().await, "soon");
    clock.advance(HOUR / 2 - 5 * MINUTE);
    assert!(lease(&queue, "a").await.is_empty(), "nothing is hurried");
    clock.advance(5 * MINUTE);
    assert_eq!(next().await, "later");
}
