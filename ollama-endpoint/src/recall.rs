//! The answers of `/memory/…`.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use inbox::auth::Caller;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use shared::error::ApiError;
use shared::memory::SearchResponse;

use crate::Service;
use crate::memory::Question;
use crate::store::{Filter, StoreError, Stored};

/// Answers of a search if the caller does not say.
const DEFAULT_LIMIT: usize = 10;

/// Most answers of a search.
const MOST: usize = 50;

/// The longest question; more says nothing more.
const LONGEST_QUESTION: usize = 8 * 1024;

/// The query of `GET /memory/search`; texts, so that a refusal can name the parameter.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SearchQuery {
    repository: Option<String>,
    q: Option<String>,
    limit: Option<String>,
    kind: Option<String>,
    as_of: Option<String>,
}

/// `GET /memory/search`
pub(crate) async fn search(
    State(service): State<Service>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<SearchResponse>, ApiError> {
    let Query(query) = query?;
    let question = question(query)?;
    service.memory.search(question, Timestamp::now()).await.map(Json).map_err(unreadable)
}

fn question(query: SearchQuery) -> Result<Question, ApiError> {
    let invalid = |message: String| ApiError::bad_request("invalid_query", message);
    let limit = match query.limit.as_deref() {
        None => DEFAULT_LIMIT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MOST).contains(limit))
            .ok_or_else(|| invalid(format!("`limit` must be a number from 1 to {MOST}")))?,
    };
    let as_of = query.as_of.as_deref().map(str::parse).transpose().map_err(|_| {
        invalid("`as_of` must be a time like 2026-11-22T10:00:00Z (in a URL, + is written %2B)".to_owned())
    })?;
    let text = query.q.unwrap_or_default();
    if text.len() > LONGEST_QUESTION {
        return Err(invalid(format!("`q` is longer than {LONGEST_QUESTION} bytes")));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let filter = Filter { repository: given(query.repository), kind: given(query.kind), as_of };
    Ok(Question { text, filter, limit })
}

/// `GET /memory/{id}`
pub(crate) async fn get(
    State(service): State<Service>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = known_form(id)?;
    let stored = service.memory.get(&id).await.map_err(unreadable)?.ok_or_else(unknown)?;
    let source = stored.source();
    let Stored { id, draft, .. } = stored;
    let memory = json!({
        "id": id, "text": draft.text, "kind": draft.kind, "repository": draft.repository, "indexed": draft.indexed,
        "source": source, "created_at": draft.created_at,
    });
    Ok(Json(memory).into_response())
}

/// `DELETE /memory/{id}`, for those who hold the token. A signature covers the body, not the method: whoever sees a signed
/// request, on the VPS while the tunnel is down, could send it again as this one.
pub(crate) async fn delete(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    if caller != Caller::Bearer {
        let message = "a signature is not enough to forget a memory; send `Authorization: Bearer $MEMORY_TOKEN`, as it is set on the ollama-endpoint";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "token_required", message));
    }
    let id = known_form(id)?;
    match service.memory.forget(&id).await {
        Ok(true) => {
            tracing::info!(memory = id, "forgotten");
            Ok(StatusCode::NO_CONTENT)
        }
        Ok(false) => Err(unknown()),
        Err(error) => Err(unreadable(error)),
    }
}

/// `GET /memory/stats`
pub(crate) async fn stats(State(service): State<Service>) -> Result<Response, ApiError> {
    let counts = service.memory.counts().await.map_err(unreadable)?;
    let ollama = match service.ollama.models().await {
        Ok(_) => json!({"state": "up"}),
        Err(error) => json!({"state": "away", "error": error.to_string()}),
    };
    let embedder = service.embedder.borrow().clone();
    let stats = json!({
        "records": counts.records,
        "memories": counts.memories,
        "indexed": counts.indexed,
        "by_kind": counts.by_kind,
        "vectors": {
            "model": service.ollama.embed_model(), "with": counts.with_vector, "waiting": counts.waiting(),
            "rejected": counts.rejected, "last_rejection": counts.last_rejection,
        },
        "embedder": embedder,
        "ollama": ollama,
    });
    Ok(Json(stats).into_response())
}

fn known_form(id: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(id) = id?;
    Ok(id)
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no memory with this id")
}

fn unreadable(error: StoreError) -> ApiError {
    let message = "the memory cannot be read or written; the log has the cause";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_checked_and_the_parameter_named() {
        let ask = |limit: Option<&str>, as_of: Option<&str>| {
            let (limit, as_of) = (limit.map(str::to_owned), as_of.map(str::to_owned));
            question(SearchQuery { limit, as_of, kind: Some(String::new()), ..SearchQuery::default() })
        };
        let asked = ask(None, Some("2026-11-22T10:00:00Z")).unwrap();
        assert_eq!((asked.limit, asked.filter.kind), (10, None));
        assert_eq!(ask(Some("50"), None).unwrap().limit, 50);
        for bad in ["0", "51", "-1", "ten", ""] {
            assert!(ask(Some(bad), None).unwrap_err().to_string().contains("`limit`"), "{bad}");
        }
        for bad in ["", "yesterday", "2026-11-22T10:00:00 01:00"] {
            assert!(ask(None, Some(bad)).unwrap_err().to_string().contains("`as_of`"), "{bad}");
        }
        let long = SearchQuery { q: Some("x".repeat(9000)), ..SearchQuery::default() };
        assert!(question(long).unwrap_err().to_string().contains("`q`"));
    }
}
