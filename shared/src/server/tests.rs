use std::sync::Arc;

use axum::{
    extract::Request,
    response::IntoResponse as _,
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
};

use super::*;

/// What tests know of the handlers.
struct Inside {
    /// `GET /work` was called.
    begun: mpsc::Receiver<()>,
    /// Lets it answer.
    finish: Arc<Notify>,
    /// Cancelled when the answer of `GET /endless` is let go of.
    let_go: CancellationToken,
}

fn routes() -> (Router, Inside) {
    let echo = |patience: Duration| {
        async move |request: Request| {
            let memory = BodyMemory::new(32);
            let read = read_body(request.into_body(), 1000, patience, &memory).await;
            read.map(|body| body.bytes.len().to_string())
        }
    };
    let crash = async || -> &'static str { panic!("boom") };
    let (began, begun) = mpsc::channel(1);
    let finish = Arc::new(Notify::new());
    let finished = Arc::clone(&finish);
    let work = async move || {
        began.send(()).await.unwrap();
        finished.notified().await;
        "worked"
    };
    let let_go = CancellationToken::new();
    let guard = let_go.clone();
    let endless = async move || {
        let guard = guard.drop_guard();
        Body::from_stream(stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 64 * 1024]))
        }))
    };
    let router = Router::new()
        .route("/echo", post(echo(Duration::from_millis(200))))
        .route("/patient", post(echo(Duration::from_secs(600))))
        .route("/crash", get(crash))
        .route("/work", get(work))
        .route("/endless", get(endless));
    (router, Inside { begun, finish, let_go })
}

async fn start(limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let (address, _inside, stop, server) = start_with_insight(limits).await;
    (address, stop, server)
}

async fn start_with_insight(
    limits: Limits,
) -> (SocketAddr, Inside, CancellationToken, tokio::task::JoinHandle<()>) {
    let (router, inside) = routes();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    (address, inside, stop.clone(), tokio::spawn(serve(listener, router, limits, stop)))
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
        format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    };
    assert!(talk(address, &post(1000, &"x".repeat(1000))).await.ends_with("1000"));
    assert!(talk(address, &post(1001, &"x".repeat(1001))).await.starts_with("HTTP/1.1 413"));
    assert!(talk(address, &post(1000, "stalls")).await.starts_with("HTTP/1.1 408"));
}

/// A client sends the body behind the head: what refuses by the head alone must not leave it to guess.
#[tokio::test]
async fn an_answer_before_the_body_was_read_says_that_it_is_the_last() {
    let soon = Limits { header_timeout: Duration::from_millis(100), ..Limits::default() };
    let (address, _stop, _server) = start(soon).await;
    for (path, body, last) in [("/crash", "", true), ("/echo", "12345", false), ("/crash", "12345", true)] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{body}");
        let answer = talk(address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        assert_eq!(answer.contains("connection: close"), last, "{path}: {answer}");
    }
    let empty = talk(address, b"POST /crash HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(empty.starts_with("HTTP/1.1 405") && !empty.contains("connection: close"), "{empty}");
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
    stream.write_all(b"POST /patient HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx").await.unwrap();
    let mut other = TcpStream::connect(address).await.unwrap();
    other.write_all(b"GET /crash HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Once this answer is there, the earlier connection has been accepted as well.
    other.read_u8().await.unwrap();
    stop.cancel();
    stream.write_all(b"y").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.ends_with('2'), "{answer}");
    server.await.unwrap();
}

/// Hung connections of one kind: each has sent `bytes` and then neither sends nor reads.
async fn hang(address: SocketAddr, bytes: &[u8], count: usize) -> Vec<TcpStream> {
    let mut hung = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        hung.push(stream);
    }
    hung
}

/// Until the server has closed it.
async fn closed(mut stream: TcpStream) {
    let mut sink = vec![0; 64 * 1024];
    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

const GOOD: &[u8] =
    b"POST /patient HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood";

#[tokio::test]
async fn connections_that_hang_do_not_keep_a_good_one_out() {
    let ways: [(&str, &[u8]); 5] = [
        ("nothing sent", b""),
        ("half a head", b"POST /patient HTTP/1.1\r\nhost: x\r\n"),
        ("half a body", b"POST /patient HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"),
        ("idle", b"POST /patient HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"),
        ("an answer that nobody reads", b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n"),
    ];
    for (way, bytes) in ways {
        let patient = Duration::from_secs(600);
        let limits =
            Limits { connections: 8, header_timeout: patient, write_stall: patient, ..Limits::default() };
        let (address, stop, server) = start(limits).await;
        let mut hung = hang(address, bytes, 8).await;
        for round in 0..20 {
            let answer = timeout(Duration::from_secs(60), talk(address, GOOD)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{way}: kept out in round {round}"));
            assert!(answer.ends_with('4'), "{way}: {answer}");
            hung.extend(hang(address, bytes, 1).await);
        }
        closed(hung.swap_remove(0)).await;
        stop.cancel();
        drop(hung);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_worked_on_is_not_closed_for_others() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let (address, mut inside, _stop, _server) = start_with_insight(limits).await;
    let working = tokio::spawn(talk(address, b"GET /work HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    inside.begun.recv().await.unwrap();
    let younger = hang(address, b"", 1).await.remove(0);
    assert!(talk(address, GOOD).await.ends_with('4'));
    closed(younger).await;
    inside.finish.notify_one();
    assert!(working.await.unwrap().ends_with("worked"));
}

#[tokio::test]
async fn who_reads_nothing_for_long_is_closed() {
    let limits = Limits { write_stall: Duration::from_millis(50), ..Limits::default() };
    let (address, inside, _stop, _server) = start_with_insight(limits).await;
    let _reader = hang(address, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n", 1).await;
    inside.let_go.cancelled().await;
}

#[test]
fn there_are_never_more_connections_than_descriptors() {
    let limits = Limits { connections: 4096, ..Limits::default() };
    let allowed =
        [64, 256, 1024, 4351, 4352, 1 << 20, u64::MAX].map(|files| limits.within(files).connections);
    assert_eq!(allowed, [48, 192, 768, 4095, 4096, 4096, 4096]);
}

#[tokio::test]
async fn how_long_a_body_may_take_depends_on_what_has_arrived() {
    let memory = BodyMemory::new(32);
    let stuck =
        Body::from_stream(stream::iter([Ok::<_, Infallible>(Bytes::from("some"))]).chain(stream::pending()));
    let deadline = |received| Duration::from_secs(if received < 4 { 600 } else { 0 });
    let late = read_body_within(stuck, 1000, deadline, &memory).await.unwrap_err();
    assert_eq!(late.into_response().status(), 408);
}
