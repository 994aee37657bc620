//! The operator's commands, as the real program, against a relay.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exemption for tests does not reach their helper functions"
)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use queue::{Finish, JobState, NewDelivery, Route};

mod common;

use common::{Running, TOKEN, start};

fn program(url: &str, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.env_clear().env("RELAY_URL", url).env("RELAY_ADMIN_TOKEN", TOKEN).env("DATA_DIR", data);
    command
}

async fn run(mut command: Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    (status.success(), text(stdout), text(stderr))
}

impl Running {
    /// Runs `relay deliveries …`.
    async fn deliveries(&self, arguments: &[&str]) -> (bool, String, String) {
        let mut command = program(&self.url, self.folder.path());
        command.arg("deliveries").args(arguments);
        run(command).await
    }

    /// A delivery with a job in each lane that is named, and what each came to.
    async fn put(&self, id: &str, lanes: &[(&str, Option<&str>)]) {
        let route = |(lane, _): &(&str, Option<&str>)| Route {
            lane: (*lane).to_owned(),
            key: id.to_owned(),
            replaces: None,
        };
        let delivery = NewDelivery {
            id: id.to_owned(),
            digest: None,
            replay_window: Duration::ZERO,
            redelivery: 0,
            event: "push".to_owned(),
            action: None,
            repository: Some("o/r".to_owned()),
            headline: format!("headline of {id}"),
            note: None,
            received_at: jiff::Timestamp::now(),
            payload: b"{}".to_vec(),
            routes: lanes.iter().map(route).collect(),
        };
        self.queue.put(delivery).await.unwrap();
        for (lane, outcome) in lanes {
            if let Some(outcome) = outcome {
                self.queue.record(id, lane, 0, Finish::new(*outcome, "why")).await.unwrap();
            }
        }
    }

    /// Whether each job of a delivery is unfinished, and the word that it ended with.
    async fn jobs(&self, id: &str) -> Vec<(bool, Option<String>)> {
        let record = self.queue.find(id).await.unwrap().unwrap();
        let open = |state| matches!(state, JobState::Pending | JobState::Leased);
        record.jobs.into_iter().map(|job| (open(job.state), job.finish.map(|finish| finish.state))).collect()
    }
}

fn ended(state: &str) -> (bool, Option<String>) {
    (false, Some(state.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_page_by_page_and_shown() {
    let relay = start().await;
    for n in 1..=3 {
        relay.put(&format!("d{n}"), &[("claude", Some("failed"))]).await;
    }
    let (passed, table, hint) = relay.deliveries(&["list", "--limit", "2", "--state", "dead"]).await;
    assert!(passed && table.contains("d3") && table.contains("d2") && !table.contains("d1"), "{table}");
    let next = hint.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(hint.contains("--before"), "{hint}");
    let (_, table, hint) = relay.deliveries(&["list", "--limit", "2", "--before", &next]).await;
    assert!(table.contains("d1") && !table.contains("d2") && hint.is_empty(), "{table}{hint}");
    let (_, table, _) = relay.deliveries(&["list", "--event", "issues"]).await;
    assert_eq!(table, "no deliveries\n");
    let (_, json, _) = relay.deliveries(&["list", "--since", "1h", "--json"]).await;
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(answer["deliveries"].as_array().unwrap().len(), 3);
    let (_, timeline, _) = relay.deliveries(&["show", "d1"]).await;
    assert!(
        timeline.contains("received") && timeline.contains("relay deliveries redeliver d1 --target claude")
    );
    let (passed, _, error) = relay.deliveries(&["show", "d9"]).await;
    assert!(!passed && error.contains("relay deliveries list"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_is_sent_again_and_nothing_else() {
    let relay = start().await;
    relay.put("half", &[("claude", Some("failed")), ("ollama", Some("completed"))]).await;
    relay.put("both", &[("claude", Some("failed")), ("ollama", Some("failed"))]).await;
    relay.put("well", &[("claude", Some("completed"))]).await;
    let (passed, said, _) = relay.deliveries(&["redeliver", "--state", "dead", "--dry-run"]).await;
    assert!(passed && said.contains("2 would be sent again") && !said.contains("well"), "{said}");
    assert_eq!(relay.jobs("half").await, [ended("failed"), ended("completed")], "a dry run changes nothing");
    let (passed, said, _) = relay.deliveries(&["redeliver", "--state", "dead", "--since", "2h"]).await;
    assert!(passed && said.contains("2 sent again, 0 with nothing to do, 0 failed"), "{said}");
    assert_eq!(relay.jobs("half").await, [(true, None), ended("completed")]);
    assert_eq!(relay.jobs("both").await, [(true, None), (true, None)]);
    assert_eq!(relay.jobs("well").await, [ended("completed")]);
    let record = relay.queue.find("both").await.unwrap().unwrap();
    assert_eq!(record.redelivery, 1, "one round for both targets");

    let (passed, said, error) = relay.deliveries(&["redeliver", "well", "half", "unknown"]).await;
    assert!(!passed && error.contains("1 failed"), "{error}");
    assert!(said.contains("well: sent again") && said.contains("unknown: there is no delivery"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_given_up_by_id_or_filter() {
    let relay = start().await;
    relay.put("d1", &[("claude", Some("failed")), ("ollama", None)]).await;
    relay.put("d2", &[("claude", Some("completed"))]).await;
    let (passed, said, _) = relay.deliveries(&["discard", "--state", "dead"]).await;
    assert!(passed && said.contains("d1 (claude): discarded") && said.contains("1 discarded"), "{said}");
    assert_eq!(relay.jobs("d1").await, [ended("discarded"), (true, None)], "what waits was not meant");
    let (passed, said, _) = relay.deliveries(&["discard", "d1", "d2"]).await;
    assert!(passed && said.contains("1 discarded, 1 with nothing to do"), "{said}");
    assert_eq!(relay.jobs("d1").await, [ended("discarded"), ended("discarded")]);
    assert_eq!(relay.jobs("d2").await, [ended("completed")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_what_to_do() {
    let relay = start().await;
    for (arguments, advice) in [
        (&["discard"][..], "--dry-run"),
        (&["redeliver", "d1", "--state", "dead"], "not both"),
        (&["list", "--target", "cluade"], "there are: claude, ollama"),
    ] {
        let (passed, _, error) = relay.deliveries(arguments).await;
        assert!(!passed && error.contains(advice), "{arguments:?}: {error}");
    }
    let mut nowhere = program("http://127.0.0.1:9", relay.folder.path());
    nowhere.args(["deliveries", "redeliver", "--state", "dead"]);
    let (passed, _, error) = run(nowhere).await;
    assert!(!passed && error.contains("is the relay running?"), "{error}");
    let mut stranger = program(&relay.url, relay.folder.path());
    stranger.env("RELAY_ADMIN_TOKEN", "another-token-than-the-relay-has").args(["deliveries", "watch"]);
    let (passed, _, error) = run(stranger).await;
    assert!(!passed && error.contains("RELAY_ADMIN_TOKEN"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_watched_as_lines() {
    let relay = start().await;
    let mut command = program(&relay.url, relay.folder.path());
    command.args(["deliveries", "watch"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (hello, mut lines) =
        (BufReader::new(child.stderr.take().unwrap()), BufReader::new(child.stdout.take().unwrap()).lines());
    let hello = tokio::task::spawn_blocking(move || hello.lines().next()).await.unwrap().unwrap().unwrap();
    assert_eq!(hello, "nothing was delivered yet");
    relay.put("d1", &[("elsewhere", Some("completed"))]).await;
    let line = tokio::task::spawn_blocking(move || lines.next()).await.unwrap().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("d1") && line.contains("headline of d1"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_beside_the_relay_and_restored_without_it() {
    let relay = start().await;
    relay.put("d1", &[("claude", Some("failed"))]).await;
    let file = relay.folder.path().join("backup.db");
    let keep = async |arguments: &[&str]| {
        let mut command = program(&relay.url, relay.folder.path());
        command.args(arguments);
        run(command).await
    };
    let path = file.display().to_string();
    let (passed, said, error) = keep(&["backup", &path]).await;
    assert!(passed && said.starts_with("1 deliveries, "), "{said}{error}");
    let (passed, _, error) = keep(&["backup", &path]).await;
    assert!(!passed && error.contains("backup.db"), "it overwrites nothing: {error}");
    relay.put("d2", &[("claude", Some("failed"))]).await;
    let (passed, _, error) = keep(&["restore", &path, "--replace"]).await;
    assert!(!passed && error.contains("in use"), "{error}");

    let Running { url, folder, queue, stop, ended } = relay;
    stop.cancel();
    ended.await.unwrap().unwrap();
    drop(queue);
    let restore = async |replace: Option<&str>| {
        let mut command = program(&url, folder.path());
        command.args(["restore", &path]).args(replace);
        run(command).await
    };
    let (passed, _, error) = restore(None).await;
    assert!(!passed && error.contains("replace"), "{error}");
    let (passed, said, error) = restore(Some("--replace")).await;
    assert!(passed && said.starts_with("1 deliveries, "), "{said}{error}");
    let store = format!("sqlite://{}", folder.path().join("queue.db").display());
    let queue = queue::open(&store, queue::Options::default()).await.unwrap();
    assert!(queue.find("d1").await.unwrap().is_some() && queue.find("d2").await.unwrap().is_none());
}
