//! `GET /api/stream`: deliveries as they change, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! `hello` comes first, with each target's counts; `delivery` is a delivery that changed, without its history; `reset`
//! says that the reader was too slow and some changes are lost to it: list again.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use shared::error::ApiError;
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{Receiver, error::RecvError},
    },
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{App, admin::unreadable, view};

/// The most readers at a time.
const MOST_STREAMS: usize = 16;
/// Changes of a delivery within this time are told once.
const GATHER: Duration = Duration::from_millis(100);
/// The most deliveries told at once; the rest follows.
const MOST_GATHERED: usize = 256;
/// Between two signs of life: proxies and readers give up on a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Room for readers, and when their streams end.
#[derive(Debug)]
pub struct Streams {
    slots: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Default for Streams {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(MOST_STREAMS)), ended: CancellationToken::new() }
    }
}

impl Streams {
    /// How many are being read.
    pub fn open(&self) -> u64 {
        (MOST_STREAMS - self.slots.available_permits()) as u64
    }

    /// Ends all of them with `stop`: a stream has no end of its own to wait for.
    pub fn end_with(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        let ended = self.ended.clone();
        async move {
            stop.cancelled().await;
            ended.cancel();
        }
    }
}

/// One reader.
struct Reader {
    app: App,
    changes: Changes,
    /// Events told; none before `hello`.
    told: u64,
    _slot: OwnedSemaphorePermit,
}

/// What a reader has not been told yet.
struct Changes {
    touched: Receiver<Arc<str>>,
    ended: CancellationToken,
    waiting: VecDeque<Arc<str>>,
}

/// What woke a reader.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    Changes,
    Lagged,
    Ended,
}

/// `GET /api/stream`.
pub async fn stream(State(app): State<App>) -> Result<Response, ApiError> {
    let slot = Arc::clone(&app.streams.slots).try_acquire_owned().map_err(|_| {
        let message = format!("{MOST_STREAMS} streams are open already; close one, or come again later");
        ApiError::unavailable("too_many_streams", message, Duration::from_secs(10))
    })?;
    // Before the counts are read, so that nothing falls between the two.
    let touched = app.queue.touched();
    let hello = hello(&app).await?;
    let changes = Changes { touched, ended: app.streams.ended.clone(), waiting: VecDeque::new() };
    let reader = Reader { app, changes, told: 0, _slot: slot };
    let events = stream::unfold((Some(hello), reader), async |(hello, mut reader)| {
        let event = match hello {
            Some(hello) => hello,
            None => reader.next().await?,
        };
        reader.told += 1;
        Some((Ok::<_, Infallible>(event.id(reader.told.to_string())), (None, reader)))
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Nginx would otherwise keep events back until its buffer is full.
    Ok(([("x-accel-buffering", "no")], sse).into_response())
}

async fn hello(app: &App) -> Result<Event, ApiError> {
    let stats = app.queue.stats().await.map_err(unreadable)?;
    let targets: Vec<view::LaneView> = stats
        .into_iter()
        .map(|lane| view::LaneView {
            target: lane.lane,
            pending: lane.pending,
            leased: lane.leased,
            dead: lane.dead,
            oldest: lane.oldest,
        })
        .collect();
    Ok(event("hello", &json!({"targets": targets})))
}

impl Reader {
    /// The next event; `None` when the relay stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(id) = self.changes.waiting.pop_front() {
                match self.app.queue.find(&id).await {
                    Ok(Some(record)) => return Some(self.delivery(record)),
                    // Pruned since.
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a reader of the stream has to list again");
                        self.changes.waiting.clear();
                        return Some(reset());
                    }
                }
            }
            match self.changes.gather().await {
                Woken::Changes => {}
                Woken::Lagged => return Some(reset()),
                Woken::Ended => return None,
            }
        }
    }

    fn delivery(&self, mut record: queue::Record) -> Event {
        for job in &mut record.jobs {
            job.history.clear();
        }
        event("delivery", &view::delivery(&self.app, record))
    }
}

impl Changes {
    /// Waits for a change, and a moment longer for more of them.
    async fn gather(&mut self) -> Woken {
        let mut until = None;
        loop {
            let touched = match until {
                None => tokio::select! {
                    () = self.ended.cancelled() => return Woken::Ended,
                    touched = self.touched.recv() => touched,
                },
                Some(until) => match timeout_at(until, self.touched.recv()).await {
                    Ok(touched) => touched,
                    Err(_) => return Woken::Changes,
                },
            };
            match touched {
                Ok(id) if !self.waiting.contains(&id) => self.waiting.push_back(id),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    self.waiting.clear();
                    return Woken::Lagged;
                }
                Err(RecvError::Closed) => return Woken::Ended,
            }
            if self.waiting.len() >= MOST_GATHERED {
                return Woken::Changes;
            }
            until.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }
}

fn reset() -> Event {
    event("reset", &json!({"message": "some changes were lost to this reader; list again"}))
}

/// An event whose data is one line of JSON, which has no line breaks of its own.
fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    fn changes(most: usize) -> (broadcast::Sender<Arc<str>>, Changes) {
        let (sender, touched) = broadcast::channel(most);
        (sender, Changes { touched, ended: CancellationToken::new(), waiting: VecDeque::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_one_delivery_in_a_moment_are_told_once() {
        let (sender, mut changes) = changes(16);
        for id in ["a", "b", "a", "a"] {
            sender.send(id.into()).unwrap();
        }
        let started = Instant::now();
        assert_eq!(changes.gather().await, Woken::Changes);
        assert_eq!(changes.waiting, [Arc::from("a"), Arc::from("b")]);
        assert_eq!(started.elapsed(), GATHER);
        changes.waiting.clear();
        sender.send("a".into()).unwrap();
        assert_eq!(changes.gather().await, Woken::Changes);
        assert_eq!(changes.waiting, [Arc::from("a")], "a later change is told again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_too_slow_lists_again() {
        let (sender, mut changes) = changes(2);
        for id in ["a", "b", "c", "d"] {
            sender.send(id.into()).unwrap();
        }
        assert_eq!(changes.gather().await, Woken::Lagged);
        assert!(changes.waiting.is_empty());
        assert_eq!(changes.gather().await, Woken::Changes, "it goes on with what is left");
        changes.ended.cancel();
        assert_eq!(changes.gather().await, Woken::Ended);
    }

    #[tokio::test(start_paused = true)]
    async fn much_at_once_is_told_in_parts() {
        let (sender, mut changes) = changes(1024);
        for n in 0..=MOST_GATHERED {
            sender.send(n.to_string().into()).unwrap();
        }
        assert_eq!(changes.gather().await, Woken::Changes);
        assert_eq!(changes.waiting.len(), MOST_GATHERED);
    }
}
