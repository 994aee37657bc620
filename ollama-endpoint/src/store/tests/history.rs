//! Histories of a memory, made at random: what was sent in whichever order, what models made of it, and what was
//! forgotten.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::sqlite::SqliteStore;
use super::super::*;
use crate::distil::{self, LOCAL_PREFIX};

/// The repositories that it is about.
pub(crate) const REPOSITORIES: [&str; 2] = ["octo/app", "octo/web"];

const WORDS: [&str; 6] = [
    "Retries are capped at five",
    "The queue is kept in `src/queue.rs`",
    "Money is counted in cents, see src/money/cents.rs",
    "Since abc1230abc1230 the pool has no leak",
    "Deploys happen on Tuesdays",
    "approved",
];

const PATHS: [&str; 3] = ["src/queue.rs", "src/money/cents.rs", "src/lib.rs"];

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Update { delivery: u8, text: usize, repository: usize, kind: u8, path: usize },
    Comment { delivery: u8, action: usize, url: u8, text: usize },
    Pull { delivery: u8, number: u8, text: usize },
    Push { delivery: u8, commit: u8, path: usize, what: u8 },
    Refine { nth: usize, text: usize },
    Judge { newer: usize, older: usize, relation: u8 },
    Forget { nth: usize },
    Embed { nth: usize },
    Sweep { minutes: u8, all: bool },
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = 0..WORDS.len();
    let update = (0..5_u8, text.clone(), 0..2_usize, 0..3_u8, 0..PATHS.len()).prop_map(
        |(delivery, text, repository, kind, path)| Step::Update { delivery, text, repository, kind, path },
    );
    let comment = (0..5_u8, 0..3_usize, 0..2_u8, text.clone())
        .prop_map(|(delivery, action, url, text)| Step::Comment { delivery, action, url, text });
    let pull = (0..4_u8, 0..2_u8, text.clone()).prop_map(|(delivery, number, text)| Step::Pull {
        delivery,
        number,
        text,
    });
    let push = (0..4_u8, 0..3_u8, 0..PATHS.len(), 0..3_u8)
        .prop_map(|(delivery, commit, path, what)| Step::Push { delivery, commit, path, what });
    let refine = (any::<usize>(), text).prop_map(|(nth, text)| Step::Refine { nth, text });
    let judge = (any::<usize>(), any::<usize>(), 0..3_u8).prop_map(|(newer, older, relation)| Step::Judge {
        newer,
        older,
        relation,
    });
    let step = prop_oneof![
        6 => update,
        5 => comment,
        3 => pull,
        4 => push,
        3 => refine,
        6 => judge,
        2 => any::<usize>().prop_map(|nth| Step::Forget { nth }),
        2 => any::<usize>().prop_map(|nth| Step::Embed { nth }),
        1 => (0..30_u8, any::<bool>()).prop_map(|(minutes, all)| Step::Sweep { minutes, all }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Lets it happen, the n-th step in the n-th minute.
pub(crate) async fn live(store: &SqliteStore, steps: &[Step]) {
    for (minute, step) in steps.iter().enumerate() {
        let at = Timestamp::from_second(1_795_000_000 + 60 * i64::try_from(minute).unwrap()).unwrap();
        one(store, step, at).await;
    }
}

async fn one(store: &SqliteStore, step: &Step, at: Timestamp) {
    if let Some((delivery, body)) = sent(step, at) {
        let body = Bytes::from(body.to_string());
        let distilled = distil::distil(&delivery, &body, at).unwrap();
        store.record(Record { id: delivery, received_at: at, body }, distilled).await.unwrap();
        return;
    }
    let nth = |nth: &usize, all: &[Stored]| all.get(nth % all.len().max(1)).cloned();
    let all = all(store).await;
    match step {
        Step::Refine { nth: at, text } => {
            let Some(memory) = nth(at, &all).filter(|memory| memory.draft.indexed) else { return };
            let (model, prompt_version) = ("m".to_owned(), "1".to_owned());
            let kind = if text % 2 == 0 { "discussion" } else { "decision" }.to_owned();
            let refined = match text {
                0 => Refined::Rejected { reason: "no JSON".into(), model, prompt_version },
                _ => Refined::Text { kind, text: WORDS[*text].to_lowercase(), model, prompt_version },
            };
            assert!(store.keep_refined(memory.id, memory.version, refined).await.unwrap());
        }
        Step::Judge { newer, older, relation } => {
            let indexed: Vec<Stored> = all.into_iter().filter(|memory| memory.draft.indexed).collect();
            let (Some(newer), Some(older)) = (nth(newer, &indexed), nth(older, &indexed)) else { return };
            if newer.id == older.id {
                return;
            }
            let relation =
                [Relation::Different, Relation::Same, Relation::Contradicts][usize::from(*relation)];
            let judgement = Judgement { relation, by: "rule".into() };
            let pair = ((newer.id, newer.version), (older.id, older.version));
            assert!(store.keep_judgement(pair.0, pair.1, judgement).await.unwrap());
        }
        Step::Forget { nth: at } => {
            let Some(memory) = nth(at, &all) else { return };
            store.forget(vec![memory.id], Audit::default()).await.unwrap();
        }
        Step::Embed { nth: at } => {
            let Some(memory) = nth(at, &all).filter(|memory| memory.draft.indexed) else { return };
            let vector = Embedding::Vector(vec![0.6, 0.8]);
            let kept = vec![(memory.position, memory.version, vector)];
            store.keep_embeddings("m".into(), kept).await.unwrap();
        }
        Step::Sweep { minutes, all } => {
            let before = at - jiff::SignedDuration::from_mins(i64::from(*minutes));
            if *all {
                let expired = store.expired(before, 3).await.unwrap();
                store.forget(expired, Audit::default()).await.unwrap();
            }
            let unneeded = store.unneeded(before, 0, 100).await.unwrap();
            let unneeded = unneeded.into_iter().map(|(_, delivery)| delivery).collect();
            store.strip(unneeded, Audit::default(), at).await.unwrap();
        }
        _ => {}
    }
}

pub(crate) async fn all(store: &SqliteStore) -> Vec<Stored> {
    let mut all = Vec::new();
    for repository in REPOSITORIES {
        for id in store.ids(repository.into(), 1000).await.unwrap() {
            all.extend(store.get(id).await.unwrap());
        }
    }
    all
}

fn sent(step: &Step, at: Timestamp) -> Option<(String, Value)> {
    let envelope = |delivery: String, event: &str, action: Option<&str>, subject: Value, payload: Value| {
        let envelope = json!({
            "version": 1, "id": delivery, "event": event, "action": action, "received_at": at,
            "repository": {"full_name": "octo/app", "private": true, "default_branch": "main"},
            "sender": {"login": "ann", "kind": "user"}, "subject": subject, "payload": payload,
        });
        (delivery, envelope)
    };
    Some(match *step {
        Step::Update { delivery, text, repository, kind, path } => {
            let kind = ["note", "convention", "review"][usize::from(kind)];
            let update = json!({"repository": REPOSITORIES[repository], "context": WORDS[text], "kind": kind, "agent": "jules",
                "url": "https://example.test/pull/1", "event_type": "pull_request", "paths": [PATHS[path]]});
            (format!("{LOCAL_PREFIX}{delivery}"), update)
        }
        Step::Comment { delivery, action, url, text } => {
            let action = ["created", "edited", "deleted"][action];
            let comment = json!({"body": WORDS[text], "html_url": format!("https://example.test/c#{url}"), "user": {"login": "ann"}});
            let payload = json!({"comment": comment, "issue": {"number": 1, "title": "Slow", "user": {"login": "ann"}}});
            let delivery = format!("c{delivery}");
            envelope(delivery, "issue_comment", Some(action), json!({"kind": "other"}), payload)
        }
        Step::Pull { delivery, number, text } => {
            let pull = json!({"number": number, "title": WORDS[text], "merged": false, "user": {"login": "jules"}, "body": "",
                "html_url": format!("https://example.test/pull/{number}"), "head": {"ref": "x"}, "base": {"ref": "main"}});
            let payload = json!({"pull_request": pull});
            let subject = json!({"kind": "other"});
            envelope(format!("p{delivery}"), "pull_request", Some("opened"), subject, payload)
        }
        Step::Push { delivery, commit, path, what } => {
            let id = |commit: u8| format!("abc123{commit}").repeat(6)[..40].to_owned();
            let message = match what {
                2 => format!("Revert it\n\nThis reverts commit {}.", id((commit + 1) % 3)),
                _ => format!("Change {path}"),
            };
            let files = |which| if what == which { vec![PATHS[path]] } else { Vec::new() };
            let commit = json!({"id": id(commit), "message": message, "added": [], "modified": files(0), "removed": files(1)});
            let subject = json!({"kind": "push", "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40),
                "commits": 1, "forced": false});
            let payload = json!({"commits": [commit], "compare": "https://example.test/compare"});
            envelope(format!("s{delivery}"), "push", None, subject, payload)
        }
        _ => return None,
    })
}
