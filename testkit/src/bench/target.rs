//! The far side of the tunnel: takes what is signed, as our endpoints do, and writes down when it came.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{
    outcome::{Feed, Outcome, State},
    signature::{self, Headers, SigningKeys},
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::task::AbortOnDropHandle;

use super::SIGNING_KEY;
use crate::control::lock;

/// The most outcomes in one answer, as our endpoints have it.
const MOST_OUTCOMES: usize = 100;

/// A target that listens; stops when dropped.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    _listening: AbortOnDropHandle<()>,
}

struct Shared {
    service: &'static str,
    keys: SigningKeys,
    taken: Mutex<Taken>,
    count: watch::Sender<usize>,
    /// Outcomes that the relay has recorded: where it reads on.
    followed: watch::Sender<usize>,
}

/// What came.
#[derive(Default)]
struct Taken {
    /// In the order of arrival.
    all: Vec<(String, Instant)>,
    times: HashMap<String, u32>,
}

impl Target {
    /// On any free port.
    pub(super) async fn start(service: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for a target")?;
        let keys = SigningKeys::parse(&SIGNING_KEY.into())?;
        let shared = Arc::new(Shared {
            service,
            keys,
            taken: Mutex::default(),
            count: watch::Sender::new(0),
            followed: watch::Sender::new(0),
        });
        Ok(Self {
            address: listener.local_addr()?,
            shared: Arc::clone(&shared),
            _listening: AbortOnDropHandle::new(tokio::spawn(listen(listener, shared))),
        })
    }

    /// Waits until it has taken so many events; how many it has if that is not within `patience`.
    pub(super) async fn has_taken(&self, events: usize, patience: Duration) -> Result<(), usize> {
        let mut count = self.shared.count.subscribe();
        let taken = tokio::time::timeout(patience, count.wait_for(|count| *count >= events)).await;
        if matches!(taken, Ok(Ok(_))) { Ok(()) } else { Err(*self.shared.count.borrow()) }
    }

    /// Waits until the relay has recorded so many outcomes; `false` if it does not within `patience`.
    pub(super) async fn is_followed_to(&self, outcomes: usize, patience: Duration) -> bool {
        let mut followed = self.shared.followed.subscribe();
        let waited =
            tokio::time::timeout(patience, followed.wait_for(|followed| *followed >= outcomes)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// When each event came first, in that order, from the `skip`th on.
    pub(super) fn arrivals(&self, skip: usize) -> Vec<(String, Instant)> {
        lock(&self.shared.taken).all[skip..].to_vec()
    }

    /// How many events came more than once.
    pub(super) fn repeated(&self) -> usize {
        lock(&self.shared.taken).times.values().filter(|times| **times > 1).count()
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Without it, an answer waits for the acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            // Errors are connections that the tunnel cut.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return response(StatusCode::BAD_REQUEST, &json!({})) };
        let (body, came) = (body.to_bytes(), Instant::now());
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let headers = Headers {
            id: text(signature::ID).unwrap_or_default().to_owned(),
            timestamp: text(signature::TIMESTAMP).and_then(|value| value.parse().ok()).unwrap_or_default(),
            signature: text(signature::SIGNATURE).unwrap_or_default().to_owned(),
        };
        if self.keys.verify(&headers, Timestamp::now().as_second(), body).is_err() {
            return response(StatusCode::UNAUTHORIZED, &json!({}));
        }
        let (status, answer) = match (&parts.method, parts.uri.path()) {
            (&Method::POST, _) => self.take(&headers.id, came),
            (_, "/outcomes") => (StatusCode::OK, self.outcomes(parts.uri.query().unwrap_or_default()).await),
            _ => (StatusCode::OK, json!("ok")),
        };
        let mut response = response(status, &answer);
        let signed = self.keys.sign_answer(&headers.id, status.as_u16(), answer.to_string().as_bytes());
        // Base64 and a comma are always a valid header value.
        if let Ok(value) = signed.parse() {
            response.headers_mut().insert(signature::ANSWER, value);
        }
        response
    }

    fn take(&self, id: &str, came: Instant) -> (StatusCode, Value) {
        let mut taken = lock(&self.taken);
        let times = taken.times.entry(id.to_owned()).or_default();
        *times += 1;
        if *times > 1 {
            return (StatusCode::OK, json!({"status": "duplicate", "id": id, "service": self.service}));
        }
        taken.all.push((id.to_owned(), came));
        self.count.send_replace(taken.all.len());
        (StatusCode::ACCEPTED, json!({"status": "accepted", "id": id, "service": self.service}))
    }

    /// Everything was completed at once. A long poll, as our endpoints have it.
    async fn outcomes(&self, query: &str) -> Value {
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key == name).then(|| value.parse().ok())?).unwrap_or(0)
        };
        let after = usize::try_from(number("after")).unwrap_or(usize::MAX);
        self.followed.send_replace(after);
        let mut count = self.count.subscribe();
        // Whether something came or not, the feed says.
        let _ =
            tokio::time::timeout(Duration::from_secs(number("wait")), count.wait_for(|count| *count > after))
                .await;
        let taken = lock(&self.taken);
        let news = taken.all.iter().enumerate().skip(after).take(MOST_OUTCOMES);
        let outcomes: Vec<Outcome> = news.map(|(index, (id, _))| outcome(index as u64 + 1, id)).collect();
        let next = outcomes.last().map_or(after as u64, |last| last.seq);
        json!(Feed { outcomes, next, epoch: None })
    }
}

fn outcome(seq: u64, delivery: &str) -> Outcome {
    Outcome {
        seq,
        delivery: delivery.to_owned(),
        redelivery: 0,
        state: State::Completed,
        summary: "measured".to_owned(),
        url: None,
        detail: serde_json::Map::new(),
        finished_at: Timestamp::now(),
    }
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
}
