//! Events as GitHub sends them: each once, whether anybody is there or not, and listed for whoever asks afterwards.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use sha2::{Digest, Sha256};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        child::{PATIENCE, until},
        process::{SIGNING_KEY, WEBHOOK_SECRET},
        target::{Mode, Target},
    },
    bridge::Bridge,
};
use crate::{
    control::lock,
    github::{Attempt, GitHub, HookOwner},
    scenario::{REVIEWER, REVIEWER_TOKEN, Scenario},
    webhook::{self, Delivery, delivery_id},
};

const REPOSITORY: &str = "acme/shop";
pub(super) const ADMIN_TOKEN: &str = "an-admin-token-for-the-docker-test";
/// Connections of GitHub's, and the pause of each between two events.
const SENDERS: usize = 4;
const PACE: Duration = Duration::from_millis(20);

/// GitHub and the two endpoints as stand-ins, and what was sent.
pub(super) struct Traffic {
    github: GitHub,
    hook: u64,
    port: u16,
    bridge: Bridge,
    targets: [Target; 2],
    sent: Arc<Mutex<Vec<Sent>>>,
    count: Arc<AtomicUsize>,
    running: JoinSet<()>,
    stop: CancellationToken,
}

/// An event that happened.
#[derive(Debug, Clone)]
struct Sent {
    id: String,
    digest: [u8; 32],
}

/// What became of all events.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) sent: usize,
    /// First attempts that met nobody, or were refused.
    pub(super) failed: usize,
    /// Attempts that the relay asked GitHub for and took.
    pub(super) found: usize,
    /// Without an effect at one of the targets.
    pub(super) lost: usize,
    /// With more than one.
    pub(super) doubled: usize,
    /// Handed over with other bytes than GitHub sent.
    pub(super) altered: usize,
}

impl Traffic {
    /// Nothing is sent yet, and the targets are away: the tunnel is down.
    pub(super) async fn new(port: u16) -> anyhow::Result<Self> {
        let github = GitHub::start().await?;
        Scenario::default().load_into(&github);
        let owner = HookOwner::Repository(REPOSITORY.to_owned());
        github.add_hook_admin(owner.clone(), REVIEWER);
        let bridge = Bridge::new(port)?;
        let url = format!("http://{}:{port}/github-webhook", bridge.address);
        let hook = github.add_hook(owner, &url, WEBHOOK_SECRET);
        let targets = Target::both()?;
        for target in &targets {
            target.set(Mode::Refused);
        }
        Ok(Self {
            github,
            hook,
            port,
            bridge,
            targets,
            sent: Arc::default(),
            count: Arc::default(),
            running: JoinSet::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Where the relay is to be.
    pub(super) fn relay(&self) -> String {
        format!("http://{}:{}", self.bridge.address, self.port)
    }

    /// The variables of the compose file.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("RELAY_SIGNING_KEY", SIGNING_KEY.to_owned()),
            ("RELAY_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("GITHUB_TOKEN", REVIEWER_TOKEN.to_owned()),
            ("GITHUB_REPOSITORIES", REPOSITORY.to_owned()),
            ("LISTEN", self.bridge.name.clone()),
            ("PORT", self.port.to_string()),
        ]
    }

    pub(super) fn github_url(&self) -> String {
        self.github.url()
    }

    pub(super) fn targets(&self) -> [String; 2] {
        self.targets.each_ref().map(Target::url)
    }

    /// The tunnel is up.
    pub(super) fn targets_come_back(&self) {
        for target in &self.targets {
            target.set(Mode::Well);
        }
    }

    /// From now on events happen.
    pub(super) fn start(&mut self) {
        for _ in 0..SENDERS {
            let (github, hook, stop) = (self.github.clone(), self.hook, self.stop.clone());
            let (sent, count) = (Arc::clone(&self.sent), Arc::clone(&self.count));
            self.running.spawn(async move {
                while !stop.is_cancelled() {
                    let event = push(count.fetch_add(1, Ordering::Relaxed));
                    let digest = Sha256::digest(&event.body).into();
                    lock(&sent).push(Sent { id: event.id.clone(), digest });
                    github.happens(hook, event).await;
                    sleep(PACE).await;
                }
            });
        }
    }

    /// No more happen, and all that did were tried.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }

    /// Waits until so many more first attempts went well, or failed.
    pub(super) async fn happens(&self, more: usize, went_well: bool) -> anyhow::Result<()> {
        let wanted = self.first_attempts(went_well) + more;
        let reached = until(PATIENCE, async || self.first_attempts(went_well) >= wanted).await;
        let what = if went_well { "go well" } else { "fail" };
        ensure!(reached, "webhooks do not {what} any more: {:?}", self.attempts().last());
        Ok(())
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.github.attempts(self.hook)
    }

    fn first_attempts(&self, went_well: bool) -> usize {
        let is_meant = |attempt: &&Attempt| !attempt.redelivery && is_well(attempt) == went_well;
        self.attempts().iter().filter(is_meant).count()
    }

    /// Waits until every event has had its effect at both targets; `false` if that does not come true.
    pub(super) async fn arrives(&self) -> bool {
        until(PATIENCE, async || self.account().lost == 0).await
    }

    /// Counts.
    pub(super) fn account(&self) -> Account {
        let sent = lock(&self.sent).clone();
        let mut account = Account {
            sent: sent.len(),
            failed: self.first_attempts(false),
            found: self.attempts().iter().filter(|attempt| attempt.redelivery && is_well(attempt)).count(),
            ..Account::default()
        };
        for event in sent {
            let effects =
                self.targets.each_ref().map(|target| target.ledger(|ledger| ledger.effect(&event.id)));
            account.lost += usize::from(effects.iter().any(Option::is_none));
            account.doubled += usize::from(effects.iter().flatten().any(|effect| effect.times > 1));
            account.altered +=
                usize::from(effects.iter().flatten().any(|effect| effect.digest != event.digest));
        }
        account
    }

    /// Sends the first event once more; the relay's answer.
    pub(super) async fn send_the_first_again(&self) -> anyhow::Result<String> {
        let answer = push(0).send(&format!("{}/github-webhook", self.relay()), WEBHOOK_SECRET).await?;
        let body: serde_json::Value = serde_json::from_str(&answer.body)?;
        Ok(format!("{} {}", answer.status, body["status"].as_str().unwrap_or_default()))
    }
}

fn is_well(attempt: &Attempt) -> bool {
    (200..300).contains(&attempt.status_code)
}

/// A push to the default branch, which both targets want; each is another one.
fn push(number: usize) -> Delivery {
    let usual = Scenario::default();
    let scenario = Scenario {
        repository: REPOSITORY.to_owned(),
        head_sha: format!("{number:040x}"),
        head_ref: usual.base_ref.clone(),
        ..usual
    };
    Delivery::new(&delivery_id(&format!("docker push {number}")), "push", &webhook::push(&scenario))
}
