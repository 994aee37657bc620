//! A damaged write-ahead log, and a restore that was cut off.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
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
    // Nor does going back to it lose in silence what is behind the damage.
    let other = directory.path().join("other.db");
    let refused = restore(&other, &path).unwrap_err();
    assert!(refused.to_string().contains("memory.db-wal: the log is damaged"), "{refused}");
    assert_eq!(fs::read(log_of(&path)).unwrap(), log);
    assert!(!other.exists());
}

#[tokio::test]
async fn a_restore_that_was_cut_off_hides_nothing_and_is_made_good() {
    let (directory, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = SqliteStore::open(&open.path().join("memory.db")).unwrap();
    let update = Step::Update { delivery: 0, text: 0, repository: 0, kind: 0, path: 0 };
    live(&store, &[update]).await;
    let backup = directory.path().join("backup.db");
    back_up(&open.path().join("memory.db"), &backup).unwrap();
    // As a killed service leaves it, with the first file moved.
    let path = directory.path().join("memory.db");
    let aside = directory.path().join("memory.db.replaced-20991231T000000.000Z");
    fs::copy(open.path().join("memory.db"), &aside).unwrap();
    fs::copy(open.path().join("memory.db-wal"), log_of(&path)).unwrap();
    let log = fs::read(log_of(&path)).unwrap();
    for refused in [
        SqliteStore::open(&path).unwrap_err(),
        glance(&path, Duration::ZERO).unwrap_err(),
        back_up(&path, &directory.path().join("none.db")).unwrap_err(),
    ] {
        assert!(refused.to_string().contains("restore the backup once more"), "{refused}");
        assert_eq!(fs::read(log_of(&path)).unwrap(), log);
    }
    assert_eq!(restore(&path, &backup).unwrap().1, Some(aside.clone()));
    assert_eq!(check(&path).unwrap().memories, 1);
    // And back to what was moved aside, which is in its log.
    assert_eq!(restore(&path, &aside).unwrap().0.records, 1);
}

#[test]
fn what_root_restores_belongs_to_those_who_have_the_folder() {
    let (directory, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if fs::metadata(directory.path()).unwrap().uid() != 0 {
        // Nobody but root can try it.
        return;
    }
    let backup = open.path().join("backup.db");
    let store = SqliteStore::open(&open.path().join("memory.db")).unwrap();
    back_up(&open.path().join("memory.db"), &backup).unwrap();
    drop(store);
    chown(directory.path(), Some(1234), Some(5678)).unwrap();
    restore(&directory.path().join("memory.db"), &backup).unwrap();
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 2, "the memory and its lock: {files:?}");
    for file in files {
        let made = file.metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), (1234, 5678), "{file:?}");
    }
}
