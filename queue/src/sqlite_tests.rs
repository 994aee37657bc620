use super::*;
use crate::conformance::{self, ManualClock};

/// The folder lives as long as the test: it is kept by the queue's file handles only until they close.
fn new_queue(clock: Arc<ManualClock>) -> conformance::Opening {
    Box::pin(async move {
        let folder = tempfile::tempdir().map_err(|error| Error::Store(error.to_string()))?.keep();
        crate::open(
            &format!("sqlite://{}/queue.db", folder.display()),
            Options { most_open: 50, most_open_bytes: 4096, clock },
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

#[tokio::test]
async fn a_url_of_another_kind_is_named() {
    let error = crate::open("postgres://secret@host/db", Options::default()).await.unwrap_err().to_string();
    assert!(error.contains("postgres") && !error.contains("secret"), "{error}");
}
