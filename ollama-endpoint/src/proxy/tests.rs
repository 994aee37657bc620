//! The proxy between two plain sockets: the tests decide every byte on both sides and wait for nothing but bytes.

mod memory;
mod numbers;
mod queue;

use std::net::SocketAddr;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

/// One end of a connection, with what was read too far.
struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Everything up to and including `end`. Panics if the connection ends before.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.unread.split_off(at + end.len());
                let read = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8(read).unwrap();
            }
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "ended after {so_far:?}");
        }
    }

    /// So many bytes. Panics if the connection ends before.
    async fn exactly(&mut self, length: usize) -> String {
        while self.unread.len() < length {
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "ended too early");
        }
        let rest = self.unread.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap()
    }

    /// Everything until the other side closes, in order or not.
    async fn rest(mut self) -> String {
        let _ = self.stream.read_to_end(&mut self.unread).await;
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

struct Fixture {
    ollama: TcpListener,
    proxy: SocketAddr,
    inner: Arc<Proxy>,
    stop: CancellationToken,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn limits() -> Limits {
    let minute = Duration::from_secs(60);
    Limits { concurrency: 4, waiting: 4, wait: minute, idle: minute, admin: false, memory_tokens: 500 }
}

fn proxy(ollama: SocketAddr, limits: Limits) -> Proxy {
    Proxy::new(&format!("http://{ollama}").parse().unwrap(), limits)
}

async fn serve(proxy: Arc<Proxy>) -> (SocketAddr, CancellationToken) {
    let router = Router::new().fallback(handle).with_state(proxy);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(shared::server::serve(listener, router, shared::server::Limits::default(), stop.clone()));
    (address, stop)
}

impl Fixture {
    async fn new(limits: Limits) -> Self {
        Self::with(limits, |proxy| proxy).await
    }

    async fn with(limits: Limits, change: impl FnOnce(Proxy) -> Proxy) -> Self {
        let ollama = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(change(proxy(ollama.local_addr().unwrap(), limits)));
        let (proxy, stop) = serve(Arc::clone(&inner)).await;
        Self { ollama, proxy, inner, stop }
    }

    async fn caller(&self, request: &str) -> Peer {
        let mut caller = Peer::new(TcpStream::connect(self.proxy).await.unwrap());
        caller.send(request).await;
        caller
    }

    /// The connection on which the proxy reaches Ollama.
    async fn ollama(&self) -> Peer {
        Peer::new(self.ollama.accept().await.unwrap().0)
    }
}

const CHAT: &str = "POST /api/chat HTTP/1.1\r\nhost: proxy\r\ncontent-length: 2\r\n\r\n{}";
const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn each_chunk_of_the_answer_passes_before_the_next_is_sent() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send(STREAM).await;
    assert!(
        caller
            .until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n")
    );
    for chunk in ["{\"n\":1}\n", "{\"n\":2,\"text\":\"…\"}\n", "x"] {
        let framed = format!("{:X}\r\n{chunk}\r\n", chunk.len());
        ollama.send(&framed).await;
        assert_eq!(caller.until(&format!("{chunk}\r\n")).await, framed);
    }
    ollama.send("0\r\n\r\n").await;
    assert_eq!(caller.until("0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn each_chunk_of_an_upload_passes_before_the_next_is_sent() {
    let fixture = Fixture::new(Limits { admin: true, ..limits() }).await;
    let mut caller = fixture
        .caller("POST /api/blobs/sha256:0 HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut ollama = fixture.ollama().await;
    assert!(ollama.until("\r\n\r\n").await.contains("transfer-encoding: chunked"));
    for chunk in ["first", "second part"] {
        let framed = format!("{:X}\r\n{chunk}\r\n", chunk.len());
        caller.send(&framed).await;
        assert_eq!(ollama.until(&format!("{chunk}\r\n")).await, framed);
    }
    caller.send("0\r\n\r\n").await;
    ollama.until("0\r\n\r\n").await;
    ollama.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    assert!(caller.until("\r\n\r\n").await.starts_with("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n"));
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_request_to_ollama() {
    let fixture = Fixture::new(limits()).await;
    let caller = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    drop(caller);
    assert_eq!(ollama.rest().await, "", "before the answer began");

    let mut caller = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send(STREAM).await;
    ollama.send("1\r\na\r\n").await;
    caller.until("1\r\na\r\n").await;
    drop(caller);
    assert_eq!(ollama.rest().await, "", "in the middle of the answer");
}

#[tokio::test]
async fn path_query_status_and_headers_pass_exactly_and_credentials_do_not() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture
        .caller(
            "GET /v1/models/a%2Fb?x=%2f~+&&y=%C3%A9 HTTP/1.1\r\nhost: relay.example\r\norigin: https://e.example\r\n\
             authorization: Bearer secret\r\nwebhook-signature: v1,secret\r\ncookie: secret\r\naccept: */*\r\n\
             connection: x-hop\r\nx-hop: secret\r\nx-api-key: secret\r\n\r\n",
        )
        .await;
    let mut ollama = fixture.ollama().await;
    let host = fixture.ollama.local_addr().unwrap();
    assert_eq!(
        ollama.until("\r\n\r\n").await,
        format!("GET /v1/models/a%2Fb?x=%2f~+&&y=%C3%A9 HTTP/1.1\r\naccept: */*\r\nhost: {host}\r\n\r\n")
    );
    ollama
        .send(
            "HTTP/1.1 418 Teapot\r\nx-a: 1\r\nx-a: 2\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nno",
        )
        .await;
    let answer = caller.until("\r\n\r\nno").await;
    assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
    assert!(answer.contains("x-a: 1\r\nx-a: 2\r\n") && !answer.contains("keep-alive"), "{answer}");
}

#[tokio::test]
async fn an_ollama_behind_a_path_is_asked_there() {
    let proxy = proxy("127.0.0.1:1".parse().unwrap(), limits());
    let there = Proxy::new(&"http://127.0.0.1:1/ollama/".parse().unwrap(), limits());
    for (asked, here, path) in [
        ("/api/tags?a=%2F", "/api/tags?a=%2F", "/ollama/api/tags?a=%2F"),
        ("/api//ps", "/api//ps", "/ollama/api//ps"),
    ] {
        let asked = asked.parse().unwrap();
        assert_eq!(proxy.target(&asked).unwrap().to_string(), format!("http://127.0.0.1:1{here}"));
        assert_eq!(there.target(&asked).unwrap().to_string(), format!("http://127.0.0.1:1{path}"));
    }
}

#[tokio::test]
async fn head_keeps_the_length_of_the_body_it_does_not_have() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture
        .caller("HEAD /api/tags HTTP/1.1\r\nhost: p\r\n\r\nGET /api/ps HTTP/1.1\r\nhost: p\r\n\r\n")
        .await;
    let mut ollama = fixture.ollama().await;
    assert!(ollama.until("\r\n\r\n").await.starts_with("HEAD /api/tags "));
    ollama.send("HTTP/1.1 200 OK\r\ncontent-length: 773\r\n\r\n").await;
    assert!(caller.until("\r\n\r\n").await.contains("content-length: 773\r\n"));
    assert!(ollama.until("\r\n\r\n").await.starts_with("GET /api/ps "), "the connection is used again");
}

#[tokio::test]
async fn guarded_and_unknown_routes_are_refused_in_ollamas_shape() {
    let fixture = Fixture::new(limits()).await;
    for (path, hint) in
        [("/api/pull", "OLLAMA_PROXY_ADMIN=1"), ("/api//DELETE/", "OLLAMA_PROXY_ADMIN=1"), ("/api/x", "only")]
    {
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: p\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let answer = fixture.caller(&request).await.rest().await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("{\"error\":\""), "{answer}");
        assert!(answer.contains(hint), "{answer}");
    }
    let open = Fixture::new(Limits { admin: true, ..limits() }).await;
    let _caller = open.caller("POST /api/pull HTTP/1.1\r\nhost: p\r\ncontent-length: 0\r\n\r\n").await;
    assert!(open.ollama().await.until("\r\n\r\n").await.starts_with("POST /api/pull "));
}

#[tokio::test]
async fn ollama_away_says_how_to_start_it() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (proxy, _stop) = serve(Arc::new(proxy(gone, limits()))).await;
    for (path, shape) in [
        ("/api/chat", "{\"error\":\"Ollama does not answer"),
        ("/v1/chat/completions", "{\"error\":{\"message\":\"Ollama does not answer"),
        (
            "/v1/messages",
            "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Ollama does not answer",
        ),
    ] {
        let mut caller = Peer::new(TcpStream::connect(proxy).await.unwrap());
        caller.send(&CHAT.replace("/api/chat", path)).await;
        let answer = caller.until("}").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 5\r\n"), "{answer}");
        assert!(answer.contains(shape) && answer.contains("ollama serve"), "{answer}");
    }
}

#[tokio::test]
async fn an_ollama_that_accepts_no_connection_is_away_within_seconds() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
    {
        held.push(connected.unwrap());
        assert!(held.len() < 100, "its backlog has no end");
    }
    let (proxy, _stop) = serve(Arc::new(proxy(address, limits()))).await;
    let mut caller = Peer::new(TcpStream::connect(proxy).await.unwrap());
    caller.send(CHAT).await;
    tokio::time::pause();
    let asked = tokio::time::Instant::now();
    let answer = caller.until("}").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("ollama serve"), "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_cold_model_may_take_an_hour_and_each_chunk_nearly_as_long_as_the_limit() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    tokio::time::resume();
    ollama.send(STREAM).await;
    caller.until("\r\n\r\n").await;
    for _ in 0..3 {
        tokio::time::pause();
        tokio::time::advance(limits().idle - Duration::from_secs(1)).await;
        tokio::time::resume();
        ollama.send("1\r\na\r\n").await;
        caller.until("1\r\na\r\n").await;
    }
    ollama.send("0\r\n\r\n").await;
    caller.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_bad_gateway() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    drop(ollama);
    assert!(caller.until("}").await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn silence_in_the_middle_of_a_body_ends_it() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send(STREAM).await;
    ollama.send("1\r\na\r\n").await;
    caller.until("1\r\na\r\n").await;
    // From here on time passes as soon as everybody waits.
    tokio::time::pause();
    assert_eq!(caller.rest().await, "", "cut off, not ended as if complete");
    assert_eq!(ollama.rest().await, "");
}

#[tokio::test]
async fn an_upload_that_stands_still_is_the_callers_fault() {
    let fixture = Fixture::new(limits()).await;
    let mut caller = fixture.caller("POST /api/chat HTTP/1.1\r\nhost: p\r\ncontent-length: 9\r\n\r\n{").await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{").await;
    tokio::time::pause();
    let answer = caller.until("}").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("{\"error\":\""), "{answer}");
    assert!(answer.contains("the request's body stood still"), "{answer}");
    assert_eq!(ollama.rest().await, "");
}

#[tokio::test]
async fn a_caller_who_stops_reading_frees_the_slot_for_the_next() {
    let fixture = Fixture::new(Limits { concurrency: 1, ..limits() }).await;
    let mut idle = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send("HTTP/1.1 200 OK\r\n\r\n").await;
    idle.until("\r\n\r\n").await;
    let flood = tokio::spawn(async move {
        let chunk = vec![b'x'; 1024 * 1024];
        while ollama.stream.write_all(&chunk).await.is_ok() {}
    });
    tokio::time::pause();
    tokio::time::timeout(limits().idle * 3, flood).await.expect("the flood has no end").unwrap();
    let mut next = fixture.caller(CHAT).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1").await;
    next.until("\r\n\r\n1").await;
    drop(idle);
}
