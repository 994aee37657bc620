//! A receiver of Standard Webhooks, checked by their reference implementation.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use shared::signature::SigningKeys;
use standardwebhooks::Webhook;
use tokio::{net::TcpSocket, sync::watch};

/// The key of the receiver, and another one.
pub(crate) const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const OTHER_KEY: &str = "whsec_c29tZXRoaW5nIGVsc2UgZW50aXJlbHkhISE=";

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Does {
    /// Answers with a status, `Retry-After: 1`, a `Location`, and a body.
    Answer(u16),
    /// Nothing, until it is let go.
    Hang,
}

struct Inner {
    key: Mutex<String>,
    /// For the next requests; 200 after them.
    plan: Mutex<VecDeque<Does>>,
    /// Whatever the plan: a request that contains this hangs.
    chokes_on: Mutex<Option<String>>,
    signs: Mutex<bool>,
    taken: watch::Sender<Vec<Value>>,
    go: watch::Sender<bool>,
}

/// A port that nobody listens on until [`open`](Self::open).
pub(crate) struct Receiver {
    inner: Arc<Inner>,
    socket: Option<TcpSocket>,
    pub(crate) url: String,
}

impl Receiver {
    pub(crate) fn closed() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/hooks/ai/?team=1", socket.local_addr().unwrap());
        let inner = Inner {
            key: Mutex::new(KEY.to_owned()),
            plan: Mutex::default(),
            chokes_on: Mutex::default(),
            signs: Mutex::new(false),
            taken: watch::Sender::default(),
            go: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner), socket: Some(socket), url }
    }

    pub(crate) fn open(mut self) -> Self {
        let listener = self.socket.take().unwrap().listen(64).unwrap();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&self.inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        self
    }

    pub(crate) fn planned(self, plan: impl IntoIterator<Item = Does>) -> Self {
        self.inner.plan.lock().unwrap().extend(plan);
        self
    }

    pub(crate) fn has_key(&self, key: &str) {
        key.clone_into(&mut self.inner.key.lock().unwrap());
    }

    pub(crate) fn chokes_on(&self, text: &str) {
        *self.inner.chokes_on.lock().unwrap() = Some(text.to_owned());
    }

    pub(crate) fn signs_its_answers(&self) {
        *self.inner.signs.lock().unwrap() = true;
    }

    /// Lets requests that hang go on, now and later.
    pub(crate) fn let_go(&self) {
        self.inner.go.send_replace(true);
    }

    /// What it has taken, once that is so many.
    pub(crate) async fn taken(&self, count: usize) -> Vec<Value> {
        self.inner.taken.subscribe().wait_for(|taken| taken.len() >= count).await.unwrap().clone()
    }
}

async fn receive(
    State(inner): State<Arc<Inner>>,
    method: http::Method,
    uri: http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!((method.as_str(), uri.to_string().as_str()), ("POST", "/hooks/ai/?team=1"));
    let key = inner.key.lock().unwrap().clone();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let does = if Webhook::new(&key).unwrap().verify(&body, &headers).is_err() {
        Does::Answer(401)
    } else if inner.chokes_on.lock().unwrap().as_ref().is_some_and(|text| id.contains(text)) {
        Does::Hang
    } else {
        inner.plan.lock().unwrap().pop_front().unwrap_or(Does::Answer(200))
    };
    let status = match does {
        Does::Answer(status) => status,
        Does::Hang => {
            inner.go.subscribe().wait_for(|go| *go).await.unwrap();
            200
        }
    };
    if status == 200 {
        let envelope = serde_json::from_slice(&body).unwrap();
        inner.taken.send_modify(|taken| taken.push(envelope));
    }
    let said = "says the receiver";
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("retry-after", "1")
        .header("location", "/elsewhere");
    if *inner.signs.lock().unwrap() {
        let keys = SigningKeys::parse(&key.as_str().into()).unwrap();
        answer = answer.header("relay-signature", keys.sign_answer(&id, status, said.as_bytes()));
    }
    answer.body(Body::from(said)).unwrap()
}
