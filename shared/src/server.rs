//! The listener that all services share: hyper's accept loop with a limit on everything.
//!
//! axum's own `serve` has no header timeout and no connection cap, hence this loop.

mod body;
mod connections;
mod watched;

#[cfg(test)]
mod tests;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION},
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, ServiceExt};
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use tracing::field::Empty;

pub use self::body::{BodyMemory, ReadBody, read_body, read_body_within};
use self::{
    connections::{Connections, Place},
    watched::{Unread, WatchedBody, WatchedStream},
};
use crate::{error::ApiError, trace::TraceParent};

/// File descriptors that are kept for everything but connections: databases, clients, logs.
const OTHER_FILES: u64 = 256;

/// What a listener allows. Body limits belong to the routes, which know what they take: see [`read_body`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The listener in the metrics.
    pub name: &'static str,
    /// Open connections. When there are so many, a new one takes the place of the one that has kept the service waiting
    /// for the longest time; while all are being worked for, it waits in the kernel's backlog.
    pub connections: usize,
    /// From the start of a request to the end of its headers; also ends idle connections.
    pub header_timeout: Duration,
    /// How long a peer may take not one byte of an answer.
    pub write_stall: Duration,
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
            name: "public",
            connections: 4096,
            header_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            head_bytes: 32 * 1024,
            headers: 100,
            // Less than the 10 s after which Docker and systemd's users expect an end.
            drain: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// No more connections than `open_files` descriptors allow: one that has no descriptor could make no room either.
    #[must_use]
    fn within(self, open_files: u64) -> Self {
        let room = open_files - OTHER_FILES.min(open_files / 4);
        let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
        if room < self.connections {
            tracing::warn!(
                wanted = self.connections,
                connections = room,
                open_files,
                "fewer connections than MAX_CONNECTIONS: the process may not open more files; raise its hard limit (ulimit -n, LimitNOFILE)"
            );
        }
        Self { connections: self.connections.min(room), ..self }
    }
}

/// Serves `router` until `shutdown`, then lets open requests finish for at most [`Limits::drain`].
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let limits = limits.within(open_files());
    let router = harden(router);
    let connections = Connections::new(limits.connections, limits.name);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let Some((stream, peer)) = accepted else { continue };
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = connections.admit() => place,
        };
        tokio::spawn(converse(stream, peer, place, router.clone(), limits, graceful.watcher()));
    }
    drop(listener);
    let open = graceful.count();
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open, "requests were still open after {} s; closing them", limits.drain.as_secs());
    }
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are small and complete: waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer))
        }
        Err(error) => {
            // Out of file descriptors, or a connection that was gone again: a short rest keeps the loop from spinning.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// One connection's requests and answers, until its end or until it has to make room for another.
async fn converse<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: S,
    limits: Limits,
    graceful: Watcher,
) where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let (asking, answering) = (place.seat.clone(), place.seat.clone());
    let unread = Unread::default();
    let seen = unread.clone();
    let service = router
        .map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
                .map(|body| Body::new(WatchedBody::request(Body::new(body), asking.clone(), unread.clone())))
        })
        .map_response(move |mut answer| {
            // hyper closes behind a body that was not read, and does not say so by itself: the sender's next request
            // would go into the closed connection.
            if seen.is_set() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer.map(|body| WatchedBody::answer(Body::new(body), answering.clone()))
        });
    let stream = WatchedStream::new(stream, place.seat.clone(), limits.write_stall);
    let connection = graceful.watch(
        http(&limits)
            .serve_connection(TokioIo::new(stream), hyper_util::service::TowerToHyperService::new(service)),
    );
    tokio::select! {
        biased;
        () = place.evicted() => tracing::debug!(%peer, "closed to make room: it has kept us waiting the longest"),
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }
}

/// The descriptors that this process may have open.
fn open_files() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX)
}

fn http(limits: &Limits) -> http1::Builder {
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

/// The token of `Authorization: Bearer …` (RFC 6750; the scheme's case does not matter, RFC 9110 section 11.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
