use super::*;
use crate::distil::{Distilled, Draft};

fn opened(path: &Path) -> Connection {
    drop(SqliteStore::open(path).unwrap());
    Connection::open(path).unwrap()
}

#[test]
fn a_store_of_the_former_schema_is_made_anew_of_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    let former = Connection::open(&path).unwrap();
    former.execute_batch(include_str!("tests/schema_2.sql")).unwrap();
    for (delivery, text, remembered) in
        [("update:kept", "kept", true), ("update:gone", "forgotten since", false)]
    {
        let body = format!(r#"{{"repository":"o/r","context":"{text}"}}"#);
        let body = zstd::encode_all(body.as_bytes(), 0).unwrap();
        former
            .execute(
                "INSERT INTO records (id, digest, received_at, body) VALUES (?, ?, 7, ?)",
                (delivery, delivery.as_bytes(), body),
            )
            .unwrap();
        if remembered {
            former
                .execute(
                    "INSERT INTO memories (id, delivery, repository, kind, indexed, created_at, digest, text)
                     VALUES ('m', ?, 'o/r', 'note', 1, 0, x'00', ?)",
                    (delivery, text),
                )
                .unwrap();
        }
    }
    former.pragma_update(None, "user_version", 2).unwrap();
    drop(former);
    for _ in 0..2 {
        let connection = opened(&path);
        let memory = read::get(&connection, &write::memory_id("update:kept")).unwrap().unwrap();
        assert_eq!((memory.draft.text.as_str(), memory.draft.created_at.as_microsecond()), ("kept", 7));
        let records: (i64, i64) = connection
            .query_row("SELECT count(*), count(body) FROM records", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(records, (2, 1), "what was forgotten stays forgotten");
        let all: i64 = connection.query_row("SELECT count(*) FROM memories", [], |row| row.get(0)).unwrap();
        assert_eq!(all, 1);
    }
}

#[test]
fn a_newer_schema_and_a_foreign_file_are_refused_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    opened(&path).pragma_update(None, "user_version", upgrade::SCHEMA + 1).unwrap();
    let message = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(message.contains("newer version") && message.contains("DATA_DIR"), "{message}");
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
