//! From one schema to the next, and back.

use std::process::Command;

use super::*;
use crate::conformance;

/// What the last build of schema 1 left when it was killed: `.dump` of its file. Each delivery's id says what became of it.
const MADE_BY_1: &str = include_str!("../tests/made_by_schema_1.sql");

fn made_by_1(path: &Path) {
    let old = Connection::open(path).unwrap();
    old.execute_batch(MADE_BY_1).unwrap();
    old.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 1").unwrap();
}

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// Every row of every table.
fn rows(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut tables = db
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1",
        )
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut all = Vec::new();
    for table in tables {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect::<Vec<_>>();
            all.push(format!("{table}: {}", values.join(", ")));
        }
    }
    all.sort();
    all
}

fn copies(path: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.to_string_lossy().contains(".schema-")).collect()
}

#[tokio::test]
async fn what_a_build_of_the_former_schema_left_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    made_by_1(&path);
    let queue = crate::open(&url(&path), Options::default()).await.unwrap();
    let listed = queue.list(Filter { limit: 100, ..Filter::default() }).await.unwrap();
    let states = listed.iter().flat_map(|record| {
        record
            .jobs
            .iter()
            .map(|job| format!("{} in {}: {:?}, {}", record.id, job.lane, job.state, job.attempts))
    });
    let mut states: Vec<_> = states.collect();
    states.sort();
    assert_eq!(
        states,
        [
            "again in claude: Pending, 0",
            "behind in claude: Pending, 0",
            "dead in claude: Dead, 1",
            "done in claude: Done, 1",
            "done in ollama: Done, 1",
            "held in ollama: Pending, 1",
            "new-head in claude: Pending, 0",
            "new-head in ollama: Pending, 1",
            "old-head in claude: Superseded, 0",
            "retried in ollama: Pending, 1",
        ]
    );
    let ignored = queue.find("ignored").await.unwrap().unwrap();
    assert_eq!((ignored.note.as_deref(), ignored.jobs.len()), (Some("no rule wants it"), 0));
    assert_eq!(queue.cursor("claude/outcomes").await.unwrap(), Some(41));
    let done = queue.find("done").await.unwrap().unwrap();
    let finish = done.jobs[0].finish.clone().unwrap();
    assert_eq!(finish.url.as_deref(), Some("https://github.com/octo/shop/pull/7"));
    let feed: Vec<_> = queue.finished(0, 100).await.unwrap().into_iter().map(|end| end.id).collect();
    assert_eq!(feed, ["done", "done", "dead", "old-head"]);
    let mut worked = Vec::new();
    for lane in ["claude", "ollama"] {
        loop {
            let leased = queue.lease(lane, 10, Duration::from_secs(60)).await.unwrap();
            if leased.is_empty() {
                break;
            }
            for lease in leased {
                let (job, text) =
                    (lease.job().clone(), String::from_utf8(lease.job().payload.clone()).unwrap());
                assert!(text.contains(&format!("\"payload\":\"of {}\"", job.id)), "{text}");
                let checkpoint =
                    job.checkpoint.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
                worked.push(format!("{} {checkpoint}", job.id));
                lease.done(Finish::new("completed", "")).await.unwrap();
            }
        }
    }
    assert_eq!(worked, ["again ", "new-head ", "behind ", "new-head ", "held begun", "retried half of it"]);
    let known = queue.put(conformance::delivery("held", "ollama", "k5")).await.unwrap();
    assert!(matches!(known, Put::Duplicate { .. }), "{known:?}");
}

#[tokio::test]
async fn the_copy_that_an_upgrade_sets_aside_is_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    made_by_1(&path);
    let before = rows(&path);
    drop(crate::open(&url(&path), Options::default()).await.unwrap());
    let [copy] = &copies(&path)[..] else { panic!("{:?}", copies(&path)) };
    assert_eq!(rows(copy), before, "the copy is as the former build left its store");
    let version: i64 =
        Connection::open(copy).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(copy).unwrap()) & 0o777, 0o600);
    super::tests::closed(&path).await;
    drop(crate::open(&url(&path), Options::default()).await.unwrap());
    assert_eq!(copies(&path).len(), 1, "a store that is up to date is not copied");

    // As a build of the schema after this one would have left it, and the present build is the former one.
    super::tests::closed(&path).await;
    let aside = folder.path().join(format!("queue.db.schema-{}-20260101T000000Z", keep::SCHEMA_VERSION));
    std::fs::copy(&path, &aside).unwrap();
    let next = keep::SCHEMA_VERSION + 1;
    Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {next}")).unwrap();
    let refused = crate::open(&url(&path), Options::default()).await.unwrap_err().to_string();
    assert!(
        refused.contains("newer version") && refused.contains(&format!("put {}", aside.display())),
        "{refused}"
    );
    crate::restore(&url(&path), &aside, true).await.unwrap();
    let queue = crate::open(&url(&path), Options::default()).await.unwrap();
    assert_eq!(queue.find("held").await.unwrap().unwrap().jobs.len(), 1);
}

/// The store of the working folder.
#[tokio::test]
#[ignore = "the test below runs it in a process of its own, whose files cannot grow"]
async fn opens_where_there_is_no_room() {
    let refused = crate::open("sqlite://queue.db", Options::default()).await.unwrap_err().to_string();
    assert!(
        refused.contains("no copy could be made") && refused.contains("nothing was changed"),
        "{refused}"
    );
}

#[test]
fn without_room_for_a_copy_there_is_no_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    made_by_1(&path);
    let large = "UPDATE deliveries SET payload = randomblob(1000000) WHERE id = 'done'";
    Connection::open(&path).unwrap().execute_batch(large).unwrap();
    let before = rows(&path);
    let mut limited = Command::new("/bin/sh");
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" --exact --ignored sqlite::upgrade_tests::opens_where_there_is_no_room";
    limited.args(["-c", script]).arg(std::env::current_exe().unwrap()).current_dir(folder.path());
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(rows(&path), before);
    assert_eq!(copies(&path), Vec::<PathBuf>::new(), "nor is half a copy left");
}

#[tokio::test]
async fn an_upgrade_that_fails_at_each_start_leaves_no_copies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    made_by_1(&path);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE payloads (in_the_way)").unwrap();
    let before = rows(&path);
    // What a start left that was killed while it copied, and one that was killed while it upgraded.
    for end in ["", ".unfinished"] {
        std::fs::write(folder.path().join(format!("queue.db.schema-1-20260101T000000Z{end}")), "").unwrap();
    }
    for _ in 0..3 {
        let refused = crate::open(&url(&path), Options::default()).await.unwrap_err().to_string();
        assert!(refused.contains("payloads already exists"), "{refused}");
        assert_eq!(copies(&path), Vec::<PathBuf>::new());
    }
    assert_eq!(rows(&path), before);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE payloads").unwrap();
    crate::open(&url(&path), Options::default()).await.unwrap();
    assert_eq!(copies(&path).len(), 1);
}

#[tokio::test]
async fn a_copy_that_is_old_goes_while_the_service_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    made_by_1(&path);
    let queue = crate::open(&url(&path), Options::default()).await.unwrap();
    queue.prune(Retention::default()).await.unwrap();
    let [copy] = &copies(&path)[..] else { panic!("{:?}", copies(&path)) };
    let then = std::time::SystemTime::now() - Duration::from_secs(15 * 24 * 3600);
    File::options().write(true).open(copy).unwrap().set_modified(then).unwrap();
    queue.prune(Retention::default()).await.unwrap();
    assert_eq!(copies(&path), Vec::<PathBuf>::new());
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
