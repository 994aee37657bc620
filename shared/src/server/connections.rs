//! Who may stay when all connections are taken.
//!
//! A connection *waits* while its sender has the next move: the head or the body of a request is still arriving, an
//! answer is not being read, or nothing is asked at all. When there is no room for a new connection, the one that has
//! waited longest is closed. Whoever delivers a request at once has waited for milliseconds and is never that one,
//! however many others hold theirs open; and a request that is being worked on is not touched.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::{Counter, Gauge};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The open connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    state: Mutex<State>,
    /// Told when a full house may have room again. Only the accept loop listens.
    changed: Notify,
    most: usize,
    open: Gauge,
    evicted: Counter,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers connections, and orders the times at which they began to wait.
    last: u64,
    all: HashMap<u64, Connection>,
    /// Those that wait, the longest first, by their `waits_since`.
    waiting: BTreeMap<u64, u64>,
    /// Those that were asked to leave and have not left yet.
    leaving: usize,
}

#[derive(Debug)]
struct Connection {
    phase: Phase,
    /// Whether the peer does not take what is written to it.
    stalled: bool,
    waits_since: Option<u64>,
    leave: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests, or before the end of a request's head.
    Idle,
    /// The body is arriving.
    Receiving,
    /// The request is complete and its answer is not.
    Working,
}

impl Connections {
    /// A house with room for `most`.
    pub(super) fn new(most: usize, listener: &'static str) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            most,
            open: metrics::gauge!("ai_relay_connections_open", "listener" => listener),
            evicted: metrics::counter!("ai_relay_connections_evicted_total", "listener" => listener),
        })
    }

    /// A place for a new connection, as soon as there is one.
    pub(super) async fn admit(self: &Arc<Self>) -> Place {
        loop {
            if let Some((id, leave)) = self.try_admit() {
                self.open.increment(1.0);
                return Place { seat: Seat { house: Arc::clone(self), id }, leave };
            }
            self.changed.notified().await;
        }
    }

    fn try_admit(&self) -> Option<(u64, CancellationToken)> {
        let mut state = self.lock();
        if state.all.len() < self.most {
            return Some(state.open());
        }
        // One at a time: the one that was asked makes room for this one.
        if state.leaving == 0 && state.evict() {
            self.evicted.increment(1);
        }
        None
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Connection)) {
        let mut state = self.lock();
        state.change(id, change);
        if state.all.len() >= self.most {
            self.changed.notify_one();
        }
    }

    fn close(&self, id: u64) {
        self.lock().close(id);
        self.open.decrement(1.0);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self) -> (u64, CancellationToken) {
        self.last += 1;
        let (id, leave) = (self.last, CancellationToken::new());
        self.waiting.insert(id, id);
        let connection =
            Connection { phase: Phase::Idle, stalled: false, waits_since: Some(id), leave: leave.clone() };
        self.all.insert(id, connection);
        (id, leave)
    }

    /// Asks the connection that has waited longest to leave; false if none waits.
    fn evict(&mut self) -> bool {
        let Some((_, id)) = self.waiting.pop_first() else { return false };
        if let Some(connection) = self.all.get(&id) {
            connection.leave.cancel();
            self.leaving += 1;
        }
        true
    }

    /// A change of phase begins a new wait; whoever leaves is past changing.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.all.get_mut(&id).filter(|it| !it.leave.is_cancelled()) else { return };
        let before = connection.phase;
        change(connection);
        let waits = connection.stalled || connection.phase != Phase::Working;
        if waits && connection.phase == before && connection.waits_since.is_some() {
            return;
        }
        if let Some(since) = connection.waits_since.take() {
            self.waiting.remove(&since);
        }
        if waits {
            self.last += 1;
            connection.waits_since = Some(self.last);
            self.waiting.insert(self.last, id);
        }
    }

    fn close(&mut self, id: u64) {
        let Some(connection) = self.all.remove(&id) else { return };
        if connection.leave.is_cancelled() {
            self.leaving -= 1;
        } else if let Some(since) = connection.waits_since {
            self.waiting.remove(&since);
        }
    }
}

/// A connection's place; dropping it gives it to the next.
#[derive(Debug)]
pub(super) struct Place {
    /// For what tells how the connection is doing.
    pub(super) seat: Seat,
    leave: CancellationToken,
}

impl Place {
    /// Resolves when the connection has to make room.
    pub(super) async fn evicted(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.house.close(self.seat.id);
    }
}

/// Where a connection tells how it is doing. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    house: Arc<Connections>,
    id: u64,
}

impl Seat {
    /// A request's head is there.
    pub(super) fn begun(&self) {
        self.house.change(self.id, |it| it.phase = Phase::Receiving);
    }

    /// The whole request is there, or nobody wants the rest of it.
    pub(super) fn received(&self) {
        self.house.change(self.id, |it| {
            // A body may be let go of after the answer.
            if it.phase == Phase::Receiving {
                it.phase = Phase::Working;
            }
        });
    }

    /// The answer is complete.
    pub(super) fn answered(&self) {
        self.house.change(self.id, |it| it.phase = Phase::Idle);
    }

    /// Whether the peer takes no more bytes.
    pub(super) fn stalled(&self, stalled: bool) {
        self.house.change(self.id, |it| it.stalled = stalled);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn house(most: usize) -> Arc<Connections> {
        Connections::new(most, "test")
    }

    /// The place that is free now, if one is.
    fn now(house: &Arc<Connections>) -> Option<Place> {
        house.admit().now_or_never()
    }

    fn is_evicted(place: &Place) -> bool {
        place.leave.is_cancelled()
    }

    #[test]
    fn who_has_waited_longest_makes_room() {
        let house = house(3);
        let [first, second, third] = [(); 3].map(|()| now(&house).unwrap());
        // The first delivers a request and is answered: from now on it waits anew.
        first.seat.begun();
        first.seat.received();
        first.seat.answered();
        assert!(now(&house).is_none() && is_evicted(&second));
        assert!(now(&house).is_none() && !is_evicted(&third), "one leaves for one that comes");
        drop(second);
        let fourth = now(&house).unwrap();
        assert!(now(&house).is_none() && is_evicted(&third) && !is_evicted(&first) && !is_evicted(&fourth));
    }

    #[test]
    fn a_request_that_is_worked_on_stays_whatever_comes() {
        let house = house(2);
        let [first, second] = [(); 2].map(|()| now(&house).unwrap());
        for place in [&first, &second] {
            place.seat.begun();
            place.seat.received();
        }
        assert!(now(&house).is_none() && !is_evicted(&first) && !is_evicted(&second));
        second.seat.answered();
        assert!(now(&house).is_none() && is_evicted(&second));
        drop(second);
        assert!(now(&house).is_some());
    }

    #[test]
    fn a_body_that_is_arriving_and_an_answer_that_nobody_reads_are_waiting() {
        let house = house(2);
        let [slow_reader, slow_sender] = [(); 2].map(|()| now(&house).unwrap());
        slow_reader.seat.begun();
        slow_reader.seat.received();
        slow_sender.seat.begun();
        slow_reader.seat.stalled(true);
        assert!(now(&house).is_none() && is_evicted(&slow_sender), "it began to wait before");
        drop(slow_sender);
        let third = now(&house).unwrap();
        assert!(now(&house).is_none() && is_evicted(&slow_reader) && !is_evicted(&third));
    }

    #[test]
    fn a_reader_that_goes_on_is_worked_for_again() {
        let house = house(1);
        let place = now(&house).unwrap();
        place.seat.begun();
        place.seat.received();
        place.seat.stalled(true);
        place.seat.stalled(false);
        assert!(now(&house).is_none() && !is_evicted(&place));
    }

    #[test]
    fn what_is_told_too_late_changes_nothing() {
        let house = house(1);
        let place = now(&house).unwrap();
        let seat = place.seat.clone();
        seat.begun();
        seat.answered();
        seat.received();
        assert!(now(&house).is_none() && is_evicted(&place), "answered before its body was let go of");
        seat.begun();
        seat.received();
        drop(place);
        seat.stalled(true);
        assert!(house.lock().waiting.is_empty() && house.lock().leaving == 0);
        assert!(now(&house).is_some());
    }
}
