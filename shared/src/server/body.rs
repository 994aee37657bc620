//! Request bodies: at most so large, so slow, and so many at a time.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::error::ApiError;

/// Memory for bodies that are being received. A sender is known only after its body was read, so all senders share it:
/// many large ones cannot fill the machine. It is charged as bytes arrive, so that announcing a large body costs others
/// nothing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    /// `mebibytes` in total, at least 32.
    pub fn new(mebibytes: u32) -> Self {
        Self(Arc::new(Semaphore::new(mebibytes.clamp(32, 1 << 20) as usize * 1024)))
    }

    fn charge(&self, share: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), ApiError> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let busy = |_| {
            ApiError::unavailable(
                "busy",
                "too much is being received at a time; send it again later",
                Duration::from_secs(5),
            )
        };
        let more = Arc::clone(&self.0).try_acquire_many_owned(kibibytes).map_err(busy)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// A body, and its share of the memory for bodies until it is dropped.
#[derive(Debug)]
pub struct ReadBody {
    /// The whole body.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a whole body of at most `limit` bytes within `deadline`, however slowly its pieces come.
///
/// # Errors
/// 413 when it is larger, 408 when it takes longer, 503 when there is no memory for it, 400 when the connection breaks.
pub async fn read_body(
    body: Body,
    limit: usize,
    deadline: Duration,
    memory: &BodyMemory,
) -> Result<ReadBody, ApiError> {
    read_body_within(body, limit, |_| deadline, memory).await
}

/// As [`read_body`]; `deadline` says how long so many bytes may take, those that have arrived.
///
/// # Errors
/// The same.
pub async fn read_body_within(
    mut body: Body,
    limit: usize,
    deadline: impl Fn(usize) -> Duration,
    memory: &BodyMemory,
) -> Result<ReadBody, ApiError> {
    let begun = Instant::now();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut bytes = BytesMut::with_capacity(announced.min(limit).min(64 * 1024));
    let (mut received, mut share) = (0_usize, None);
    loop {
        let frame = match timeout_at(begun + deadline(received), body.frame()).await {
            Err(_) => return Err(too_slow(deadline(received))),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        // A little of what is too much is read and thrown away: a sender that is cut off while it still
        // sends sees a reset connection instead of the answer.
        if received > limit.saturating_mul(2) {
            break;
        }
        if received <= limit {
            memory.charge(&mut share, data.len())?;
            bytes.extend_from_slice(&data);
        }
    }
    if received > limit {
        Err(too_large(limit))
    } else {
        Ok(ReadBody { bytes: bytes.freeze(), _share: share })
    }
}

fn too_slow(deadline: Duration) -> ApiError {
    let message = format!("the body did not arrive within {} s; send it again", deadline.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is larger than {limit} bytes"),
    )
}

fn broken(error: axum::Error) -> ApiError {
    ApiError::bad_request("body_incomplete", "the connection broke before the body was complete")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held bodies stand for senders whose events are not stored yet; over a socket nobody could tell when the server
    /// has read them.
    #[tokio::test]
    async fn what_is_received_at_a_time_has_a_limit_and_is_given_back() {
        let memory = BodyMemory::new(32);
        let read = async |mebibytes: usize| {
            let body = Body::from(vec![b' '; mebibytes * 1024 * 1024]);
            read_body(body, 25 * 1024 * 1024, Duration::from_secs(60), &memory).await
        };
        let held = read(24).await.unwrap();
        let refused = read(24).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
        assert_eq!(read(1).await.unwrap().bytes.len(), 1024 * 1024, "small ones still fit");
        drop(held);
        assert!(read(24).await.is_ok(), "the memory was given back");
    }
}
