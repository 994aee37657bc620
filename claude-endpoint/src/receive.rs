//! `POST /ai-sync`: verified → on disk → answered. Nobody waits for a review here.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use queue::Queue;
use shared::error::ApiError;

use crate::NAME;

/// The lane of everything that is to be reviewed.
pub(crate) const LANE: &str = "review";

/// Takes an envelope from the relay. A newer head of a pull request takes the place of one that waits.
pub(crate) async fn ai_sync(State(queue): State<Queue>, body: Bytes) -> Result<Response, ApiError> {
    let envelope = inbox::receive::envelope(&body)?;
    let delivery = inbox::receive::delivery(&envelope, LANE, true, body.to_vec());
    inbox::receive::accept(NAME, &queue, delivery).await
}
