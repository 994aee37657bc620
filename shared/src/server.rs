//! The listener that all services share: hyper's accept loop with a limit on everything.
//!
//! axum's own `serve` has no header timeout and no connection cap, hence this loop.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header::AUTHORIZATION};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt};
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use tracing::field::Empty;

use crate::{error::ApiError, trace::TraceParent};

/// What a listener allows. Body limits belong to the routes, which know what they take: see [`read_body`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// From the start of a request to the end of its headers; also ends idle connections.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Number of header lines.
    pub headers: usize,
    /// How long open requests may take to finish after the signal to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header_timeout: Duration::from_secs(10),
            head_bytes: 32 * 1024,
            headers: 100,
            // Less than the 10 s after which Docker and systemd's users expect an end.
            drain: Duration::from_secs(8),
        }
    }
}

/// Serves `router` until `shutdown`, then lets open requests finish for at most [`Limits::drain`].
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let router = harden(router);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, peer, slot)) = accepted else { continue };
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.map(Body::new)
        });
        let connection =
            connections.watch(http(limits).serve_connection(
                TokioIo::new(stream),
                hyper_util::service::TowerToHyperService::new(service),
            ));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    let open = connections.count();
    if timeout(limits.drain, connections.shutdown()).await.is_err() {
        tracing::warn!(open, "requests were still open after {} s; closing them", limits.drain.as_secs());
    }
}

/// A stream with its slot, or `None` when accepting failed and is to be tried again.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are small and complete: waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, slot))
        }
        Err(error) => {
            // Out of file descriptors, or a connection that was gone again: a short rest keeps the loop from spinning.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

fn http(limits: Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.headers);
    http
}

fn harden(
    router: Router,
) -> impl tower::Service<
    Request<Body>,
    Response = http::Response<
        impl http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request<Body>| {
            // The path without its query: a query may hold what somebody searches for.
            tracing::info_span!(
                "http",
                method = %request.method(),
                path = request.uri().path(),
                delivery = Empty,
                trace_id = TraceParent::of_headers(request.headers()).map(|trace| trace.trace_id())
            )
        })
        .on_request(())
        .on_failure(());
    let panics = CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        let error = ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "an internal error; the log has the cause",
        );
        axum::response::IntoResponse::into_response(error)
    });
    trace.layer(panics.layer(router))
}

/// Memory for bodies that are being received. A sender is known only after its body was read, so all senders share it:
/// many large ones cannot fill the machine. It is charged as bytes arrive, so that announcing a large body costs others
/// nothing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    /// `mebibytes` in total, at least 32.
    pub fn new(mebibytes: u32) -> Self {
        Self(Arc::new(Semaphore::new(mebibytes.clamp(32, 1 << 20) as usize * 1024)))
    }

    fn charge(&self, share: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), ApiError> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let busy = |_| {
            ApiError::unavailable(
                "busy",
                "too much is being received at a time; send it again later",
                Duration::from_secs(5),
            )
        };
        let more = Arc::clone(&self.0).try_acquire_many_owned(kibibytes).map_err(busy)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

/// A body, and its share of the memory for bodies until it is dropped.
#[derive(Debug)]
pub struct ReadBody {
    /// The whole body.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a whole body of at most `limit` bytes within `deadline`, however slowly its pieces come.
///
/// # Errors
/// 413 when it is larger, 408 when it takes longer, 503 when there is no memory for it, 400 when the connection breaks.
pub async fn read_body(
    mut body: Body,
    limit: usize,
    deadline: Duration,
    memory: &BodyMemory,
) -> Result<ReadBody, ApiError> {
    let until = Instant::now() + deadline;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut bytes = BytesMut::with_capacity(announced.min(limit).min(64 * 1024));
    let (mut received, mut share) = (0_usize, None);
    loop {
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => return Err(too_slow(deadline)),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        // A little of what is too much is read and thrown away: a sender that is cut off while it still
        // sends sees a reset connection instead of the answer.
        if received > limit.saturating_mul(2) {
            break;
        }
        if received <= limit {
            memory.charge(&mut share, data.len())?;
            bytes.extend_from_slice(&data);
        }
    }
    if received > limit {
        Err(too_large(limit))
    } else {
        Ok(ReadBody { bytes: bytes.freeze(), _share: share })
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750; the scheme's case does not matter, RFC 9110 section 11.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn too_slow(deadline: Duration) -> ApiError {
    let message = format!("the body did not arrive within {} s; send it again", deadline.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is larger than {limit} bytes"),
    )
}

fn broken(error: axum::Error) -> ApiError {
    ApiError::bad_request("body_incomplete", "the connection broke before the body was complete")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        extract::Request,
        routing::{get, post},
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let echo = async |request: Request| {
            let memory = BodyMemory::new(32);
            let read = read_body(request.into_body(), 1000, Duration::from_millis(200), &memory).await;
            read.map(|body| body.bytes.len().to_string())
        };
        let crash = async || -> &'static str { panic!("boom") };
        let router = Router::new().route("/echo", post(echo)).route("/crash", get(crash));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        (address, stop.clone(), tokio::spawn(serve(listener, router, limits, stop)))
    }

    async fn talk(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is the server's right; what was read before it counts.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn bodies_have_a_size_and_a_time() {
        let (address, _stop, _server) = start(Limits::default()).await;
        let post = |length: usize, body: &str| {
            format!("POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        };
        assert!(talk(address, &post(1000, &"x".repeat(1000))).await.ends_with("1000"));
        assert!(talk(address, &post(1001, &"x".repeat(1001))).await.starts_with("HTTP/1.1 413"));
        assert!(talk(address, &post(1000, "stalls")).await.starts_with("HTTP/1.1 408"));
    }

    /// Held bodies stand for senders whose events are not stored yet; over a socket nobody could tell when the server
    /// has read them.
    #[tokio::test]
    async fn what_is_received_at_a_time_has_a_limit_and_is_given_back() {
        let memory = BodyMemory::new(32);
        let read = async |mebibytes: usize| {
            let body = Body::from(vec![b' '; mebibytes * 1024 * 1024]);
            read_body(body, 25 * 1024 * 1024, Duration::from_secs(60), &memory).await
        };
        let held = read(24).await.unwrap();
        let refused = read(24).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
        assert_eq!(read(1).await.unwrap().bytes.len(), 1024 * 1024, "small ones still fit");
        drop(held);
        assert!(read(24).await.is_ok(), "the memory was given back");
    }

    #[tokio::test]
    async fn stalled_headers_end_the_connection() {
        let (address, _stop, _server) =
            start(Limits { header_timeout: Duration::from_millis(100), ..Limits::default() }).await;
        assert!(!talk(address, b"POST /echo HTTP/1.1\r\nhost: x\r\n").await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let (address, _stop, _server) = start(Limits::default()).await;
        let answer = talk(address, b"GET /crash HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains(r#""code":"internal""#), "{answer}");
    }

    #[tokio::test]
    async fn stopping_lets_an_open_request_finish() {
        let (address, stop, server) = start(Limits::default()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx").await.unwrap();
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(b"GET /crash HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // Once this answer is there, the earlier connection has been accepted as well.
        other.read_u8().await.unwrap();
        stop.cancel();
        stream.write_all(b"y").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).ends_with('2'));
        server.await.unwrap();
    }
}
