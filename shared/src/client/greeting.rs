//! Who is at the other end of a new connection is found out before anything else is said on it. Whoever has taken the port of
//! an endpoint that is away is asked a question that tells nothing, and gets no event to read.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use thiserror::Error;
use tower::{Layer, Service};

use super::signed_headers;
use crate::signature::{self, SignatureError, SigningKeys};

/// What is asked: every service of ours answers it, signed, whatever its state.
pub(super) const PATH: &str = "/readyz";
/// The largest answer that is read.
const LARGEST: usize = 64 * 1024;
/// How long it may take: no less than any probe. Somebody who is there answers at once, unless much else is on the line; a
/// frozen tunnel takes connections and says nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

type BoxError = Box<dyn Error + Send + Sync>;

/// Somebody answered who does not hold the key.
#[derive(Debug, Error)]
#[error("it answered {status} without a valid signature ({why})")]
pub(super) struct Stranger {
    pub(super) status: u16,
    pub(super) why: SignatureError,
}

/// Somebody took the connection, and said nothing.
#[derive(Debug, Error)]
#[error("it takes connections and does not say who it is within {} s: the tunnel or the service is frozen", PATIENCE.as_secs())]
struct Silent;

impl Stranger {
    /// The one that an error was made of.
    pub(super) fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(stranger) = error.downcast_ref() {
                return Some(stranger);
            }
            next = error.source();
        }
        None
    }
}

/// Greets each new connection to one service.
#[derive(Debug, Clone)]
pub(super) struct Greeting {
    pub(super) service: Arc<str>,
    /// For the `Host` header.
    pub(super) authority: Arc<str>,
    /// Of the URL that the question goes to.
    pub(super) path: Arc<str>,
    pub(super) keys: SigningKeys,
}

impl<S> Layer<S> for Greeting {
    type Service = Greeted<S>;

    fn layer(&self, connector: S) -> Greeted<S> {
        Greeted { greeting: self.clone(), connector }
    }
}

/// A connector whose connections have been greeted.
#[derive(Debug, Clone)]
pub(super) struct Greeted<S> {
    greeting: Greeting,
    connector: S,
}

impl<S, R, C> Service<R> for Greeted<S>
where
    S: Service<R, Response = C, Error = BoxError>,
    S::Future: Send + 'static,
    C: Read + Write + Unpin + Send + 'static,
{
    type Response = C;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let (connecting, greeting) = (self.connector.call(destination), self.greeting.clone());
        Box::pin(async move {
            let greeted = tokio::time::timeout(PATIENCE, greeting.greet(connecting.await?)).await;
            greeted.map_err(|_| Silent)?
        })
    }
}

impl Greeting {
    /// Asks, and gives the connection back if the answer is one of ours.
    async fn greet<C: Read + Write + Unpin + Send>(&self, connection: C) -> Result<C, BoxError> {
        let (mut sender, mut connection) = http1::handshake(connection).await?;
        let id = signature::bound_id("GET", &self.service, PATH, &uuid::Uuid::new_v4().to_string());
        let mut request =
            Request::get(&*self.path).header(HOST, &*self.authority).body(Empty::<Bytes>::new())?;
        request.headers_mut().extend(signed_headers(&self.keys, &id, &[]));
        let (parts, body) = {
            let mut asking = pin!(async {
                let answer = sender.send_request(request).await?;
                let (parts, body) = answer.into_parts();
                let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
                Ok::<_, BoxError>((parts, body))
            });
            tokio::select! {
                biased;
                answer = &mut asking => answer?,
                ended = poll_fn(|context| connection.poll_without_shutdown(context)) => {
                    // With its last words, or without a word.
                    ended?;
                    asking.await?
                }
            }
        };
        let signature = parts.headers.get(signature::ANSWER).and_then(|value| value.to_str().ok());
        let status = parts.status.as_u16();
        self.keys.verify_answer(signature, &id, status, body).map_err(|why| Stranger { status, why })?;
        // Without a sender there is nothing more to say in this conversation; the next one begins on the same connection.
        drop(sender);
        poll_fn(|context| connection.poll_without_shutdown(context)).await?;
        let parts = connection.into_parts();
        if !parts.read_buf.is_empty() {
            return Err("it said more than it was asked".into());
        }
        Ok(parts.io)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{Router, extract::Request, response::Response};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::{CallError, SignedClient};

    /// Answers yes to everything, signed if it has keys; what it was asked.
    async fn somebody(keys: Option<SigningKeys>) -> (SignedClient, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let answer = move |request: Request| {
            notes.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let id = request.headers()[signature::ID].to_str().unwrap().to_owned();
            let signed = keys.as_ref().map(|keys| keys.sign_answer(&id, 200, b"yes"));
            async move {
                let mut response = Response::builder();
                if let Some(signed) = signed {
                    response = response.header(signature::ANSWER, signed);
                }
                response.body(axum::body::Body::from("yes")).unwrap()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let client = SignedClient::wary("a-service", url.parse().unwrap(), key(), Duration::from_secs(10));
        (client.unwrap(), asked)
    }

    fn key() -> SigningKeys {
        SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap()
    }

    #[tokio::test]
    async fn a_stranger_is_asked_who_it_is_and_gets_nothing_else() {
        let (client, asked) = somebody(None).await;
        let refused = client.post("/ai-sync", "d1", Bytes::from_static(b"{}")).await.unwrap_err();
        assert!(
            matches!(refused, CallError::NotOurs { status: 200, why: SignatureError::Missing, .. }),
            "{refused}"
        );
        assert_eq!(*asked.lock().unwrap(), ["GET /readyz"]);
    }

    #[tokio::test]
    async fn one_of_ours_is_greeted_once_per_connection() {
        let (client, asked) = somebody(Some(key())).await;
        for id in ["d1", "d2"] {
            let answer = client.post("/ai-sync", id, Bytes::from_static(b"{}")).await.unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &b"yes"[..]));
        }
        assert_eq!(*asked.lock().unwrap(), ["GET /readyz", "POST /ai-sync", "POST /ai-sync"]);
    }

    #[tokio::test]
    async fn where_nobody_is_greeted_nothing_was_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        for url in [url, format!("http://{}/", closed.local_addr().unwrap())] {
            let client =
                SignedClient::wary("a-service", url.parse().unwrap(), key(), Duration::from_secs(10));
            let error = client.unwrap().post("/ai-sync", "d1", Bytes::from_static(b"{}")).await.unwrap_err();
            assert!(matches!(error, CallError::Unconnected(..)), "{error:?}");
        }
    }
}
