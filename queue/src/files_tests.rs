use std::os::unix::fs::{chown, symlink};

use super::*;

struct Store {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Store {
    /// With these files, each of which has its own name for content.
    fn new(ends: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        for end in ends {
            fs::write(with_end(&path, end), format!("former{end}")).unwrap();
        }
        Self { _folder: folder, path }
    }

    fn text(&self, end: &str) -> Option<String> {
        fs::read_to_string(with_end(&self.path, end)).ok()
    }

    fn replace(&self) -> Option<PathBuf> {
        let new = with_end(&self.path, ".unfinished");
        fs::write(&new, "new").unwrap();
        replace(&self.path, &new).unwrap()
    }
}

/// Of a replacement that was cut off; the log is older, since nobody wrote to it any more.
const BEFORE: &str = ".replaced-20991231T000000.000Z";
/// Of one that was done before somebody wrote to the log.
const LONG_BEFORE: &str = ".replaced-20260101T000000.000Z";

#[test]
fn a_store_is_replaced_together_with_its_log() {
    let store = Store::new(&ENDS);
    let aside = store.replace().unwrap();
    for end in ENDS {
        assert_eq!(fs::read_to_string(with_end(&aside, end)).unwrap(), format!("former{end}"));
    }
    assert_eq!(store.text("").as_deref(), Some("new"));
    assert_ne!(store.replace().unwrap(), aside, "each has a place of its own");
    assert_eq!((store.text("-wal"), store.text("-shm"), store.text(".unfinished")), (None, None, None));
    assert_eq!(Store::new(&[]).replace(), None, "nothing was there");
}

#[test]
fn wherever_a_replacement_is_cut_off_no_empty_store_takes_the_place() {
    let log = format!("{BEFORE}-wal");
    for (files, left) in [
        (&["-wal", "-shm", BEFORE, ".unfinished"][..], "-wal"),
        (&["-shm", BEFORE, &log, ".unfinished"], ".unfinished"),
        (&[BEFORE, &log, ".unfinished"], ".unfinished"),
        (&[BEFORE], BEFORE),
        (&["-wal"], "-wal"),
    ] {
        let store = Store::new(files);
        assert_eq!(left_by_a_replacement(&store.path), Some(with_end(&store.path, left)), "{files:?}");
        let aside = store.replace();
        assert_eq!(aside, files.contains(&BEFORE).then(|| with_end(&store.path, BEFORE)), "{files:?}");
        if files.contains(&"-wal") && files.contains(&BEFORE) {
            assert_eq!(store.text(&log).as_deref(), Some("former-wal"), "the log stays with its file");
        }
        assert_eq!((store.text("").as_deref(), store.text("-wal")), (Some("new"), None));
        assert_eq!(left_by_a_replacement(&store.path), None);
    }
    let empty = Store::new(&[]);
    fs::write(with_end(&empty.path, "-wal"), "").unwrap();
    fs::write(with_end(&empty.path, ".schema-1-20260101T000000Z"), "").unwrap();
    assert_eq!(left_by_a_replacement(&empty.path), None);
}

#[test]
fn a_log_is_never_moved_to_another_file_than_its_own() {
    let log = format!("{BEFORE}-wal");
    let store = Store::new(&["-wal", BEFORE, &log]);
    store.replace();
    assert_eq!(store.text(&log), Some(format!("former{log}")));

    let store = Store::new(&["-wal", LONG_BEFORE]);
    store.replace();
    assert_eq!(store.text(&format!("{LONG_BEFORE}-wal")), None);
    assert_eq!(store.text("-wal"), None, "it has a place of its own");
}

#[test]
fn what_root_makes_belongs_to_those_who_have_the_folder() {
    let store = Store::new(&[""]);
    let folder = store.path.parent().unwrap();
    if fs::metadata(folder).unwrap().uid() != 0 {
        // Nobody but root can try it.
        return;
    }
    chown(folder, Some(1234), Some(5678)).unwrap();
    let lock = lock(&store.path).unwrap();
    give_to_owner_of_folder(&store.path).unwrap();
    for file in [&store.path, &store.path.with_extension("lock")] {
        let made = fs::metadata(file).unwrap();
        assert_eq!((made.uid(), made.gid()), (1234, 5678), "{}", file.display());
    }
    assert!(lock.is_some() && super::lock(&store.path).unwrap().is_none());
}

#[test]
fn nothing_leads_root_to_a_file_of_its_own() {
    let store = Store::new(&[""]);
    let (place, other) = (store.path.with_extension("lock"), with_end(&store.path, ".other"));
    fs::write(&other, "another's").unwrap();
    symlink(&other, &place).unwrap();
    assert!(lock(&store.path).is_err() && give_to_owner_of_folder(&place).is_err());
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    assert!(lock(&store.path).is_err() && give_to_owner_of_folder(&place).is_err());
    fs::remove_dir(&place).unwrap();
    fs::hard_link(&other, &place).unwrap();
    let owner = || fs::metadata(&other).map(|other| other.uid()).unwrap();
    let before = owner();
    // Fails where nobody but root can try it.
    let _ = chown(store.path.parent().unwrap(), Some(1234), None);
    assert!(lock(&store.path).unwrap().is_some());
    give_to_owner_of_folder(&place).unwrap();
    assert_eq!((fs::read_to_string(&other).unwrap().as_str(), owner()), ("another's", before));
}
