//! What happens at GitHub meanwhile: pull requests, pushes and comments, each posted to the hook once, as GitHub does it.
//! What could not be delivered, the relay has to find out and ask for.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    control::lock,
    github::{GitHub, sha_of},
    scenario::Scenario,
    webhook::{self, Delivery, delivery_id},
};

/// The numbers of the pull requests begin here.
const FIRST: u64 = 1_000;

/// What an event has to lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A review of this pull request, which the memory is told, too.
    Pull(u64),
    /// Comments on this commit, if anything is wrong with it.
    Push(String),
    /// Nothing beyond the memory.
    Comment,
}

/// An event that happened.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// Its delivery id.
    pub(super) id: String,
    /// `owner/name`.
    pub(super) repository: String,
    pub(super) what: What,
    pub(super) at: Instant,
}

impl Event {
    /// The path at GitHub's to which its review is posted.
    pub(super) fn reviews(&self) -> Option<String> {
        match self.what {
            What::Pull(number) => Some(format!("/repos/{}/pulls/{number}/reviews", self.repository)),
            What::Push(_) | What::Comment => None,
        }
    }
}

/// Where it all goes to.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) github: GitHub,
    pub(super) hook: u64,
    /// `owner/name`.
    pub(super) repository: String,
}

/// Events that happen, and that happened.
#[derive(Debug)]
pub(super) struct Load {
    source: Source,
    events: Arc<Mutex<Vec<Event>>>,
    running: Option<JoinHandle<Teller>>,
    teller: Option<Teller>,
    stop: CancellationToken,
}

/// Tells the events one after the other.
#[derive(Debug)]
struct Teller {
    rng: Rng,
    told: u64,
    posting: JoinSet<()>,
}

impl Load {
    /// Nothing happens yet.
    pub(super) fn new(source: Source, rng: Rng) -> Self {
        let teller = Teller { rng, told: 0, posting: JoinSet::new() };
        Self {
            source,
            events: Arc::default(),
            running: None,
            teller: Some(teller),
            stop: CancellationToken::new(),
        }
    }

    /// From now on an event happens about every `pace`.
    pub(super) fn start(&mut self, pace: Duration) {
        let Some(mut teller) = self.teller.take() else { return };
        let (source, events, stop) = (self.source.clone(), Arc::clone(&self.events), self.stop.clone());
        self.running = Some(tokio::spawn(async move {
            while !stop.is_cancelled() {
                teller.tell(&source, &events);
                let pause = pace.mul_f64(0.5 + teller.rng.f64());
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
            }
            teller
        }));
    }

    /// One event happens now.
    pub(super) fn one(&mut self) {
        if let Some(teller) = &mut self.teller {
            teller.tell(&self.source, &self.events);
        }
    }

    /// Nothing more happens. What was posted and not answered yet goes on.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            // It does not panic, and nobody aborts it.
            self.teller = running.await.ok();
        }
        self.stop = CancellationToken::new();
    }

    /// All that happened so far.
    pub(super) fn events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }

    /// Deliveries that GitHub shows as failed, and no later attempt as taken.
    pub(super) fn undelivered(&self) -> usize {
        let attempts = self.source.github.attempts(self.source.hook);
        let taken = |id: &str| {
            attempts.iter().any(|attempt| attempt.guid == id && (200..300).contains(&attempt.status_code))
        };
        self.events().iter().filter(|event| !taken(&event.id)).count()
    }
}

impl Teller {
    fn tell(&mut self, source: &Source, events: &Mutex<Vec<Event>>) {
        while self.posting.try_join_next().is_some() {}
        let (delivery, what) = self.next(source);
        let (id, repository) = (delivery.id.clone(), source.repository.clone());
        lock(events).push(Event { id, repository, what, at: Instant::now() });
        let (github, hook) = (source.github.clone(), source.hook);
        self.posting.spawn(async move {
            // What became of it stands in GitHub's list.
            let _ = github.happens(hook, delivery).await;
        });
    }

    /// No two are alike, and each has a subject of its own: none takes another's place.
    fn next(&mut self, source: &Source) -> (Delivery, What) {
        let number = FIRST + self.told;
        self.told += 1;
        let unique = format!("{} {number} {:x}", source.repository, self.rng.u64(..));
        let head = sha_of(&unique);
        let scenario = Scenario {
            repository: source.repository.clone(),
            number,
            title: format!("Change {number}"),
            head_sha: head.clone(),
            head_ref: format!("change-{number}"),
            updated_at: jiff::Timestamp::now().to_string(),
            ..Scenario::default()
        };
        let (name, payload, what) = match self.rng.u8(..10) {
            0..7 => {
                scenario.load_into(&source.github);
                ("pull_request", webhook::pull_request(&scenario, "opened"), What::Pull(number))
            }
            7 => {
                let github = &source.github;
                github.add_range(&scenario.repository, &scenario.before, &head, &scenario.increment);
                let scenario = Scenario { head_ref: scenario.base_ref.clone(), ..scenario };
                ("push", webhook::push(&scenario), What::Push(head))
            }
            _ => {
                let comment = webhook::issue_comment(&scenario, "created", number, "ann", &unique);
                ("issue_comment", comment, What::Comment)
            }
        };
        (Delivery::new(&delivery_id(&unique), name, &payload), what)
    }
}
