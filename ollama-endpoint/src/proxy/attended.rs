//! A body that does not outlast its reader's interest.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Passes on what `inner` yields, and drops it with all it holds when nobody has come for the next frame for too long.
/// A body is not polled while its reader's connection is full, so a task of its own looks at the time.
pub(super) struct Attended<B> {
    state: Arc<Mutex<State<B>>>,
    watch: AbortHandle,
}

struct State<B> {
    /// `None` once it was given up.
    inner: Option<B>,
    /// Since when it is the reader's turn; `None` while the reader waits.
    turn: Option<Instant>,
}

impl<B: Send + 'static> Attended<B> {
    pub(super) fn new(inner: B, idle: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { inner: Some(inner), turn: Some(Instant::now()) }));
        let watch = tokio::spawn(watch(Arc::clone(&state), idle)).abort_handle();
        Self { state, watch }
    }
}

/// Looks again when the reader's turn would be over if it began now: never later than it really is.
async fn watch<B>(state: Arc<Mutex<State<B>>>, idle: Duration) {
    loop {
        let now = Instant::now();
        let over = lock(&state).turn.unwrap_or(now) + idle;
        if over <= now {
            break;
        }
        sleep_until(over).await;
    }
    tracing::info!("the caller has read nothing for {} s; its request is given up", idle.as_secs());
    lock(&state).inner = None;
}

fn lock<B>(state: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Drop for Attended<B> {
    fn drop(&mut self) {
        self.watch.abort();
        lock(&self.state).inner = None;
    }
}

impl<B> Body for Attended<B>
where
    B: Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut state = lock(&self.state);
        let Some(inner) = &mut state.inner else {
            return Poll::Ready(Some(Err("it was not read for too long".into())));
        };
        let frame = Pin::new(inner).poll_frame(context);
        state.turn = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.state).inner.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.state).inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::proxy::body::Passing;

    const IDLE: Duration = Duration::from_secs(600);

    /// A body that has a frame whenever it is asked, and what it holds.
    fn endless() -> (Attended<Passing<axum::body::Body, Arc<()>>>, Arc<()>) {
        let held = Arc::new(());
        let frames = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x")));
        let body = Passing::new(axum::body::Body::from_stream(frames), IDLE, Arc::clone(&held));
        (Attended::new(body, IDLE), held)
    }

    async fn frame<B>(body: &mut Attended<B>) -> Option<Result<Frame<Bytes>, <Attended<B> as Body>::Error>>
    where
        Attended<B>: Body<Data = Bytes>,
    {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_reads_is_given_up() {
        let (mut body, held) = endless();
        for _ in 0..3 {
            tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
            assert!(frame(&mut body).await.unwrap().is_ok(), "a slow reader is still a reader");
        }
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(Arc::strong_count(&held), 1, "what it held is free again");
        assert!(frame(&mut body).await.unwrap().is_err(), "cut off, not ended as if complete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_waits_is_not_blamed_and_one_who_leaves_frees_all() {
        let held = Arc::new(());
        let silent =
            axum::body::Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut body = Attended::new(Passing::new(silent, IDLE * 9, Arc::clone(&held)), IDLE);
        assert!(tokio::time::timeout(IDLE * 3, frame(&mut body)).await.is_err());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(body);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
