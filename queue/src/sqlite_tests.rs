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

/// The last connection takes the log with it when it closes, which its thread does after the queue was dropped. Two that
/// close at the same time may each take the other for the last one, so there is one more.
pub(super) async fn closed(path: &Path) {
    while path.with_extension("db-wal").exists() {
        let one_more = rusqlite::Connection::open(path).unwrap();
        one_more.execute_batch("SELECT count(*) FROM sqlite_schema").unwrap();
        drop(one_more);
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

#[tokio::test]
async fn a_look_from_outside_disturbs_nobody_and_finds_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (url, path) =
        (format!("sqlite://{}/queue.db", folder.path().display()), folder.path().join("queue.db"));
    let look = async || crate::examine(&url, Duration::from_secs(60)).await;
    assert_eq!(look().await.unwrap(), None);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it makes nothing");
    let queue = filled(&url, 3).await;
    let examined = look().await.unwrap().unwrap();
    assert!(examined.looked_through && examined.is_current);
    assert_eq!((examined.lanes[0].pending, examined.usage.unwrap().open_jobs), (3, 3));
    queue.put(conformance::delivery("later", "a", "k")).await.unwrap();
    let hurried = crate::examine(&url, Duration::ZERO).await.unwrap().unwrap();
    assert!(hurried.is_current);
    queue.wind_down().await.unwrap();
    drop(queue);
    closed(&path).await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(look().await.unwrap_err(), Error::Damaged(_)));
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_made_good_and_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let (url, backup) = (format!("sqlite://{}", path.display()), folder.path().join("backup.db"));
    let queue = filled(&url, 3).await;
    crate::backup(&url, &backup).await.unwrap();
    let killed = folder.path().join("killed");
    std::fs::create_dir(&killed).unwrap();
    // As a killed process leaves it, with the first file moved.
    let aside = killed.join("queue.db.replaced-20991231T000000.000Z");
    std::fs::copy(&path, &aside).unwrap();
    std::fs::copy(path.with_extension("db-wal"), killed.join("queue.db-wal")).unwrap();
    drop(queue);
    let url = format!("sqlite://{}/queue.db", killed.display());
    let log = std::fs::read(killed.join("queue.db-wal")).unwrap();
    for refused in [
        crate::open(&url, Options::default()).await.unwrap_err(),
        crate::examine(&url, Duration::ZERO).await.unwrap_err(),
        crate::backup(&url, &killed.join("b.db")).await.unwrap_err(),
    ] {
        let refused = refused.to_string();
        assert!(refused.contains("once more") && refused.contains("queue.db?* ANOTHER-FOLDER"), "{refused}");
        assert_eq!(std::fs::read(killed.join("queue.db-wal")).unwrap(), log);
    }
    assert_eq!(crate::restore(&url, &backup, false).await.unwrap().deliveries, 3);
    assert!(crate::examine(&url, Duration::ZERO).await.unwrap().is_some());
    // And back to what was moved aside, most of which is in its log.
    let log = killed.join("queue.db.replaced-20991231T000000.000Z-wal");
    assert!(log.exists());
    assert_eq!(crate::restore(&url, &aside, true).await.unwrap().deliveries, 3);
    let queue = crate::open(&url, Options::default()).await.unwrap();
    assert!(queue.find("d2").await.unwrap().is_some());
}

#[tokio::test]
async fn what_root_restores_belongs_to_those_who_have_the_folder() {
    use std::os::unix::fs::{MetadataExt, chown};
    let (folder, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if std::fs::metadata(folder.path()).unwrap().uid() != 0 {
        // Nobody but root can try it.
        return;
    }
    let (from, backup) =
        (format!("sqlite://{}/queue.db", open.path().display()), open.path().join("backup.db"));
    let _queue = filled(&from, 1).await;
    crate::backup(&from, &backup).await.unwrap();
    chown(folder.path(), Some(1234), Some(5678)).unwrap();
    crate::restore(&format!("sqlite://{}/queue.db", folder.path().display()), &backup, false).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 2, "the store and its lock: {files:?}");
    for file in files {
        let made = file.metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), (1234, 5678), "{file:?}");
    }
}
