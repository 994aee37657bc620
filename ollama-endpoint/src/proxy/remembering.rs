//! Chats that ask for what the memory knows: the header, the request's body, the answer's header.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use shared::memory::{Briefing, Mode};
use shared::server::{BodyMemory, ReadBody, read_body};
use tokio::time::timeout;

use super::background::Chat;
use super::guard::{Form, Route};
use super::headers::MEMORY;
use super::refusal::Refusal;

/// The largest request that is read whole.
const LARGEST: usize = 8 * 1024 * 1024;

/// How long such a request may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// How long the chat waits for the memory before it goes on without.
const BRIEFING_DEADLINE: Duration = Duration::from_secs(3);

/// When to come again if there is no room for the request now.
const BUSY: Duration = Duration::from_secs(5);

/// Memory for all such requests together, in MiB.
const MEBIBYTES_FOR_BODIES: u32 = 128;

/// What the proxy asks for the knowledge of a repository.
#[async_trait]
pub trait Briefer: fmt::Debug + Send + Sync {
    /// What is known of `repository` (`owner/name`) that bears on `question`, in at most `budget` tokens as the memory
    /// estimates them.
    ///
    /// # Errors
    /// The memory cannot be read; the text is for the log.
    async fn briefing(&self, repository: &str, question: &str, budget: usize) -> Result<Briefing, String>;
}

/// Adds briefings to chats.
#[derive(Debug)]
pub(super) struct Remembering {
    pub(super) briefer: Option<Arc<dyn Briefer>>,
    /// Tokens of one briefing.
    pub(super) budget: usize,
    bodies: BodyMemory,
}

/// A chat that wants to know.
pub(super) struct Wish {
    form: Form,
    repository: String,
}

/// What the answer's header says of it. Holds the request's share of the memory for bodies, so it is to be kept until the
/// request was sent.
pub(super) struct Remembered {
    pub(super) header: HeaderValue,
    _body: ReadBody,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
enum Added {
    Known { memories: usize, tokens: usize, mode: Mode },
    NothingAsked,
    Unavailable,
}

impl Wish {
    /// What these headers ask for.
    ///
    /// # Errors
    /// It is asked for on a route that is no chat, or of what is no repository.
    pub(super) fn of(route: Route, method: &Method, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut asked = headers.get_all(MEMORY).iter();
        let Some(first) = asked.next() else { return Ok(None) };
        let bad = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, format!("{MEMORY}: {message}"));
        let Route::Chat(form) = route else {
            return Err(bad(
                "goes with chats only: POST /api/chat, /v1/chat/completions, /v1/messages or /v1/responses",
            ));
        };
        if method != Method::POST {
            return Err(bad("goes with POST only"));
        }
        let repository = first.to_str().ok().map(str::trim).filter(|name| is_repository(name));
        match repository {
            Some(repository) if asked.next().is_none() => {
                Ok(Some(Self { form, repository: repository.to_owned() }))
            }
            _ => Err(bad("must be one repository as `owner/name`")),
        }
    }
}

/// As `POST /memory-update` takes it.
fn is_repository(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.len() <= 200 && text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

impl Remembering {
    pub(super) fn new(budget: usize) -> Self {
        Self { briefer: None, budget, bodies: BodyMemory::new(MEBIBYTES_FOR_BODIES) }
    }

    /// The request with what is known, and what is to be said of it.
    ///
    /// # Errors
    /// The body is too large, too slow, or broken off. Never because of the memory.
    pub(super) async fn add(
        &self,
        wish: &Wish,
        mut request: Request,
    ) -> Result<(Request, Remembered), Refusal> {
        let body = std::mem::take(request.body_mut());
        let body = read_body(body, LARGEST, BODY_DEADLINE, &self.bodies).await.map_err(|error| {
            let message =
                format!("{error}; without the header {MEMORY} it is streamed through, however large");
            let refusal = Refusal::new(error.status(), message);
            if error.status() == StatusCode::SERVICE_UNAVAILABLE {
                refusal.retry_after(BUSY)
            } else {
                refusal
            }
        })?;
        let (changed, added) = self.known(wish, &body.bytes).await;
        request.headers_mut().remove(CONTENT_LENGTH);
        *request.body_mut() = changed.map_or_else(|| Body::from(body.bytes.clone()), Body::from);
        Ok((request, Remembered { header: told(&wish.repository, &added), _body: body }))
    }

    /// The body that takes the place of this one, if there is something to add.
    async fn known(&self, wish: &Wish, body: &[u8]) -> (Option<Vec<u8>>, Added) {
        let Ok(Some(chat)) = Chat::read(wish.form, body) else { return (None, Added::NothingAsked) };
        let Some(briefer) = &self.briefer else { return (None, Added::Unavailable) };
        let asked = briefer.briefing(&wish.repository, &chat.question, self.budget);
        let answer = timeout(BRIEFING_DEADLINE, asked).await;
        let briefing = match answer.unwrap_or_else(|_| Err(format!("no answer within {BRIEFING_DEADLINE:?}")))
        {
            Ok(briefing) => briefing,
            Err(error) => {
                tracing::warn!(error, repository = wish.repository, "a chat goes on without the memory");
                return (None, Added::Unavailable);
            }
        };
        let Briefing { mode, text, tokens, lines, .. } = briefing;
        let added = Added::Known { memories: lines.len(), tokens, mode };
        ((!text.trim().is_empty()).then(|| chat.with(&wish.repository, &text)), added)
    }
}

/// The answer's header.
fn told(repository: &str, added: &Added) -> HeaderValue {
    let mut text = format!("{repository}; ");
    // Writing to a string cannot fail.
    let _ = match added {
        Added::NothingAsked => write!(text, "nothing-asked"),
        Added::Unavailable => write!(text, "unavailable"),
        Added::Known { memories, tokens, mode } => {
            let mode = match mode {
                Mode::Hybrid => "hybrid",
                Mode::Lexical => "lexical",
                Mode::Vector => "vector",
            };
            write!(text, "memories={memories}; tokens={tokens}; mode={mode}")
        }
    };
    // A repository's name and these words are always a valid header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unavailable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(route: Route, method: &Method, values: &[&str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(MEMORY, HeaderValue::try_from(*value).unwrap());
        }
        Wish::of(route, method, &headers).map(|wish| wish.map(|wish| wish.repository))
    }

    #[test]
    fn a_chat_may_name_one_repository() {
        let chat = Route::Chat(Form::Messages);
        assert_eq!(wish(chat, &Method::POST, &[]).unwrap(), None);
        assert_eq!(wish(Route::Open, &Method::GET, &[]).unwrap(), None);
        assert_eq!(wish(chat, &Method::POST, &[" o/r.s-t_1 "]).unwrap().unwrap(), "o/r.s-t_1");
        let long = format!("o/{}", "r".repeat(199));
        for name in ["", "o", "o/", "/r", "o/r/s", "o/r; x", "o/é", "../..x y", "o/*", &long] {
            assert!(wish(chat, &Method::POST, &[name]).is_err(), "{name}");
        }
        assert!(wish(chat, &Method::POST, &["o/r", "o/r"]).is_err());
        assert!(wish(chat, &Method::GET, &["o/r"]).is_err());
        assert!(wish(Route::Open, &Method::POST, &["o/r"]).is_err());
    }
}
