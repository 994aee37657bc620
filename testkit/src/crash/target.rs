//! A target that behaves like a real endpoint, or as badly as it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{
    event::Envelope,
    outcome::FeedQuery,
    signature::{self, Headers, SigningKeys},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    book::Book,
    ledger::Ledger,
    process::{SIGNING_KEY, until},
};
use crate::{
    control::{Cut, lock},
    port,
};

/// A key that the relay does not know.
const STRANGERS_KEY: &str = "whsec_c29tZWJvZHkgZWxzZSBob2xkcyB0aGlzIHBvcnQ=";

/// How a target behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As it should.
    Well,
    /// Takes the event and says so after this time; its probe is well.
    Slow(Duration),
    /// Answers with bytes that are no HTTP.
    Garbage,
    /// Somebody else holds the port and takes everything.
    WrongSignature,
    /// Accepts the connection and never answers.
    Never,
    /// Refuses events with this status (and `Retry-After` in seconds), signed; its probe is well.
    Status(u16, Option<u64>),
    /// Nobody listens.
    Refused,
    /// Takes the event, and its answer is lost on the way.
    LosesAnswer,
}

/// A target, listening; stops when the last handle is dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Target {
    state: Arc<State>,
    _listening: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct State {
    lane: &'static str,
    service: &'static str,
    path: &'static str,
    address: SocketAddr,
    keys: SigningKeys,
    strangers: SigningKeys,
    mode: watch::Sender<Mode>,
    ledger: Mutex<Ledger>,
    taken: watch::Sender<u64>,
    /// Events that met something else than [`Mode::Well`].
    ill: AtomicU64,
    /// Seconds that its clock is ahead.
    ahead: AtomicI64,
}

impl Target {
    /// The two targets of a relay.
    pub(super) fn both() -> anyhow::Result<[Self; 2]> {
        Ok([
            Self::new("claude", "claude-endpoint", "/ai-sync")?,
            Self::new("ollama", "ollama-endpoint", "/memory-update")?,
        ])
    }

    fn new(lane: &'static str, service: &'static str, path: &'static str) -> anyhow::Result<Self> {
        let state = Arc::new(State {
            lane,
            service,
            path,
            address: SocketAddr::from(([127, 0, 0, 1], port::port())),
            keys: SigningKeys::parse(&SIGNING_KEY.into())?,
            strangers: SigningKeys::parse(&STRANGERS_KEY.into())?,
            mode: watch::Sender::new(Mode::Well),
            ledger: Mutex::default(),
            taken: watch::Sender::new(0),
            ill: AtomicU64::new(0),
            ahead: AtomicI64::new(0),
        });
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(Arc::clone(&state))));
        Ok(Self { state, _listening: Arc::new(listening) })
    }

    /// Its lane at the relay.
    pub(super) fn lane(&self) -> &'static str {
        self.state.lane
    }

    /// Its base URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.state.address)
    }

    /// From now on it behaves like this; open connections are cut.
    pub(super) fn set(&self, mode: Mode) {
        self.state.mode.send_replace(mode);
    }

    /// Moves its clock to that many seconds ahead.
    pub(super) fn set_clock(&self, ahead: i64) {
        self.state.ahead.store(ahead, Ordering::Relaxed);
    }

    /// How many events met a fault so far.
    pub(super) fn ill(&self) -> u64 {
        self.state.ill.load(Ordering::Relaxed)
    }

    /// Waits until so many events in all have met a fault; `false` if they do not in time.
    pub(super) async fn has_been_ill(&self, times: u64, patience: Duration) -> bool {
        until(patience, async || self.ill() >= times).await
    }

    /// Looks at what it took.
    pub(super) fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&lock(&self.state.ledger))
    }
}

/// Compares with what both targets took.
pub(super) fn compare(
    book: &Book,
    shown: &super::book::Shown,
    targets: &[Target; 2],
) -> super::book::Account {
    let [first, second] = targets;
    first.ledger(|one| {
        second.ledger(|two| super::book::compare(book, shown, &[(first.lane(), one), (second.lane(), two)]))
    })
}

/// Listens while somebody is meant to be there.
async fn listen(state: Arc<State>) {
    let mut mode = state.mode.subscribe();
    while mode.wait_for(|mode| *mode != Mode::Refused).await.is_ok() {
        let Ok(listener) = TcpListener::bind(state.address).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        loop {
            tokio::select! {
                _ = mode.wait_for(|mode| *mode == Mode::Refused) => break,
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(connection(Arc::clone(&state), stream));
                    }
                }
            }
        }
    }
}

/// One connection, until the mode changes.
async fn connection(state: Arc<State>, mut stream: TcpStream) {
    let mut mode = state.mode.subscribe();
    if *mode.borrow_and_update() == Mode::Garbage {
        state.ill.fetch_add(1, Ordering::Relaxed);
        // Whether the other side still reads does not matter.
        let _ = stream.write_all(&garbage()).await;
        return;
    }
    let service = service_fn(|request: Request<Incoming>| answer(&state, request));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        _ = mode.changed() => {}
    }
}

/// Bytes that are no HTTP, or nearly.
fn garbage() -> Vec<u8> {
    match fastrand::u8(..3) {
        0 => (0..400).map(|_| fastrand::u8(..)).collect(),
        1 => b"HTTP/1.1 2oo Fine\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 202 Accepted\r\ncontent-length: 99999\r\n\r\n{\"status\":".to_vec(),
    }
}

/// What was asked, with the whole body.
struct Asked {
    method: Method,
    path: String,
    query: FeedQuery,
    headers: Headers,
    body: Bytes,
}

impl Asked {
    async fn read(request: Request<Incoming>) -> Option<Self> {
        let (parts, body) = request.into_parts();
        let text = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
        let number = |name: &str| {
            let query = parts.uri.query().unwrap_or_default();
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
                .unwrap_or(0)
        };
        Some(Self {
            headers: Headers {
                id: text(signature::ID)?,
                timestamp: text(signature::TIMESTAMP)?.parse().ok()?,
                signature: text(signature::SIGNATURE)?,
            },
            query: FeedQuery { after: number("after"), wait: number("wait") },
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            body: body.collect().await.ok()?.to_bytes(),
        })
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Result<Response, Cut> {
    let mode = *state.mode.borrow();
    let is_event = request.method() == Method::POST;
    if is_event && mode != Mode::Well {
        state.ill.fetch_add(1, Ordering::Relaxed);
    }
    let asked = match mode {
        Mode::Never => std::future::pending().await,
        Mode::Garbage | Mode::Refused => return Err(Cut),
        _ => Asked::read(request).await.ok_or(Cut)?,
    };
    let now = Timestamp::now().as_second() + state.ahead.load(Ordering::Relaxed);
    if state.keys.verify(&asked.headers, now, asked.body.clone()).is_err() {
        // As our endpoints do it: who is not known gets no signature.
        return Ok(plain(StatusCode::UNAUTHORIZED, &problem("unauthorized")));
    }
    let id = &asked.headers.id;
    match mode {
        Mode::WrongSignature => {
            let body = json!({"status": "accepted", "id": id, "service": state.service});
            Ok(signed(&state.strangers, id, StatusCode::ACCEPTED, &body, None))
        }
        Mode::Status(status, retry_after) if is_event => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(signed(&state.keys, id, status, &problem("not_now"), retry_after))
        }
        Mode::LosesAnswer if is_event => {
            state.work(&asked).await;
            Err(Cut)
        }
        Mode::Slow(pause) if is_event => {
            let (status, body) = state.work(&asked).await;
            sleep(pause).await;
            Ok(signed(&state.keys, id, status, &body, None))
        }
        _ => {
            let (status, body) = state.work(&asked).await;
            Ok(signed(&state.keys, id, status, &body, None))
        }
    }
}

impl State {
    /// What a healthy endpoint answers.
    async fn work(&self, asked: &Asked) -> (StatusCode, Value) {
        match (&asked.method, asked.path.as_str()) {
            (&Method::GET, "/readyz") => (StatusCode::OK, json!("ok")),
            (&Method::GET, "/outcomes") => self.outcomes(asked.query).await,
            (&Method::POST, path) if path == self.path => self.take(asked),
            _ => (StatusCode::NOT_FOUND, problem("not_found")),
        }
    }

    fn take(&self, asked: &Asked) -> (StatusCode, Value) {
        let envelope = match serde_json::from_slice::<Envelope>(&asked.body) {
            Ok(envelope) if envelope.id == asked.headers.id => envelope,
            _ => return (StatusCode::BAD_REQUEST, problem("invalid_envelope")),
        };
        let fresh = lock(&self.ledger).take(&envelope);
        self.taken.send_modify(|count| *count += 1);
        let answer = json!({"id": envelope.id, "service": self.service});
        let with = |more| crate::shape::extended(answer, more);
        if fresh {
            (StatusCode::ACCEPTED, with(json!({"status": "accepted"})))
        } else {
            (StatusCode::OK, with(json!({"status": "duplicate", "outcome": Ledger::finish()})))
        }
    }

    async fn outcomes(&self, query: FeedQuery) -> (StatusCode, Value) {
        let until = Instant::now() + Duration::from_secs(query.wait);
        let mut taken = self.taken.subscribe();
        loop {
            taken.mark_unchanged();
            let feed = lock(&self.ledger).feed(query.after);
            let is_news = feed.next != query.after;
            if is_news || !matches!(timeout_at(until, taken.changed()).await, Ok(Ok(()))) {
                return (StatusCode::OK, json!(feed));
            }
        }
    }
}

fn problem(code: &str) -> Value {
    json!({"error": {"code": code, "message": "the target was told to refuse"}})
}

fn plain(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response
}

fn signed(
    keys: &SigningKeys,
    id: &str,
    status: StatusCode,
    body: &Value,
    retry_after: Option<u64>,
) -> Response {
    let mut response = plain(status, body);
    // Base64 and a comma are always a valid header value.
    if let Ok(value) = keys.sign_answer(id, status.as_u16(), body.to_string().as_bytes()).parse() {
        response.headers_mut().insert(signature::ANSWER, value);
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}
