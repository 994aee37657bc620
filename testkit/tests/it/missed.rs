//! What GitHub could not deliver is found and arrives: exactly once, under its own id, also after `kill -9`.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use queue::{Clock, Queue};
use relay::{
    config,
    missed::{Missed, State},
};
use serde_json::Value;
use testkit::{
    control::{Fault, get, post},
    github::{GitHub, HookOwner},
    scenario::{REVIEWER, REVIEWER_TOKEN, Scenario},
    webhook::{self, Delivery},
};

use crate::support::{
    Site, WEBHOOK_SECRET, World,
    binaries::{Process, port},
    in_process, until,
};

const NOWHERE: &str = "http://127.0.0.1:9";
const HOOKS: &str = "/repos/acme/shop/hooks";

fn shop() -> HookOwner {
    HookOwner::Repository("acme/shop".to_owned())
}

/// A push that differs from all others: the relay would take the same body for a replay.
fn push(number: usize) -> Delivery {
    let scenario = Scenario { head_sha: format!("{number:040x}"), ..Scenario::default() };
    Delivery::new(&webhook::delivery_id(&format!("push {number}")), "push", &webhook::push(&scenario))
}

/// Stand-ins, and a hook of acme/shop that leads to `relay`; the token's owner may manage it.
async fn world(relay: &str) -> (World, u64) {
    let world = World::start(&Scenario::default()).await;
    world.github.add_hook_admin(shop(), REVIEWER);
    let hook = world.github.add_hook(shop(), &format!("{relay}/github-webhook"), WEBHOOK_SECRET);
    (world, hook)
}

fn missed_flags(world: &World, more: &[&str]) -> Vec<String> {
    let url = world.github.url();
    let fixed = ["--github-api-url", &url, "--github-pacing-ms", "0", "--missed-every", "1"];
    fixed.iter().chain(more).map(ToString::to_string).collect()
}

const TOKEN: [&str; 4] = ["--github-token", REVIEWER_TOKEN, "--github-repositories", "acme/shop"];

/// A relay as a process, with endpoints that are away.
fn relay(world: &World, port: u16) -> Process {
    let mut flags = world.relay_flags(NOWHERE, NOWHERE);
    flags.extend(missed_flags(world, &TOKEN));
    Process::on(world, "relay", flags, port)
}

fn site(world: &World, relay: &str) -> Site {
    Site { relay: relay.to_owned(), memory: String::new(), http: world.http.clone() }
}

async fn has(site: &Site, id: &str) -> bool {
    site.delivery(id).await.is_some_and(|delivery| delivery["id"] == id)
}

async fn arrived(site: &Site, events: &[Delivery]) {
    for event in events {
        assert!(until(async || has(site, &event.id).await).await, "{} did not arrive", event.id);
    }
}

/// The `/health` check of the search.
async fn check(world: &World, relay: &str) -> Value {
    let health: Value = world.http.get(format!("{relay}/health")).send().await.unwrap().json().await.unwrap();
    health["checks"]["github:missed"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_while_the_relay_was_down_arrives_once() {
    let port = port();
    let url = format!("http://127.0.0.1:{port}");
    let (world, hook) = world(&url).await;
    let events: Vec<Delivery> = (0..20).map(push).collect();
    for event in &events {
        assert_eq!(world.github.happens(hook, event.clone()).await, 502);
    }
    let ping = Delivery::new("ping", "ping", &webhook::ping(&Scenario::default()));
    world.github.happens(hook, ping).await;

    let mut relay = relay(&world, port);
    relay.start(&world).await;
    let site = site(&world, &relay.url);
    arrived(&site, &events).await;
    assert!(until(async || world.github.attempts(hook).len() == 41).await);
    let calm = world.github.count(&get(HOOKS));
    assert!(until(async || world.github.count(&get(HOOKS)) >= calm + 6).await, "it goes on looking");
    let attempts = world.github.attempts(hook);
    assert_eq!(attempts.len(), 41, "each event is redelivered once, the ping never");
    assert!(attempts[21..].iter().all(|attempt| attempt.redelivery && attempt.status_code == 202));
    let order: Vec<&str> = attempts[21..].iter().map(|attempt| attempt.guid.as_str()).collect();
    assert!(events.iter().all(|event| order.contains(&event.id.as_str())), "under their own ids");
    assert!(until(async || check(&world, &relay.url).await["observedValue"] == 0).await);
    assert_eq!(check(&world, &relay.url).await["status"], "pass");
    assert!(!relay.log().contains(REVIEWER_TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_listing_and_redelivery_loses_nothing() {
    let port = port();
    let url = format!("http://127.0.0.1:{port}");
    let (world, hook) = world(&url).await;
    let events: Vec<Delivery> = (0..3).map(push).collect();
    for event in &events {
        world.github.happens(hook, event.clone()).await;
    }
    let gate = world.github.gate(post(HOOKS));
    let mut relay = relay(&world, port);
    relay.start(&world).await;
    gate.reached().await.unwrap();
    relay.kill();
    relay.start(&world).await;
    gate.reached_by(2).await.unwrap();
    drop(gate);
    let site = site(&world, &relay.url);
    arrived(&site, &events).await;
    for event in &events {
        let delivery = site.delivery(&event.id).await.unwrap();
        assert_eq!((&delivery["id"], &delivery["redelivery"]), (&event.id.clone().into(), &0.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_answer_was_lost_is_not_asked_for() {
    let (world, hook) = world(NOWHERE).await;
    world.github.change_hook(hook, NOWHERE, WEBHOOK_SECRET, true);
    let mut flags = world.relay_flags(NOWHERE, NOWHERE);
    flags.extend(missed_flags(&world, &TOKEN));
    let relay = in_process::relay(flags).await;
    let (stored, missed) = (push(1), push(2));
    assert_eq!(site(&world, &relay.url).send(&stored).await, 202);
    assert_eq!(world.github.happens(hook, stored).await, 502, "GitHub knows nothing of it");
    assert_eq!(world.github.happens(hook, missed.clone()).await, 502);
    world.github.change_hook(hook, &format!("{}/github-webhook", relay.url), WEBHOOK_SECRET, true);
    arrived(&site(&world, &relay.url), &[missed]).await;
    assert!(
        until(async || world.github.attempts(hook).iter().any(|attempt| attempt.status_code == 202)).await
    );
    assert_eq!(world.github.attempts(hook).len(), 3);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn organisations_and_apps_have_hooks_too() {
    let world = World::start(&Scenario::default()).await;
    let acme = HookOwner::Organisation("acme".to_owned());
    world.github.add_hook_admin(acme.clone(), REVIEWER);
    let key = app_key(world.folder.path());
    world.github.set_app("4711", &std::fs::read_to_string(&key).unwrap()).unwrap();
    let hooks = [acme, HookOwner::App].map(|owner| world.github.add_hook(owner, NOWHERE, WEBHOOK_SECRET));
    let events = [push(1), push(2)];
    for (hook, event) in hooks.iter().zip(&events) {
        world.github.happens(*hook, event.clone()).await;
    }
    let mut flags = world.relay_flags(NOWHERE, NOWHERE);
    let more = [
        "--github-token",
        REVIEWER_TOKEN,
        "--github-organisations",
        "acme",
        "--github-app-id",
        "4711",
        "--github-app-private-key-file",
        &key,
    ];
    flags.extend(missed_flags(&world, &more));
    let relay = in_process::relay(flags).await;
    let no_hook = async || {
        check(&world, &relay.url).await["output"].as_str().unwrap_or_default().contains("WEBHOOK_URL")
    };
    assert!(until(no_hook).await, "no hook leads here yet");
    for hook in hooks {
        world.github.change_hook(hook, &format!("{}/github-webhook", relay.url), WEBHOOK_SECRET, true);
    }
    arrived(&site(&world, &relay.url), &events).await;
    assert!(until(async || check(&world, &relay.url).await["status"] == "pass").await);
    relay.stop().await;
}

/// Makes an RSA key as GitHub does for an app (PEM, PKCS #1); its path.
fn app_key(folder: &Path) -> String {
    let path = folder.join("app.pem");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"]).arg(&path);
    assert!(keygen.status().unwrap().success());
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_is_in_the_way() {
    let (world, _) = world(NOWHERE).await;
    let check_of = async |more: &[&str]| {
        let mut flags = world.relay_flags(NOWHERE, NOWHERE);
        flags.extend(missed_flags(&world, more));
        let relay = in_process::relay(flags).await;
        assert!(until(async || !check(&world, &relay.url).await["output"].is_null()).await);
        let check = check(&world, &relay.url).await;
        relay.stop().await;
        (check["status"].as_str().unwrap().to_owned(), check["output"].as_str().unwrap().to_owned())
    };
    let (status, output) = check_of(&[]).await;
    assert!(status == "pass" && output.contains("GITHUB_REPOSITORIES"), "{status} {output}");
    let (status, output) = check_of(&["--github-repositories", "acme/shop"]).await;
    assert!(status == "warn" && output.contains("GITHUB_TOKEN is not"), "{status} {output}");

    let repositories = ["--github-repositories", "acme/shop"];
    let with = |token| [["--github-token", token], repositories].concat();
    let (status, output) = check_of(&with("wrong")).await;
    assert!(status == "warn" && output.contains("does not accept GITHUB_TOKEN"), "{status} {output}");
    world.github.add_user("no-admin", "ann");
    let (status, output) = check_of(&with("no-admin")).await;
    assert!(status == "warn" && output.contains("admin:repo_hook") && !output.contains("acme"), "{output}");
    world.github.fail_next(get(HOOKS), Fault::Status(StatusCode::FORBIDDEN, vec![]));
    assert!(check_of(&with(REVIEWER_TOKEN)).await.1.contains("\"Webhooks: read and write\""));
}

/// Moved by hand, together with the stand-in's.
struct Hands(Arc<AtomicI64>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// The search alone, look by look.
struct Search {
    github: GitHub,
    queue: Queue,
    missed: Missed,
    ahead: Arc<AtomicI64>,
}

impl Search {
    async fn start(world: &World) -> Self {
        let ahead = Arc::new(AtomicI64::new(0));
        let options = queue::Options { clock: Arc::new(Hands(Arc::clone(&ahead))), ..Default::default() };
        let queue = queue::open(&format!("sqlite://{}", world.data("search.db")), options).await.unwrap();
        let mut flags = vec!["relay".to_owned()];
        flags.extend(missed_flags(world, &TOKEN));
        let args = config::load(flags.into_iter().map(Into::into)).unwrap().cli.args;
        let missed = Missed::new(queue.clone(), &args.missed.check().unwrap()).unwrap();
        Self { github: world.github.clone(), queue, missed, ahead }
    }

    fn pass(&self, minutes: i64) {
        self.ahead.fetch_add(minutes * 60, Ordering::SeqCst);
        self.github.pass_time(SignedDuration::from_mins(minutes));
    }

    /// Looks once; how many missed events it left open.
    async fn look(&mut self) -> usize {
        self.missed.look().await;
        match &*self.missed.state().borrow() {
            State::Looked { open, .. } => *open,
            _ => usize::MAX,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_refused_five_times_is_given_up() {
    let (world, hook) = world(NOWHERE).await;
    let relay = in_process::relay(world.relay_flags(NOWHERE, NOWHERE)).await;
    let url = format!("{}/github-webhook", relay.url);
    world.github.change_hook(hook, &url, "another-secret-than-the-relay-has", true);
    let mut search = Search::start(&world).await;
    assert_eq!(world.github.happens(hook, push(1)).await, 401);
    for (redelivery, minutes) in [0, 5, 60, 6 * 60, 24 * 60].into_iter().enumerate() {
        if minutes > 0 {
            search.pass(minutes - 1);
            assert_eq!(search.look().await, 1);
            assert_eq!(world.github.attempts(hook).len(), 1 + redelivery, "not yet");
            search.pass(1);
        }
        assert_eq!(search.look().await, 1);
        let made = async || world.github.attempts(hook).len() == 2 + redelivery;
        assert!(until(made).await, "redelivery {redelivery}");
    }
    assert!(world.github.attempts(hook).iter().all(|attempt| attempt.status_code == 401));
    assert_eq!(search.look().await, 0, "given up");
    assert_eq!(world.github.happens(hook, push(2)).await, 401);
    search.pass(5);
    assert_eq!(search.look().await, 1, "the next one is another matter");
    let cursor = search.queue.cursor(&format!("missed{HOOKS}/{hook}")).await.unwrap();
    assert!(cursor.is_some(), "the cursor is past the first");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_read_over_several_looks() {
    let (world, hook) = world(NOWHERE).await;
    world.github.happens(hook, push(0)).await;
    let receiver = in_process::relay(world.relay_flags(NOWHERE, NOWHERE)).await;
    let url = format!("{}/github-webhook", receiver.url);
    world.github.change_hook(hook, &url, WEBHOOK_SECRET, true);
    let repeated = push(1);
    for _ in 0..5_100 {
        world.github.list_attempt(hook, repeated.clone(), 202);
    }
    let mut search = Search::start(&world).await;
    search.look().await;
    assert_eq!(world.github.count(&post(HOOKS)), 0, "the end of the list is not seen yet");
    search.look().await;
    assert_eq!(world.github.count(&post(HOOKS)), 1);
    arrived(&site(&world, &receiver.url), &[push(0)]).await;
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_asks_for_a_hundred_at_the_most() {
    let (world, hook) = world(NOWHERE).await;
    for number in 0..101 {
        world.github.list_attempt(hook, push(number), 504);
    }
    let mut search = Search::start(&world).await;
    assert_eq!(search.look().await, 101);
    assert_eq!(world.github.count(&post(HOOKS)), 100);
    let asked = world.github.calls().into_iter().rfind(|call| call.method == "POST").unwrap();
    let newest = world.github.attempts(hook)[99].id;
    assert!(asked.path.ends_with(&format!("/{newest}/attempts")), "oldest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_cannot_be_had_is_not_in_the_way_of_others() {
    let (world, hook) = world(NOWHERE).await;
    for number in 0..2 {
        world.github.happens(hook, push(number)).await;
    }
    let mut search = Search::start(&world).await;
    let trouble = |search: &Search| matches!(&*search.missed.state().borrow(), State::Looked { troubles, .. } if !troubles.is_empty());
    world.github.fail_next(post(HOOKS), Fault::Status(StatusCode::NOT_FOUND, vec![]));
    assert_eq!(search.look().await, 2);
    assert!(!trouble(&search), "the other one was taken");
    assert!(until(async || world.github.attempts(hook).len() == 3).await);
    assert_eq!(world.github.attempts(hook)[2].guid, push(1).id);
    search.pass(5);
    for _ in 0..2 {
        world.github.fail_next(post(HOOKS), Fault::Status(StatusCode::NOT_FOUND, vec![]));
    }
    assert_eq!(search.look().await, 2);
    assert!(trouble(&search), "none was taken: a token that may only read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_kept_to() {
    let (world, hook) = world(NOWHERE).await;
    for number in 0..3 {
        world.github.happens(hook, push(number)).await;
    }
    let mut search = Search::start(&world).await;
    world.github.fail_next(post(HOOKS), Fault::RateLimited { retry_after: 1_800 });
    assert_eq!(search.missed.look().await.as_secs(), 1_800);
    let calls = world.github.calls().len();
    assert_eq!(world.github.count(&post(HOOKS)), 1, "nothing is asked after the refusal");
    assert!(search.missed.look().await.as_secs() > 1_700);
    assert_eq!(world.github.calls().len(), calls);
    assert_eq!(search.queue.cursor(&format!("missed{HOOKS}/{hook}")).await.unwrap(), None);
}
