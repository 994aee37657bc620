use std::{fs::File, time::SystemTime};

use super::*;

struct Store {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        Self { folder, path }
    }

    fn with(&self, end: &str) -> PathBuf {
        let path = with_end(&self.path, &format!(".schema-{end}"));
        File::create(&path).unwrap();
        path
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }

    fn upgrade(
        &self,
        copied: Result<(), &'static str>,
        upgraded: Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let copy = |to: &Path| {
            File::create(to).unwrap();
            if copied.is_err() {
                fs::rename(to, with_end(to, ".unfinished")).unwrap();
            }
            copied
        };
        let copy = set(&self.path, 2, copy)?;
        upgraded.map(|()| copy.keep())
    }
}

#[test]
fn the_newest_copy_that_can_be_opened_is_the_way_back_and_old_ones_go() {
    let store = Store::new();
    assert_eq!(newest(&store.path, 9), None);
    let old = store.with("1-20260101T000000Z");
    let [first, second] = [store.with("2-20260102T000000Z"), store.with("2-20260103T000000Z")];
    let [third, unfinished] = [store.with("3-20260104T000000Z"), store.with("2-20260105T000000Z.unfinished")];
    let other = store.with("x-y");
    assert_eq!(newest(&store.path, 2), Some(second.clone()));
    assert_eq!(newest(&store.path, 1), Some(old.clone()));
    let then = SystemTime::now() - KEPT - Duration::from_secs(60);
    for aged in [&old, &first, &other] {
        File::options().write(true).open(aged).unwrap().set_modified(then).unwrap();
    }
    let mut left: Vec<_> = clear(&store.path).into_iter().map(|aside| aside.path).collect();
    left.sort();
    assert_eq!(left, [second, third]);
    assert!(!old.exists() && !first.exists() && !unfinished.exists() && other.exists());
    let until = clear(&store.path)[0].until.unwrap().duration_since(Timestamp::now()).as_hours();
    assert_eq!(until, 14 * 24 - 1, "from when it was made");
}

#[test]
fn however_often_an_upgrade_fails_no_copy_is_left_of_it() {
    let store = Store::new();
    for _ in 0..3 {
        assert_eq!(store.upgrade(Ok(()), Err("the disk is full")), Err("the disk is full"));
        assert_eq!(store.files(), 0);
    }
    // A copy that was cut off goes when the next one is made.
    for _ in 0..3 {
        assert_eq!(store.upgrade(Err("killed"), Ok(())), Err("killed"));
        assert_eq!(store.files(), 1);
    }
    let [killed, older] = [store.with("2-20260101T000000Z"), store.with("1-20260101T000000Z")];
    store.upgrade(Ok(()), Ok(())).unwrap();
    assert!(!killed.exists() && older.exists() && store.files() == 2);
    assert_ne!(newest(&store.path, 2), Some(older));
}

#[test]
fn an_upgrade_is_not_begun_where_there_is_no_room_for_it() {
    let store = Store::new();
    File::create(&store.path).unwrap().set_len(3 << 20).unwrap();
    File::create(with_end(&store.path, "-wal")).unwrap().set_len(1 << 20).unwrap();
    room(&store.path).unwrap();
    let short = enough(1 << 20, 4 << 20).unwrap_err();
    assert_eq!(short.to_string(), "it takes 4 MiB, and 1 MiB are free");
    // For the copy alone there would be.
    let stat = rustix::fs::statvfs(&store.path).unwrap();
    File::create(&store.path).unwrap().set_len(stat.f_bavail * stat.f_frsize / 2).unwrap();
    assert_eq!(room(&store.path).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn what_restores_moved_aside_is_there_until_somebody_removes_it() {
    let store = Store::new();
    let ends = [".replaced-20260101T000000.000Z", ".replaced-20260101T000000.000Z-wal"];
    let files = ends.map(|end| with_end(&store.path, end));
    files.iter().for_each(|file| drop(File::create(file).unwrap()));
    assert_eq!(clear(&store.path), []);
    assert_eq!(left(&store.path), files.map(|path| Aside { path, until: None }));
}
