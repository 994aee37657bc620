//! What stands behind both proxies: an HTTP server on a thread of its own that does next to nothing itself.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a real Ollama answers to a small chat, without streaming.
const SMALL: &str = r#"{"model":"smollm2:135m","created_at":"2026-11-22T11:14:55.311470246Z","message":{"role":"assistant","content":"I'm glad to make your"},"done":true,"done_reason":"length","total_duration":141098700,"load_duration":1584510,"prompt_eval_count":11,"prompt_eval_duration":24914000,"eval_count":6,"eval_duration":109875000}"#;

/// The piece of an answer that is sent as fast as it is taken.
const PIECE: usize = 64 * 1024;

/// The server; it stops when dropped.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    /// What the times in its chunks count from.
    pub(super) epoch: Instant,
    stop: CancellationToken,
}

impl Upstream {
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port for the upstream")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (epoch, stop) = (Instant::now(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = stop.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    serving.run_until_cancelled(serve(listener, epoch)).await;
                }
            });
        });
        Ok(Self { address, epoch, stop })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, epoch: Instant) {
    let connections = TaskTracker::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| answer(request, epoch));
        connections.spawn(async move {
            // Errors are connections that were cut.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Stream = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// Takes the whole body; the query says what is answered: nothing, `chunks` each so many milliseconds (`every`), or
/// `pieces` as fast as they are taken.
async fn answer(
    request: Request<Incoming>,
    epoch: Instant,
) -> Result<Response<Either<Full<Bytes>, Stream>>, Infallible> {
    let (parts, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let query = parts.uri.query().unwrap_or_default();
    let number = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then(|| value.parse::<u64>().ok())?)
    };
    let (content_type, body) = if let Some(pieces) = number("pieces") {
        let line = format!("{{\"response\":\"{}\",\"done\":false}}\n", "x".repeat(96));
        let piece = Bytes::from(line.repeat(PIECE / line.len()));
        let frames = stream::iter((0..pieces).map(move |_| Ok(Frame::data(piece.clone()))));
        ("application/x-ndjson", Either::Right(StreamBody::new(Box::pin(frames) as _)))
    } else if let Some(chunks) = number("chunks") {
        let every = Duration::from_millis(number("every").unwrap_or(1));
        ("application/x-ndjson", Either::Right(StreamBody::new(Box::pin(paced(chunks, every, epoch)) as _)))
    } else {
        ("application/json; charset=utf-8", Either::Left(Full::from(SMALL)))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    Ok(response)
}

/// Lines that say when they were sent, in nanoseconds; the first at once.
fn paced(
    chunks: u64,
    every: Duration,
    epoch: Instant,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    let clock = tokio::time::interval(every);
    stream::unfold((0, clock), move |(sent, mut clock)| async move {
        if sent == chunks {
            return None;
        }
        clock.tick().await;
        let line = format!(
            "{{\"sent\":{},\"message\":{{\"role\":\"assistant\",\"content\":\" word\"}},\"done\":false}}\n",
            epoch.elapsed().as_nanos()
        );
        Some((Ok(Frame::data(Bytes::from(line))), (sent + 1, clock)))
    })
}
