use serde_json::{Value, json};

use super::*;
use crate::store::sqlite::check;
use crate::testing::{Fixture, healthy};

const DAY: u64 = 24 * 60 * 60;

fn day(day: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(1_795_000_000 + day * DAY).unwrap()).unwrap()
}

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * DAY))
}

fn event(id: &str, event: &str, payload: Value) -> bytes::Bytes {
    let subject = match event {
        "push" => {
            json!({"kind": "push", "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40), "commits": 1, "forced": false})
        }
        _ => json!({"kind": "other"}),
    };
    let envelope = json!({
        "version": 1, "id": id, "event": event, "action": "created", "received_at": day(0), "subject": subject, "payload": payload,
        "repository": {"full_name": "o/r", "private": true, "default_branch": "main"}, "sender": {"login": "ann", "kind": "user"},
    });
    envelope.to_string().into()
}

async fn bodies(fixture: &Fixture) -> usize {
    let mut pieces = fixture.memory.export(None).await.unwrap();
    let mut text = Vec::new();
    while let Some(piece) = pieces.recv().await {
        text.extend_from_slice(&piece.unwrap());
    }
    String::from_utf8(text).unwrap().matches("\"body\":").count()
}

async fn learn(fixture: &Fixture, delivery: &str, body: bytes::Bytes, at: Timestamp) {
    fixture.memory.learn(delivery, body, at).await.unwrap();
}

#[tokio::test]
async fn junk_loses_its_words_after_a_while_and_nothing_else_does() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let star = |id: &str| event(id, "star", json!({}));
    learn(&fixture, "old", star("old"), day(0)).await;
    learn(&fixture, "same", star("same"), day(9)).await;
    let commit = json!({"id": "abc1230".repeat(5), "message": "Change it", "added": [], "modified": ["src/a.rs"], "removed": []});
    learn(&fixture, "push", event("push", "push", json!({"commits": [commit]})), day(0)).await;
    learn(
        &fixture,
        "update:1",
        r#"{"repository":"o/r","context":"Deploys happen on Tuesdays"}"#.into(),
        day(0),
    )
    .await;
    assert_eq!(bodies(&fixture).await, 4);
    let retention = Retention { junk: days(5), memories: None };
    assert_eq!(fixture.memory.sweep(retention, day(4)).await.unwrap(), Swept::default());
    let swept = fixture.memory.sweep(retention, day(10)).await.unwrap();
    assert_eq!(swept, Swept { junk: 1, memories: 0 });
    assert_eq!(bodies(&fixture).await, 3);
    let counts = fixture.memory.counts().await.unwrap();
    assert_eq!((counts.indexed, counts.memories, counts.forgotten), (2, 3, 1), "another says the same still");
    assert_eq!(fixture.memory.sweep(retention, day(10)).await.unwrap(), Swept::default());
    learn(&fixture, "old", star("old"), day(11)).await;
    assert_eq!(bodies(&fixture).await, 3, "the same delivery does not bring its words back");
    assert!(check(&fixture.path()).unwrap().differences.is_empty());
    assert_eq!(
        fixture.memory.sweep(Retention { junk: None, memories: None }, day(9_000)).await.unwrap(),
        Swept::default()
    );
}

#[tokio::test]
async fn what_nobody_has_said_for_long_is_forgotten_with_an_audit_line() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let say = async |delivery: &str, text: &str, at| {
        let update = json!({"repository": "o/r", "context": text});
        learn(&fixture, delivery, update.to_string().into(), at).await;
    };
    for number in 0..250 {
        say(&format!("update:{number}"), &format!("Old fact {number}"), day(0)).await;
    }
    say("update:again", "Old fact 7", day(20)).await;
    say("update:new", "New fact", day(20)).await;
    learn(&fixture, "star", event("star", "star", json!({})), day(0)).await;
    let retention = Retention { junk: days(90), memories: days(30) };
    let swept = fixture.memory.sweep(retention, day(31)).await.unwrap();
    assert_eq!(
        swept,
        Swept { junk: 0, memories: 250 },
        "junk is a memory, too, and kept no longer than others"
    );
    let counts = fixture.memory.counts().await.unwrap();
    assert_eq!((counts.memories, counts.forgotten), (2, 250));
    assert!(check(&fixture.path()).unwrap().differences.is_empty());
}

#[tokio::test]
async fn a_copy_from_before_an_upgrade_goes_after_two_weeks_of_a_service_that_runs() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let copy = fixture.path().with_file_name("memory.db.schema-3-20261130T070000Z");
    let file = std::fs::File::create(&copy).unwrap();
    let retention = Retention { junk: None, memories: None };
    fixture.memory.sweep(retention, Timestamp::now()).await.unwrap();
    assert!(copy.exists());
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(15 * DAY)).unwrap();
    fixture.memory.sweep(retention, Timestamp::now()).await.unwrap();
    assert!(!copy.exists());
}
