//! A body on its way through: every frame as it comes, an error when nothing comes for too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Nothing came for this long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {} s", .0.as_secs_f32())]
pub(super) struct Silence(Duration);

/// Passes on what `inner` yields. `held` is released when the body is dropped: at its end, or when the receiver left.
pub(super) struct Passing<B, H = ()> {
    inner: B,
    idle: Duration,
    /// Runs only while the reader waits for the sender: a slow reader is not the sender's silence.
    silence: Option<Pin<Box<Sleep>>>,
    _held: H,
}

impl<B, H> Passing<B, H> {
    pub(super) fn new(inner: B, idle: Duration, held: H) -> Self {
        Self { inner, idle, silence: None, _held: held }
    }
}

impl<B, H> Body for Passing<B, H>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    H: Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let idle = self.idle;
        let silence =
            self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + idle)));
        match silence.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Some(Err(Silence(idle).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
