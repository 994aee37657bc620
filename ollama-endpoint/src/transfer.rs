//! The answers of `/memory/export` and `/memory/import`.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use inbox::auth::Caller;
use serde::Deserialize;
use shared::error::ApiError;
use tokio::sync::Semaphore;

use crate::Service;
use crate::memory::ImportError;
use crate::recall::{given, unreadable, with_token};
use crate::store::portable::Imported;

/// How long the next piece of an import may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// One at a time: each may hold a line of many MiB.
static IMPORTS: Semaphore = Semaphore::const_new(1);

/// The query of `GET /memory/export`.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    repository: Option<String>,
}

/// `GET /memory/export`, for those who hold the token.
pub(crate) async fn export(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Response, ApiError> {
    with_token(caller)?;
    let Query(Which { repository }) = query?;
    let pieces = service.memory.export(given(repository)).await.map_err(unreadable)?;
    let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pieces)).into_response())
}

/// `POST /memory/import`, for those who hold the token.
pub(crate) async fn import(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Imported>, ApiError> {
    with_token(caller)?;
    let Ok(_turn) = IMPORTS.try_acquire() else {
        let message = "another import is under way; send it again when that has ended";
        return Err(ApiError::unavailable("busy", message, Duration::from_secs(30)));
    };
    let mut importing = service.memory.importing();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = next(&mut pieces).await? {
        importing.take(&piece).await.map_err(refused)?;
    }
    importing.finish().await.map(Json).map_err(refused)
}

async fn next(pieces: &mut BodyDataStream) -> Result<Option<bytes::Bytes>, ApiError> {
    let broken =
        |why: String| ApiError::bad_request("broken_off", format!("the import was broken off: {why}"));
    match tokio::time::timeout(PATIENCE, pieces.next()).await {
        Err(_) => Err(broken(format!("nothing came for {} s", PATIENCE.as_secs()))),
        Ok(piece) => piece.transpose().map_err(|error| broken(error.to_string())),
    }
}

fn refused(error: ImportError) -> ApiError {
    match error {
        ImportError::Store(error) => unreadable(error),
        ImportError::Line { .. } => ApiError::bad_request("invalid_import", error.to_string()),
    }
}
