//! A body whose first byte is timed and whose tokens are counted as it passes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::tally::Tail;

/// Passes on what `inner` yields, as it is; looks at it on the way.
pub(super) struct Measured<B> {
    inner: B,
    /// When the request came; `None` once the first byte of the answer has passed.
    asked: Option<Instant>,
    /// `None` where no tokens are told.
    tail: Option<Tail>,
}

impl<B> Measured<B> {
    /// The body of the answer to a request that came at `asked`; `tells` whether it may tell tokens.
    pub(super) fn new(inner: B, asked: Instant, tells: bool) -> Self {
        Self { inner, asked: Some(asked), tail: tells.then(Tail::default) }
    }

    fn look_at(&mut self, data: &Bytes) {
        if data.is_empty() {
            return;
        }
        if let Some(asked) = self.asked.take() {
            metrics::histogram!("ollama_proxy_first_byte_seconds").record(asked.elapsed().as_secs_f64());
        }
        if let Some(tail) = &mut self.tail {
            tail.push(data);
        }
    }
}

impl<B> Drop for Measured<B> {
    /// A body whose length is known is not asked for its end, so this is the only end that all of them have.
    fn drop(&mut self) {
        if let Some(tokens) = self.tail.as_ref().and_then(Tail::tokens) {
            metrics::counter!("ollama_proxy_tokens_total", "direction" => "in").increment(tokens.read);
            metrics::counter!("ollama_proxy_tokens_total", "direction" => "out").increment(tokens.written);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Measured<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.look_at(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
