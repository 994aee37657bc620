//! Damaged and torn write-ahead logs.

use std::{fs, path::PathBuf};

use super::*;
use crate::conformance;

const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;
const DELIVERIES: usize = 30;

/// A store as a killed process leaves it: the files of one that is still open, with its log changed.
struct Killed {
    folder: tempfile::TempDir,
    whole: Vec<u8>,
}

impl Killed {
    async fn new() -> Self {
        let (folder, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let queue = crate::open(&url(open.path()), Options::default()).await.unwrap();
        for n in 0..DELIVERIES {
            queue.put(conformance::delivery(&format!("d{n}"), "a", "k")).await.unwrap();
        }
        fs::copy(open.path().join("queue.db"), folder.path().join("queue.db")).unwrap();
        let whole = fs::read(open.path().join("queue.db-wal")).unwrap();
        drop(queue);
        Self { folder, whole }
    }

    /// The frames that end a transaction.
    fn commits(&self) -> Vec<usize> {
        let frames = (self.whole.len() - HEADER) / FRAME;
        (0..frames).filter(|frame| self.whole[at(*frame) + 4..][..4] != [0; 4]).collect()
    }

    /// A copy with this log.
    fn with(&self, log: &[u8]) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(self.folder.path().join("queue.db"), copy.path().join("queue.db")).unwrap();
        fs::write(log_in(copy.path()), log).unwrap();
        copy
    }

    /// The log with these bytes of it changed.
    fn damaged(&self, from: usize, bytes: usize) -> Vec<u8> {
        let mut log = self.whole.clone();
        log[from..from + bytes].iter_mut().for_each(|byte| *byte ^= 0xA5);
        log
    }

    /// Opens a copy with this log; says how many deliveries are there, or why none can be.
    async fn open(&self, log: &[u8]) -> Result<usize> {
        let copy = self.with(log);
        let opened = crate::open(&url(copy.path()), Options::default()).await;
        if opened.is_err() {
            assert_eq!(fs::read(log_in(copy.path())).unwrap(), log, "what is refused stays as it is");
            let again = crate::open(&url(copy.path()), Options::default()).await;
            assert!(matches!(again, Err(Error::Damaged(_))), "and is refused again");
        }
        let filter = Filter { limit: 2 * DELIVERIES, ..Filter::default() };
        Ok(opened?.list(filter).await.unwrap().len())
    }
}

fn url(folder: &Path) -> String {
    format!("sqlite://{}/queue.db", folder.display())
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("queue.db-wal")
}

/// Where a frame begins, counted from 0.
fn at(frame: usize) -> usize {
    HEADER + frame * FRAME
}

#[tokio::test]
async fn a_log_damaged_in_the_middle_is_refused() {
    let killed = Killed::new().await;
    assert_eq!(killed.open(&killed.whole).await.unwrap(), DELIVERIES);
    let commits = killed.commits();
    let middle = commits[commits.len() - 10];
    // A page, the header of a frame that ends a transaction, and the end of one frame with the beginning of the next.
    for (from, bytes) in [(at(middle) + 100, 1), (at(middle), 24), (at(middle) + 2000, 4096)] {
        let error = killed.open(&killed.damaged(from, bytes)).await.unwrap_err().to_string();
        assert!(error.contains("queue.db-wal: the log is damaged"), "{error}");
        assert!(error.contains("10 commits") || error.contains("9 commits"), "{error}");
    }
}

#[tokio::test]
async fn what_a_power_cut_leaves_of_the_last_transaction_is_taken_for_the_end() {
    let killed = Killed::new().await;
    let commits = killed.commits();
    let last = commits[commits.len() - 1];
    let mut torn = killed.whole.clone();
    torn[at(last) + 3000..at(last) + FRAME].fill(0);
    for log in [&killed.whole[..at(last)], &killed.whole[..at(last) + 1000], &torn] {
        assert_eq!(killed.open(log).await.unwrap(), DELIVERIES - 1);
    }
    // A transaction that was cut off, and a shorter one in its place that was cut off too.
    let shorter = commits[commits.len() - 2] + 1;
    let mut twice = torn.clone();
    twice[at(shorter) + 4..][..4].copy_from_slice(&[0, 0, 0, 9]);
    twice[at(shorter) + 16..][..8].fill(7);
    assert!(shorter < last, "a transaction has several frames");
    assert_eq!(killed.open(&twice).await.unwrap(), DELIVERIES - 1);
}

#[tokio::test]
async fn what_an_earlier_round_of_the_log_left_at_its_end_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let queue = crate::open(&url(folder.path()), Options::default()).await.unwrap();
    for n in 0..DELIVERIES {
        queue.put(conformance::delivery(&format!("d{n}"), "a", "k")).await.unwrap();
    }
    let long = fs::metadata(log_in(folder.path())).unwrap().len();
    let other = connection::open(&folder.path().join("queue.db"), 100).unwrap();
    other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    queue.put(conformance::delivery("new", "a", "k")).await.unwrap();
    let killed = Killed { whole: fs::read(log_in(folder.path())).unwrap(), folder };
    assert_eq!(killed.whole.len() as u64, long, "the log began anew");
    assert_ne!(killed.whole[at(0) + 8..][..8], killed.whole[killed.whole.len() - FRAME + 8..][..8]);
    assert_eq!(killed.open(&killed.whole).await.unwrap(), DELIVERIES + 1);
}

#[tokio::test]
async fn a_log_whose_header_is_damaged_is_refused_but_not_one_without_frames() {
    let killed = Killed::new().await;
    // The magic number, the salts, the checksum; and all of it with the first frame.
    for (from, bytes) in [(0, 4), (16, 8), (24, 8), (0, 4096)] {
        let error = killed.open(&killed.damaged(from, bytes)).await.unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{from}: {error}");
    }
    let (empty, header) = (&killed.whole[..0], &killed.whole[..HEADER]);
    for log in [empty, header] {
        assert!(killed.open(log).await.is_ok());
    }
}

#[tokio::test]
async fn a_look_from_outside_and_a_backup_see_a_damaged_log_and_leave_it() {
    let killed = Killed::new().await;
    let commits = killed.commits();
    let log = killed.damaged(at(commits[commits.len() - 10]) + 100, 1);
    let copy = killed.with(&log);
    let backup = copy.path().join("backup.db");
    for _ in 0..2 {
        let seen = crate::examine(&url(copy.path()), Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(seen, Error::Damaged(_)), "{seen}");
        let made = crate::backup(&url(copy.path()), &backup).await.unwrap_err();
        assert!(matches!(made, Error::Damaged(_)) && !backup.exists(), "{made}");
        assert_eq!(fs::read(log_in(copy.path())).unwrap(), log);
    }
    let start = crate::open(&url(copy.path()), Options::default()).await.unwrap_err();
    assert!(matches!(start, Error::Damaged(_)), "{start}");

    let copy = killed.with(&killed.whole);
    let examined = crate::examine(&url(copy.path()), Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(examined.usage.unwrap().open_jobs, DELIVERIES as u64, "a whole log is read");
    let backup = copy.path().join("backup.db");
    assert_eq!(crate::backup(&url(copy.path()), &backup).await.unwrap().deliveries, DELIVERIES as u64);
}

#[tokio::test]
async fn a_store_that_was_moved_aside_with_a_damaged_log_is_not_put_back() {
    let killed = Killed::new().await;
    let commits = killed.commits();
    let log = killed.damaged(at(commits[commits.len() - 10]) + 100, 1);
    let (copy, target) = (killed.with(&log), tempfile::tempdir().unwrap());
    for _ in 0..2 {
        let refused =
            crate::restore(&url(target.path()), &copy.path().join("queue.db"), false).await.unwrap_err();
        assert!(refused.to_string().contains("queue.db-wal: the log is damaged"), "{refused}");
        assert_eq!(fs::read(log_in(copy.path())).unwrap(), log);
    }
    let copy = killed.with(&killed.whole);
    let restored = crate::restore(&url(target.path()), &copy.path().join("queue.db"), false).await.unwrap();
    assert_eq!(restored.deliveries, DELIVERIES as u64);
}

#[tokio::test]
async fn a_backup_is_read_where_nothing_can_be_written() {
    let (folder, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // One that was moved aside needs files beside it, if it is not said that nobody changes it.
    let from = folder.path().join("50% #1?.db");
    crate::open(&format!("sqlite://{}", from.display()), Options::default()).await.unwrap();
    let others = || fs::read_dir(folder.path()).unwrap().count();
    let before = others();
    let mut source = wal::open_source(&from).unwrap();
    assert!(keep::look_through(&from, &mut source, None).unwrap());
    assert_eq!(others(), before, "nothing is made beside it");
    drop(source);
    crate::restore(&url(target.path()), &from, false).await.unwrap();
    let none = crate::restore(&url(target.path()), &folder.path().join("none.db"), true).await.unwrap_err();
    assert!(none.to_string().contains("cannot open") && none.to_string().contains("none.db"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_beside_somebody_who_writes_takes_nothing_for_damage() {
    let folder = tempfile::tempdir().unwrap();
    let queue = crate::open(&url(folder.path()), Options::default()).await.unwrap();
    let writer = tokio::spawn(async move {
        for n in 0..1000 {
            queue.put(conformance::delivery(&format!("d{n}"), "a", "k")).await.unwrap();
        }
    });
    while !writer.is_finished() {
        crate::examine(&url(folder.path()), Duration::ZERO).await.unwrap();
    }
    writer.await.unwrap();
}
