use super::*;
use crate::conformance::{self, ManualClock};

/// The folder lives as long as the test: it is kept by the queue's file handles only until they close.
fn new_queue(clock: Arc<ManualClock>) -> conformance::Opening {
    Box::pin(async move {
        let folder = tempfile::tempdir().map_err(|error| Error::Store(error.to_string()))?.keep();
        crate::open(
            &format!("sqlite://{}/queue.db", folder.display()),
            Options { most_open: 50, most_open_bytes: 4096, retention: None, clock },
        )
        .await
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run_all(&new_queue).await;
}

#[tokio::test]
async fn a_second_process_and_a_newer_schema_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/queue.db", folder.path().display());
    let first = crate::open(&url, Options::default()).await.unwrap();
    let second = crate::open(&url, Options::default()).await.unwrap_err();
    assert!(matches!(second, Error::InUse(_)), "{second}");
    drop(first);
    let raw = Connection::open(folder.path().join("queue.db")).unwrap();
    raw.execute_batch("PRAGMA user_version = 99").unwrap();
    let newer = crate::open(&url, Options::default()).await.unwrap_err().to_string();
    assert!(newer.contains("newer version") && newer.contains("99"), "{newer}");
}

#[tokio::test]
async fn what_a_killed_process_had_leased_is_due_again_with_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/queue.db", folder.path().display());
    let queue = crate::open(&url, Options::default()).await.unwrap();
    queue.put(conformance::delivery("d1", "a", "k")).await.unwrap();
    let lease = queue.lease("a", 1, Duration::from_secs(3600)).await.unwrap().remove(0);
    lease.checkpoint(b"half".to_vec()).await.unwrap();
    drop((lease, queue));
    let queue = crate::open(&url, Options::default()).await.unwrap();
    let again = queue.lease("a", 1, Duration::from_secs(3600)).await.unwrap().remove(0);
    assert_eq!((again.job().attempt, again.job().checkpoint.as_deref()), (2, Some(&b"half"[..])));
}

/// A file of the first version, as the first release wrote it, with a job of each kind.
#[tokio::test]
async fn a_store_of_the_first_version_is_upgraded_in_place() {
    upgrades("").await;
    // As the first builds of that version wrote it.
    upgrades("DROP TABLE scratch; CREATE INDEX jobs_dead ON jobs (lane, seq) WHERE state = 'dead';").await;
}

async fn upgrades(otherwise: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let url = format!("sqlite://{}", path.display());
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../tests/schema_1.sql")).unwrap();
    old.execute_batch(otherwise).unwrap();
    for (seq, id, state, first) in [
        (1, "done", "done", 0),
        (2, "waiting", "pending", 1),
        (3, "behind", "pending", 0),
        (4, "dead", "dead", 0),
    ] {
        let payload = zstd::encode_all(id.as_bytes(), 1).unwrap();
        old.execute(
            "INSERT INTO deliveries VALUES (?, ?, NULL, 0, 'push', NULL, 'o/r', 'one', NULL, 1000, ?)",
            rusqlite::params![seq, id, payload],
        )
        .unwrap();
        old.execute(
            "INSERT INTO jobs (delivery, lane, key, state, first, due_at, finish, finished_at, finished_seq)
             VALUES (?1, 'a', 'k', ?2, ?3, 0, iif(?3 OR ?2 = 'pending', NULL, '{\"state\":\"x\",\"summary\":\"\"}'), 1, iif(?2 = 'pending', NULL, ?1))",
            rusqlite::params![seq, state, first],
        )
        .unwrap();
    }
    old.execute_batch(
        "INSERT INTO history (job, at, what) VALUES (1, 1, 'completed'); INSERT INTO cursors VALUES ('c', 7);
        UPDATE feed SET last = 4; PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let queue = crate::open(&url, Options::default()).await.unwrap();
    let waiting = queue.lease("a", 10, Duration::from_secs(60)).await.unwrap().remove(0);
    assert_eq!((waiting.job().id.as_str(), &waiting.job().payload[..]), ("waiting", &b"waiting"[..]));
    waiting.done(Finish::new("completed", "")).await.unwrap();
    let behind = queue.lease("a", 10, Duration::from_secs(60)).await.unwrap().remove(0);
    assert_eq!(behind.job().id, "behind");
    let stats = queue.stats().await.unwrap().remove(0);
    assert_eq!((stats.pending, stats.leased, stats.dead), (0, 1, 1));
    assert_eq!(queue.feed_end().await.unwrap().last, 5);
    assert_eq!(queue.cursor("c").await.unwrap(), Some(7));
    assert_eq!(queue.find("done").await.unwrap().unwrap().jobs[0].history.len(), 1);
    drop((queue, behind));

    let fresh = Connection::open_in_memory().unwrap();
    fresh.execute_batch(include_str!("sqlite/schema.sql")).unwrap();
    let upgraded = Connection::open(&path).unwrap();
    assert_eq!(shape(&upgraded), shape(&fresh), "an upgraded store is as a new one");
    let broken: i64 =
        upgraded.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0);
}

/// Tables with their columns, and indexes and triggers word by word but for white space and comments.
fn shape(db: &Connection) -> Vec<String> {
    let mut statement = db
        .prepare(
            "SELECT m.name || ' ' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk
               FROM sqlite_schema m, pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'
             UNION ALL SELECT name || ' ' || coalesce(sql, '') FROM sqlite_schema WHERE type IN ('index', 'trigger')
             ORDER BY 1",
        )
        .unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| row.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

async fn filled(url: &str, deliveries: usize) -> crate::Queue {
    let queue = crate::open(url, Options::default()).await.unwrap();
    for n in 0..deliveries {
        let id = format!("d{n}");
        queue.put(conformance::delivery(&id, "a", &id)).await.unwrap();
    }
    queue
}

#[tokio::test]
async fn a_backup_is_made_beside_a_running_service_and_brought_back() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/queue.db", folder.path().display());
    let file = folder.path().join("backup.db");
    let queue = filled(&url, 3).await;
    assert_eq!(crate::backup(&url, &file).await.unwrap().deliveries, 3);
    let again = crate::backup(&url, &file).await.unwrap_err().to_string();
    assert!(again.contains("never overwrites"), "{again}");
    queue.put(conformance::delivery("later", "a", "k")).await.unwrap();
    assert!(matches!(crate::restore(&url, &file, true).await.unwrap_err(), Error::InUse(_)));
    drop(queue);
    closed(&folder.path().join("queue.db")).await;
    let kept = crate::restore(&url, &file, false).await.unwrap_err().to_string();
    assert!(kept.contains("--replace"), "{kept}");
    assert_eq!(crate::restore(&url, &file, true).await.unwrap().deliveries, 3);
    let queue = crate::open(&url, Options::default()).await.unwrap();
    assert!(queue.find("later").await.unwrap().is_none() && queue.find("d2").await.unwrap().is_some());
    assert_eq!(queue.lease("a", 10, Duration::from_secs(1)).await.unwrap().len(), 3);
    let aside = std::fs::read_dir(folder.path()).unwrap();
    assert!(aside.flatten().any(|file| file.file_name().to_string_lossy().contains("replaced-")));
}

/// The last connection takes the log with it when it closes, which its thread does after the queue was dropped.
async fn closed(path: &Path) {
    while path.with_extension("db-wal").exists() {
        tokio::task::yield_now().await;
    }
}

/// The error of a store that is refused at its start, or after it when the machine was too busy to look through all of it.
async fn refused(url: &str) -> Error {
    match crate::open(url, Options::default()).await {
        Err(error) => error,
        Ok(queue) => loop {
            match queue.can_store().await {
                Err(error) => return error,
                Ok(()) => tokio::task::yield_now().await,
            }
        },
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_so_is_a_damaged_backup() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let url = format!("sqlite://{}", path.display());
    drop(filled(&url, 400).await);
    closed(&path).await;
    let whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    for damaged in [0, 1, pages / 2, pages - 1] {
        let mut bytes = whole.clone();
        bytes[damaged * 4096..][..4096].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&url).await;
        assert!(matches!(error, Error::Damaged(_)), "page {damaged}: {error}");
        assert!(error.to_string().contains("backup"), "{error}");
        let backup = crate::backup(&url, &folder.path().join("no.db")).await.unwrap_err();
        assert!(matches!(backup, Error::Damaged(_)), "page {damaged}: {backup}");
    }
    let text = folder.path().join("text");
    std::fs::write(&text, "no database at all, but long enough to look at it for a while").unwrap();
    assert!(matches!(crate::restore(&url, &text, true).await.unwrap_err(), Error::Damaged(_)));
    assert!(path.exists(), "what was there is not moved for the sake of a damaged backup");
}

#[tokio::test]
async fn a_url_of_another_kind_is_named() {
    let error = crate::open("postgres://secret@host/db", Options::default()).await.unwrap_err().to_string();
    assert!(error.contains("postgres") && !error.contains("secret"), "{error}");
}
