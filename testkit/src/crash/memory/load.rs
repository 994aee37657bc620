//! Those who write: agents with updates of their own and the relay with events, without a look at how the memory is. What was
//! not acknowledged may be sent again under the same id.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};
use shared::client::SignedClient;
use shared::signature::SigningKeys;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::endpoint::TOKEN;
use crate::control::lock;
use crate::crash::process::SIGNING_KEY;
use crate::github::sha_of;
use crate::webhook::delivery_id;

/// What they write about.
pub(super) const REPOSITORY: &str = "acme/memory";

const PATHS: [&str; 4] = ["src/queue.rs", "src/retry.rs", "docs/deploy.md", "src/money/cents.rs"];

/// Between two tries while nobody listens.
const PAUSE_WHILE_DOWN: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(20);

/// What is known of what was written.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By delivery: a word that nothing else has.
    pub(super) acknowledged: BTreeMap<String, String>,
    /// Deliveries whose memory was forgotten, and those of which that is not known.
    pub(super) forgotten: BTreeSet<String>,
    pub(super) doubtful: BTreeSet<String>,
    /// Answers that the contract does not know.
    pub(super) problems: Vec<String>,
}

/// Running writers, and what they know.
pub(super) struct Load {
    book: Arc<Mutex<Book>>,
    url: String,
    seed: Rng,
    writers: u32,
    running: JoinSet<()>,
    stop: CancellationToken,
    http: Client,
    keys: SigningKeys,
}

impl Load {
    /// No writer yet.
    pub(super) fn new(url: String, seed: Rng) -> anyhow::Result<Self> {
        Ok(Self {
            book: Arc::default(),
            url,
            seed,
            writers: 0,
            running: JoinSet::new(),
            stop: CancellationToken::new(),
            http: shared::client::http(Some(TIMEOUT))?,
            keys: SigningKeys::parse(&SIGNING_KEY.into())?,
        })
    }

    /// Starts so many writers; each pauses up to `pace` between two of what it sends.
    pub(super) fn start(&mut self, writers: u32, pace: Duration) {
        for _ in 0..writers {
            self.writers += 1;
            let base = self.url.parse();
            let signed =
                base.map(|base| SignedClient::new("ollama-endpoint", base, self.keys.clone(), TIMEOUT));
            let Ok(Ok(signed)) = signed else { continue };
            let writer = Writer {
                name: self.writers,
                url: self.url.clone(),
                http: self.http.clone(),
                signed,
                book: Arc::clone(&self.book),
                rng: self.seed.fork(),
                stop: self.stop.clone(),
                sent: 0,
            };
            self.running.spawn(writer.run(pace));
        }
    }

    /// Lets open requests finish and sends no more.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
    }

    /// Looks at what the writers know.
    pub(super) fn book<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&lock(&self.book))
    }
}

struct Writer {
    name: u32,
    url: String,
    http: Client,
    signed: SignedClient,
    book: Arc<Mutex<Book>>,
    rng: Rng,
    stop: CancellationToken,
    sent: u64,
}

/// What became of one request.
enum Reply {
    Taken,
    NotTaken,
    Unknown,
    NobodyThere,
}

/// What is sent.
struct Message {
    id: String,
    delivery: String,
    word: String,
    body: Value,
    signed: bool,
}

impl Writer {
    async fn run(mut self, pace: Duration) {
        while !self.stop.is_cancelled() {
            if self.rng.u8(..40) == 0 {
                self.forget_one().await;
            }
            let message = self.next();
            self.deliver(&message).await;
            if self.rng.u8(..20) == 0 {
                self.deliver(&message).await;
            }
            sleep(pace.mul_f64(self.rng.f64())).await;
        }
    }

    /// Something else each time.
    fn next(&mut self) -> Message {
        self.sent += 1;
        let word = word(u64::from(self.name) * 1_000_000 + self.sent);
        let path = PATHS[self.rng.usize(..PATHS.len())];
        let subject = ["retries", "the queue", "deploys", "the cache"][self.rng.usize(..4)];
        let sentence = format!("About {subject}: {word} was settled, as {path} has it");
        let unique = format!("{} {}", self.name, self.sent);
        if self.rng.u8(..3) > 0 {
            let id = delivery_id(&unique);
            let kind = ["note", "decision", "convention"][self.rng.usize(..3)];
            let body = json!({"id": id, "repository": REPOSITORY, "context": sentence, "kind": kind, "agent": "jules", "paths": [path]});
            return Message { delivery: format!("update:{id}"), id, word, body, signed: false };
        }
        let id = delivery_id(&unique);
        let (event, subject, payload) = match self.rng.u8(..3) {
            0 => {
                let commit = json!({"id": sha_of(&unique), "message": sentence, "added": [], "modified": [path], "removed": []});
                let push = json!({"kind": "push", "ref": "refs/heads/main", "before": sha_of("before"), "after": sha_of(&unique),
                    "commits": 1, "forced": false});
                ("push", push, json!({"commits": [commit], "compare": "https://example.test/compare"}))
            }
            _ => {
                let rest = "It was talked about for a while. Several people had seen it before. It comes back every few weeks. ";
                let body = format!("{rest}{sentence}. {rest}");
                let issue = json!({"number": self.sent, "title": sentence, "body": body, "user": {"login": "ann"},
                    "html_url": format!("https://example.test/issues/{}-{}", self.name, self.sent)});
                ("issues", json!({"kind": "other"}), json!({"issue": issue}))
            }
        };
        let body = json!({
            "version": 1, "id": id, "event": event, "action": "opened", "received_at": Timestamp::now(),
            "repository": {"full_name": REPOSITORY, "private": true, "default_branch": "main"},
            "sender": {"login": "ann", "kind": "user"}, "subject": subject, "payload": payload,
        });
        Message { delivery: id.clone(), id, word, body, signed: true }
    }

    /// Sends it, for as long as nobody is there at all, and now and then again where nothing was heard.
    async fn deliver(&mut self, message: &Message) {
        loop {
            match self.attempt(message).await {
                Reply::Taken => {
                    lock(&self.book).acknowledged.insert(message.delivery.clone(), message.word.clone());
                    return;
                }
                Reply::Unknown if self.rng.bool() => {}
                Reply::NotTaken | Reply::Unknown => return,
                Reply::NobodyThere if self.stop.is_cancelled() => return,
                Reply::NobodyThere => sleep(PAUSE_WHILE_DOWN).await,
            }
        }
    }

    async fn attempt(&self, message: &Message) -> Reply {
        let body = message.body.to_string();
        let status = if message.signed {
            match self.signed.post("/memory-update", &message.id, body.into()).await {
                Ok(answer) => answer.status,
                Err(_) if self.stop.is_cancelled() => return Reply::Unknown,
                // Whether a connection was made at all is not told.
                Err(_) => return Reply::NobodyThere,
            }
        } else {
            let request = self.http.post(format!("{}/memory-update", self.url)).bearer_auth(TOKEN).body(body);
            match request.send().await {
                Ok(answer) => answer.status().as_u16(),
                Err(error) if error.is_connect() => return Reply::NobodyThere,
                Err(_) => return Reply::Unknown,
            }
        };
        match status {
            200 | 202 => Reply::Taken,
            503 => Reply::NotTaken,
            _ => {
                lock(&self.book).problems.push(format!("{} was answered {status}", message.delivery));
                Reply::NotTaken
            }
        }
    }

    /// Forgets the newest memory, whatever it is.
    async fn forget_one(&self) {
        let request = self.http.get(format!("{}/memory/search?limit=1", self.url)).bearer_auth(TOKEN);
        let Ok(answer) = request.send().await else { return };
        let found: Value = answer.json().await.unwrap_or_default();
        let (Some(id), Some(delivery)) =
            (found["results"][0]["id"].as_str(), found["results"][0]["source"]["delivery"].as_str())
        else {
            return;
        };
        lock(&self.book).doubtful.insert(delivery.to_owned());
        let request = self.http.post(format!("{}/memory/forget", self.url)).bearer_auth(TOKEN);
        let Ok(answer) = request.json(&json!({"ids": [id]})).send().await else { return };
        let answer: Value = answer.json().await.unwrap_or_default();
        let forgotten = answer["forgotten"].as_array().into_iter().flatten();
        let deliveries: Vec<String> =
            forgotten.filter_map(|memory| memory["source"]["delivery"].as_str()).map(str::to_owned).collect();
        lock(&self.book).forgotten.extend(deliveries);
    }
}

/// A word of letters alone that no other number has.
fn word(number: u64) -> String {
    let letters =
        number.to_string().bytes().map(|digit| char::from(b'b' + (digit - b'0') * 2)).collect::<String>();
    format!("zq{letters}x")
}
