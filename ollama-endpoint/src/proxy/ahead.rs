//! A body that is read ahead while its request waits for its turn: that a caller has left shows only in reading on.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

/// Bytes that are read ahead of one body at the most: a long conversation, not an upload.
const ROOM: u64 = 1024 * 1024;

/// A body of which the beginning may have been read.
pub(super) struct Ahead {
    read: VecDeque<Frame<Bytes>>,
    /// `None` after its end.
    rest: Option<Body>,
}

impl Ahead {
    pub(super) fn new(body: Body) -> Self {
        Self { read: VecDeque::new(), rest: Some(body) }
    }

    /// Reads on until there is no more room; after that, or after the body's end, it waits for good.
    ///
    /// # Errors
    /// The caller has left before the end.
    pub(super) async fn read_on(&mut self) -> axum::Error {
        while self.bytes() < ROOM
            && let Some(rest) = &mut self.rest
        {
            match poll_fn(|context| Pin::new(&mut *rest).poll_frame(context)).await {
                Some(Ok(frame)) => self.read.push_back(frame),
                Some(Err(error)) => return error,
                None => self.rest = None,
            }
        }
        pending().await
    }

    fn bytes(&self) -> u64 {
        self.read.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum()
    }
}

impl http_body::Body for Ahead {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let (read, rest) = (self.bytes(), self.rest.as_ref().map(http_body::Body::size_hint));
        let rest = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    fn pieces(count: usize, length: usize) -> Body {
        let piece = move |index| Ok::<_, std::io::Error>(Bytes::from(vec![index as u8; length]));
        Body::from_stream(stream::iter((0..count).map(piece)))
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_nothing_is_lost() {
        for read_for in [0, 1, 3] {
            let mut ahead = Ahead::new(pieces(3, 400_000));
            for _ in 0..read_for {
                assert!(ahead.read_on().now_or_never().is_none());
            }
            assert!(ahead.bytes() < ROOM + 400_000);
            let whole = axum::body::to_bytes(Body::new(ahead), usize::MAX).await.unwrap();
            let expected: Vec<u8> = (0..3).flat_map(|index| vec![index; 400_000]).collect();
            assert!(whole == expected, "{read_for}");
        }
    }

    #[tokio::test]
    async fn it_stops_when_there_is_no_more_room_and_keeps_the_length() {
        let mut ahead = Ahead::new(Body::from(vec![b'x'; 3]));
        assert!(ahead.read_on().now_or_never().is_none());
        assert_eq!((ahead.size_hint().exact(), ahead.is_end_stream()), (Some(3), false));
        let mut ahead = Ahead::new(pieces(100, 100_000));
        assert!(ahead.read_on().now_or_never().is_none());
        assert_eq!(ahead.read.len(), 11);
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("left"))]));
        assert!(Ahead::new(broken).read_on().now_or_never().is_some());
    }
}
