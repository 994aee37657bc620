//! Looks for damage in the write-ahead log. SQLite takes a frame with a wrong checksum for the log's end, as a power cut
//! leaves it; in the middle of the log that would silently lose what was committed after it.
//!
//! And whoever closes a database last moves what it can read of the log into it and takes the log away; the next start
//! would find nothing wrong. So a connection leaves the log where it is until that was found whole.
//!
//! Layout and checksums: <https://sqlite.org/fileformat2.html#the_write_ahead_log> (section 4), and
//! <https://sqlite.org/walformat.html> for how far SQLite reads. A log is a header of 32 bytes and frames: 24 bytes and
//! a page each. All numbers are big-endian.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::{
    files::with_end,
    model::{Error, Result},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The header's first four bytes; the last bit tells in which order the checksums read their words.
const MAGIC: u32 = 0x377f_0682;

/// Both halves of a checksum, or both salts.
type Pair = [u32; 2];

/// Whether the log stays where it is when `connection` is the last one that closes. To be said before its first statement,
/// which may find that the log is to be read.
///
/// # Errors
/// SQLite does not take it.
pub fn stays(connection: &Connection, stays: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, stays).map(drop)
}

/// Looks for damage in the log of the database at `path`, beside whoever works with it. The log [`stays`] unless it was
/// found whole.
///
/// # Errors
/// [`Error::Damaged`] if there are commits in the log that SQLite does not read; it cannot be read.
pub fn check_beside(connection: &Connection, path: &Path) -> Result<()> {
    stays(connection, true)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let turn = Connection::open_with_flags(path, flags)?;
    stays(&turn, true)?;
    // While it is ours to write, nobody adds to the log.
    match turn.execute_batch("BEGIN IMMEDIATE") {
        Ok(()) => check(connection, path),
        // Somebody is writing, who has looked at the log: there is nothing left to be found, and nothing is to be taken away.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// As [`check_beside`], for one that nobody else can be writing to.
///
/// # Errors
/// The same.
pub fn check(connection: &Connection, path: &Path) -> Result<()> {
    stays(connection, true)?;
    compare(connection, &with_end(path, "-wal"))?;
    Ok(stays(connection, false)?)
}

/// Opens a store to be copied, such as a backup, or one that was moved aside with its log. One without a log is read where
/// nothing can be written, too.
///
/// # Errors
/// It cannot be opened; as [`check_beside`].
pub fn open_source(path: &Path) -> Result<Connection> {
    let failed = |cause: String| Error::Open { path: path.display().to_string(), cause };
    let has_log = fs::metadata(with_end(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let (name, flags) = if has_log {
        (path.to_owned(), OpenFlags::SQLITE_OPEN_READ_WRITE)
    } else {
        let whole = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let name = whole.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        (format!("file://{name}?immutable=1").into(), flags)
    };
    let opened = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let connection = opened.map_err(|error| failed(error.to_string()))?;
    if has_log {
        check_beside(&connection, path)?;
    }
    Ok(connection)
}

/// Compares how far `connection` reads the log at `path` with what is in it.
///
/// Each commit is on disk before the next begins, so what a power cut leaves behind the end is one unfinished transaction,
/// or several that began at the same place: nothing follows a commit there. A frame whose checksum goes on from that of a
/// commit shows that somebody was told of that commit.
fn compare(connection: &Connection, path: &Path) -> Result<()> {
    // Asks how many frames SQLite reads. They are also in `-shm`, but closing that file here would end SQLite's locks on it.
    let read: i64 = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    let page: usize = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    match unread(path, page, u64::try_from(read).unwrap_or(0)) {
        Ok(0) => Ok(()),
        Ok(commits) => Err(Error::Damaged(format!(
            "{}: the log is damaged, and {commits} commits in it cannot be read",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::Open { path: path.display().to_string(), cause: error.to_string() }),
    }
}

/// Commits behind the frames that are read; 0 if they may be what a power cut left. Reads pages only behind commits, until
/// it is sure.
fn unread(path: &Path, page: usize, read: u64) -> io::Result<u64> {
    let log = File::open(path)?;
    let size = (FRAME_HEADER + page) as u64;
    let Some(frames) = log.metadata()?.len().checked_sub(HEADER as u64).map(|bytes| bytes / size) else {
        return Ok(0);
    };
    let mut header = [0; HEADER];
    log.read_exact_at(&mut header, 0)?;
    let big_endian = u32_at(&header, 0) == MAGIC | 1;
    // A log that began anew has frames of an earlier round at its end, with other salts.
    let mut salts = is_whole(&header, big_endian).then(|| pair_at(&header, 16));
    let (mut commits, mut damaged, mut before) = (0, false, None::<Frame>);
    let mut bytes = vec![0; FRAME_HEADER + page];
    for at in (read..frames).map(|frame| HEADER as u64 + frame * size) {
        log.read_exact_at(&mut bytes[..FRAME_HEADER], at)?;
        let frame = Frame::new(&bytes);
        if salts.is_some_and(|salts| salts != frame.salts) {
            before = None;
            continue;
        }
        if let Some(before) = before.filter(|before| !damaged && before.commit && before.salts == frame.salts)
        {
            log.read_exact_at(&mut bytes, at)?;
            damaged = frame.follows(&before, &bytes, big_endian);
            salts = salts.or(damaged.then_some(frame.salts));
        }
        commits += u64::from(frame.commit);
        before = Some(frame);
    }
    Ok(if damaged { commits } else { 0 })
}

fn is_whole(header: &[u8; HEADER], big_endian: bool) -> bool {
    u32_at(header, 0) & !1 == MAGIC && sum([0, 0], &header[..24], big_endian) == pair_at(header, 24)
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Whether it ends a transaction.
    commit: bool,
    salts: Pair,
    checksum: Pair,
}

impl Frame {
    fn new(bytes: &[u8]) -> Self {
        Self { commit: u32_at(bytes, 4) != 0, salts: pair_at(bytes, 8), checksum: pair_at(bytes, 16) }
    }

    /// Whether it was written behind `before`; `bytes` are all of this frame.
    fn follows(&self, before: &Self, bytes: &[u8], big_endian: bool) -> bool {
        let begun = sum(before.checksum, &bytes[..8], big_endian);
        sum(begun, &bytes[FRAME_HEADER..], big_endian) == self.checksum
    }
}

/// Goes on with a checksum.
fn sum(from: Pair, bytes: &[u8], big_endian: bool) -> Pair {
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(from, |[first, second], bytes| {
        let words = pair_at(bytes, 0).map(|word| if big_endian { word } else { word.swap_bytes() });
        let first = first.wrapping_add(words[0]).wrapping_add(second);
        [first, second.wrapping_add(words[1]).wrapping_add(first)]
    })
}

fn pair_at(bytes: &[u8], at: usize) -> Pair {
    [u32_at(bytes, at), u32_at(bytes, at + 4)]
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
