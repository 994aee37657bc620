//! Senders that behave like GitHub: distinct, signed webhooks over several connections, without a look at how the
//! relay is. What was not acknowledged may be sent again later under the same id.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use reqwest::Client;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    book::{Book, Heard, Sent},
    process::WEBHOOK_SECRET,
};
use crate::{
    control::lock,
    github::sha_of,
    scenario::Scenario,
    webhook::{self, Delivery, delivery_id},
};

/// Pull requests per sender; its pushes go to one branch more.
const PULL_REQUESTS: u64 = 3;
/// The most deliveries per sender that wait to be sent again.
const MOST_OWED: usize = 50;
/// Between two tries while nobody listens.
const PAUSE_WHILE_DOWN: Duration = Duration::from_millis(5);
/// GitHub gives up on a delivery after this long.
const GITHUBS_PATIENCE: Duration = Duration::from_secs(10);

/// Running senders, and what they know.
#[derive(Debug)]
pub(super) struct Load {
    book: Arc<Mutex<Book>>,
    url: String,
    seed: Rng,
    senders: u32,
    running: JoinSet<()>,
    stop: CancellationToken,
    problems: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// No sender yet.
    pub(super) fn new(url: String, seed: Rng) -> Self {
        Self {
            book: Arc::default(),
            url,
            seed,
            senders: 0,
            running: JoinSet::new(),
            stop: CancellationToken::new(),
            problems: Arc::default(),
        }
    }

    /// Starts so many senders; each has pull requests and a branch of its own and pauses up to `pace` between two
    /// deliveries.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn start(&mut self, senders: u32, pace: Duration) -> anyhow::Result<()> {
        for _ in 0..senders {
            self.senders += 1;
            let sender = Sender {
                name: format!("acme/load{}-{:x}", self.senders, self.seed.u32(..)),
                url: self.url.clone(),
                http: shared::client::http(Some(GITHUBS_PATIENCE))?,
                book: Arc::clone(&self.book),
                problems: Arc::clone(&self.problems),
                rng: self.seed.fork(),
                stop: self.stop.clone(),
                sent: 0,
                owed: VecDeque::new(),
            };
            self.running.spawn(sender.run(pace));
        }
        Ok(())
    }

    /// Lets open requests finish and sends no more. [`start`](Self::start) adds new senders.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
    }

    /// Looks at what the senders know.
    pub(super) fn book<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&lock(&self.book))
    }

    /// Answers that the contract does not know.
    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.problems).clone()
    }
}

/// One connection of GitHub's.
struct Sender {
    name: String,
    url: String,
    http: Client,
    book: Arc<Mutex<Book>>,
    problems: Arc<Mutex<Vec<String>>>,
    rng: Rng,
    stop: CancellationToken,
    sent: u64,
    owed: VecDeque<Delivery>,
}

/// What became of one request.
enum Reply {
    Heard(Heard),
    NobodyThere,
}

impl Sender {
    async fn run(mut self, pace: Duration) {
        while !self.stop.is_cancelled() {
            let delivery = self.next();
            let heard = self.deliver(&delivery).await;
            self.remember(delivery, &heard).await;
            sleep(pace.mul_f64(self.rng.f64())).await;
        }
    }

    /// A delivery of another kind and subject each time; no two bodies are the same.
    fn next(&mut self) -> Delivery {
        self.sent += 1;
        let number = 1 + self.rng.u64(..PULL_REQUESTS);
        let unique = format!("{} {}", self.name, self.sent);
        let scenario = Scenario {
            repository: self.name.clone(),
            number,
            title: format!("Change {}", self.sent),
            head_sha: sha_of(&unique),
            updated_at: jiff::Timestamp::now().to_string(),
            ..Scenario::default()
        };
        let pull_request = format!("{}#{number}", self.name);
        let (event, payload, subject) = match self.rng.u8(..10) {
            0..4 => ("pull_request", webhook::pull_request(&scenario, "synchronize"), pull_request),
            4..7 => {
                let comment = webhook::issue_comment(&scenario, "created", number, "ann", &unique);
                ("issue_comment", comment, pull_request)
            }
            _ => {
                let scenario = Scenario { head_ref: scenario.base_ref.clone(), ..scenario };
                ("push", webhook::push(&scenario), format!("{}@main", self.name))
            }
        };
        let delivery = Delivery::new(&delivery_id(&unique), event, &payload);
        let digest = Sha256::digest(&delivery.body).into();
        let sent = Sent { subject, number: self.sent, digest, heard: Heard::Nothing, waited: true };
        lock(&self.book).begin(&delivery.id, sent);
        delivery
    }

    /// Sends it, for as long as nobody is there at all.
    async fn deliver(&self, delivery: &Delivery) -> Heard {
        loop {
            match self.attempt(delivery).await {
                Reply::Heard(heard) => {
                    lock(&self.book).hear(&delivery.id, heard.clone());
                    return heard;
                }
                Reply::NobodyThere if self.stop.is_cancelled() => return Heard::Nothing,
                Reply::NobodyThere => sleep(PAUSE_WHILE_DOWN).await,
            }
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Reply {
        let mut request = self.http.post(&self.url).body(delivery.body.clone());
        for (name, value) in delivery.headers(WEBHOOK_SECRET) {
            request = request.header(name, value);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Reply::NobodyThere,
            Err(_) => return Reply::Heard(Heard::Nothing),
        };
        let (status, retry_after) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        // A 202 whose body is cut off is no acknowledgement that names targets, and GitHub would count it as failed.
        let Ok(body) = answer.json::<Value>().await else { return Reply::Heard(Heard::Nothing) };
        let targets = || body["targets"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Reply::Heard(match status {
            202 => Heard::Taken(Some(targets().map(str::to_owned).collect())),
            200 if body["status"] == "duplicate" => Heard::Taken(None),
            503 if retry_after => Heard::Refused,
            _ => {
                let problem = format!("{} was answered {status} {body}", delivery.id);
                lock(&self.problems).push(problem);
                Heard::Refused
            }
        })
    }

    /// Now and then the redelivery that GitHub offers: of what was not acknowledged, and of what was.
    async fn remember(&mut self, delivery: Delivery, heard: &Heard) {
        match heard {
            Heard::Taken(_) if self.rng.u8(..40) == 0 => {
                self.deliver(&delivery).await;
            }
            Heard::Taken(_) => {}
            Heard::Nothing | Heard::Refused if self.rng.bool() && self.owed.len() < MOST_OWED => {
                self.owed.push_back(delivery);
                return;
            }
            Heard::Nothing | Heard::Refused => return,
        }
        if let Some(owed) = self.owed.pop_front()
            && matches!(self.deliver(&owed).await, Heard::Nothing | Heard::Refused)
        {
            self.owed.push_back(owed);
        }
    }
}
