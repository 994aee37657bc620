//! A damaged write-ahead log.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::tests::history::{Step, all, live};

const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

/// A memory as a killed service leaves it: the files of one that is still open, with a byte changed in the middle of its log.
async fn killed(directory: &Path) -> (PathBuf, Vec<u8>) {
    let (path, open) = (directory.join("memory.db"), tempfile::tempdir().unwrap());
    let store = SqliteStore::open(&open.path().join("memory.db")).unwrap();
    let update = |delivery| Step::Update { delivery, text: delivery.into(), repository: 0, kind: 0, path: 0 };
    live(&store, &(0..5).map(update).collect::<Vec<_>>()).await;
    assert_eq!(all(&store).await.len(), 5);
    fs::copy(open.path().join("memory.db"), &path).unwrap();
    let mut log = fs::read(open.path().join("memory.db-wal")).unwrap();
    let frames = (log.len() - HEADER) / FRAME;
    let commits = (0..frames).filter(|frame| log[HEADER + frame * FRAME + 4..][..4] != [0; 4]);
    let commit = commits.rev().nth(3).unwrap();
    log[HEADER + commit * FRAME + 100] ^= 0xA5;
    fs::write(log_of(&path), &log).unwrap();
    (path, log)
}

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

#[tokio::test]
async fn whoever_sees_a_damaged_log_says_so_and_leaves_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, log) = killed(directory.path()).await;
    let backup = directory.path().join("backup.db");
    for _ in 0..2 {
        for refused in [
            glance(&path, Duration::from_secs(60)).unwrap_err(),
            back_up(&path, &backup).unwrap_err(),
            check(&path).unwrap_err(),
            reindex(&path).unwrap_err(),
            SqliteStore::open(&path).unwrap_err(),
        ] {
            assert!(matches!(refused, StoreError::Damaged(_)), "{refused}");
            assert!(refused.to_string().contains("memory.db-wal: the log is damaged"), "{refused}");
            assert_eq!(fs::read(log_of(&path)).unwrap(), log);
        }
    }
    assert!(!backup.exists());
}
