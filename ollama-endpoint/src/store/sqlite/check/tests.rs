use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{SqliteStore, back_up, reindex, restore};
use super::*;
use crate::store::tests::history::{self, Step, all, live};
use crate::store::{Store, StoreError};

fn lived(steps: &[Step]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&directory.path().join("memory.db")).unwrap();
        live(&store, steps).await;
    });
    directory
}

fn path(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("memory.db")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]
    #[test]
    fn whatever_happens_the_memory_is_what_its_record_makes(steps in history::steps()) {
        let directory = lived(&steps);
        prop_assert_eq!(check(&path(&directory)).unwrap().differences, Vec::<String>::new());
        let before = check(&path(&directory)).unwrap();
        reindex(&path(&directory)).unwrap();
        prop_assert_eq!(check(&path(&directory)).unwrap(), before);
    }
}

const STEPS: [Step; 8] = [
    Step::Update { delivery: 0, text: 0, repository: 0, kind: 0, path: 0 },
    Step::Update { delivery: 1, text: 0, repository: 0, kind: 0, path: 0 },
    Step::Update { delivery: 2, text: 2, repository: 0, kind: 1, path: 1 },
    Step::Pull { delivery: 0, number: 0, text: 1 },
    Step::Push { delivery: 0, commit: 0, path: 1, what: 1 },
    Step::Refine { nth: 2, text: 3 },
    Step::Embed { nth: 0 },
    Step::Embed { nth: 1 },
];

#[test]
fn each_damage_is_told_in_one_line() {
    for (damage, told) in [
        (
            "UPDATE memories SET text = 'other' WHERE delivery = 'update:0'",
            "its text is not what the record makes",
        ),
        ("UPDATE memories SET stale = 0", "its stale is not"),
        ("DELETE FROM memories WHERE delivery = 'update:2'", "is missing"),
        ("DELETE FROM mentions", "speaks of: /src/money/cents.rs in octo/app is missing"),
        ("DELETE FROM confirmations", "by update:1 is missing"),
        ("DELETE FROM touches", "/src/money/cents.rs in octo/app by abc1230"),
        ("DELETE FROM memories_fts WHERE rowid = 1", "the full text does not find it"),
        (
            "INSERT OR REPLACE INTO memories_fts (rowid, text, about, place) VALUES (1, 'x', 'y', 'z')",
            "by other words than its own",
        ),
        ("INSERT INTO memories_fts (rowid, text) VALUES (99, 'x')", "memory at 99, which there is not"),
        ("UPDATE vectors SET vector = x'0000803f0000803f'", "has not the norm 1"),
        ("UPDATE vectors SET vector = x'0000803f'", "has not the length"),
        ("UPDATE vectors SET words = 1", "is of another text"),
        ("UPDATE memories SET indexed = 0 WHERE seq = 1", "is of no use"),
        (
            "PRAGMA foreign_keys = OFF; UPDATE mentions SET memory_seq = 77 WHERE memory_seq = 1",
            "refers to memories that there are not",
        ),
        (
            "INSERT INTO derivations (memory_id, model, prompt_version) VALUES ('none', 'm', '1')",
            "a text by m of none, where there is no memory",
        ),
        ("DELETE FROM derivations", "its text is not"),
        ("UPDATE records SET body = NULL WHERE id = 'update:2'", "is there, and the record makes none"),
    ] {
        let directory = lived(&STEPS);
        let sound = check(&path(&directory)).unwrap();
        assert_eq!((sound.differences.as_slice(), sound.records, sound.vectors), ([].as_slice(), 5, 2));
        Connection::open(path(&directory)).unwrap().execute_batch(damage).unwrap();
        let differences = check(&path(&directory)).unwrap().differences;
        assert!(differences.iter().any(|line| line.contains(told)), "{damage}: {differences:?}");
        let reindexed = reindex(&path(&directory)).is_ok();
        // What was taken out of the record stays out; all else is made good.
        let left = check(&path(&directory)).unwrap().differences;
        assert!(reindexed && (left.is_empty() || damage.contains("derivations (")), "{damage}: {left:?}");
    }
}

#[test]
fn a_damaged_index_is_seen_without_a_comparison() {
    let directory = lived(&STEPS);
    let connection = Connection::open(path(&directory)).unwrap();
    connection.execute_batch("UPDATE memories_fts_data SET block = x'00' WHERE id > 10").unwrap();
    drop(connection);
    let differences = check(&path(&directory)).unwrap().differences;
    assert!(differences[0].contains("the file is damaged"), "{differences:?}");
}

#[tokio::test]
async fn it_is_checked_and_backed_up_while_it_is_in_use_and_all_else_waits() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&path(&directory)).unwrap();
    live(&store, &STEPS).await;
    assert!(check(&path(&directory)).unwrap().differences.is_empty());
    let backup = directory.path().join("backup.db");
    let held = back_up(&path(&directory), &backup).unwrap();
    assert_eq!((held.records, held.vectors), (5, 2));
    let again = back_up(&path(&directory), &backup).unwrap_err().to_string();
    assert!(again.contains("never overwrites"), "{again}");
    for refused in [
        reindex(&path(&directory)).unwrap_err(),
        restore(&path(&directory), &backup).unwrap_err(),
        SqliteStore::open(&path(&directory)).unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
        assert!(refused.to_string().contains("stop that one first"));
    }
    let texts = |memories: Vec<crate::store::Stored>| {
        memories.into_iter().map(|memory| memory.draft.text).collect::<Vec<_>>()
    };
    let before = texts(all(&store).await);
    live(&store, &[Step::Forget { nth: 0 }]).await;
    drop(store);

    let (restored, aside) = restore(&path(&directory), &backup).unwrap();
    assert_eq!((restored, aside.unwrap().exists()), (held, true));
    let store = SqliteStore::open(&path(&directory)).unwrap();
    assert_eq!(texts(all(&store).await), before);
    let vector = store.nearest("m".into(), vec![0.6, 0.8], Default::default(), 9).await.unwrap();
    assert_eq!(vector.unwrap().len(), 2, "with its vectors");
}

#[test]
fn a_backup_that_is_not_whole_is_not_restored() {
    let directory = lived(&STEPS);
    let backup = directory.path().join("backup.db");
    back_up(&path(&directory), &backup).unwrap();
    Connection::open(&backup).unwrap().execute_batch("UPDATE memories SET text = 'x'").unwrap();
    let refused = restore(&path(&directory), &backup).unwrap_err().to_string();
    assert!(refused.contains("is not whole") && refused.contains("its text"), "{refused}");
    for (bytes, why) in [
        (&b"not a database at all, but long enough to be looked at"[..], "memory.db: file is not a database"),
        (b"", "is no memory"),
    ] {
        std::fs::write(&backup, bytes).unwrap();
        let refused = restore(&path(&directory), &backup).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    assert!(check(&path(&directory)).unwrap().differences.is_empty(), "it is as it was");
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restored")), "{left:?}");
}

#[test]
fn every_column_is_compared() {
    let directory = lived(&[]);
    let connection = Connection::open(path(&directory)).unwrap();
    let all: HashSet<String> =
        column(&connection, "SELECT name FROM pragma_table_info('memories')").unwrap().into_iter().collect();
    let statement = connection.prepare(MEMORIES).unwrap();
    let compared: HashSet<String> = statement.column_names().map(str::to_owned).collect();
    let left: HashSet<&str> = all.difference(&compared).map(String::as_str).collect();
    assert_eq!(left, ["seq", "version", "compared"].into());
}
