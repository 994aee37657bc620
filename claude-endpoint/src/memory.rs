//! The memory's client: recall before a review, remember after it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shared::client::{self, Answer, SignedClient};
use shared::config::SIGNING_KEY;
use shared::error::{chain, hide};
use shared::keys::KeyBook;
use shared::memory::{Briefing, BriefingLine, Hit, SearchResponse, Update};
use shared::signature::SigningKeys;
use thiserror::Error;
use url::{Url, form_urlencoded};

use crate::config::MemorySettings;

/// Whose memory it is.
pub(crate) const SERVICE: &str = "ollama-endpoint";
const TIMEOUT: Duration = Duration::from_secs(15);
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// A longer query finds nothing better.
const LONGEST_QUERY: usize = 1_000;
/// More files make a question about everything.
const MOST_PATHS: usize = 20;

/// Why the memory brought nothing; none of it keeps a review from being made.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// No answer, or none of ours.
    #[error("the memory cannot be reached: {0}")]
    Unavailable(String),
    /// It answered and refused.
    #[error("the memory answered {0}: {1}")]
    Refused(u16, String),
    /// It answered something else.
    #[error("the memory's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl MemoryError {
    /// Whether the same request would be refused again. A token may be valid here before it is there, when it is replaced.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Unavailable(_) => false,
            Self::Refused(status, _) => (400..500).contains(status) && !matches!(status, 401 | 408 | 429),
            Self::Unreadable(_) => true,
        }
    }
}

/// Talks to the ollama-endpoint's memory: with `MEMORY_TOKEN` as a local agent, else signed as one of ours.
#[derive(Debug, Clone)]
pub struct Memory(Door);

#[derive(Debug, Clone)]
enum Door {
    Signed(SignedClient),
    Bearer { http: reqwest::Client, base: Url, token: SecretString },
}

impl Memory {
    /// A client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: MemorySettings, keys: SigningKeys) -> reqwest::Result<Self> {
        let MemorySettings { url: base, token } = settings;
        Ok(Self(match token {
            Some(token) => Door::Bearer { http: client::http(Some(TIMEOUT))?, base, token },
            None => Door::Signed(SignedClient::new(SERVICE, base, keys, TIMEOUT)?),
        }))
    }

    /// Notes in `book` which key the memory's answers are signed with.
    #[must_use]
    pub fn noting(self, book: KeyBook) -> Self {
        Self(match self.0 {
            Door::Signed(client) => Door::Signed(client.noting(book, SIGNING_KEY)),
            bearer @ Door::Bearer { .. } => bearer,
        })
    }

    /// What is known about `query` in a repository, best first.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn recall(&self, repository: &str, query: &str, limit: usize) -> Result<Vec<Hit>, MemoryError> {
        let query: String = query.chars().take(LONGEST_QUERY).collect();
        let parameters = form_urlencoded::Serializer::new(String::new())
            .append_pair("repository", repository)
            .append_pair("q", &query)
            .append_pair("limit", &limit.to_string())
            .finish();
        let answer = self.get(&format!("/memory/search?{parameters}")).await?;
        Ok(serde_json::from_slice::<SearchResponse>(&successful(answer)?)?.results)
    }

    /// What is known about `query` and these files in a repository, the most useful first, within so many tokens.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn briefing<'a>(
        &self,
        repository: &str,
        query: &str,
        paths: impl IntoIterator<Item = &'a str>,
        budget: usize,
    ) -> Result<Vec<BriefingLine>, MemoryError> {
        let query: String = query.chars().take(LONGEST_QUERY).collect();
        let paths = paths.into_iter().take(MOST_PATHS).map(|path| ("path", path));
        let parameters = form_urlencoded::Serializer::new(String::new())
            .append_pair("repository", repository)
            .append_pair("q", &query)
            .extend_pairs(paths)
            .append_pair("budget", &budget.to_string())
            .finish();
        let answer = self.get(&format!("/memory/briefing?{parameters}")).await?;
        Ok(serde_json::from_slice::<Briefing>(&successful(answer)?)?.lines)
    }

    /// Stores an update; its `id` makes a repetition harmless.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn remember(&self, update: &Update) -> Result<(), MemoryError> {
        let body = Bytes::from(serde_json::to_vec(update)?);
        let id = update.id.clone().unwrap_or_default();
        let answer = match &self.0 {
            Door::Signed(client) => {
                client.post("/memory-update", &id, body).await.map_err(|error| unreachable_error(&error))?
            }
            Door::Bearer { http, base, token } => {
                let request =
                    http.post(address(base, "/memory-update")).header("content-type", "application/json");
                plain(request.body(body), token).await?
            }
        };
        successful(answer).map(drop)
    }

    /// Takes a memory of a repository back: `false` if there is none by this id, or it is another repository's.
    ///
    /// # Errors
    /// [`MemoryError`]; without `MEMORY_TOKEN` it is refused, since a signature does not cover the id.
    pub async fn forget(&self, repository: &str, id: &str) -> Result<bool, MemoryError> {
        let Door::Bearer { http, base, token } = &self.0 else {
            return Err(MemoryError::Refused(
                403,
                "set MEMORY_TOKEN here and at the ollama-endpoint to forget".to_owned(),
            ));
        };
        let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !is_id {
            return Ok(false);
        }
        let path = format!("/memory/{id}");
        let known: Owned = match successful(self.get(&path).await?) {
            Ok(body) => serde_json::from_slice(&body)?,
            Err(MemoryError::Refused(404, _)) => return Ok(false),
            Err(error) => return Err(error),
        };
        if known.repository != repository {
            return Ok(false);
        }
        successful(plain(http.delete(address(base, &path)), token).await?).map(|_| true)
    }

    /// Whether it answers what only those may ask whom it lets in.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn lets_in(&self) -> Result<(), MemoryError> {
        successful(self.get("/memory/stats").await?).map(drop)
    }

    /// Whether anybody of ours answers there.
    pub async fn is_there(&self) -> bool {
        self.get("/livez").await.is_ok()
    }

    async fn get(&self, path: &str) -> Result<Answer, MemoryError> {
        match &self.0 {
            Door::Signed(client) => client.get(path, None).await.map_err(|error| unreachable_error(&error)),
            Door::Bearer { http, base, token } => plain(http.get(address(base, path)), token).await,
        }
    }
}

/// Whose memory it is.
#[derive(Deserialize)]
struct Owned {
    repository: String,
}

fn address(base: &Url, path: &str) -> String {
    format!("{}{path}", base.as_str().trim_end_matches('/'))
}

fn unreachable_error(error: &client::CallError) -> MemoryError {
    MemoryError::Unavailable(error.to_string())
}

fn successful(answer: Answer) -> Result<Bytes, MemoryError> {
    if answer.is_success() {
        Ok(answer.body)
    } else {
        Err(MemoryError::Refused(answer.status, answer.message()))
    }
}

async fn plain(request: reqwest::RequestBuilder, token: &SecretString) -> Result<Answer, MemoryError> {
    let unavailable = |error: reqwest::Error| MemoryError::Unavailable(chain(&error.without_url()));
    let request = request.bearer_auth(token.expose_secret()).headers(client::trace_headers());
    let mut response = request.send().await.map_err(unavailable)?;
    let (status, retry_after) = (response.status().as_u16(), client::retry_after(response.headers()));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(MemoryError::Unavailable("its answer is too large".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    let answer = Answer { status, body: body.freeze(), retry_after };
    Ok(if answer.is_success() {
        answer
    } else {
        Answer { body: hide(answer.body, token.expose_secret()), ..answer }
    })
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::routing::{get, post};
    use http::{HeaderMap, StatusCode, Uri};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn allowed(headers: &HeaderMap) -> bool {
        headers.get("authorization").is_some_and(|value| value == "Bearer right-token")
    }

    async fn search(headers: HeaderMap, uri: Uri) -> (StatusCode, Json<Value>) {
        let hit = json!({"id": "1", "text": uri.query(), "kind": "note", "repository": "o/r", "score": 1.0,
                         "lexical_rank": 1, "vector_rank": null, "source": {}, "created_at": "2026-11-01T00:00:00Z"});
        match allowed(&headers) {
            true => (StatusCode::OK, Json(json!({"mode": "hybrid", "results": [hit]}))),
            false => {
                (StatusCode::UNAUTHORIZED, Json(json!({"error": {"code": "x", "message": "wrong token"}})))
            }
        }
    }

    async fn update(headers: HeaderMap, Json(update): Json<Value>) -> StatusCode {
        let good = allowed(&headers) && update["context"] == "c";
        if good { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST }
    }

    /// A memory that takes the token alone, and says what it was asked.
    async fn memory(token: &str) -> Memory {
        let routes =
            axum::Router::new().route("/memory/search", get(search)).route("/memory-update", post(update));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let limits = shared::server::Limits::default();
        tokio::spawn(shared::server::serve(listener, routes, limits, CancellationToken::new()));
        let keys = SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        Memory::new(MemorySettings { url: base, token: Some(token.into()) }, keys).unwrap()
    }

    #[tokio::test]
    async fn with_a_token_it_is_asked_as_a_local_agent() {
        let memory = memory("right-token").await;
        let hits = memory.recall("o/r", "a & b", 3).await.unwrap();
        assert_eq!(hits[0].text, "repository=o%2Fr&q=a+%26+b&limit=3");
        let update: Update = serde_json::from_value(json!({"repository": "o/r", "context": "c"})).unwrap();
        memory.remember(&update).await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_its_own_words() {
        let error = memory("other-token").await.recall("o/r", "x", 3).await.unwrap_err();
        assert_eq!(error.to_string(), "the memory answered 401: wrong token");
    }
}
