//! The answers of `/memory/…`.

use std::ops::RangeInclusive;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use inbox::auth::Caller;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::error::ApiError;
use shared::memory::{Mode, SearchResponse};

use crate::Service;
use crate::memory::{Brief, Question, Selection, standing};
use crate::store::{Audit, Filter, StoreError, Stored};

/// Answers of a search if the caller does not say.
pub(crate) const DEFAULT_LIMIT: usize = 10;

/// Most answers of a search.
pub(crate) const MOST: usize = 50;

/// The longest question; more says nothing more.
pub(crate) const LONGEST_QUESTION: usize = 8 * 1024;

/// The longest reason of an audit line, in characters.
pub(crate) const LONGEST_REASON: usize = 500;

/// What a briefing may cost if the caller does not say, in tokens.
pub(crate) const DEFAULT_BUDGET: usize = 1_000;

/// The most that it may cost.
pub(crate) const LARGEST_BUDGET: usize = 32_000;

/// The most files that a briefing is about.
pub(crate) const MOST_PATHS: usize = 50;

/// The query of `GET /memory/search`; texts, so that a refusal can name the parameter.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SearchQuery {
    repository: Option<String>,
    q: Option<String>,
    limit: Option<String>,
    kind: Option<String>,
    agent: Option<String>,
    path: Option<String>,
    since: Option<String>,
    until: Option<String>,
    as_of: Option<String>,
    mode: Option<String>,
    explain: Option<String>,
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

fn invalid(message: String) -> ApiError {
    ApiError::bad_request("invalid_query", message)
}

fn question(query: SearchQuery) -> Result<Question, ApiError> {
    let limit = number("limit", query.limit.as_deref(), DEFAULT_LIMIT, 1..=MOST)?;
    let text = asked(query.q)?;
    let mode = match query.mode.as_deref() {
        None | Some("" | "hybrid") => Mode::Hybrid,
        Some("lexical") => Mode::Lexical,
        Some("vector") => Mode::Vector,
        Some(_) => return Err(invalid("`mode` must be hybrid, lexical or vector".to_owned())),
    };
    let explain = matches!(query.explain.as_deref(), Some("1" | "true"));
    let filter = Filter {
        repository: given(query.repository),
        kind: given(query.kind),
        agent: given(query.agent),
        path: given(query.path),
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
        as_of: time("as_of", query.as_of.as_deref())?,
    };
    Ok(Question { text, filter, limit, mode, explain })
}

pub(crate) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn asked(text: Option<String>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default();
    if text.len() > LONGEST_QUESTION {
        return Err(invalid(format!("`q` is longer than {LONGEST_QUESTION} bytes")));
    }
    Ok(text)
}

fn number(
    name: &str,
    text: Option<&str>,
    default: usize,
    allowed: RangeInclusive<usize>,
) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(default) };
    text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
        invalid(format!("`{name}` must be a number from {} to {}", allowed.start(), allowed.end()))
    })
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    text.map(str::parse).transpose().map_err(|_| {
        invalid(format!("`{name}` must be a time like 2026-11-22T10:00:00Z (in a URL, + is written %2B)"))
    })
}

/// `GET /memory/briefing`; whoever wants `text/plain` gets the text alone.
pub(crate) async fn briefing(
    State(service): State<Service>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let brief = brief(query.as_deref().unwrap_or_default())?;
    let briefing = service.memory.briefing(brief, Timestamp::now()).await.map_err(unreadable)?;
    let plain = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    Ok(match plain.is_some_and(|accept| accept.starts_with("text/plain")) {
        true => briefing.text.into_response(),
        false => Json(briefing).into_response(),
    })
}

/// `path` may be given several times, which no derived reader of queries understands.
fn brief(query: &str) -> Result<Brief, ApiError> {
    let (mut brief, mut text, mut budget) = (Brief::default(), None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
        match name.as_str() {
            "repository" => brief.filter.repository = given(Some(value)),
            "q" => text = Some(value),
            "path" if brief.paths.len() == MOST_PATHS => {
                return Err(invalid(format!("there are more than {MOST_PATHS} `path`s")));
            }
            "path" => brief.paths.extend(given(Some(value))),
            "budget" => budget = Some(value),
            _ => {}
        }
    }
    brief.text = asked(text)?;
    brief.budget = number("budget", budget.as_deref(), DEFAULT_BUDGET, 1..=LARGEST_BUDGET)?;
    Ok(brief)
}

/// `GET /memory/{id}`
pub(crate) async fn get(
    State(service): State<Service>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = known_form(id)?;
    let stored = service.memory.get(&id).await.map_err(unreadable)?.ok_or_else(unknown)?;
    Ok(Json(told(stored)).into_response())
}

/// All that is to be told of one memory.
pub(crate) fn told(stored: Stored) -> Value {
    let source = stored.source();
    let (standing, because) = standing(&stored);
    let Stored { id, draft, template, version, confirmations, superseded_by, merged_into, .. } = stored;
    json!({
        "id": id, "text": draft.text, "kind": draft.kind, "repository": draft.repository, "indexed": draft.indexed,
        "source": source, "created_at": draft.created_at, "version": version, "confirmations": confirmations,
        "standing": standing, "because": because, "superseded_by": superseded_by, "merged_into": merged_into,
        "template": template,
    })
}

/// `DELETE /memory/{id}`, for those who hold the token. A signature covers the body, not the method: whoever sees a signed
/// request, on the VPS while the tunnel is down, could send it again as this one.
pub(crate) async fn delete(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    with_token(caller)?;
    let id = known_form(id)?;
    let audit = Audit { by: "DELETE /memory/{id}".to_owned(), reason: String::new() };
    let forgotten = service.memory.forget(vec![id], audit).await.map_err(unreadable)?;
    if forgotten.is_empty() { Err(unknown()) } else { Ok(StatusCode::NO_CONTENT) }
}

/// The body of `POST /memory/forget`: one of `ids`, `q` and `repository` says what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forget {
    #[serde(default)]
    ids: Vec<String>,
    repository: Option<String>,
    q: Option<String>,
    /// Whether to say only what would be forgotten; unless ids are given, that is the default.
    dry_run: Option<bool>,
    #[serde(default)]
    reason: String,
}

/// `POST /memory/forget`, for those who hold the token.
pub(crate) async fn forget(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<Forget>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    with_token(caller)?;
    let Json(Forget { ids, repository, q, dry_run, reason }) = body.map_err(|error| {
        ApiError::bad_request("invalid_request", format!("what to forget cannot be read: {error}"))
    })?;
    let dry_run = dry_run.unwrap_or(ids.is_empty());
    let selection = match (ids.is_empty(), given(q), given(repository)) {
        (false, None, None) => Selection::Ids(ids),
        (true, Some(text), repository) => {
            Selection::Query { text: asked(Some(text))?, filter: Filter { repository, ..Filter::default() } }
        }
        (true, None, Some(repository)) => Selection::Repository(repository),
        _ => {
            let message =
                "say what to forget: `ids`, or `q` (with or without `repository`), or a whole `repository`";
            return Err(ApiError::bad_request("invalid_request", message));
        }
    };
    let mut selected = service.memory.select(selection).await.map_err(unreadable)?;
    if !dry_run {
        let ids = selected.into_iter().map(|memory| memory.id).collect();
        let reason = reason.chars().take(LONGEST_REASON).collect();
        let audit = Audit { by: "POST /memory/forget".to_owned(), reason };
        selected = service.memory.forget(ids, audit).await.map_err(unreadable)?;
    }
    let forgotten: Vec<Value> = selected.into_iter().map(told).collect();
    let copies = service.memory.copies().await.map_err(unreadable)?;
    Ok(Json(json!({"dry_run": dry_run, "count": forgotten.len(), "forgotten": forgotten, "copies": copies})))
}

pub(crate) fn with_token(caller: Caller) -> Result<(), ApiError> {
    if caller == Caller::Bearer {
        return Ok(());
    }
    let message = "a signature is not enough for this; send `Authorization: Bearer $MEMORY_TOKEN`, as it is set on the ollama-endpoint";
    Err(ApiError::new(StatusCode::FORBIDDEN, "token_required", message))
}

/// `GET /memory/stats`
pub(crate) async fn stats(State(service): State<Service>) -> Result<Response, ApiError> {
    let counts = service.memory.counts().await.map_err(unreadable)?;
    let models = service.memory.vector_models().await.map_err(unreadable)?;
    let ollama = match service.ollama.models().await {
        Ok(_) => json!({"state": "up"}),
        Err(error) => json!({"state": "away", "error": error.to_string()}),
    };
    let embedder = service.embedder.borrow().clone();
    let refiner = service.refiner.borrow().clone();
    let stats = json!({
        "records": counts.records,
        "memories": counts.memories,
        "indexed": counts.indexed,
        "by_kind": counts.by_kind,
        "superseded": counts.superseded,
        "stale": counts.stale,
        "merged": counts.merged,
        "forgotten": counts.forgotten,
        "refining": {"refined": counts.refined, "set_aside": counts.unrefinable, "waiting": counts.unrefined, "uncompared": counts.uncompared},
        "vectors": {
            "model": service.ollama.embed_model(), "with": counts.with_vector, "waiting": counts.waiting(),
            "cut": counts.cut, "rejected": counts.rejected, "last_rejection": counts.last_rejection, "models": models,
        },
        "embedder": embedder,
        "refiner": refiner,
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

pub(crate) fn unreadable(error: StoreError) -> ApiError {
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
