//! What tells [`super::connections`] how a connection is doing: its stream, and the bodies that pass through it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Error, body::Body};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::connections::Seat;

/// A stream whose peer may leave what is written to it unread for a limited time; hyper has no such limit.
#[derive(Debug)]
pub(super) struct WatchedStream<S> {
    stream: S,
    seat: Seat,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> WatchedStream<S> {
    /// `patience`: how long a write may make no progress at all.
    pub(super) fn new(stream: S, seat: Seat, patience: Duration) -> Self {
        Self { stream, seat, patience, stalled: None }
    }

    fn note(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.seat.stalled(false);
            }
            return written;
        }
        let deadline = self.stalled.get_or_insert_with(|| {
            self.seat.stalled(true);
            Box::pin(sleep(self.patience))
        });
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Whether a request's body was let go of before its end: no other request can be read behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Whether it was.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that tells when it has passed: at its end, or when nobody wants the rest.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: Body,
    seat: Seat,
    passed: fn(&Seat),
    ended: bool,
    unread: Option<Unread>,
}

impl WatchedBody {
    /// A request's.
    pub(super) fn request(body: Body, seat: Seat, unread: Unread) -> Self {
        seat.begun();
        let mut watched = Self { body, seat, passed: Seat::received, ended: false, unread: Some(unread) };
        watched.note_end(false);
        watched
    }

    /// An answer's.
    pub(super) fn answer(body: Body, seat: Seat) -> Self {
        Self { body, seat, passed: Seat::answered, ended: false, unread: None }
    }

    fn note_end(&mut self, ended: bool) {
        if ended || http_body::Body::is_end_stream(&self.body) {
            self.ended = true;
            (self.passed)(&self.seat);
        }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.note_end(matches!(polled, Poll::Ready(None)));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        if let Some(unread) = self.unread.as_ref().filter(|_| !self.ended) {
            unread.0.store(true, Ordering::Relaxed);
        }
        (self.passed)(&self.seat);
    }
}
