//! Somebody on the VPS who takes the tunnel's ports while it is down, says yes to everything, and writes down what they were
//! given. A process of its own, because it runs where the VPS is.

use std::{
    fs::{self, File},
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    control::lock,
    crash::child::{PATIENCE, Program, until},
    place::Place,
};

/// What it says when it has its ports.
const LISTENING: &str = "squatting";

/// Between two tries of a port that is taken.
const PAUSE: Duration = Duration::from_millis(2);

/// Which ports, and where the notes go.
#[derive(Debug, clap::Args)]
pub struct Squatter {
    /// Ports of loopback, comma-separated
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    /// A JSON line for each request
    #[arg(long)]
    notes: PathBuf,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    method: String,
    path: String,
    /// Of its body, as much as came at first.
    bytes: usize,
}

/// Takes the ports, as soon as nobody else has them, until it is killed.
///
/// # Errors
/// The notes cannot be written.
pub async fn run(args: &Squatter) -> anyhow::Result<()> {
    let notes = Arc::new(Mutex::new(File::options().create(true).append(true).open(&args.notes)?));
    let mut listening = JoinSet::new();
    for port in &args.ports {
        let listener = take(*port).await;
        let notes = Arc::clone(&notes);
        listening.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let notes = Arc::clone(&notes);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, &notes));
                    // Who goes away is not held.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    }
    eprintln!("{LISTENING}");
    while listening.join_next().await.is_some() {}
    Ok(())
}

/// Whoever has the port now, is about to go.
async fn take(port: u16) -> TcpListener {
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    notes: &Mutex<File>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, mut body) = request.into_parts();
    // What breaks off later has been read as well.
    let start = start_of(&mut body).await;
    let note =
        Note { method: parts.method.to_string(), path: parts.uri.path().to_owned(), bytes: start.len() };
    if let Ok(line) = serde_json::to_string(&note) {
        // A note that cannot be written is missed by whoever reads them.
        let _ = writeln!(lock(notes), "{line}");
    }
    let rest = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let envelope: Option<Value> = serde_json::from_slice(&[start, rest].concat()).ok();
    let id = envelope.as_ref().and_then(|envelope| envelope["id"].as_str());
    let (status, said) = match (&parts.method, parts.uri.path()) {
        (&Method::POST, _) => (StatusCode::ACCEPTED, json!({"status": "accepted", "id": id})),
        (_, "/outcomes") => (StatusCode::OK, json!({"outcomes": [], "next": 0})),
        _ => (StatusCode::OK, json!("ok")),
    };
    let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

/// The first bytes of a body; none if it has none.
async fn start_of(body: &mut Incoming) -> Bytes {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return data;
        }
    }
    Bytes::new()
}

/// What a squatter was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spoils {
    /// Requests in all.
    pub(super) requests: usize,
    /// Of these: with a body, or a part of one. Nothing that we send has one but events.
    pub(super) events: usize,
}

/// A running squatter; killed when dropped.
#[derive(Debug)]
pub(super) struct Squatting {
    program: Program,
    notes: PathBuf,
}

impl Squatting {
    /// Takes both ports in `place`, and waits until it has them.
    pub(super) async fn start(place: &Place, folder: &Path, ports: [u16; 2]) -> anyhow::Result<Self> {
        let notes = folder.join("squatter.notes");
        let mut command = place.command(&std::env::current_exe()?);
        command.args(["squatter", "--ports", &ports.map(|port| port.to_string()).join(",")]);
        command.arg("--notes").arg(&notes);
        let mut program = Program::new(folder.join("squatter.log"));
        program.spawn(command)?;
        let listens = until(PATIENCE, async || program.has_ended() || program.has_logged(LISTENING)).await;
        ensure!(listens && !program.has_ended(), "the squatter has no ports: {}", program.last_words());
        Ok(Self { program, notes })
    }

    /// It goes; what it was given.
    pub(super) fn end(mut self) -> anyhow::Result<Spoils> {
        self.program.kill();
        Ok(Spoils::read(&fs::read_to_string(&self.notes)?))
    }
}

impl Spoils {
    fn read(notes: &str) -> Self {
        let notes: Vec<Note> = notes.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let events = notes.iter().filter(|note| note.bytes > 0).count();
        Self { requests: notes.len(), events }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_probe_is_no_event_and_one_that_breaks_off_is() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, port) = (folder.path().join("notes"), crate::port::port());
        let squatter = Squatter { ports: vec![port], notes: notes.clone() };
        let squatting = tokio::spawn(async move { run(&squatter).await });
        let heads = [
            "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /ai-sync HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{\"id\": ",
        ];
        for (nth, head) in heads.into_iter().enumerate() {
            let connected = async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            assert!(until(PATIENCE, async || connected().await.is_ok()).await);
            let mut stream = connected().await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let lines = || fs::read_to_string(&notes).unwrap().lines().count();
            assert!(until(PATIENCE, async || lines() > nth).await);
        }
        squatting.abort();
        let said = fs::read_to_string(&notes).unwrap() + "{\"cut\"";
        assert_eq!(Spoils::read(&said), Spoils { requests: 2, events: 1 });
    }
}
