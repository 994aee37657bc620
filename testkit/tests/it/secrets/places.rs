//! Where a secret could have got to: files as they are, what databases say, and what is compressed in them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, types::ValueRef};

use super::canaries::Canaries;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Everything that was written or said, by where.
#[derive(Default)]
pub struct Places(BTreeMap<String, Vec<u8>>);

impl Places {
    /// Adds what was said somewhere.
    pub fn add(&mut self, place: impl Into<String>, said: impl AsRef<[u8]>) {
        let all = self.0.entry(place.into()).or_default();
        all.extend_from_slice(said.as_ref());
        all.push(b'\n');
    }

    /// Adds every file below `folder`, and what the databases among them say.
    pub fn add_files(&mut self, folder: &Path) {
        for path in files(folder) {
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let bytes = fs::read(&path).unwrap();
            let is_database = bytes.starts_with(b"SQLite format 3\0");
            self.add(&name, bytes);
            if is_database {
                self.add_database(&name, &path);
            }
        }
    }

    /// A copy is read: opening the database itself would tidy it up.
    fn add_database(&mut self, name: &str, path: &Path) {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        for end in ["", "-wal"] {
            let from = PathBuf::from(format!("{}{end}", path.display()));
            if from.exists() {
                fs::copy(from, format!("{}{end}", copy.display())).unwrap();
            }
        }
        let database = Connection::open(copy).unwrap();
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'";
        let mut tables = database.prepare(tables).unwrap();
        let tables: Vec<String> =
            tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for table in tables {
            let mut rows = database.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
            let columns = rows.column_count();
            let mut rows = rows.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    if let ValueRef::Text(value) | ValueRef::Blob(value) = row.get_ref(column).unwrap() {
                        self.add(format!("{name}, {table}"), value);
                        if value.starts_with(&ZSTD) {
                            self.add(format!("{name}, {table}, unpacked"), zstd::decode_all(value).unwrap());
                        }
                    }
                }
            }
        }
    }

    /// Each place with a secret that does not belong there. `may` names those that a place is allowed.
    pub fn leaks(&self, canaries: &Canaries, may: &[(&str, &[&str])]) -> Vec<String> {
        let mut leaks = Vec::new();
        for (place, bytes) in &self.0 {
            let allowed = may.iter().find(|(of, _)| of == place).map_or(&[][..], |(_, names)| names);
            for (name, form) in canaries.find(bytes) {
                if !allowed.contains(&name) {
                    leaks.push(format!("{place}: {name}, {form}"));
                }
            }
        }
        leaks
    }

    /// The places of whose name `part` is a part, and that say `word`.
    pub fn with(&self, part: &str, word: &str) -> usize {
        let says = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        self.0.iter().filter(|(place, bytes)| place.contains(part) && says(bytes)).count()
    }

    /// Their names and sizes, for a failed test.
    pub fn names(&self) -> Vec<(&str, usize)> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn a_leak_is_found_in_a_log_before_it_is_in_its_database_and_in_what_is_compressed() {
    let canaries = Canaries::new();
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(folder.path().join("x.db")).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a, b)")
        .unwrap();
    // so long that it goes over several pages
    let body = "x".repeat(20_000) + canaries.get("MEMORY_TOKEN");
    let packed = zstd::encode_all(body.as_bytes(), 3).unwrap();
    database.execute("INSERT INTO t VALUES (?, ?)", (canaries.get("GITHUB_TOKEN"), packed)).unwrap();
    let mut places = Places::default();
    places.add_files(folder.path());
    let leaks = places.leaks(&canaries, &[]);
    for place in [
        "x.db-wal: GITHUB_TOKEN, plain",
        "x.db, t: GITHUB_TOKEN, plain",
        "x.db, t, unpacked: MEMORY_TOKEN, plain",
    ] {
        assert!(leaks.iter().any(|leak| leak == place), "{place}: {leaks:?}");
    }
    assert!(!leaks.iter().any(|leak| leak.starts_with("x.db: ")), "it is in the log alone: {leaks:?}");
    let may: &[(&str, &[&str])] =
        &[("x.db-wal", &["GITHUB_TOKEN", "MEMORY_TOKEN"]), ("x.db, t", &["GITHUB_TOKEN", "MEMORY_TOKEN"])];
    assert_eq!(places.leaks(&canaries, may), ["x.db, t, unpacked: MEMORY_TOKEN, plain"]);
}
