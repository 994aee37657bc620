//! From one schema to the next, and back.

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// The rows that the last build of schema 2 left when it was killed: two events, notes of agents of which one was forgotten
/// again, vectors, and a text that could not be embedded.
const MADE_BY_2: &str = include_str!("made_by_schema_2.sql");

fn made_by_2(path: &Path) {
    let former = Connection::open(path).unwrap();
    former.execute_batch(include_str!("schema_2.sql")).unwrap();
    former.execute_batch(MADE_BY_2).unwrap();
    former.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 2").unwrap();
}

/// The rows that the last build of schema 3 left, without its full text: a comment that was posted twice (`d1`, `d2`) and
/// whose double was deleted (`d3`), worded by a model; notes of agents, of which one was forgotten; and a push.
const MADE_BY_3: &str = include_str!("made_by_schema_3.sql");

fn made_by_3(path: &Path) {
    let former = Connection::open(path).unwrap();
    former.execute_batch(include_str!("schema_3.sql")).unwrap();
    former.execute_batch(MADE_BY_3).unwrap();
    former.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 3").unwrap();
}

fn opened(path: &Path) -> Connection {
    drop(SqliteStore::open(path).unwrap());
    Connection::open(path).unwrap()
}

/// What the former schema knows of its memories and its record.
fn rows(path: &Path) -> Vec<String> {
    let former = Connection::open(path).unwrap();
    let select = "SELECT 'record ' || seq || id || hex(digest) || received_at || hex(body) FROM records
        UNION ALL SELECT 'memory ' || seq || id || delivery || repository || kind || indexed || created_at || text FROM memories
        UNION ALL SELECT 'vector ' || memory_seq || model || hex(vector) FROM vectors
        UNION ALL SELECT 'rejection ' || memory_seq || model || reason FROM rejections ORDER BY 1";
    let mut statement = former.prepare(select).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn copies(path: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.to_string_lossy().contains(".schema-")).collect()
}

fn texts(connection: &Connection) -> Vec<(String, String)> {
    let mut statement =
        connection.prepare("SELECT kind, text FROM memories WHERE indexed ORDER BY seq").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_a_build_of_the_former_schema_knew_is_known_and_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    made_by_2(&path);
    for _ in 0..2 {
        let connection = opened(&path);
        let texts = texts(&connection);
        insta::assert_json_snapshot!("what_was_known", texts);
        let records: (i64, i64) = connection
            .query_row("SELECT count(*), count(body) FROM records", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(records, (6, 5), "what was forgotten stays forgotten");
    }
    let store = SqliteStore::open(&path).unwrap();
    let found = store.matching(crate::words::words("idempotency"), Filter::default(), 9).await.unwrap();
    let found = store.fetch(found.into_iter().map(|found| found.position).collect()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].draft.text.contains("idempotency"), "{found:?}");
    drop(store);
    assert_eq!(check(&path).unwrap().differences, Vec::<String>::new());
}

#[test]
fn the_copy_that_an_upgrade_sets_aside_is_the_way_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    made_by_2(&path);
    let before = rows(&path);
    let upgraded = texts(&opened(&path));
    let [copy] = &copies(&path)[..] else { panic!("{:?}", copies(&path)) };
    assert_eq!(rows(copy), before, "the copy is as the former build left its memory");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(copy).unwrap()) & 0o777, 0o600);
    opened(&path);
    assert_eq!(copies(&path).len(), 1, "a memory that is up to date is not copied");

    let (held, aside) = restore(&path, copy).unwrap();
    assert_eq!((held.records, aside.is_some()), (6, true));
    assert_eq!(texts(&opened(&path)), upgraded, "a backup of the former build can be restored with this one");
}

#[test]
fn a_newer_schema_is_refused_with_the_way_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    opened(&path).pragma_update(None, "user_version", upgrade::SCHEMA + 1).unwrap();
    let message = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(message.contains("newer version") && message.contains("DATA_DIR"), "{message}");
    // As a build of the schema after this one would have set it aside.
    let aside = directory.path().join(format!("memory.db.schema-{}-20260101T000000Z", upgrade::SCHEMA));
    std::fs::write(&aside, "").unwrap();
    for message in [SqliteStore::open(&path).unwrap_err(), back_up(&path, Path::new("/no.db")).unwrap_err()] {
        let message = message.to_string();
        assert!(message.ends_with(&format!("ollama-endpoint restore {}", aside.display())), "{message}");
    }
}

/// The memory of the working folder.
#[test]
#[ignore = "the test below runs it in a process of its own, whose files cannot grow"]
fn opens_where_there_is_no_room() {
    let refused = SqliteStore::open(Path::new("memory.db")).unwrap_err().to_string();
    assert!(
        refused.contains("no copy could be made") && refused.contains("nothing was changed"),
        "{refused}"
    );
}

#[test]
fn without_room_for_a_copy_there_is_no_upgrade() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    made_by_2(&path);
    let large =
        "INSERT INTO records (id, digest, received_at, body) VALUES ('large', x'00', 0, randomblob(1000000))";
    Connection::open(&path).unwrap().execute_batch(large).unwrap();
    let before = rows(&path);
    let mut limited = Command::new("/bin/sh");
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" --exact --ignored store::sqlite::tests::versions::opens_where_there_is_no_room";
    limited.args(["-c", script]).arg(std::env::current_exe().unwrap()).current_dir(directory.path());
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(rows(&path), before);
    assert_eq!(copies(&path), Vec::<PathBuf>::new(), "nor is half a copy left");
}

#[test]
fn an_upgrade_that_runs_out_of_room_says_so_and_changes_nothing() {
    for made_by in [made_by_2, made_by_3] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.db");
        made_by(&path);
        let before = rows(&path);
        let mut connection = open_writer(&path).unwrap();
        let most = "PRAGMA max_page_count = 1";
        connection.query_row(most, [], |_| Ok(())).unwrap();
        let refused = upgrade::upgrade(&mut connection, &path).unwrap_err().to_string();
        assert!(
            refused.contains("no room for the upgrade") && refused.contains("nothing was changed"),
            "{refused}"
        );
        drop(connection);
        assert_eq!((rows(&path), copies(&path)), (before, Vec::new()));
    }
}

#[test]
fn a_memory_of_schema_3_is_made_anew_and_its_backups_can_be_restored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory.db");
    made_by_3(&path);
    let backup = directory.path().join("backup.db");
    std::fs::copy(&path, &backup).unwrap();
    let look = || {
        assert_eq!(check(&path).unwrap().differences, Vec::<String>::new());
        let known = opened(&path);
        let count = |what: &str| -> i64 {
            known.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(
            (count("confirmations"), count("records"), count("records WHERE body IS NULL")),
            (0, 7, 2)
        );
        assert_eq!(
            (count("vectors"), count("rejections"), count("judgements"), count("audit")),
            (2, 1, 1, 1)
        );
        assert!(texts(&known)[0].1.starts_with("Retries are capped at five, since"), "as a model worded it");
    };
    drop(SqliteStore::open(&path).unwrap());
    look();
    assert_eq!(copies(&path).len(), 1);
    restore(&path, &backup).unwrap();
    look();
}

#[test]
fn an_upgrade_that_fails_at_each_start_leaves_no_copies() {
    for made_by in [made_by_2, made_by_3] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.db");
        made_by(&path);
        let damage = "UPDATE records SET body = x'00' WHERE seq = 2";
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let before = rows(&path);
        for _ in 0..2 {
            SqliteStore::open(&path).unwrap_err();
            let left = std::fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(left, 2, "the memory and its lock");
        }
        assert_eq!(rows(&path), before);
    }
}
