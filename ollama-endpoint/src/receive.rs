//! `POST /memory-update`, both forms: verified → on disk → answered.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use inbox::auth::Caller;
use inbox::receive::Accepted;
use jiff::Timestamp;
use queue::{NewDelivery, Queue, Route};
use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::error::ApiError;
use shared::memory::Update;
use shared::server::{BodyMemory, read_body};

use crate::distil::LOCAL_PREFIX;

/// The lane of everything that is to be remembered.
pub(crate) const LANE: &str = "memory";

/// The kind of event that a local agent's update has in the queue.
pub(crate) const LOCAL: &str = "memory_update";

/// The largest envelope: GitHub's 25 MiB and what is around it.
const LARGEST_ENVELOPE: usize = 32 * 1024 * 1024;

/// The largest update from a local agent.
const LARGEST_UPDATE: usize = 256 * 1024;

/// Memory for bodies. As much as the guard has for signed ones, which pass here as well.
static MEMORY: LazyLock<BodyMemory> = LazyLock::new(|| BodyMemory::new(256));

/// The most files or commits that an update is about.
pub(crate) const MOST_ABOUT: usize = 1_000;

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// Which of the two forms a body has.
#[derive(Deserialize)]
struct Form {
    payload: Option<IgnoredAny>,
}

/// Takes an envelope from the relay, or an update from a local agent.
pub(crate) async fn memory_update(
    State(queue): State<Queue>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let limit = if caller == Caller::Bearer { LARGEST_UPDATE } else { LARGEST_ENVELOPE };
    let body = read_body(body, limit, BODY_DEADLINE, &MEMORY).await?.bytes;
    let form: Form = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request("invalid_json", format!("the body is not a JSON object: {error}"))
    })?;
    let delivery = match (form.payload, caller) {
        (None, _) => local(&body)?,
        (Some(_), Caller::Signed { .. }) => {
            let envelope = inbox::receive::envelope(&body)?;
            inbox::receive::delivery(&envelope, LANE, false, body.into())
        }
        (Some(_), Caller::Bearer) => {
            return Err(ApiError::unauthorized("an envelope must be signed with RELAY_SIGNING_KEY"));
        }
    };
    inbox::receive::accept(crate::SERVICE, &queue, delivery).await
}

/// Keeps a local agent's update that came another way than by this route; it is on disk when this returns.
///
/// # Errors
/// 400 with the field that cannot be kept, 413, and 503 when it cannot be stored now.
pub(crate) async fn keep(queue: &Queue, update: &Update) -> Result<Accepted, ApiError> {
    let body = serde_json::to_vec(update).map_err(|error| {
        ApiError::bad_request("invalid_update", format!("the update cannot be written: {error}"))
    })?;
    inbox::receive::put(queue, local(&body)?).await
}

fn local(body: &[u8]) -> Result<NewDelivery, ApiError> {
    if body.len() > LARGEST_UPDATE {
        let message = format!("an update is at most {LARGEST_UPDATE} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
    }
    let update: Update = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request("invalid_update", format!("the update cannot be read: {error}"))
    })?;
    check(&update)
        .map_err(|(field, why)| ApiError::bad_request("invalid_update", format!("`{field}` {why}")))?;
    // The prefix keeps an agent's own ids apart from GitHub's deliveries.
    let id = format!("{LOCAL_PREFIX}{}", update.id.clone().unwrap_or_else(fresh_id));
    Ok(NewDelivery {
        id: id.clone(),
        digest: None,
        replay_window: Duration::ZERO,
        redelivery: 0,
        event: LOCAL.to_owned(),
        action: update.kind.clone(),
        repository: Some(update.repository.clone()),
        headline: update.context.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(120).collect(),
        note: None,
        received_at: Timestamp::now(),
        payload: body.to_vec(),
        routes: vec![Route { lane: LANE.to_owned(), key: id, replaces: None }],
    })
}

/// An update without an id is never a duplicate here: the store knows the words it has, and what was forgotten may be
/// said again.
fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The first field that cannot be kept, and why.
fn check(update: &Update) -> Result<(), (&'static str, &'static str)> {
    let short = |text: &Option<String>, most: usize| {
        text.as_ref()
            .is_none_or(|text| (1..=most).contains(&text.chars().count()) && !text.contains(char::is_control))
    };
    let name = |part: &str| {
        !part.is_empty()
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    let kind = |kind: &String| {
        (1..=32).contains(&kind.len())
            && kind.bytes().all(|letter| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_".contains(&letter)
            })
    };
    let repository =
        update.repository.split_once('/').is_some_and(|(owner, repository)| name(owner) && name(repository));
    let checks = [
        ("repository", repository && update.repository.len() <= 200, "must be `owner/name`"),
        ("context", !update.context.trim().is_empty(), "is empty: it is the text to remember"),
        ("id", short(&update.id, 200), "must have 1 to 200 characters"),
        ("kind", update.kind.as_ref().is_none_or(kind), "must be 1 to 32 of a-z, 0-9, - and _"),
        ("agent", short(&update.agent, 200), "must have 1 to 200 characters"),
        ("branch", short(&update.branch, 250), "must have 1 to 250 characters"),
        ("event_type", short(&update.event_type, 100), "must have 1 to 100 characters"),
        ("author", short(&update.author, 200), "must have 1 to 200 characters"),
        ("model", short(&update.model, 200), "must have 1 to 200 characters"),
        ("prompt_version", short(&update.prompt_version, 100), "must have 1 to 100 characters"),
        ("pull_request", update.pull_request != Some(0), "must be a number from 1"),
        ("paths", several(&update.paths, is_path), "must be at most 1000 paths of 1 to 4096 bytes"),
        ("commits", several(&update.commits, is_commit), "must be at most 1000 commit ids in hexadecimal"),
        (
            "url",
            short(&update.url, 2000) && update.url.as_ref().is_none_or(|url| is_http(url)),
            "must be an http(s) URL",
        ),
    ];
    checks.iter().find(|(_, valid, _)| !valid).map_or(Ok(()), |(field, _, why)| Err((field, why)))
}

fn several(items: &[String], fits: fn(&str) -> bool) -> bool {
    items.len() <= MOST_ABOUT && items.iter().all(|item| fits(item))
}

fn is_path(path: &str) -> bool {
    (1..=4096).contains(&path.len()) && !path.contains(char::is_control)
}

fn is_commit(id: &str) -> bool {
    (7..=64).contains(&id.len()) && id.bytes().all(|letter| letter.is_ascii_hexdigit())
}

fn is_http(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn refused(field: &str, value: Value) -> String {
        let mut update = json!({"repository": "o/r", "context": "text"});
        update[field] = value;
        local(update.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_names_the_field() {
        for (field, value) in [
            ("repository", json!("no-slash")),
            ("repository", json!("o/r/x")),
            ("repository", json!("o/../r")),
            ("context", json!(" \n ")),
            ("id", json!("")),
            ("kind", json!("Has Spaces")),
            ("agent", json!("x".repeat(201))),
            ("branch", json!("a\u{0}b")),
            ("url", json!("javascript:alert(1)")),
            ("author", json!("")),
            ("paths", json!(["src/a.rs", ""])),
            ("paths", json!(vec!["x"; 1_001])),
            ("commits", json!(["main"])),
            ("pull_request", json!(0)),
            ("timestamp", json!("yesterday")),
            ("surprise", json!(1)),
        ] {
            let message = refused(field, value);
            assert!(
                message.contains("invalid_update") && (field == "timestamp" || message.contains(field)),
                "{message}"
            );
        }
        assert!(local(br#"{"context":"x"}"#).unwrap_err().to_string().contains("`repository`"));
    }

    #[test]
    fn the_id_is_the_agents_own_or_a_fresh_one() {
        let id = |update: Value| local(update.to_string().as_bytes()).unwrap().id;
        assert_eq!(id(json!({"repository": "o/r", "context": "x", "id": "mine"})), "update:mine");
        let fresh = || id(json!({"repository": "o/r", "context": "x"}));
        assert_ne!(fresh(), fresh());
    }

    proptest! {
        #[test]
        fn any_body_is_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = local(&body);
        }
    }
}
