//! Missed deliveries are found. GitHub tries each delivery once; what failed while the relay was away, it makes again
//! for three days, if somebody asks.
//!
//! On start and every few minutes, of each source: hooks that are ours → what GitHub delivered since the cursor → what
//! of it was missed → have it redelivered → move the cursor past what is settled. Nothing else is kept: how often an
//! event was tried is read off GitHub's own list, so that a crash at any point loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use queue::Queue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

pub(crate) mod github;
pub(crate) mod plan;
pub(crate) mod trouble;
mod walk;

use github::{Credential, Github, GithubError, Scope};
use plan::{Asked, GivenUp, Listing, Redelivery};
use trouble::{Trouble, advice};
use walk::Walk;

use crate::{
    config::{MissedConfig, MissedSettings},
    metrics,
};

/// Redeliveries that one look asks for; GitHub allows some 80 in a minute and 500 in an hour.
const MOST_REDELIVERIES: usize = 100;
/// How the path of a hook's URL ends if it leads to a relay.
const OUR_PATH: &str = "/github-webhook";

/// How the search for missed deliveries is, for `/health`. It names no repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not set up, and why.
    Off(String),
    /// Set up by half: what is missing.
    Lacking(String),
    /// Not looked yet.
    Unasked,
    /// Looked.
    Looked {
        /// Events that were missed and are not here yet.
        open: usize,
        /// What is in the way, and what to do.
        troubles: BTreeSet<String>,
    },
}

/// Looks for missed deliveries and has them redelivered.
#[derive(Debug)]
pub struct Missed {
    queue: Queue,
    sources: Vec<Source>,
    webhook_url: Option<Url>,
    every: Duration,
    pacing: Duration,
    lacking: Option<&'static str>,
    state: watch::Sender<State>,
}

/// Whose hooks are looked at, and who asks.
#[derive(Debug)]
struct Source {
    scope: Scope,
    github: Arc<Github>,
    hooks: BTreeMap<String, Memory>,
    /// What the log was told last.
    trouble: Option<String>,
}

/// What is known of a hook beside its cursor; all of it can be lost.
#[derive(Debug, Default)]
struct Memory {
    walk: Walk,
    /// By the attempt to be repeated.
    asked: BTreeMap<u64, Asked>,
    /// Events given up that the log was told of.
    told: BTreeSet<String>,
}

/// One look at everything.
struct Look<'a> {
    queue: &'a Queue,
    webhook_url: Option<&'a Url>,
    pacing: Duration,
    /// Redeliveries that may still be asked for.
    left: usize,
    /// Missed events that are not here yet.
    open: usize,
}

impl Missed {
    /// Looks where `config` says.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(queue: Queue, config: &MissedConfig) -> anyhow::Result<Self> {
        let off = |state| Self {
            queue: queue.clone(),
            sources: Vec::new(),
            webhook_url: None,
            every: Duration::ZERO,
            pacing: Duration::ZERO,
            lacking: None,
            state: watch::Sender::new(state),
        };
        match config {
            MissedConfig::Off { why, half: false } => Ok(off(State::Off(why.clone()))),
            MissedConfig::Off { why, half: true } => Ok(off(State::Lacking(why.clone()))),
            MissedConfig::On(settings) => Ok(Self {
                sources: sources(settings)?,
                webhook_url: settings.webhook_url.clone(),
                every: settings.every,
                pacing: settings.pacing,
                lacking: settings.lacking,
                ..off(State::Unasked)
            }),
        }
    }

    /// How it goes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Looks until `stop`. Being stopped in the middle of a look loses nothing.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.sources.is_empty() {
            if let State::Lacking(why) = &*self.state.borrow() {
                tracing::warn!("{why}");
            }
            return;
        }
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(looked) => {}
            }
        }
    }

    /// Looks at every source once; returns when to look again.
    pub async fn look(&mut self) -> Duration {
        let mut look = Look {
            queue: &self.queue,
            webhook_url: self.webhook_url.as_ref(),
            pacing: self.pacing,
            left: MOST_REDELIVERIES,
            open: 0,
        };
        let (mut again, mut troubles) = (self.every, BTreeSet::new());
        troubles.extend(self.lacking.map(str::to_owned));
        for source in &mut self.sources {
            let looked = look.at(source).await;
            if let Err(Trouble::Github(GithubError::Limited(pause))) = &looked {
                again = again.max(*pause);
            }
            let trouble = looked.err();
            source.tell(trouble.as_ref());
            troubles.extend(source.trouble.clone());
        }
        let open = look.open;
        if troubles.is_empty() {
            metrics::looked_for_missed(self.queue.now());
        }
        self.state.send_replace(State::Looked { open, troubles });
        again
    }
}

fn sources(settings: &MissedSettings) -> anyhow::Result<Vec<Source>> {
    let client = |credential| Github::new(settings.api.clone(), credential).map(Arc::new);
    let source = |scope, github: &Arc<Github>| Source {
        scope,
        github: Arc::clone(github),
        hooks: BTreeMap::new(),
        trouble: None,
    };
    let mut sources = Vec::new();
    if let Some(hooks) = &settings.hooks {
        let github = client(Credential::Token(hooks.token.clone()))?;
        let repositories = hooks.repositories.iter().cloned().map(Scope::Repository);
        let organisations = hooks.organisations.iter().cloned().map(Scope::Organisation);
        sources.extend(repositories.chain(organisations).map(|scope| source(scope, &github)));
    }
    if let Some(key) = &settings.app {
        sources.push(source(Scope::App, &client(Credential::App(key.clone()))?));
    }
    Ok(sources)
}

/// Whether a hook with this URL leads here: to `ours`, or without one to any URL that ends as ours does.
pub(crate) fn is_ours(url: &str, ours: Option<&Url>) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    ours.map_or_else(|| url.path().ends_with(OUR_PATH), |ours| *ours == url)
}

impl Look<'_> {
    /// The hooks that are ours, each.
    async fn at(&mut self, source: &mut Source) -> Result<(), Trouble> {
        // A redelivery that cannot be stored would only use up one of an event's few.
        self.queue.can_store().await?;
        let mut hooks = source.github.hooks(&source.scope).await?;
        hooks.retain(|hook| is_ours(&hook.url, self.webhook_url));
        if hooks.is_empty() {
            return Err(Trouble::NoHook);
        }
        for hook in hooks {
            let memory = source.hooks.entry(hook.path.clone()).or_default();
            self.at_hook(&source.github, &hook.path, memory).await?;
        }
        Ok(())
    }

    /// What GitHub tried since the cursor → what was missed → redelivery → the cursor moves.
    async fn at_hook(&mut self, github: &Github, hook: &str, memory: &mut Memory) -> Result<(), Trouble> {
        let name = format!("missed{hook}");
        let cursor = self.queue.cursor(&name).await?.and_then(from_millis);
        let horizon = plan::horizon(cursor, self.queue.now());
        let Some(listing) = memory.walk.back_to(horizon, github, hook).await? else {
            tracing::info!(hook, "GitHub has many deliveries of this hook; the next look reads on");
            return Ok(());
        };
        let known = self.known(&listing).await?;
        let plan = plan::plan(&listing, &known, &memory.asked, cursor, self.queue.now());
        self.open += plan.open;
        memory.tell(plan.given_up);
        memory.forget(&listing);
        self.redeliver(github, hook, plan.redeliver, memory).await?;
        if let Some(moved) = plan.cursor.filter(|_| plan.cursor > cursor) {
            self.queue.set_cursor(&name, to_millis(moved)).await?;
        }
        Ok(())
    }

    /// Those events that are here although GitHub saw every attempt fail.
    async fn known(&self, listing: &Listing) -> Result<BTreeSet<String>, Trouble> {
        let mut known = BTreeSet::new();
        for guid in plan::failed(listing) {
            if self.queue.find(guid).await?.is_some() {
                known.insert(guid.to_owned());
            }
        }
        Ok(known)
    }

    async fn redeliver(
        &mut self,
        github: &Github,
        hook: &str,
        missed: Vec<Redelivery>,
        memory: &mut Memory,
    ) -> Result<(), Trouble> {
        let (mut taken, mut refused) = (0, None);
        for Redelivery { attempt, guid, event, number } in missed.into_iter().take(self.left) {
            match github.redeliver(hook, attempt).await {
                Ok(()) => {
                    taken += 1;
                    tracing::info!(delivery = guid, event, number, "was missed; GitHub delivers it again");
                    metrics::missed("redelivered");
                }
                // This one cannot be had now, and must not stand in the way of the others.
                Err(error @ (GithubError::NotFound | GithubError::Refused(..))) => {
                    tracing::warn!(delivery = guid, event, number, %error, "was missed; GitHub did not take the redelivery");
                    refused = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
            self.left -= 1;
            memory.remember(attempt, self.queue.now());
            tokio::time::sleep(self.pacing).await;
        }
        // If none could be had, it is not about the single event: a right is missing.
        match refused {
            Some(error) if taken == 0 => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Memory {
    /// Says once of each event that it stays undelivered.
    fn tell(&mut self, given_up: Vec<GivenUp>) {
        let told = std::mem::take(&mut self.told);
        for GivenUp { guid, event, status_code, redeliveries } in given_up {
            if !told.contains(&guid) {
                let cause = match status_code {
                    401 => "the webhook's secret at GitHub and GITHUB_WEBHOOK_SECRET differ",
                    413 => "it is larger than the relay takes",
                    _ => "the answer in the webhook's recent deliveries at GitHub says why",
                };
                tracing::warn!(
                    delivery = guid,
                    event,
                    status_code,
                    redeliveries,
                    cause,
                    "was missed, and is given up"
                );
                metrics::missed("given_up");
            }
            self.told.insert(guid);
        }
    }

    fn remember(&mut self, attempt: u64, at: Timestamp) {
        let times = self.asked.get(&attempt).map_or(0, |asked| asked.times) + 1;
        self.asked.insert(attempt, Asked { at, times });
    }

    /// What GitHub lists no more needs no remembering.
    fn forget(&mut self, listing: &Listing) {
        let listed: BTreeSet<u64> = listing.attempts.iter().map(|attempt| attempt.id).collect();
        self.asked.retain(|attempt, _| listed.contains(attempt));
    }
}

impl Source {
    /// Tells the log what changed.
    fn tell(&mut self, trouble: Option<&Trouble>) {
        let (source, why) = (&self.scope, trouble.map(|trouble| advice(&self.scope, trouble)));
        match trouble {
            Some(cause) if why != self.trouble => {
                tracing::warn!(?source, why, %cause, "missed deliveries cannot be looked for");
            }
            None if self.trouble.is_some() => {
                tracing::info!(?source, "missed deliveries are looked for again");
            }
            _ => {}
        }
        self.trouble = why;
    }
}

fn from_millis(millis: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

fn to_millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or_default()
}
