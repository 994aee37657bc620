//! Who may call an endpoint. Through the tunnel every caller looks like loopback, so the address says nothing: a
//! caller holds the signing key, or the bearer token.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request::Parts};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use shared::{
    client::travel,
    config::SIGNING_KEY,
    error::ApiError,
    keys::{self, KeyBook},
    server::{BodyMemory, bearer, read_body_within},
    signature::{self, Headers, KeyId, SignatureError, SigningKeys, TOLERANCE_SECONDS, Tokens, Verified},
};

/// The largest signed body: GitHub's 25 MiB and the envelope around it.
const LARGEST_SIGNED: usize = 32 * 1024 * 1024;
/// As much is hashed in a millisecond or two.
const HASHED_AT_ONCE: usize = 1024 * 1024;
/// Memory for bodies whose senders are not known yet.
const MEBIBYTES_FOR_BODIES: u32 = 256;
/// The largest answer that is signed.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// How long a signed body may take to arrive, beside the time that what has arrived of it was under way on a slow line.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// The longest that any may take: the largest needs so long at little more than 1 Mbit/s.
const LONGEST: Duration = Duration::from_secs(240);

/// The setting of the bearer tokens.
pub const MEMORY_TOKEN: &str = "MEMORY_TOKEN";

/// Who called; found among a request's extensions behind [`guard`] and [`admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// One of our services; `id` is the request's `webhook-id`.
    Signed {
        /// Idempotency key.
        id: String,
    },
    /// A local agent or person with the token.
    Bearer,
}

/// What callers are checked against. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Auth {
    service: &'static str,
    keys: Arc<SigningKeys>,
    tokens: Option<Tokens>,
    hint: &'static str,
    memory: BodyMemory,
    book: KeyBook,
}

impl Auth {
    /// Signatures only, for the service of that name.
    pub fn signed(service: &'static str, keys: SigningKeys) -> Self {
        Self::signed_or_bearer(
            service,
            keys,
            None,
            "this route takes only requests signed with RELAY_SIGNING_KEY",
        )
    }

    /// Signatures, or a token of the variable that `hint` names.
    pub fn signed_or_bearer(
        service: &'static str,
        keys: SigningKeys,
        tokens: Option<Tokens>,
        hint: &'static str,
    ) -> Self {
        Self {
            service,
            keys: Arc::new(keys),
            tokens,
            hint,
            memory: BodyMemory::new(MEBIBYTES_FOR_BODIES),
            book: KeyBook::default(),
        }
    }

    /// Notes in `book` which key a caller has.
    #[must_use]
    pub fn noting(mut self, book: KeyBook) -> Self {
        self.book = book;
        self
    }

    /// The caller of a request whose head arrived just now, and the body if it had to be read to find out.
    async fn check(&self, request: Request) -> Result<(Caller, Request), ApiError> {
        self.check_at(Timestamp::now().as_second(), request).await
    }

    /// Of a request whose head arrived at that second. A signature is no older than it was then: the body may take long.
    async fn check_at(&self, arrived: i64, request: Request) -> Result<(Caller, Request), ApiError> {
        if let Some(headers) = signed_headers(request.headers()) {
            timely(&headers, arrived).map_err(|why| self.refused(why))?;
            let (parts, body) = request.into_parts();
            // What has nothing to say in a body is not waited for.
            let limit = if parts.method.is_safe() { 0 } else { LARGEST_SIGNED };
            let body = read_body_within(body, limit, deadline, &self.memory).await?;
            let verified = self.verified(headers.clone(), arrived, body.bytes).await?;
            let body = verified.map_err(|why| self.refused(why))?;
            self.note(SIGNING_KEY, body.key(), &parts);
            if signature::is_bound_elsewhere(
                &headers.id,
                parts.method.as_str(),
                self.service,
                parts.uri.path(),
            ) {
                return Err(ApiError::unauthorized("this request was signed for another route"));
            }
            return Ok((
                Caller::Signed { id: headers.id },
                Request::from_parts(parts, Body::from(body.into_bytes())),
            ));
        }
        let sent = bearer(request.headers());
        let Some(key) = self.tokens.as_ref().zip(sent).and_then(|(tokens, sent)| tokens.find(sent)) else {
            return Err(ApiError::unauthorized(self.hint));
        };
        let (parts, body) = request.into_parts();
        self.note(MEMORY_TOKEN, key, &parts);
        Ok((Caller::Bearer, Request::from_parts(parts, body)))
    }

    /// A large body is hashed where it keeps nobody else waiting, once for each key.
    async fn verified(
        &self,
        headers: Headers,
        arrived: i64,
        body: Bytes,
    ) -> Result<Result<Verified, SignatureError>, ApiError> {
        let (keys, is_large) = (Arc::clone(&self.keys), body.len() > HASHED_AT_ONCE);
        let verify = move || keys.verify(&headers, arrived, body);
        if !is_large {
            return Ok(verify());
        }
        tokio::task::spawn_blocking(verify).await.map_err(|error| {
            let failed = ApiError::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the signature could not be checked",
            );
            failed.with_source(error)
        })
    }

    fn note(&self, setting: &str, key: KeyId, parts: &Parts) {
        let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        self.book.used(setting, key, &format!("{} {path}", parts.method), &keys::caller(&parts.headers));
    }

    fn refused(&self, why: SignatureError) -> ApiError {
        ApiError::unauthorized(format!("{why}; {}", self.hint))
    }
}

/// Somebody who sends next to nothing is not waited for as those are who send much over a slow line.
fn deadline(received: usize) -> Duration {
    (BODY_DEADLINE + travel(received)).min(LONGEST)
}

/// Whether the signature can still be valid, to be known before a body is read for it.
fn timely(headers: &Headers, arrived: i64) -> Result<(), SignatureError> {
    let off = arrived.abs_diff(headers.timestamp);
    if off > TOLERANCE_SECONDS.unsigned_abs() { Err(SignatureError::Stale) } else { Ok(()) }
}

fn signed_headers(headers: &HeaderMap) -> Option<Headers> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Some(Headers {
        id: text(signature::ID)?.to_owned(),
        timestamp: text(signature::TIMESTAMP)?.parse().ok()?,
        signature: text(signature::SIGNATURE)?.to_owned(),
    })
}

/// Middleware: only known callers pass, and a signed request gets a signed answer, errors of the route included.
pub async fn guard(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let (caller, mut request) = match auth.check(request).await {
        Ok(checked) => checked,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    match caller {
        Caller::Signed { id } => sign(&auth.keys, &id, response).await,
        Caller::Bearer => response,
    }
}

/// Middleware for answers that stream: only known callers pass; the answer is not signed, since it has no end to wait for.
pub async fn admit(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    match auth.check(request).await {
        Ok((caller, mut request)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// Middleware for routes that are open to anyone: whoever signs a request can be sure of the answer.
pub async fn sign_if_asked(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let Some(Headers { id, .. }) = signed_headers(request.headers()) else { return next.run(request).await };
    match auth.check(request).await {
        Ok((_, request)) => sign(&auth.keys, &id, next.run(request).await).await,
        Err(error) => error.into_response(),
    }
}

async fn sign(keys: &SigningKeys, id: &str, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body: Bytes = match Limited::new(body, LARGEST_ANSWER).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let failed = ApiError::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the answer could not be read",
            );
            return failed.with_source(error).into_response();
        }
    };
    // Base64 and a comma are always a valid header value.
    if let Ok(value) = HeaderValue::from_str(&keys.sign_answer(id, parts.status.as_u16(), &body)) {
        parts.headers.insert(signature::ANSWER, value);
    }
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_sends_much_has_much_time() {
        assert_eq!([0, 1 << 20, 64 << 20].map(|received| deadline(received).as_secs()), [60, 68, 240]);
    }

    #[tokio::test]
    async fn a_signature_does_not_grow_old_while_its_body_arrives() {
        let key = SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        let auth = Auth::signed("a-service", key.clone());
        let arrived = Timestamp::now().as_second() - 2 * TOLERANCE_SECONDS;
        let signed = |at| {
            let headers = key.sign("d1", at, b"{}");
            let request = Request::post("/in").header(signature::ID, headers.id);
            let request = request.header(signature::TIMESTAMP, headers.timestamp);
            request.header(signature::SIGNATURE, headers.signature).body(Body::from("{}")).unwrap()
        };
        for off in [-TOLERANCE_SECONDS, TOLERANCE_SECONDS] {
            let caller = auth.check_at(arrived, signed(arrived + off)).await.unwrap().0;
            assert_eq!(caller, Caller::Signed { id: "d1".to_owned() });
        }
        assert!(auth.check_at(arrived, signed(arrived - TOLERANCE_SECONDS - 1)).await.is_err());
        assert!(auth.check(signed(arrived)).await.is_err());
    }
}
