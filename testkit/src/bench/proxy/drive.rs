//! The callers: one that waits for first bytes, many that ask small things, many that listen to streams, one that takes
//! or gives much.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::stream;
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::LocalSet};

use super::super::wire::Connection;

/// What a small chat sends.
pub(super) const CHAT: &str = r#"{"model":"smollm2:135m","messages":[{"role":"user","content":"Hello, how are you today?"}],"stream":false,"options":{"num_predict":6}}"#;
/// Of what is sent as fast as it is taken.
const PIECE: usize = 64 * 1024;

/// Where to ask, and as whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) token: &'static str,
}

/// A connection that is used again and again.
struct Client {
    sender: http1::SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    door: Door,
}

impl Client {
    async fn connect(door: Door) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(door.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(Self { sender, door })
    }

    async fn post(
        &mut self,
        path: &str,
        body: UnsyncBoxBody<Bytes, Infallible>,
    ) -> anyhow::Result<Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::post(path)
            .header("host", self.door.address.to_string())
            .header("authorization", format!("Bearer {}", self.door.token))
            .header("content-type", "application/json");
        let response = self.sender.send_request(request.body(body)?).await?;
        ensure!(response.status().is_success(), "{path} was answered {}", response.status());
        Ok(response)
    }

    async fn chat(&mut self, query: &str) -> anyhow::Result<Incoming> {
        let body = http_body_util::Full::from(CHAT).boxed_unsync();
        Ok(self.post(&format!("/api/chat?{query}"), body).await?.into_body())
    }
}

/// Data of the next frame that has any.
async fn data(body: &mut Incoming) -> anyhow::Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Some(data)),
            _ => {}
        }
    }
    Ok(None)
}

fn alone<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(work))
}

/// In nanoseconds.
pub(super) fn times() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// From sending a chat to the first byte of its streamed answer's body, one after the other.
///
/// # Errors
/// The server erred.
pub(super) fn first_bytes(door: Door, requests: u32) -> anyhow::Result<Histogram<u64>> {
    alone(async {
        let (mut client, mut times) = (Client::connect(door).await?, times()?);
        for _ in 0..requests {
            let asked = Instant::now();
            let mut body = client.chat("chunks=2&every=1").await?;
            data(&mut body).await?.context("an answer without a body")?;
            times.saturating_record(nanoseconds(asked.elapsed()));
            while data(&mut body).await?.is_some() {}
        }
        Ok(times)
    })
}

/// Small chats a second, each connection asking again as soon as it was answered.
///
/// # Errors
/// The server erred.
pub(super) fn small_requests(door: Door, connections: usize, duration: Duration) -> anyhow::Result<f64> {
    let Door { address, token } = door;
    let request = format!(
        "POST /api/chat HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    );
    alone(async {
        let answered = Rc::new(Cell::new(0_u64));
        let (request, started) = (Rc::new(request), Instant::now());
        let callers = (0..connections).map(|_| {
            let (request, answered) = (Rc::clone(&request), Rc::clone(&answered));
            tokio::task::spawn_local(async move {
                let mut connection = Connection::new(address);
                while started.elapsed() < duration {
                    let status = connection.exchange(request.as_bytes()).await?;
                    ensure!(status == 200, "a chat was answered {}", connection.said());
                    answered.set(answered.get() + 1);
                }
                Ok(())
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await??;
        }
        Ok(answered.get() as f64 / started.elapsed().as_secs_f64())
    })
}

/// How long each chunk of `streams` streams at a time was under way; `epoch` is what their times count from.
///
/// # Errors
/// The server erred, or a stream was not complete.
pub(super) fn streams(
    door: Door,
    epoch: Instant,
    streams: u32,
    chunks: u32,
    every: u32,
) -> anyhow::Result<Histogram<u64>> {
    alone(async {
        let times = Rc::new(RefCell::new(times()?));
        let listeners = (0..streams).map(|_| {
            let times = Rc::clone(&times);
            tokio::task::spawn_local(async move {
                let mut body =
                    Client::connect(door).await?.chat(&format!("chunks={chunks}&every={every}")).await?;
                let (mut unread, mut came) = (Vec::new(), 0);
                while let Some(data) = data(&mut body).await? {
                    let now = nanoseconds(epoch.elapsed());
                    unread.extend_from_slice(&data);
                    while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = unread.drain(..=end).collect();
                        let sent = sent(&line).context("a chunk does not say when it was sent")?;
                        times.borrow_mut().saturating_record(now.saturating_sub(sent));
                        came += 1;
                    }
                }
                ensure!(came == chunks && unread.is_empty(), "{came} chunks of {chunks} came");
                Ok(())
            })
        });
        for listener in listeners.collect::<Vec<_>>() {
            listener.await??;
        }
        Ok(times.borrow().clone())
    })
}

fn sent(line: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(line).ok()?.strip_prefix("{\"sent\":")?;
    digits.split(',').next()?.parse().ok()
}

/// Which way much is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Down,
    Up,
}

/// Sends at least so many bytes through, as fast as they are taken; `look` is called about a hundred times meanwhile.
/// The megabytes a second.
///
/// # Errors
/// The server erred, or some were missing.
pub(super) fn much(
    door: Door,
    way: Way,
    bytes: u64,
    look: impl Fn() + Send + 'static,
) -> anyhow::Result<f64> {
    let pieces = bytes.div_ceil(PIECE as u64);
    let between = (bytes / 100).max(1);
    alone(async move {
        let (mut client, started) = (Client::connect(door).await?, Instant::now());
        let passed = match way {
            Way::Down => {
                // A piece of whole lines is a little shorter.
                let mut body = client.chat(&format!("pieces={}", pieces + pieces / 100 + 1)).await?;
                let (mut passed, mut looked) = (0, 0);
                while let Some(data) = data(&mut body).await? {
                    passed += data.len() as u64;
                    if passed - looked > between {
                        looked = passed;
                        look();
                    }
                }
                passed
            }
            Way::Up => {
                let piece = Bytes::from(vec![b'x'; PIECE]);
                let every = (pieces / 100).max(1);
                let frames = stream::iter((0..pieces).map(move |number| {
                    if number % every == 0 {
                        look();
                    }
                    Ok(Frame::data(piece.clone()))
                }));
                let body = StreamBody::new(frames).boxed_unsync();
                let answer = client.post("/api/blobs/sha256:0", body).await?;
                answer.into_body().collect().await?;
                pieces * PIECE as u64
            }
        };
        ensure!(passed >= bytes, "{passed} bytes of {bytes} passed");
        Ok(passed as f64 / 1e6 / started.elapsed().as_secs_f64())
    })
}
