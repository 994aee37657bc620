//! Each secret is replaced while events flow: none is lost, none is refused, and one sees when the old one can go.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use shared::keys::{KeyReport, written};
use testkit::{
    scenario::Scenario,
    webhook::{Delivery, issues},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::{World, binaries::Binaries, until};

const WEBHOOK: &str = "GITHUB_WEBHOOK_SECRET";
const SIGNING: &str = "RELAY_SIGNING_KEY";
const ADMIN: &str = "RELAY_ADMIN_TOKEN";
const MEMORY: &str = "MEMORY_TOKEN";

/// Each secret, its successor, and who must know it.
const SECRETS: [(&str, &str, &str, &[&str]); 4] = [
    (WEBHOOK, "the-old-webhook-secret", "the-new-webhook-secret", &["relay"]),
    (
        SIGNING,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e",
        &["relay", "claude-endpoint", "ollama-endpoint"],
    ),
    (ADMIN, "the-old-admin-token", "the-new-admin-token", &["relay"]),
    (MEMORY, "the-old-memory-token", "the-new-memory-token", &["ollama-endpoint"]),
];

/// What the outside sends: GitHub, an operator, an agent.
#[derive(Default)]
struct Outside {
    uses: BTreeMap<&'static str, &'static str>,
    sent: Vec<String>,
    refused: Vec<String>,
}

struct Traffic {
    outside: Arc<Mutex<Outside>>,
    rounds: watch::Receiver<usize>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn lock(outside: &Mutex<Outside>) -> MutexGuard<'_, Outside> {
    outside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traffic {
    /// Round after round: a webhook, a test event through both endpoints, a question to the memory.
    fn start(world: &World, binaries: &Binaries) -> Self {
        let uses = SECRETS.iter().map(|(name, old, ..)| (*name, *old)).collect();
        let outside = Arc::new(Mutex::new(Outside { uses, ..Outside::default() }));
        let (sender, rounds) = watch::channel(0);
        let stop = CancellationToken::new();
        let (relay, memory) = (binaries.relay.url.clone(), binaries.ollama.url.clone());
        let (http, shared, stopped) = (world.http.clone(), Arc::clone(&outside), stop.clone());
        let task = tokio::spawn(async move {
            let scenario = Scenario::default();
            for round in 1.. {
                let secret = |name| lock(&shared).uses[name];
                let payload =
                    issues(&scenario, "opened", 100 + round as u64, &format!("Issue of round {round}"), "");
                let event = Delivery::new(&format!("issue-{round}"), "issues", &payload);
                let url = format!("{relay}/github-webhook");
                let sent = event.send_by(&http, &url, secret(WEBHOOK)).await;
                note(&shared, WEBHOOK, sent.map(|answer| answer.status).ok(), Some(event.id));
                let test = http.post(format!("{relay}/test-webhook")).bearer_auth(secret(ADMIN)).send().await;
                let (status, id) = match test {
                    Ok(answer) => {
                        let status = answer.status().as_u16();
                        let body: Value = answer.json().await.unwrap_or_default();
                        (Some(status), body["delivery"].as_str().map(str::to_owned))
                    }
                    Err(_) => (None, None),
                };
                note(&shared, ADMIN, status, id);
                let stats =
                    http.get(format!("{memory}/memory/stats")).bearer_auth(secret(MEMORY)).send().await;
                note(&shared, MEMORY, stats.map(|answer| answer.status().as_u16()).ok(), None);
                sender.send_replace(round);
                if stopped.is_cancelled() {
                    return;
                }
            }
        });
        Self { outside, rounds, stop, task }
    }

    /// Waits until everything has been sent some times more.
    async fn goes_on(&mut self) {
        let now = *self.rounds.borrow();
        let more = self.rounds.wait_for(|rounds| *rounds >= now + 5);
        tokio::time::timeout(std::time::Duration::from_secs(60), more).await.unwrap().unwrap();
    }
}

fn note(outside: &Mutex<Outside>, what: &str, status: Option<u16>, id: Option<String>) {
    let mut outside = lock(outside);
    match status {
        Some(200..=299) => outside.sent.extend(id),
        status => outside.refused.push(format!("{what}: {status:?}")),
    }
}

/// The services with their secrets in files.
struct Site {
    world: World,
    binaries: Binaries,
}

impl Site {
    async fn start() -> Self {
        let world = World::start(&Scenario::default()).await;
        let mut site = Self { binaries: Binaries::new(&world), world };
        for (name, old, _, services) in SECRETS {
            for service in services {
                site.write(service, name, old);
                let file = site.file(service, name).display().to_string();
                site.binaries.get(service).replace_secret(name, &file);
            }
        }
        site.binaries.start(&site.world).await;
        site
    }

    fn file(&self, service: &str, name: &str) -> PathBuf {
        self.world.folder.path().join(format!("{service}.{name}"))
    }

    fn write(&self, service: &str, name: &str, value: &str) {
        fs::write(self.file(service, name), value).unwrap();
    }

    fn known(&self, service: &str) -> KeyReport {
        written(self.world.data(service).as_ref()).unwrap()
    }

    /// The uses of each key of a setting, in its order, as of now.
    async fn uses(&mut self, service: &str, name: &str) -> Vec<u64> {
        let before = self.known(service).at;
        // what is known is written at a hangup, too, and also when nothing has changed
        self.binaries.get(service).signal("HUP");
        assert!(until(async || self.known(service).at > before).await, "{service} wrote nothing");
        let report = self.known(service);
        let keys = report.keys.iter().filter(|entry| entry.setting == name);
        keys.map(|entry| entry.uses.iter().map(|one| one.times).sum()).collect()
    }

    /// Gives a service a list of keys, as an operator does: the file, then a hangup.
    async fn give(&mut self, service: &str, name: &str, list: &str) {
        self.write(service, name, list);
        let uses = self.uses(service, name).await;
        assert_eq!(uses.len(), list.split(',').count(), "{service} knows as many keys of {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_secret_is_replaced_while_events_flow() {
    let mut site = Site::start().await;
    let mut traffic = Traffic::start(&site.world, &site.binaries);
    traffic.goes_on().await;
    for (name, old, new, services) in SECRETS {
        // 1. everybody who checks learns of the new one, one after the other
        for service in services {
            site.give(service, name, &format!("{new},{old}")).await;
            traffic.goes_on().await;
        }
        // 2. everybody who sends takes the new one
        lock(&traffic.outside).uses.insert(name, new);
        traffic.goes_on().await;
        // 3. nobody uses the old one any more
        for service in services {
            let before = site.uses(service, name).await;
            traffic.goes_on().await;
            let after = site.uses(service, name).await;
            assert!(
                after[0] > before[0] && after[1] == before[1],
                "{name} at {service}: {before:?} {after:?}"
            );
        }
        // 4. so it can go
        for service in services {
            site.give(service, name, new).await;
            traffic.goes_on().await;
        }
    }
    traffic.stop.cancel();
    traffic.task.await.unwrap();
    let (sent, refused) = {
        let outside = lock(&traffic.outside);
        (outside.sent.clone(), outside.refused.clone())
    };
    assert!(refused.is_empty(), "{refused:?}\n{}", site.binaries.logs());
    let lost = lost(&site, &sent).await;
    println!(
        "{} events sent while 4 secrets were replaced: {} refused, {} lost",
        sent.len(),
        refused.len(),
        lost.len()
    );
    assert!(lost.is_empty() && sent.len() > 100, "{lost:?} of {}", sent.len());
    the_old_ones_are_refused(&site).await;
}

/// What an operator's script does right after a restart must not end a service that is only beginning.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_change_while_a_service_starts_are_read_again_too() {
    let mut site = Site::start().await;
    let (name, old, new, services) = SECRETS[1];
    for service in services {
        let file = site.file(service, name);
        site.binaries.get(service).stop();
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        site.binaries.get(service).spawn();
        // It can be opened once the service reads its keys, and then waits for them.
        let (opened, place) = (file.clone(), file.with_extension("next"));
        let open = move || File::options().write(true).open(opened);
        let mut held = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        site.binaries.get(service).signal("HUP");
        fs::write(&place, format!("{new},{old}")).unwrap();
        fs::rename(&place, &file).unwrap();
        held.write_all(old.as_bytes()).unwrap();
        drop(held);
        let Site { world, binaries } = &mut site;
        let process = binaries.get(service);
        process.up(world).await;
        let is_known = || {
            written(world.data(service).as_ref())
                .unwrap()
                .keys
                .iter()
                .any(|key| key.setting == name && key.position == 2)
        };
        assert!(
            until(async || is_known()).await,
            "{service} has not read its keys again:\n{}",
            process.log()
        );
    }
}

/// Events that did not come to their end at each of their targets.
async fn lost(site: &Site, sent: &[String]) -> Vec<String> {
    let mut lost = Vec::new();
    for id in sent {
        let ended = until(async || {
            let url = format!("{}/api/deliveries/{id}", site.binaries.relay.url);
            let answer = site.world.http.get(url).bearer_auth("the-new-admin-token").send().await.unwrap();
            let delivery: Value = answer.json().await.unwrap();
            let targets = delivery["targets"].as_array().cloned().unwrap_or_default();
            let ends =
                |one: &Value| matches!(one["state"].as_str(), Some("completed" | "skipped" | "superseded"));
            !targets.is_empty() && targets.iter().all(ends)
        });
        if !ended.await {
            lost.push(id.clone());
        }
    }
    lost
}

async fn the_old_ones_are_refused(site: &Site) {
    let (relay, memory) = (&site.binaries.relay.url, &site.binaries.ollama.url);
    let event = Delivery::new("late", "issues", &issues(&Scenario::default(), "closed", 1, "x", ""));
    let late = event.send(&format!("{relay}/github-webhook"), "the-old-webhook-secret").await.unwrap();
    let with = async |url: String, token: &str| {
        site.world.http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let admin = with(format!("{relay}/api/keys"), "the-old-admin-token").await;
    let stats = with(format!("{memory}/memory/stats"), "the-old-memory-token").await;
    assert_eq!([late.status, admin, stats], [401; 3]);
    assert_eq!(with(format!("{relay}/api/keys"), "the-new-admin-token").await, 200);
}
