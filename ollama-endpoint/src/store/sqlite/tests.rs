use super::*;
use crate::distil::{Distilled, Draft};

mod files;
mod versions;

#[test]
fn a_foreign_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("foreign.db");
    std::fs::write(&path, "not a database, but long enough to be looked at".repeat(100)).unwrap();
    assert!(SqliteStore::open(&path).unwrap_err().to_string().contains("cannot open"));
}

#[tokio::test]
async fn writes_that_come_together_share_one_commit_and_all_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("memory.db")).unwrap();
    let writes = (0..300).map(|at| {
        let store = store.clone();
        tokio::spawn(async move {
            let draft = Draft {
                repository: "o/r".into(),
                kind: "note".into(),
                text: format!("note {at}"),
                created_at: Timestamp::UNIX_EPOCH,
                source: Default::default(),
                indexed: true,
            };
            let record = Record { id: at.to_string(), received_at: Timestamp::UNIX_EPOCH, body: "x".into() };
            store.record(record, Distilled { draft, junk: None, touches: Vec::new() }).await
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(store.counts("m".into()).await.unwrap().memories, 300);
}

#[tokio::test]
async fn a_glance_sees_what_there_is_beside_a_running_service() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    let long = Duration::from_secs(60);
    assert!(glance(&path, long).unwrap_err().to_string().contains("there is no memory"));
    assert!(!path.exists(), "it makes nothing");
    let _store = SqliteStore::open(&path).unwrap();
    let seen = glance(&path, long).unwrap();
    assert_eq!(seen, Glance { damage: None, looked_through: true, memories: 0, models: vec![] });
}
