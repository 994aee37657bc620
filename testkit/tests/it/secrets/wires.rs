//! What goes over the wires: a tap that writes down every byte, and a service that says back what it was sent.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::json;
use shared::server::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One direction of one connection.
type Heard = Arc<Mutex<Vec<u8>>>;

/// A TCP proxy that writes down what passes; it ends when dropped.
pub struct Tap {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    accepting: JoinHandle<()>,
}

impl Tap {
    /// Listens in front of the service at `url`.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let all = Arc::clone(&heard);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&address).await else { continue };
                let [out, back] = [(); 2].map(|()| Heard::default());
                lock(&all).extend([Arc::clone(&out), Arc::clone(&back)]);
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, out));
                tokio::spawn(pass(far_in, near_out, back));
            }
        });
        Self { url, heard, accepting }
    }

    /// Everything that has passed.
    pub fn heard(&self) -> Vec<u8> {
        let all = lock(&self.heard);
        all.iter().map(|one| lock(one).clone()).collect::<Vec<_>>().join(&b"\n"[..])
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, heard: Heard) {
    let mut some = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut some).await {
        lock(&heard).extend_from_slice(&some[..read]);
        if to.write_all(&some[..read]).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service that answers each request with `status` and, in the words of whichever API is asked, all of the request's
/// headers: as a badly made proxy on the way would.
pub struct Echo {
    pub url: String,
    _stop: DropGuard,
}

impl Echo {
    pub async fn answering(status: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(async move |method: Method, uri: Uri, headers: HeaderMap| {
            let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
            };
            let said = format!(
                "you sent {method} {uri}; {}",
                headers.iter().map(text).collect::<Vec<_>>().join("; ")
            );
            let error = json!({"type": "invalid_request_error", "code": "said_back", "message": said});
            (status, Json(json!({"type": "error", "message": said, "error": error})))
        });
        let stop = CancellationToken::new();
        tokio::spawn(shared::server::serve(listener, routes, Limits::default(), stop.clone()));
        Self { url, _stop: stop.drop_guard() }
    }
}
